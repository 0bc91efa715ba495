"""The keys of macvlan, ipvlan, vlan and dummy configurations."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from multus.inprocess import reader_of, requested_mac
from multus.ipam import dns
from multus.netlink import create, links

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.reader import Reader
    from multus.api.result import DNS
    from multus.inprocess import Ends

_MODES = {"macvlan": tuple(create.MACVLAN_MODES), "ipvlan": tuple(create.IPVLAN_MODES)}


class Config(NamedTuple):
    """The keys for ADD.  ``mtu`` 0, ``mac`` "" and ``mode`` "" are the kernel's or the type's.

    ``in_container``: the parent is an interface of the container.  ``tag`` is a VLAN's number.

    Source: the documentation of the reference plugins, "Network configuration reference".
    """

    reader: Reader
    kind: str
    mode: str
    mtu: int
    mac: str
    tag: int
    in_container: bool
    dns: DNS

    @classmethod
    def read(cls, invocation: Invocation) -> Config:
        """Read the configuration; raises ``InvalidConfig`` with the key and the problem."""
        reader, kind = reader_of(invocation), invocation.plugin.type
        mode = mode_of(invocation)
        if mode and mode not in _MODES[kind]:
            raise reader.error("mode", f"is {mode!r}", f"use one of {', '.join(_MODES[kind])}")
        return cls(
            reader,
            kind,
            mode,
            mtu=reader.integer("mtu"),
            mac=_mac(invocation, reader) if kind == "macvlan" else "",
            tag=reader.integer("vlanId", within=range(4095)),
            in_container=reader.boolean("linkInContainer"),
            dns=dns.from_config(reader),
        )

    def parent(self, ends: Ends) -> int:
        """The index of the parent; 0 for a dummy, which has none.

        Raises ``InvalidConfig`` when there is none, or its MTU is smaller than the one asked for.
        """
        if self.kind == "dummy":
            return 0
        if self.kind == "vlan" and not self.reader.text("master"):
            raise self.reader.error("master", "is missing", "name the interface of the VLAN")
        link = ends.parent(self.reader, inside=self.in_container)
        if not 0 <= self.mtu <= link.mtu and self.kind != "ipvlan":
            raise self.reader.error(
                "mtu",
                f"is {self.mtu}, and {link.name} has {link.mtu}",
                f"use 0 to {link.mtu}, or remove the key",
            )
        return link.index


def mode_of(invocation: Invocation) -> str:
    """The mode of a macvlan or ipvlan; "" when it is not set."""
    return reader_of(invocation).text("mode") if invocation.plugin.type in _MODES else ""


def _mac(invocation: Invocation, reader: Reader) -> str:
    return requested_mac(invocation, by_args=False) or links.canonical_mac(reader.text("mac"))
