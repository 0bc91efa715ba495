"""What one interface of a pod is attached to, from the facts; reads nothing itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.picture.model import Interface, Kind

if TYPE_CHECKING:
    from multus.api.result import Result
    from multus.netlink.links import Link
    from multus.picture.there import Card, There
    from multus.state.record import Record

#: Why a pod has nothing that could be looked at.
GONE = "its network namespace is gone"
#: Kinds of links that depend on no other.
_ALONE = ("dummy", "ifb", "tun", "wireguard")


@frozen
class Attached:
    """An interface, and the parent that its ``parent`` names.

    ``link`` is the parent's link on the node, None without one; ``end`` the host's end.
    ``configs`` are the configurations of the interface's plugins, with their ranges.
    """

    interface: Interface
    kind: Kind
    link: Link | None
    end: Link | None
    configs: tuple[Mapping[str, Any], ...]


def device_of(record: Record, index: int) -> str:
    """The device of an attachment, as it was recorded; "" for none."""
    delegate, result = record.planned[index].delegate, _result(record, index)
    reported = [each.pci_id for each in result.interfaces if each.pci_id] if result else []
    asked = [step.config.get("deviceID") for step in record.planned[index].steps]
    named = [delegate.device, *reported, *asked]
    return next((each for each in named if isinstance(each, str) and each), "")


def attached(
    record: Record, index: int, inside: There | None, host: There, card: Card | None
) -> Attached:
    """The attachment with this index; *inside* is None when its namespace cannot be read."""
    planned, done = record.planned[index], record.done.get(index)
    ifname = planned.delegate.ifname
    link = inside.named(ifname) if inside else None
    kind, parent, end = Kind.UNKNOWN, None, None
    if inside is not None and link is not None:
        kind, parent, end = _parent(inside, link, host, card)
    result = _result(record, index)
    there = inside.addresses.get(link.index, ()) if inside and link else ()
    recorded = tuple(each.address for each in result.ips) if result and not link else ()
    interface = Interface(
        name=ifname,
        network=planned.delegate.label or planned.delegate.name,
        parent=_key(kind, parent),
        types=tuple(plugin.type for plugin in planned.delegate.plugins),
        state=_state(record, index),
        invokers=tuple(done.invokers) if done else (),
        kind=link.kind if link else "",
        up=link.up if link else False,
        mac=link.mac if link else "",
        mtu=link.mtu if link else 0,
        addresses=there or recorded,
        gateways=tuple(dict.fromkeys(ip.gateway for ip in result.ips if ip.gateway))
        if result
        else (),
        end=end.name if end else f"VF {card.number}" if card else "",
        device=device_of(record, index),
        problem="" if link or inside is None else f"there is no interface {ifname!r} in the pod",
    )
    configs = tuple(step.config for step in planned.steps)
    return Attached(interface, kind, parent, end, configs)


def _result(record: Record, index: int) -> Result | None:
    done = record.done.get(index)
    return done.result if done else None


def _state(record: Record, index: int) -> str:
    if index in record.changing:
        return "changing"
    return "attached" if index in record.standing() else "begun"


def _parent(
    inside: There, link: Link, host: There, card: Card | None
) -> tuple[Kind, Link | None, Link | None]:
    """What *link* of a pod is attached to: its kind, the parent's link, and the host's end."""
    if card is not None:
        return Kind.PHYSICAL, host.named(card.physical), None
    on_host = link.peer_namespace is not None and link.peer_namespace == inside.host
    other = host.links.get(link.peer) if on_host else None
    if link.kind == "veth":
        if other is None:
            return Kind.UNKNOWN, None, None
        bridge = host.links.get(other.master)
        return (Kind.BRIDGE if bridge else Kind.ROUTED), bridge, other
    if other is not None:
        return Kind.MASTER, other, None
    if link.peer or on_host:
        return Kind.UNKNOWN, None, None
    alone = link.loopback or link.kind in _ALONE
    return (Kind.ALONE if alone else Kind.MOVED), None, None


def _key(kind: Kind, parent: Link | None) -> str:
    return f"link {parent.name}" if parent else kind.value
