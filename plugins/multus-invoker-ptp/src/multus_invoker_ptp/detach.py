"""Taking attachments down: the links of one container, all at one grace period."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from multus.errors import CNIError
from multus.netlink import (
    Channel,
    Namespace,
    NamespaceGone,
    Refused,
    Transport,
    addresses,
    links,
    open_channel,
)

if TYPE_CHECKING:
    import socket

    from multus.model.network import Invocation
    from multus.netlink.links import Link

    _Transports = Callable[[socket.socket], Transport]


def delete_links(
    invocations: Sequence[Invocation], transport: _Transports
) -> list[CNIError | None]:
    """Delete the veths of one container's attachments: for each its error, or None."""
    netns = invocations[0].request.netns
    try:
        if not netns:
            return _delete_host_ends(invocations, transport)
        with Namespace(netns) as pod, pod.channel(transport=transport) as inside:
            return _delete(inside, [each.ifname for each in invocations], _is_veth)
    except NamespaceGone:
        return _delete_host_ends(invocations, transport)
    except CNIError as error:
        return [error] * len(invocations)


def addresses_left(netns: str, transport: _Transports) -> set[str]:
    """The addresses (without prefix) that the container still has on any interface."""
    if not netns:
        return set()
    try:
        with Namespace(netns) as pod, pod.channel(transport=transport) as inside:
            found = addresses.list_of(inside)
    except NamespaceGone:
        return set()
    return {each.address.partition("/")[0] for each in found}


def _delete(
    channel: Channel, names: Sequence[str], is_ours: Callable[[Link], bool]
) -> list[CNIError | None]:
    replies = channel.request([links.get(name, missing_ok=True) for name in names])
    found = [links.read(reply) for reply in replies if reply is not None]
    try:
        channel.request(links.delete_many([link.index for link in found if is_ours(link)]))
    except Refused as error:
        left = channel.request([links.get(name, missing_ok=True) for name in names])
        return [None if reply is None else error for reply in left]
    return [None] * len(names)


def _is_veth(link: Link) -> bool:
    return link.kind == "veth"


def _delete_host_ends(
    invocations: Sequence[Invocation], transport: _Transports
) -> list[CNIError | None]:
    """Delete the ends on the host, which the results name.

    The kernel takes them down with the container's namespace, but only some time after its path
    has gone; until then they hold the container's routes.
    """
    ends = {
        interface.name: interface.mac
        for each in invocations
        if each.prev_result is not None
        for interface in each.prev_result.interfaces
        if interface.mac and not interface.sandbox
    }
    if not ends:
        return [None] * len(invocations)

    def is_ours(link: Link) -> bool:
        # A name alone could be another's by now.
        return _is_veth(link) and link.mac == ends[link.name].lower()

    try:
        with open_channel(transport=transport) as host:
            errors = [error for error in _delete(host, list(ends), is_ours) if error is not None]
    except CNIError as error:
        errors = [error]
    return [errors[0] if errors else None] * len(invocations)
