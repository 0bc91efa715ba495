"""A call that a daemon or a warm engine got and did not answer, in the process that takes it over.

One that did not read its message has not begun the call, and will not: the call is carried out
here.  One that ended in the middle may have carried out any part of it.  What may be repeated is:
DEL, CHECK, GC and STATUS.  An ADD is undone and fails, as on a node that relies on its daemon: a
runtime answers every failure of an ADD with DEL.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from multus.api.errors import TryAgainLater
from multus.cni import skel
from multus.cni.shim import LOST

if TYPE_CHECKING:
    from collections.abc import Callable

    from multus.api.spelling import Spelling


def tell(why: bytes, environ: Mapping[str, str], stdin: bytes) -> None:
    """Log that the call is not served, *why* as ``shim.ask`` says it."""
    if why == LOST:
        text = "the process that served this call ended before it answered"
    else:
        text = (
            "the warm engine of this node does not read its messages: this call is carried out"
            " without it, after a second. Unless it is stopped for a purpose, end it:"
            " 'multus doctor' names its process"
        )
    command, container = environ.get("CNI_COMMAND"), environ.get("CNI_CONTAINERID")
    skel.log_of(stdin).error(text, command=command, container=container)


def is_undone(why: bytes, environ: Mapping[str, str]) -> bool:
    """Whether the call is to be undone, not carried out."""
    return why == LOST and environ.get("CNI_COMMAND") == "ADD"


def undo(
    environ: Mapping[str, str],
    stdin: bytes,
    engine_for: skel.EngineFor,
    spelling: Callable[[], Spelling],
) -> tuple[int, bytes]:
    """Undo what an ADD has begun; returns its answer, an error with code 11.

    A container that has all its networks keeps them until its DEL: they may be those of an earlier
    ADD.  What cannot be undone is in the log, and the DEL tries again.
    """
    skel.recover(environ, stdin, engine_for, None, spelling)
    error = TryAgainLater(
        "the process that served this ADD ended before it answered",
        fix="call DEL, then ADD again; the log has more",
    )
    return skel.failed(error, stdin)
