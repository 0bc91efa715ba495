"""The base class of invokers whose links are deleted together with those of the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from multus.api.delegation import Delegating
from multus.api.invoker import Invoker
from multus.netlink import Transport

if TYPE_CHECKING:
    import socket

    from multus.api.network import Invocation


class Together(Invoker):
    """Deletes its links within the grace period that those of the container's others take.

    *transport* sends netlink messages to the kernel; tests inject faults with it.
    """

    #: The kernel's kind of the container's link: "veth", "macvlan" …  Empty for any, or for none.
    kind: str = ""

    def __init__(self, transport: Callable[[socket.socket], Transport] = Transport) -> None:
        self._transport = transport

    def host_links(self, invocation: Invocation) -> Sequence[str]:
        """The names of other interfaces, on the host, that DEL deletes."""
        return ()

    @staticmethod
    def before_delete(deletions: Sequence[tuple[Invoker, Invocation]]) -> None:
        """Delete the links of different kinds, and what belongs to them on the host."""
        from multus.inprocess._detach import Leaving, delete_from_host, delete_links

        ours = [_inner(*each) for each in deletions]
        together = [(each, call) for each, call in ours if isinstance(each, Together)]
        leaving = [Leaving(call, each.kind) for each, call in together if each.kind]
        named = [name for each, call in together for name in each.host_links(call)]
        if named:
            delete_from_host(leaving, named, together[0][0]._transport)
        if leaving:
            delete_links(leaving, together[0][0]._transport)


def _inner(invoker: Invoker, invocation: Invocation) -> tuple[Invoker, Invocation]:
    """The invoker that carries it out: a delegating one has another one do it."""
    if isinstance(invoker, Delegating):
        inner = invoker.inner(invocation)
        return inner.invoker, inner.invocation
    return invoker, invocation
