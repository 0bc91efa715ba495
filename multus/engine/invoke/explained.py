"""An error in another program's words, with what the node itself shows before them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from multus.api.errors import CNIError

if TYPE_CHECKING:
    from multus.api.network import Invocation

#: CNI's own codes tell a runtime what to do, and are kept.
_OF_CNI = range(1, 100)


@contextmanager
def explained(invocation: Invocation) -> Iterator[None]:
    """Put what *invocation* lacks on this node before the words of a program that failed.

    The words are never read: nothing is added when the configuration and the node agree.
    """
    try:
        yield
    except CNIError as error:
        if not error.foreign:
            raise
        # Imported after a failure: a call that succeeds needs none of it.
        from multus.inprocess.lacking import lacking

        found = lacking(invocation)
        if not found:
            raise
        raise _joined(found, error) from error


def _joined(found: list[CNIError], error: CNIError) -> CNIError:
    first, *others = found
    words = f"the plugin's own words: {error}"
    told = first.detailed(*map(str, others), words)
    if error.number in _OF_CNI:
        return told.into(type(error), code=error.number)
    return told
