"""The keys of a host-device configuration, and the interface that they name."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import InvalidConfig
from multus.inprocess import reader_of
from multus.inprocess.devices import USERSPACE_DRIVERS, Devices
from multus.ipam import dns
from multus.netlink import links

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.reader import Reader
    from multus.api.result import DNS
    from multus.netlink import Channel
    from multus.netlink.links import Link

_KERNEL_PATHS = "/sys/devices/"
_FIX = "name a device of this node"
# Bytes of an alternative name of an interface, at most.
_LONGEST = 127


class Config(NamedTuple):
    """The keys, of which the first that is set counts; ``mac`` is lower case with colons.

    ``auxiliary`` is the name of a device on the auxiliary bus.

    Source: the documentation of the reference plugin.
    """

    device: str
    mac: str
    kernel_path: str
    pci: str
    auxiliary: str
    dns: DNS

    @classmethod
    def read(cls, invocation: Invocation, devices: Devices) -> Config:
        """Read the configuration; raises ``InvalidConfig`` with the key and the problem.

        ``runtimeConfig.deviceID`` is a device of the PCI or the auxiliary bus, and precedes
        ``pciBusID``.
        """
        reader = reader_of(invocation)
        runtime = reader.inner("runtimeConfig")
        chosen = _bare(runtime, "deviceID")
        pci, auxiliary = _bare(reader, "pciBusID"), ""
        if chosen and os.path.exists(devices.pci(chosen)):
            pci = chosen
        elif chosen and os.path.exists(devices.auxiliary(chosen)):
            pci, auxiliary = "", chosen
        elif chosen and invocation.verb != "DEL":
            raise runtime.error(
                "deviceID", f"is {chosen!r}, on neither the PCI nor the auxiliary bus", _FIX
            )
        found = cls(
            device=_device(reader),
            mac=_mac(reader),
            kernel_path=_kernel_path(reader),
            pci=pci,
            auxiliary=auxiliary,
            dns=dns.from_config(reader),
        )
        if not any(found[:5]) and not chosen:
            raise InvalidConfig(
                f"{reader.where}: it names no device",
                fix="set one of 'device', 'hwaddr', 'kernelpath' and 'pciBusID'",
            )
        return found

    def has_userspace_driver(self, devices: Devices) -> bool:
        """Whether the device has no interface, because it is for DPDK."""
        return bool(self.pci) and devices.driver(self.pci) in USERSPACE_DRIVERS

    def find(self, host: Channel, devices: Devices) -> Link | None:
        """The device's interface on the host; None when it is elsewhere, or gone."""
        if self.device:
            return links.find(host, self.device)
        if self.mac:
            return next((each for each in links.list_all(host) if each.mac == self.mac), None)
        names = self._names(devices)
        return links.find(host, names[0]) if names else None

    def _names(self, devices: Devices) -> list[str]:
        if self.kernel_path:
            return devices.names(f"{devices.root}/{self.kernel_path.removeprefix('/sys/')}/net")
        if not self.pci:
            return devices.names(f"{devices.auxiliary(self.auxiliary)}/net")
        folder = devices.pci(self.pci)
        inner = [each for each in devices.names(folder) if each.startswith("virtio")]
        found = (
            devices.names(f"{each}/net") for each in (folder, *(f"{folder}/{i}" for i in inner))
        )
        return next(filter(None, found), [])

    def refusal(self, invocation: Invocation) -> InvalidConfig:
        """The error for a device without an interface on the host."""
        return self._blame(
            invocation,
            "and the host has no interface of that device",
            f"{_FIX}, or delete the container that has it",
        )

    def immovable(self, invocation: Invocation, link: Link) -> InvalidConfig:
        """The error for an interface that stays in its namespace, as a loopback or a bridge."""
        return self._blame(
            invocation,
            f"and the kernel moves {link.name} to no other namespace",
            "name an interface of a card, or the end of a veth pair",
        )

    def _blame(self, invocation: Invocation, problem: str, fix: str) -> InvalidConfig:
        named = {
            "device": self.device,
            "hwaddr": self.mac,
            "kernelpath": self.kernel_path,
            "pciBusID": self.pci,
        }
        key, value = next((each for each in named.items() if each[1]), ("", self.auxiliary))
        reader = reader_of(invocation)
        if not key:
            key, reader = "deviceID", reader.inner("runtimeConfig")
        return reader.error(key, f"is {value!r}, {problem}", fix)


def _device(reader: Reader) -> str:
    """A name or an alternative name of an interface, which the kernel can be asked for."""
    name = reader.text("device")
    # Surrogates, which have no bytes, are not printable.
    if not name.isprintable() or len(name.encode()) > _LONGEST:
        raise reader.error(
            "device", f"is {name!r:.100}, which no interface can have as its name", _FIX
        )
    return name


def _bare(reader: Reader, key: str) -> str:
    """A name in a folder of sysfs."""
    name = reader.text(key)
    if "/" in name or not name.isprintable() or name in (".", ".."):
        raise reader.error(key, f"is {name!r}", "use a device's bare name, without a path")
    return name


def _kernel_path(reader: Reader) -> str:
    path = reader.path("kernelpath")
    if path and (not path.startswith(_KERNEL_PATHS) or ".." in path.split("/")):
        raise reader.error(
            "kernelpath", f"is {path!r}", f"use the path of a device below {_KERNEL_PATHS}"
        )
    return path


def _mac(reader: Reader) -> str:
    text = reader.text("hwaddr")
    if not text:
        return ""
    try:
        address = bytes.fromhex(text.replace(":", "").replace("-", "").replace(".", ""))
    except ValueError:
        address = b""
    # Ethernet, EUI-64, and InfiniBand over IP.
    if len(address) not in (6, 8, 20):
        raise reader.error("hwaddr", f"is {text!r}, not a hardware address")
    return links.decode_mac(address)
