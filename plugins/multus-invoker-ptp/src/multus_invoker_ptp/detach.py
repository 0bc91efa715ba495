"""Taking attachments down: the links of one container, all at one grace period."""

from __future__ import annotations

import socket
from collections.abc import Callable, Sequence

from multus.errors import CNIError
from multus.netlink import Channel, Namespace, NamespaceGone, Refused, Transport, addresses, links

_Transports = Callable[[socket.socket], Transport]


def delete_links(netns: str, names: Sequence[str], transport: _Transports) -> list[CNIError | None]:
    """Delete the veths with these names in the container: for each its error, or None.

    With the namespace gone, so are they, and the ends on the host with them.
    """
    if not netns:
        return [None] * len(names)
    try:
        with Namespace(netns) as pod, pod.channel(transport=transport) as inside:
            return _delete(inside, names)
    except NamespaceGone:
        return [None] * len(names)
    except CNIError as error:
        return [error] * len(names)


def _delete(inside: Channel, names: Sequence[str]) -> list[CNIError | None]:
    replies = inside.request([links.get(name, missing_ok=True) for name in names])
    ours = [links.read(reply) for reply in replies if reply is not None]
    try:
        inside.request(links.delete_many([link.index for link in ours if link.kind == "veth"]))
    except Refused as error:
        left = inside.request([links.get(name, missing_ok=True) for name in names])
        return [None if reply is None else error for reply in left]
    return [None] * len(names)


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
