"""Read and change a card and its virtual functions through sysfs.

Source: Documentation/PCI/pci-iov-howto.rst and Documentation/ABI/testing/sysfs-bus-pci (``physfn``,
``virtfnN``, ``sriov_numvfs``, ``driver_override``, ``drivers_probe``).
"""

from __future__ import annotations

import os
import re

from attrs import frozen

from multus.api.errors import InvalidConfig, IOFailure, KernelRefused
from multus.inprocess.devices import Devices

_VIRTFN = re.compile(r"virtfn([0-9]+)")


@frozen
class VirtualFunction:
    """A VF: its PCI address, its card's interface, and its number on the card."""

    pci: str
    pf: str
    index: int

    def __str__(self) -> str:
        return f"VF {self.index} of {self.pf} ({self.pci})"


@frozen
class Sysfs(Devices):
    """sysfs as mounted at *root*, with the cards' virtual functions."""

    def virtual_functions(self, pf: str) -> list[VirtualFunction]:
        """The VFs of the card whose interface is *pf*, by number."""
        device = f"{self.root}/class/net/{pf}/device"
        if not os.path.isdir(device):
            raise InvalidConfig(
                f"there is no card with interface {pf!r}",
                fix="correct 'if0'",
            )
        count = self._read(f"{device}/sriov_numvfs")
        if not count.isdigit() or int(count) == 0:
            raise InvalidConfig(
                f"the card of {pf!r} has no virtual functions",
                fix=f"write their number to {device}/sriov_numvfs",
            )
        return [VirtualFunction(pci, pf, index) for index, pci in self._virtfns(device)]

    def virtual_function(self, pci: str) -> VirtualFunction:
        """The VF with this PCI address."""
        physical = f"{self.pci(pci)}/physfn"
        pfs = self.names(f"{physical}/net")
        if not pfs:
            raise InvalidConfig(
                f"PCI device {pci} is not a virtual function of a card with an interface",
                fix="correct 'deviceID'",
            )
        for index, each in self._virtfns(physical):
            if each == pci:
                return VirtualFunction(pci, pfs[0], index)
        raise InvalidConfig(
            f"the card of {pfs[0]!r} lists no virtual function {pci}",
            fix=f"see {physical}/virtfn*",
        )

    def write(self, path: str, text: str) -> None:
        """Write an attribute at *path* below the root; all changes to sysfs use this method."""
        try:
            with open(f"{self.root}/{path}", "w", encoding="ascii") as attribute:
                attribute.write(text)
        except OSError as error:
            raise KernelRefused(
                f"writing {text.strip()!r} to {self.root}/{path} failed: {error.strerror}"
            ) from error

    def _virtfns(self, device: str) -> list[tuple[int, str]]:
        matches = [match for name in self.names(device) if (match := _VIRTFN.fullmatch(name))]
        try:
            return sorted(
                (int(match[1]), os.path.basename(os.readlink(f"{device}/{match[0]}")))
                for match in matches
            )
        except OSError as error:
            raise IOFailure(f"reading {device}/virtfn* failed: {error.strerror}") from error

    def _read(self, path: str) -> str:
        try:
            with open(path, encoding="ascii") as attribute:
                return attribute.read().strip()
        except (OSError, UnicodeDecodeError):
            return ""


def bind(sysfs: Sysfs, pci: str, driver: str) -> None:
    """Unbind a device from its driver and bind it to *driver*, unless it is bound already.

    ``driver_override`` makes the kernel bind the device only to this driver, regardless of the IDs
    that the driver lists.  It is reset after the device is bound.
    """
    if sysfs.driver(pci) == driver:
        return
    device = f"bus/pci/devices/{pci}"
    if not os.path.isdir(f"{sysfs.root}/bus/pci/drivers/{driver}"):
        raise KernelRefused(
            f"there is no driver {driver!r}",
            fix=f"load its module (modprobe {driver})",
        )
    sysfs.write(f"{device}/driver_override", driver)
    try:
        if sysfs.driver(pci):
            sysfs.write(f"{device}/driver/unbind", pci)
        sysfs.write("bus/pci/drivers_probe", pci)
    finally:
        sysfs.write(f"{device}/driver_override", "\n")
    if sysfs.driver(pci) != driver:
        raise KernelRefused(
            f"driver {driver!r} did not bind to device {pci}",
            fix="check the kernel's log for the reason",
        )
