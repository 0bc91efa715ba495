"""The two namespaces of an attachment, opened once for all links of a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import InvalidConfig
from multus.inprocess._requested import require_nameable
from multus.netlink import Channel, Namespace, Transport, links, open_channel, sysctl

if TYPE_CHECKING:
    from socket import socket

    from multus.api.network import Invocation
    from multus.api.reader import Reader
    from multus.netlink.links import Link

_KEY = "multus.inprocess.ends"
_FORWARDING = {4: "ipv4/ip_forward", 6: "ipv6/conf/all/forwarding"}


class Ends(NamedTuple):
    """A channel into each namespace, and the container's namespace.

    ``forwarding`` holds the address families that the host is known to forward, ``parents`` the
    interfaces of the host that were found, by name.
    """

    host: Channel
    inside: Channel
    pod: Namespace
    forwarding: set[int]
    parents: dict[str, Link]

    @classmethod
    def of(cls, invocation: Invocation, transport: Callable[[socket], Transport]) -> Ends:
        """The ends for all links of this request: opened once, closed with the session.

        Raises ``InvalidConfig`` when the container's namespace is the host's own, and
        ``NamespaceGone`` when there is none.
        """
        return invocation.session.once(_KEY, partial(_open, invocation, transport))

    def forward(self, families: Iterable[int]) -> None:
        """Enable forwarding on the host for these families (4 and 6)."""
        for family in set(families) - self.forwarding:
            sysctl.ensure(_FORWARDING[family], "1")
            self.forwarding.add(family)

    def parent(self, reader: Reader, key: str = "master", *, inside: bool = False) -> Link:
        """The interface that a configuration names under *key*, on the host or in the container.

        Without a name it is the interface of a default route, as in the reference plugins.  One
        of the host is looked up once for all networks of a request.  Raises ``InvalidConfig`` when
        there is none, or when it is the loopback.
        """
        name = reader.text(key)
        require_nameable(reader, key, name)
        if not inside and name in self.parents:
            return self.parents[name]
        channel = self.inside if inside else self.host
        link = name or _default_route(channel)
        found = links.find(channel, link) if link else None
        if found is not None and found.loopback:
            raise reader.error(
                key,
                f"is {name!r}, a loopback, on which no link can be made",
                "name an interface that leads to a network",
            )
        if found is not None:
            if not inside:
                self.parents[name] = found
            return found
        there = f"the container ({self.pod.path})" if inside else "the host"
        if name:
            raise reader.error(
                key,
                f"is {name!r}, and {there} has no interface of that name",
                "name an interface that exists, or create it",
            )
        raise reader.error(
            key, f"is missing, and {there} has no default route", "name the interface"
        )


def _open(invocation: Invocation, transport: Callable[[socket], Transport]) -> Ends:
    closing = invocation.session.closing
    pod = closing.enter_context(Namespace(invocation.request.netns))
    if pod.is_own():
        raise InvalidConfig(
            f"{pod.path} is the host's own network namespace: a {invocation.plugin.type} network"
            " needs a container with one of its own"
        )
    host = closing.enter_context(open_channel(transport=transport))
    inside = closing.enter_context(pod.channel(transport=transport))
    return Ends(host, inside, pod, set(), {})


def _default_route(channel: Channel) -> int:
    """The index of the first default route's interface; 0, which none has, without one."""
    from multus.netlink import routes

    found = (
        each.index for each in routes.list_all(channel) if each.destination in ("0.0.0.0/0", "::/0")
    )
    return next(found, 0)
