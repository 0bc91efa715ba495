"""Whether the kernel has what the journal says: interfaces, MACs, addresses, routes.

A delegate's own CHECK looks at what it made.  This compares with the recorded results, also with
those of delegates that have no CHECK.

Source: CNI specification 1.1.0, section "CHECK".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus.api.errors import CheckFailed, CNIError, failure

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from multus.api.network import Attachment
    from multus.netlink import Channel
    from multus.state.record import Record


def problems(record: Record, netns: str) -> list[CNIError]:
    """What differs from *record*, in the namespace at *netns* and on the host.

    An interface of a result whose ``sandbox`` is another path than the ADD's is left out: it may be
    inside a virtual machine.
    """
    from multus.netlink import Namespace, NamespaceGone
    from multus.state.liveness import Liveness, look

    attachments = [each for each in record.attachments() if not each.delegate.disable_check]
    if not any(each.result.interfaces for each in attachments):
        return []
    if look(netns, record.netns_identity) is Liveness.OTHER:
        return [
            CheckFailed(
                f"{netns} is another network namespace than the one that was attached",
                fix="delete the container and add it again",
            )
        ]
    try:
        with Namespace(netns) as pod, Namespace.current() as host:
            with pod.channel() as inside, host.channel() as outside:
                return [
                    problem
                    for each in attachments
                    for problem in _of(each, record.request.netns, inside, outside)
                ]
    except NamespaceGone as error:
        return [error.into(CheckFailed)]


def addresses_in(netns: str, names: Sequence[str]) -> tuple[list[str], list[str]]:
    """The MACs and the addresses of the interfaces that exist of *names*; raises ``CNIError``."""
    from multus.netlink import Namespace, addresses, links

    with Namespace(netns) as pod, pod.channel() as channel:
        there = [link for name in names if (link := links.find(channel, name)) is not None]
        found = [each for link in there for each in addresses.list_of(channel, link.index)]
    return [link.mac for link in there], [each.address for each in found]


def sees(attachment: Attachment, netns: str) -> bool:
    """Whether `problems` compares an interface of *attachment* that is in the namespace *netns*.

    An interface that an application may drive itself is not required to be there.
    """
    return any(
        link.name and link.sandbox == netns and not (link.pci_id or link.socket_path)
        for link in attachment.result.interfaces
    )


def _of(
    attachment: Attachment, netns: str, inside: Channel, outside: Channel
) -> Iterator[CNIError]:
    """What differs from one attachment's result; one that cannot be compared is an error."""
    where = f"{attachment.delegate}, interface {attachment.delegate.ifname}"
    try:
        for problem in _differences(attachment, netns, inside, outside):
            yield CheckFailed(problem, where=where)
    except Exception as error:  # noqa: BLE001  the results come from plugins: anything may be wrong
        found = failure("comparing its result", error, "see the result in its record")
        yield found.at(where)


def _differences(
    attachment: Attachment, netns: str, inside: Channel, outside: Channel
) -> Iterator[str]:
    from multus.netlink import links, results

    result = attachment.result
    for index, interface in enumerate(result.interfaces):
        if interface.sandbox not in ("", netns) or not interface.name:
            continue
        link = links.find(inside if interface.sandbox else outside, interface.name)
        if link is None and (interface.pci_id or interface.socket_path):
            # An application may drive the device itself (DPDK, vhost-user).  Then the kernel has no
            # interface of it; the plugin's own CHECK looks at it.
            continue
        if link is None:
            where = f"the container's namespace {netns}" if interface.sandbox else "the host"
            yield f"interface {interface.name} is gone from {where}"
        elif interface.sandbox:
            yield from results.link_differences(result, index, link, inside)
    if any(interface.sandbox == netns for interface in result.interfaces):
        yield from results.route_differences(result, inside)
