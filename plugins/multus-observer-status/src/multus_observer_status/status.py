"""The network-status annotation's content.

Source: NPWG standard 1.3, section 5; Device Information Specification 1.1.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from multus.api import regular
from multus.api.errors import CNIError
from multus.api.jsontext import LARGEST, decode_object
from multus.api.network import Attachment
from multus.api.result import IP, Interface, Result

STATUS = "k8s.v1.cni.cncf.io/network-status"

#: The folder where device plugins describe their devices.
DEVICE_PLUGINS = "/var/run/k8s.cni.cncf.io/devinfo/dp"


def annotation(attachments: Sequence[Attachment], devices: str = DEVICE_PLUGINS) -> str:
    """The annotation's value: a JSON list with one object for each attachment.

    *devices* is the folder of the device plugins' descriptions.
    """
    return json.dumps([entry(each, devices) for each in attachments], indent=4)


def entry(attachment: Attachment, devices: str = DEVICE_PLUGINS) -> dict[str, Any]:
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
    device = _device_info(attachment, link, devices)
    if device:
        wire["device-info"] = device
    return wire


def added_message(attachment: Attachment) -> str:
    """The text of the event: ``Add eth0 [10.0.0.2/24] from default/net``."""
    addresses = " ".join(ip.address for ip in attachment.result.ips)
    delegate = attachment.delegate
    return f"Add {delegate.ifname} [{addresses}] from {delegate.label}"


def unserved_messages(attachment: Attachment) -> list[str]:
    """The texts of the events that say what was requested and is not there."""
    delegate = attachment.delegate
    return [f"{delegate}, interface {delegate.ifname}: {each}" for each in attachment.unserved]


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


def _device_info(
    attachment: Attachment, link: Interface | None, devices: str
) -> dict[str, Any] | None:
    """The device information of the delegate, else of the device plugin, else of the result."""
    delegate = attachment.delegate
    written = delegate.runtime_config.get("CNIDeviceInfoFile")
    if isinstance(written, str) and os.path.exists(written):
        return _read(written)
    ids = [str(p.config["deviceID"]) for p in delegate.plugins if p.config.get("deviceID")]
    for device in ids:
        ending = f"-{device.replace('/', '-')}-device.json"
        names = sorted(os.listdir(devices)) if os.path.isdir(devices) else []
        found = next((name for name in names if name.endswith(ending)), None)
        if found:
            return _read(os.path.join(devices, found))
    if link and link.pci_id:
        return {"type": "pci", "version": "1.1.0", "pci": {"pci-address": link.pci_id}}
    return None


def _read(path: str) -> dict[str, Any] | None:
    """The description in a file; None when it is damaged: the status is written without it."""
    try:
        return decode_object(
            regular.read(path, LARGEST + 1, follow=True), f"device information {path}"
        )
    except (OSError, CNIError):
        return None
