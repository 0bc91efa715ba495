"""Whether the kernel has what the journal says: interfaces, MACs, addresses, routes.

A delegate's own CHECK looks at what it made; this looks at what was recorded, also of delegates
that have no CHECK.

Source: CNI specification 1.1.0, section "CHECK".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus.api.errors import CheckFailed, CNIError, failure

if TYPE_CHECKING:
    from collections.abc import Iterator

    from multus.api.network import Attachment
    from multus.netlink import Channel
    from multus.state.record import Record


def problems(record: Record, netns: str) -> list[CNIError]:
    """What is not as *record* says, in the namespace at *netns* and on the host.

    A result's interface whose ``sandbox`` is not the path of the ADD is in no namespace that can be
    looked into (a virtual machine's, say), and is left out.
    """
    from multus.netlink import Namespace, NamespaceGone
    from multus.state.journal import netns_identity

    attachments = [each for each in record.attachments() if not each.delegate.disable_check]
    if not any(each.result.interfaces for each in attachments):
        return []
    if record.netns_identity and netns_identity(netns) not in ("", record.netns_identity):
        return [
            CheckFailed(
                f"{netns} is another network namespace than the one that was attached: delete the"
                " container and add it again"
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
        return [CheckFailed(error.msg)]


def _of(
    attachment: Attachment, netns: str, inside: Channel, outside: Channel
) -> Iterator[CNIError]:
    """What is not as one attachment's result says; what cannot be compared is its error alone."""
    where = f"{attachment.delegate}, interface {attachment.delegate.ifname}"
    try:
        for problem in _differences(attachment, netns, inside, outside):
            yield CheckFailed(f"{where}: {problem}")
    except Exception as error:  # noqa: BLE001  results are foreign, and so are names and numbers
        found = failure("comparing its result", error, "see the result in its record")
        yield found.reworded(f"{where}: {found.msg}", found.details)


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
            # An application may drive the device by itself (DPDK, vhost-user): the kernel has no
            # interface of it then.  The plugin's own CHECK knows.
            continue
        if link is None:
            where = f"the container's namespace {netns}" if interface.sandbox else "the host"
            yield f"interface {interface.name} is gone from {where}"
        elif interface.sandbox:
            yield from results.link_differences(result, index, link, inside)
    if any(interface.sandbox == netns for interface in result.interfaces):
        yield from results.route_differences(result, inside)
