"""Detach: delete all links of one container within one RCU grace period."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import CNIError
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

    from multus.api.network import Invocation
    from multus.netlink.links import Link

    _Transports = Callable[[socket.socket], Transport]

#: The names that the reference plugins and these give to a pair's end on the host.
_HOST_END = re.compile(r"veth[0-9a-f]{8}")


class Leaving(NamedTuple):
    """A link that has to go: the attachment, and the kernel's kind of its link."""

    invocation: Invocation
    kind: str


def delete_links(leaving: Sequence[Leaving], transport: _Transports) -> list[CNIError | None]:
    """Delete the links of one container's attachments; returns each one's error, or None."""
    netns = leaving[0].invocation.request.netns
    try:
        if not netns:
            return _delete_host_ends(leaving, transport)
        with Namespace(netns) as pod, pod.channel(transport=transport) as inside:
            kinds = {each.invocation.ifname: each.kind for each in leaving}
            # An alternative name is looked up too, and the kernel answers with the first name.
            errors, found = _delete(
                inside,
                [each.invocation.ifname for each in leaving],
                lambda link: link.kind in [kinds.get(name) for name in _names([link])],
            )
        # A pair whose end in the container was renamed is deleted by its other end.
        renamed = [at for at, each in enumerate(leaving) if each.invocation.ifname not in found]
        ends = _delete_host_ends([leaving[at] for at in renamed], transport)
        for at, error in zip(renamed, ends, strict=True):
            errors[at] = errors[at] or error
        return errors
    except NamespaceGone:
        return _delete_host_ends(leaving, transport)
    except CNIError as error:
        return [error] * len(leaving)


def delete_from_host(
    leaving: Sequence[Leaving], named: Sequence[str], transport: _Transports
) -> None:
    """Delete the pairs among the attachments by their ends on the host, and the *named* links."""
    _delete_host_ends(leaving, transport, named)


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
) -> tuple[list[CNIError | None], set[str]]:
    """Delete those of *names* that are ours; returns each one's error, and the names found."""
    replies = channel.request([links.get(name, missing_ok=True) for name in names])
    found = [links.read(reply) for reply in replies if reply is not None]
    try:
        channel.request(links.delete_many([link.index for link in found if is_ours(link)]))
    except Refused as error:
        left = channel.request([links.get(name, missing_ok=True) for name in names])
        return [None if reply is None else error for reply in left], _names(found)
    return [None] * len(names), _names(found)


def _names(found: Sequence[Link]) -> set[str]:
    # A look-up by name also finds alternative names.
    return {name for link in found for name in (link.name, *link.alternative_names)}


def _delete_host_ends(
    leaving: Sequence[Leaving], transport: _Transports, named: Sequence[str] = ()
) -> list[CNIError | None]:
    """Delete pairs by their ends on the host, whose names are in the results.

    The kernel deletes them with the container's namespace, but some time after its path is gone.
    Until then the container's routes on the host exist.
    """
    ends = [_host_ends(each) for each in leaving]
    macs = {name: mac for each in ends for name, mac in each.items()}
    if not macs and not named:
        return [None] * len(leaving)

    def is_ours(link: Link) -> bool:
        # Compare the MAC too: another link may have the name by now.
        return link.name in named or (link.kind == "veth" and link.mac == macs.get(link.name))

    try:
        with open_channel(transport=transport) as host:
            every = [*macs, *named]
            errors = dict(zip(every, _delete(host, every, is_ours)[0], strict=True))
    except CNIError as error:
        errors = dict.fromkeys(macs, error)
    return [next(filter(None, map(errors.get, each)), None) for each in ends]


def _host_ends(leaving: Leaving) -> dict[str, str]:
    """The names of the pair's ends on the host in an attachment's result, with their MACs."""
    result = leaving.invocation.prev_result
    if leaving.kind != "veth" or result is None:
        return {}
    return {
        each.name: each.mac.lower()
        for each in result.interfaces
        if each.mac and not each.sandbox and _HOST_END.fullmatch(each.name)
    }
