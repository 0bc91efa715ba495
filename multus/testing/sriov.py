"""A card with virtual functions, for machines that have none.

``Card.build`` makes what sysfs would show of it, in a folder, and real links that stand in for its
interfaces: moves, renames, addresses and MTUs are the kernel's own.  What no stand-in can take, a
VF's attributes, goes to a ``RecordingPort``, which notes the netlink messages; and ``react`` does
what the kernel would do when a driver is bound or unbound by writing to sysfs.

    card = Card.build(folder, node, pf="enp2s0", vfs=2)
    invoker = SriovInvoker(card.sysfs(Sysfs), card.port)    # of multus_invoker_sriov
    card.port.messages                                      # what the card was told

``install_plugin`` makes a plugin of it that a program in another process finds.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from typing import TypeVar

from attrs import frozen

from multus.netlink import wire
from multus.netlink.wire import Message
from multus.testing.netns import Netns

_T = TypeVar("_T")

_SUBSYSTEM = "bus/pci"
_VLAN_LIST = 12

_PLUGIN = '''\
"""A stand-in for a card with virtual functions."""

from multus import hookimpl


@hookimpl(tryfirst=True)
def multus_invoker(plugin, delegate, conf):
    import multus_invoker_sriov

    if plugin.config.get("if0", {pf!r}) != {pf!r}:
        return None  # another card's
    offer = multus_invoker_sriov.multus_invoker(plugin, delegate, conf)
    if getattr(offer, "name", "") != "sriov":
        return offer
    from multus.testing.sriov import Card
    from multus_invoker_sriov.invoker import SriovInvoker
    from multus_invoker_sriov.sysfs import Sysfs

    card = Card({root!r}, {pf!r}, {pci!r}, {vfs})
    return SriovInvoker(card.sysfs(Sysfs), card.port)
'''


@frozen
class RecordingPort:
    """The card's driver, as far as it is told things: it notes them in the file *path*.

    What it is asked, it answers from what it was told.  Several processes may use one file.
    """

    path: str
    vfs: int

    @property
    def messages(self) -> list[Message]:
        """Every message, in order."""
        if not os.path.exists(self.path):
            return []
        with open(self.path, encoding="ascii") as lines:
            return [
                Message(raw["kind"], 0, bytes.fromhex(raw["body"]), raw["words"])
                for raw in map(json.loads, lines)
            ]

    def apply(self, messages: Sequence[Message]) -> None:
        """Take messages."""
        lines = [
            json.dumps({"kind": each.kind, "words": each.words, "body": each.body.hex()})
            for each in messages
        ]
        with open(self.path, "a", encoding="ascii") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def ask(self, pf: int) -> bytes:
        """What the kernel would answer when asked for interface *pf* with its VFs."""
        return reply(pf, self.vfs, self.messages)


def reply(pf: int, vfs: int, told: Sequence[Message]) -> bytes:
    """The body of the kernel's answer about interface *pf* with *vfs* VFs that was told this.

    The attributes in an answer are those of the requests (linux/if_link.h), so the last request
    for each is copied; a VF that was told nothing is as a card's reset leaves it.
    """
    infos = {vf: _as_reset(vf) for vf in range(vfs)}
    for message in told:
        if int.from_bytes(message.body[4:8], "little") != pf:
            continue
        for kind, payload in _vf_attributes(message.body):
            # The VLAN is in a list, so its VF stands behind the head of the list's entry.
            value = payload[4:] if kind == _VLAN_LIST else payload
            infos[int.from_bytes(value[:4], "little")][kind] = payload
    entries = [
        wire.nested(1, *(wire.attribute(kind, info[kind]) for kind in sorted(info)))
        for info in infos.values()
    ]
    return bytes(4) + pf.to_bytes(4, "little") + bytes(8) + wire.nested(22, *entries)


def _as_reset(vf: int) -> dict[int, bytes]:
    number = vf.to_bytes(4, "little")
    on, off = (1).to_bytes(4, "little"), bytes(4)
    return {
        1: number + bytes(32),  # MAC
        4: number + on,  # spoof checking
        5: number + off,  # link state: auto
        6: number + off + off,  # rates
        9: number + off,  # trust
    }


def _vf_attributes(body: bytes) -> list[tuple[int, bytes]]:
    found = dict(wire.attributes(body, 16)).get(22, b"")
    infos = (info for _, info in wire.attributes(found, 0))
    return [each for info in infos for each in wire.attributes(info, 0)]


@frozen
class Card:
    """A card: its sysfs under *root*, its interface *pf*, its PCI address."""

    root: str
    pf: str
    pci: str
    vfs: int

    @property
    def port(self) -> RecordingPort:
        """What stands for the card's driver."""
        return RecordingPort(f"{self.root}/{self.pf}.messages", self.vfs)

    @classmethod
    def build(
        cls,
        root: str,
        node: Netns,
        *,
        pf: str = "enp2s0",
        vfs: int = 2,
        kind: str = "veth",
        pci: str = "0000:03:00.0",
        driver: str = "iavf",
    ) -> Card:
        """Make a card in the namespace *node*: interface *pf*, VFs ``<pf>v0``, ``<pf>v1``, …

        Their links are macvlans on *pf*, or veths, whose other ends ``<pf>w0`` … play the wire.
        """
        card = cls(root, pf, pci, vfs)
        _sysfs(card, driver)
        node.ip("link", "add", pf, "type", "veth", "peer", "name", f"{pf}w")
        node.ip("link", "set", f"{pf}w", "up")
        node.ip("link", "set", pf, "up")
        for index in range(vfs):
            name = card.interface(index)
            if kind == "macvlan":
                node.ip("link", "add", "link", pf, "name", name, "type", "macvlan")
            else:
                wire = f"{pf}w{index}"
                node.ip("link", "add", name, "type", "veth", "peer", "name", wire)
                node.ip("link", "set", wire, "up")
        return card

    def interface(self, index: int) -> str:
        """The name of a VF's interface on the host."""
        return f"{self.pf}v{index}"

    def vf(self, index: int) -> str:
        """The PCI address of a VF."""
        return f"{self.pci[:8]}02.{index}" if index < 8 else f"{self.pci[:8]}03.{index - 8}"

    def path(self, index: int) -> str:
        """The folder of a VF in sysfs."""
        return f"{self.root}/bus/pci/devices/{self.vf(index)}"

    def sysfs(self, kind: type[_T]) -> _T:
        """A ``Sysfs`` of this tree, on which a write has the effect that it has on the kernel's."""
        card = self

        class StandIn(kind):  # type: ignore[valid-type,misc]
            def write(self, path: str, text: str) -> None:
                super().write(path, text)
                card.react(path, text)

        made: _T = StandIn(self.root)
        return made

    def react(self, path: str, text: str) -> None:
        """Do what the kernel does when *text* is written to *path* (below the root)."""
        folder, attribute = os.path.split(path)
        if attribute == "unbind":
            self._unbind(text)
        elif path == f"{_SUBSYSTEM}/drivers_probe":
            self._probe(text)
        elif attribute == "driver_override" and text == "\n":
            _write(f"{self.root}/{folder}/{attribute}", "(null)\n")

    def _unbind(self, pci: str) -> None:
        device = f"{self.root}/{_SUBSYSTEM}/devices/{pci}"
        os.unlink(f"{device}/driver")
        shutil.rmtree(f"{device}/net", ignore_errors=True)

    def _probe(self, pci: str) -> None:
        device = f"{self.root}/{_SUBSYSTEM}/devices/{pci}"
        with open(f"{device}/driver_override", encoding="ascii") as override:
            driver = override.read().strip()
        os.symlink(f"../../drivers/{driver}", f"{device}/driver")
        if driver not in ("vfio-pci", "uio_pci_generic", "igb_uio"):
            index = [self.vf(each) for each in range(self.vfs)].index(pci)
            os.makedirs(f"{device}/net/{self.interface(index)}")

    def install_plugin(self, site: str) -> str:
        """Put a plugin into the folder *site* that serves ``sriov`` with this card.

        A program finds it when *site* is on its ``PYTHONPATH``; it wants multus-invoker-sriov.
        Returns the name of its module.
        """
        name = f"multus_standin_{self.pf}"
        text = _PLUGIN.format(root=self.root, pf=self.pf, pci=self.pci, vfs=self.vfs)
        info = f"{site}/{name}-0.1.0.dist-info"
        os.makedirs(info, exist_ok=True)
        _write(f"{site}/{name}.py", text)
        _write(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.1.0\n")
        _write(f"{info}/entry_points.txt", f"[multus]\n{name.replace('_', '-')} = {name}\n")
        return name


def _sysfs(card: Card, driver: str) -> None:
    bus = f"{card.root}/{_SUBSYSTEM}"
    physical = f"{bus}/devices/{card.pci}"
    for folder in (f"{physical}/net/{card.pf}", f"{card.root}/class/net"):
        os.makedirs(folder)
    os.makedirs(f"{card.root}/class/net/{card.pf}")
    os.symlink(f"../../../bus/pci/devices/{card.pci}", f"{card.root}/class/net/{card.pf}/device")
    _write(f"{physical}/sriov_numvfs", f"{card.vfs}\n")
    _write(f"{bus}/drivers_probe", "")
    for each in (driver, "vfio-pci"):
        os.makedirs(f"{bus}/drivers/{each}", exist_ok=True)
        _write(f"{bus}/drivers/{each}/unbind", "")
    for index in range(card.vfs):
        virtual = card.path(index)
        os.makedirs(f"{virtual}/net/{card.interface(index)}")
        os.symlink(f"../{card.vf(index)}", f"{physical}/virtfn{index}")
        os.symlink(f"../{card.pci}", f"{virtual}/physfn")
        os.symlink(f"../../drivers/{driver}", f"{virtual}/driver")
        _write(f"{virtual}/driver_override", "(null)\n")


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="ascii") as file:
        file.write(text)
