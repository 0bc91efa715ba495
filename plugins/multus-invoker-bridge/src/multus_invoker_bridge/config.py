"""The keys of a bridge configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from multus.inprocess import reader_of, requested_mac, require_nameable
from multus.ipam import dns
from multus.netlink.bridges import Vlans

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.reader import Reader
    from multus.api.result import DNS

_VLANS = range(1, 4095)
_SIZES = range(68, 65536)


class Config(NamedTuple):
    """The keys for ADD.  ``mtu`` 0 and ``mac`` "" are the kernel's.

    ``filtering``: a new bridge looks at VLANs, also with a ``vlanTrunk`` that names none.  ``vlan``
    is the port's untagged VLAN (0: none), ``trunk`` the tagged ones.  ``keep_default``: the port
    stays in the bridge's default VLAN.  ``only_own_mac``: frames from other addresses than
    the container's are dropped.

    Source: the documentation of the reference plugin, "Network configuration reference".
    """

    bridge: str
    gateway: bool
    default_gateway: bool
    force_address: bool
    mtu: int
    hairpin: bool
    promiscuous: bool
    filtering: bool
    vlan: int
    trunk: tuple[Vlans, ...]
    keep_default: bool
    detect_duplicates: bool
    down: bool
    isolated: bool
    only_own_mac: bool
    mac: str
    dns: DNS

    @classmethod
    def read(cls, invocation: Invocation) -> Config:
        """Read the configuration; raises ``InvalidConfig`` with the key and the problem."""
        reader = reader_of(invocation)
        default_gateway = reader.boolean("isDefaultGateway")
        name = reader.text("bridge") or "cni0"
        require_nameable(reader, "bridge", name)
        vlan = reader.integer("vlan", within=range(4095))
        found = cls(
            bridge=name,
            gateway=default_gateway or reader.boolean("isGateway"),
            default_gateway=default_gateway,
            force_address=reader.boolean("forceAddress"),
            mtu=reader.integer("mtu"),
            hairpin=reader.boolean("hairpinMode"),
            promiscuous=reader.boolean("promiscMode"),
            filtering=bool(vlan) or reader.raw.get("vlanTrunk") is not None,
            vlan=vlan,
            trunk=_trunk(reader),
            keep_default=reader.boolean("preserveDefaultVlan"),
            detect_duplicates=reader.boolean("enabledad"),
            down=reader.boolean("disableContainerInterface"),
            isolated=reader.boolean("portIsolation"),
            only_own_mac=reader.boolean("macspoofchk"),
            mac=requested_mac(invocation),
            dns=dns.from_config(reader),
        )
        found._require_possible(reader)
        return found

    def _require_possible(self, reader: Reader) -> None:
        if self.mtu and self.mtu not in _SIZES:
            raise reader.error("mtu", f"is {self.mtu}", "use 68 to 65535 bytes, or remove the key")
        if self.hairpin and self.promiscuous:
            raise reader.error(
                "hairpinMode", "is set beside 'promiscMode'", "remove one of the two"
            )
        if self.down and reader.inner("ipam").text("type"):
            raise reader.error(
                "disableContainerInterface", "is set beside 'ipam'", "remove one of the two"
            )

    @property
    def tags(self) -> bool:
        """Whether the port is put into VLANs."""
        return bool(self.vlan or self.trunk)


def _trunk(reader: Reader) -> tuple[Vlans, ...]:
    """The ranges of ``vlanTrunk``: ``{minID, maxID}`` or ``{id}`` or both in one entry."""
    found: set[tuple[int, int]] = set()
    for each in reader.inners("vlanTrunk"):
        first, last = (each.integer(key, within=_VLANS, default=1) for key in ("minID", "maxID"))
        given = [key for key in ("minID", "maxID") if each.raw.get(key) is not None]
        if len(given) == 1:
            raise each.error(given[0], "is alone", "name both 'minID' and 'maxID'")
        if given and first > last:
            raise each.error("minID", f"is {first}, more than 'maxID' {last}", "swap them")
        if given:
            found.add((first, last))
        if each.raw.get("id") is not None:
            number = each.integer("id", within=_VLANS)
            found.add((number, number))
    return _joined(found)


def _joined(ranges: set[tuple[int, int]]) -> tuple[Vlans, ...]:
    """The same VLANs in as few ranges as possible, sorted."""
    found: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if found and first <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(last, found[-1][1]))
        else:
            found.append((first, last))
    return tuple(Vlans(first, last if last > first else 0) for first, last in found)
