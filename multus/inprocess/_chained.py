"""The base class of invokers that change a link which an earlier plugin of the chain created."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from multus.api.errors import CheckFailed, InvalidConfig
from multus.inprocess._together import Together
from multus.netlink import Channel, Namespace, NamespaceGone, links

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import IP, Result
    from multus.netlink.links import Link


class Chained(Together):
    """Changes a link, its routes or its traffic, and passes the result on.

    A subclass sets ``name``, and overrides ``add``, ``delete_one`` and ``check``.  When several
    attachments of a container are deleted together, their links are deleted first: ``delete_one``
    must not need them.

    *transport* sends netlink messages to the kernel; tests inject faults with it.
    """

    def previous(self, invocation: Invocation) -> Result:
        """The result of the plugin before; raises ``InvalidConfig`` without one."""
        if invocation.prev_result is None:
            raise InvalidConfig(
                f"{invocation} has no 'prevResult'",
                fix=f"put {self.name} after the plugin that creates the interface",
            )
        return invocation.prev_result

    def addresses(self, invocation: Invocation, result: Result) -> list[IP]:
        """The addresses in *result* of the container's interface, and those of no interface."""
        ours = [bool(each.sandbox) and each.name == invocation.ifname for each in result.interfaces]
        return [ip for ip in result.ips if ip.interface is None or ours[ip.interface]]

    def link(self, invocation: Invocation, inside: Channel) -> Link:
        """The container's link; raises ``CheckFailed`` without one."""
        found = links.find(inside, invocation.ifname)
        if found is None:
            raise CheckFailed(
                f"interface {invocation.ifname} does not exist in {invocation.request.netns}",
                fix=f"put {self.name} after the plugin that creates it",
            )
        return found

    @contextmanager
    def container(self, invocation: Invocation) -> Iterator[tuple[Namespace, Channel]]:
        """The container's namespace, and a channel into it."""
        with (
            Namespace(invocation.request.netns) as pod,
            pod.channel(transport=self._transport) as inside,
        ):
            yield pod, inside

    def undo_inside(self, invocation: Invocation, step: Callable[[Channel], object]) -> None:
        """Call *step* with a channel into the container, for DEL.

        It is not called when the container's namespace is gone, and what it set with it.
        """
        try:
            if invocation.request.netns:
                with self.container(invocation) as (_, inside):
                    step(inside)
        except NamespaceGone:
            pass
