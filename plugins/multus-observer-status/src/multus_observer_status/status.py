"""The network-status annotation's content.

Source: NPWG standard 1.3, section 5; Device Information Specification 1.1.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from multus.api import deviceinfo
from multus.api.network import Attachment
from multus.api.result import IP, Interface, Result

STATUS = "k8s.v1.cni.cncf.io/network-status"


def annotation(attachments: Sequence[Attachment]) -> str:
    """The annotation's value: a JSON list with one object for each attachment."""
    return json.dumps([entry(each) for each in visible(attachments)], indent=4)


def visible(attachments: Sequence[Attachment]) -> list[Attachment]:
    """Those that a pod can see: the primary, and those with an interface or an address.

    A chain of plugins that only change something has neither.
    """
    return [
        each
        for each in attachments
        if each.delegate.primary or each.result.interfaces or each.result.ips
    ]


def entry(attachment: Attachment) -> dict[str, Any]:
    """One attachment's status; exactly the primary of a pod is its default."""
    delegate, result = attachment.delegate, attachment.result
    link = _interface(result)
    wire: dict[str, Any] = {
        "name": delegate.label,
        "interface": link.name if link else delegate.ifname,
    }
    addresses = [ip.address.partition("/")[0] for ip in _addresses(result, link)]
    if addresses:
        wire["ips"] = addresses
    if link and link.mac:
        wire["mac"] = link.mac
    if link and link.mtu:
        wire["mtu"] = link.mtu
    wire["default"] = delegate.primary
    wire["dns"] = result.to_wire("1.0.0")["dns"]
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


def _interface(result: Result) -> Interface | None:
    """The first interface in the sandbox (section 5.3.2.1)."""
    return next(iter(result.sandbox_interfaces()), None)


def _addresses(result: Result, link: Interface | None) -> list[IP]:
    """The addresses of that interface, and those without an interface."""
    index = result.interfaces.index(link) if link else None
    return [ip for ip in result.ips if ip.interface is None or ip.interface == index]


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
