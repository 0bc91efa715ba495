"""The base class of every kind of IPAM: what assigns the addresses of an invocation.

An in-process invoker asks ``multus.ipam`` for the one that its configuration names.  A plugin
offers one in its hook ``multus_ipam``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multus.api.result import Result


class Ipam:
    """Assigns the addresses of one invocation.  Subclass it, set ``name``, override ``add``.

    ``name`` is the kind that serves it: ``exec`` when that is a binary.  ``reason`` says why a type
    that could be served in-process is run as a binary; else it is empty.

    The verbs are CNI's.  Each raises a class of ``multus.api.errors``.  It keeps no state between
    calls: another process may execute the next one.
    """

    name: str = ""
    reason: str = ""

    def prepare(self) -> None:
        """Raise when ``add`` cannot start; an invoker calls it in its own ``prepare``."""

    def add(self) -> Result:
        """Reserve addresses; return a result with ``ips``, ``routes`` and ``dns``, no interfaces.

        When it raises, no address is held.  When a later step fails, the caller calls ``delete``.
        """
        raise NotImplementedError

    def delete(self) -> None:
        """Free the addresses; succeeds when none is held, and when it is repeated.

        It works with a configuration that became invalid after the ADD.
        """

    def check(self) -> None:
        """Raise ``CheckFailed`` when the addresses of ``prev_result`` are not held."""

    def status(self) -> None:
        """Raise an error when an ADD would fail."""

    def gc(self) -> None:
        """Free the addresses of the network's attachments that are not valid any more."""
