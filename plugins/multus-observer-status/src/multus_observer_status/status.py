"""The network-status annotation's content.

Source: NPWG standard 1.3, section 5; Device Information Specification 1.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from multus.api import deviceinfo
from multus.api.errors import CNIError
from multus.api.network import OUTSIDE, Attachment, Delegate, Refusal
from multus.api.result import IP, Interface, Result

STATUS = "k8s.v1.cni.cncf.io/network-status"


def annotation(found: Iterable[Sequence[Mapping[str, Any]]]) -> str:
    """The annotation's value: a JSON list with the entries of each attachment, see `entries`."""
    return json.dumps([each for attachment in found for each in attachment], indent=4)


def entries(attachment: Attachment, netns: str = "") -> list[dict[str, Any]]:
    """One attachment's status: an entry for each of its interfaces in the container.

    An attachment with one interface that is not there (a machine drives the device) has an entry
    without it, one with others of the host's alone has none.  Of a plugin that reports no interface
    the kernel is asked, and without an interface, an address or a device there is no entry.

    Exactly one entry of the pod's primary is the default: that of the interface with the gateway,
    else of the first.
    """
    result = attachment.result
    inside = [index for index, link in enumerate(result.interfaces) if link.sandbox]
    if len(inside) > 1:
        default = _default_of(result, inside)
        return [
            _entry(
                attachment,
                result.interfaces[index],
                [ip for ip in result.ips if _place(ip, inside) == index],
                default=index == default,
            )
            for index in inside
        ]
    if not inside and len(result.interfaces) > 1:
        return []
    link = result.interfaces[inside[0]] if inside else next(iter(result.interfaces), None)
    if link is None:
        link = _in_kernel(netns, attachment.delegate.ifname)
    alone = len(result.interfaces) < 2
    ips = [ip for ip in result.ips if alone or _place(ip, inside) == inside[0]]
    made = _entry(attachment, link, ips)
    return [made] if link or ips or "device-info" in made else []


def _entry(
    attachment: Attachment, link: Interface | None, ips: Sequence[IP], *, default: bool = True
) -> dict[str, Any]:
    delegate, result = attachment.delegate, attachment.result
    wire: dict[str, Any] = {"name": delegate.label}
    if link and link.sandbox:
        wire["interface"] = link.name
    if ips:
        wire["ips"] = [ip.address.partition("/")[0] for ip in ips]
    if link and link.sandbox and link.mac:
        wire["mac"] = link.mac
    if link and link.sandbox and link.mtu:
        wire["mtu"] = link.mtu
    wire["default"] = delegate.primary and default
    wire["dns"] = result.dns.to_wire()
    gateways = _gateways(result)
    if gateways:
        wire["gateway"] = gateways
        if "default-route" in delegate.options:
            wire["default-route"] = gateways
    device = _device_info(attachment, link)
    if device:
        wire["device-info"] = device
    return wire


def added_message(attachment: Attachment) -> str:
    """The text of the event: ``Add eth0 [10.0.0.2/24] from default/net``."""
    addresses = " ".join(ip.address for ip in attachment.result.ips)
    delegate = attachment.delegate
    return f"Add {delegate.ifname} [{addresses}] from {delegate.label}"


def removed_message(delegate: Delegate) -> str:
    """The text of the event: ``Remove net1 of default/net``."""
    return f"Remove {delegate.ifname} of {delegate.label}"


def refused_message(refusal: Refusal) -> str:
    """The text of the event about a network that a running pod asks for and does not get."""
    return f"{refusal.network}, interface {refusal.ifname}, is not changed: {refusal.error}"


def entries_of(status: str | None) -> list[dict[str, Any]] | None:
    """The entries of an annotation's value; None when it has another form."""
    try:
        told = json.loads(status or "null")
    except (ValueError, RecursionError):
        return None
    is_list = isinstance(told, list) and all(isinstance(each, dict) for each in told)
    return told if is_list else None


def theirs(
    attachment: Attachment, told: Sequence[Mapping[str, Any]] | None
) -> list[Mapping[str, Any]]:
    """What *told* says of a network that an outside controller attached: it knows it by its name.

    Empty for any other network.  Earlier releases wrote down no source for such a network.
    """
    delegate = attachment.delegate
    if delegate.primary or delegate.default or delegate.source not in ("", OUTSIDE):
        return []
    return [each for each in told or () if each.get("interface") == delegate.ifname]


def says(
    told: Sequence[Mapping[str, Any]] | None, found: Iterable[Sequence[Mapping[str, Any]]]
) -> bool:
    """Whether the entries *told* say what *found*, the entries of each attachment, say.

    Another program may have written them: names of the default network, the order and further keys
    do not count.
    """
    if told is None:
        return False
    wanted = [each for attachment in found for each in attachment]
    return sorted(map(_gist, told)) == sorted(map(_gist, wanted))


def _gist(entry: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """What an entry says, in texts that can be sorted."""
    ips = entry.get("ips")
    addresses = " ".join(sorted(map(str, ips))) if isinstance(ips, list) else ""
    name = "" if entry.get("default") is True else str(entry.get("name", ""))
    mac = str(entry.get("mac", "")).lower()
    return str(entry.get("interface", "")), name, addresses, mac


def unserved_messages(attachment: Attachment) -> list[str]:
    """The texts of the events that say what was requested and is not there."""
    delegate = attachment.delegate
    return [f"{delegate}, interface {delegate.ifname}: {each}" for each in attachment.unserved]


def _default_of(result: Result, inside: Sequence[int]) -> int:
    """The index of the interface with the gateway, else of the first, among those *inside*."""
    at = (ip.interface for ip in result.ips if ip.gateway and ip.interface in inside)
    return next((index for index in at if index is not None), inside[0])


def _place(ip: IP, inside: Sequence[int]) -> int:
    """The index of an address's interface; without one, the last in the container (as in Go)."""
    return inside[-1] if ip.interface is None else ip.interface


def _in_kernel(netns: str, ifname: str) -> Interface | None:
    """The container's interface that a plugin did not report; None when there is none."""
    from multus.netlink import Namespace, links

    try:
        with Namespace(netns) as pod, pod.channel() as channel:
            link = links.find(channel, ifname)
    except (CNIError, OSError):
        return None
    return None if link is None else Interface(link.name, link.mac, netns, link.mtu)


def _gateways(result: Result) -> list[str]:
    """The default routes' gateways; a route without one uses the address's."""
    routes = [route for route in result.routes if route.is_default]
    found = [route.gw or result.gateways.get(route.family, "") for route in routes]
    return [gateway for gateway in found if gateway]


def _device_info(attachment: Attachment, link: Interface | None) -> dict[str, Any] | None:
    """What plugins left in the attachment's file, else the device plugin's, else the result's."""
    delegate = attachment.delegate
    theirs = deviceinfo.of_device_plugin(delegate.resource, delegate.device)
    found = deviceinfo.read(delegate.device_info) or deviceinfo.read(theirs)
    if found is None and link and link.pci_id:
        return {"type": "pci", "version": "1.1.0", "pci": {"pci-address": link.pci_id}}
    return found
