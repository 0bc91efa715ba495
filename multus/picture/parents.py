"""What interfaces are attached to, with the networks and ranges that lead there; from the facts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from multus.api.errors import CNIError, IOFailure
from multus.picture.model import Kind, Network, Parent, Range

if TYPE_CHECKING:
    from multus.netlink.links import Link
    from multus.picture.attaching import Attached
    from multus.picture.there import There

#: Links below a parent that are named: a VLAN on a bond on cards is three.
_DEEPEST = 4
_ORDER = list(Kind)


def of(host: There, attached: Sequence[Attached], notes: list[str]) -> tuple[Parent, ...]:
    """Each parent once: links by kind and name, then what is no link."""
    several: dict[str, list[Attached]] = {}
    for each in attached:
        several.setdefault(each.interface.parent, []).append(each)
    ends = {each.end.index for each in attached if each.end}
    found = [_parent(key, each, host, ends, notes) for key, each in several.items()]
    return tuple(sorted(found, key=lambda each: (_ORDER.index(each.kind), each.name)))


def _parent(
    key: str, attached: Sequence[Attached], host: There, ends: set[int], notes: list[str]
) -> Parent:
    kind, link = attached[0].kind, attached[0].link
    networks = tuple(_networks(attached, notes))
    if link is None:
        return Parent(key, kind.value, kind, networks=networks)
    return Parent(
        key,
        link.name,
        kind,
        up=link.up,
        mtu=link.mtu,
        mac=link.mac,
        addresses=host.addresses.get(link.index, ()),
        on=tuple(_below(link, host)),
        uplinks=tuple(
            each.name
            for each in host.links.values()
            if each.master == link.index and each.index not in ends
        )
        if kind is Kind.BRIDGE
        else (),
        networks=networks,
    )


def _below(link: Link, host: There) -> Iterator[str]:
    """The links below *link*: a VLAN's parent, the bond or bridge that a card is a port of."""
    for _ in range(_DEEPEST):
        below = link.peer if link.peer_namespace is None and link.kind != "veth" else 0
        found = host.links.get(below or link.master)
        if found is None or found.index == link.index:
            return
        yield found.name
        link = found


def _networks(attached: Sequence[Attached], notes: list[str]) -> Iterator[Network]:
    """The networks of one parent, by name."""
    several: dict[str, list[Attached]] = {}
    for each in attached:
        several.setdefault(each.interface.network, []).append(each)
    for name in sorted(several):
        found = several[name]
        gateways = (gateway for each in found for gateway in each.interface.gateways)
        yield Network(
            name,
            found[0].interface.types,
            len(found),
            tuple(dict.fromkeys(gateways)),
            _ranges(found, notes),
        )


def _ranges(attached: Sequence[Attached], notes: list[str]) -> tuple[Range, ...]:
    from multus.ipam import usage

    found: dict[tuple[str, str], Range] = {}
    # Pods of one network have equal ranges: their store is read once.
    asked: list[tuple[object, object]] = []
    for config in (config for each in attached for config in each.configs):
        given = config.get("name"), config.get("ipam")
        if given in asked:
            continue
        asked.append(given)
        try:
            for each in usage.of(config):
                found.setdefault(
                    (each.directory, each.spans), Range(each.spans, each.used, each.size)
                )
        except IOFailure as error:
            notes.append(f"a range cannot be read: {error}")
        except CNIError:
            continue  # 'multus validate' reports wrong ranges
    return tuple(found.values())
