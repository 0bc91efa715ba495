"""The keys of a bridge configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from multus.inprocess import reader_of, requested_mac
from multus.ipam import dns
from multus.netlink.bridges import Vlans

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.reader import Reader
    from multus.api.result import DNS

_VLANS = range(1, 4095)


class Config(NamedTuple):
    """The keys for ADD.  ``mtu`` 0 and ``mac`` "" are the kernel's.

    ``vlan`` is the port's untagged VLAN (0: none), ``trunk`` the tagged ones.  ``keep_default``:
    the port stays in the bridge's default VLAN.  ``only_own_mac``: frames from other addresses than
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
        found = cls(
            bridge=reader.text("bridge") or "cni0",
            gateway=default_gateway or reader.boolean("isGateway"),
            default_gateway=default_gateway,
            force_address=reader.boolean("forceAddress"),
            mtu=reader.integer("mtu", within=range(65536)),
            hairpin=reader.boolean("hairpinMode"),
            promiscuous=reader.boolean("promiscMode"),
            vlan=reader.integer("vlan", within=range(4095)),
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
        if self.hairpin and self.promiscuous:
            raise reader.error(
                "hairpinMode", "is set beside 'promiscMode'", "remove one of the two"
            )
        if self.down and reader.inner("ipam").text("type"):
            raise reader.error(
                "disableContainerInterface", "is set beside 'ipam'", "remove one of the two"
            )

    @property
    def filtering(self) -> bool:
        """Whether a new bridge looks at VLANs."""
        return bool(self.vlan or self.trunk)


def _trunk(reader: Reader) -> tuple[Vlans, ...]:
    """The ranges of ``vlanTrunk``: ``{minID, maxID}`` or ``{id}`` or both in one entry."""
    numbers: set[int] = set()
    for each in reader.inners("vlanTrunk"):
        first, last = (each.integer(key, within=_VLANS, default=1) for key in ("minID", "maxID"))
        given = [key for key in ("minID", "maxID") if each.raw.get(key) is not None]
        if len(given) == 1:
            raise each.error(given[0], "is alone", "name both 'minID' and 'maxID'")
        if given and first > last:
            raise each.error("minID", f"is {first}, more than 'maxID' {last}", "swap them")
        if given:
            numbers.update(range(first, last + 1))
        if each.raw.get("id") is not None:
            numbers.add(each.integer("id", within=_VLANS))
    return _ranges(numbers)


def _ranges(numbers: set[int]) -> tuple[Vlans, ...]:
    found: list[Vlans] = []
    for number in sorted(numbers):
        before = found[-1] if found else None
        if before is not None and (before.last or before.first) == number - 1:
            found[-1] = Vlans(before.first, number)
        else:
            found.append(Vlans(number))
    return tuple(found)
