"""Convert pyroute2's messages to values."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from multus.netlink._socket import socket
from multus.netlink.addresses import Address
from multus.netlink.links import Link
from multus.netlink.routes import Route

_IFF_UP, _IFF_LOOPBACK = 0x1, 0x8
_IFF_PROMISC, _IFF_ALLMULTI, _IFF_LOWER_UP = 0x100, 0x200, 0x10000
_TENTATIVE, _DUPLICATE = 0x40, 0x08

_NF_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}

#: Fields that differ between equal entries: handles, use counts, packet counters.
_PASSING = frozenset(["HANDLE", "POSITION", "USE", "BYTES", "PACKETS"])


@frozen
class PolicyRule:
    """A policy rule: *family* 4 or 6, its routing table, and its match as text."""

    family: int
    priority: int
    table: int
    text: str


@frozen
class FirewallEntry:
    """A table, chain, set or rule (*kind*) of nftables, or of iptables.

    ``family`` is "inet", "ip", "ip6", "arp", "bridge" or "netdev".  ``chain`` is empty for tables
    and sets, ``name`` for rules.  ``text`` is its content, equal for equal content; ``comment`` is
    its comment.
    """

    kind: str
    family: str
    table: str
    chain: str
    name: str
    comment: str
    text: str


def link(message: Any) -> Link:
    """A `Link` of an ``ifinfmsg``."""
    names = message.get("prop_list")
    return Link(
        index=message["index"],
        name=message.get("ifname") or "",
        mac=message.get("address") or "",
        mtu=message.get("mtu") or 0,
        txqlen=message.get("txqlen") or 0,
        up=bool(message["flags"] & _IFF_UP),
        carrier=bool(message["flags"] & _IFF_LOWER_UP),
        state=(message.get("operstate") or "unknown").lower(),
        kind=message.get(("linkinfo", "kind")) or "",
        group=message.get("group") or 0,
        master=message.get("master") or 0,
        peer=message.get("link") or 0,
        peer_namespace=message.get("link_netnsid"),
        alternative_names=tuple(names.get_attrs("IFLA_ALT_IFNAME")) if names else (),
        promiscuous=bool(message["flags"] & _IFF_PROMISC),
        allmulti=bool(message["flags"] & _IFF_ALLMULTI),
        loopback=bool(message["flags"] & _IFF_LOOPBACK),
        alias=message.get("ifalias") or "",
    )


def address(message: Any) -> Address:
    """An `Address` of an ``ifaddrmsg``."""
    flags = message.get("IFA_FLAGS") or message["flags"]
    text = message.get("IFA_LOCAL") or message.get("IFA_ADDRESS")
    return Address(
        index=message["index"],
        address=f"{text}/{message['prefixlen']}",
        family=message["family"],
        scope=message["scope"],
        broadcast=message.get("IFA_BROADCAST") or "",
        label=message.get("IFA_LABEL") or "",
        tentative=bool(flags & _TENTATIVE),
        duplicate=bool(flags & _DUPLICATE),
    )


def routes_of(message: Any) -> list[Route]:
    """A `Route` for each next hop of an ``rtmsg``."""
    zero = "::" if message["family"] == socket.AF_INET6 else "0.0.0.0"
    metrics = message.get("RTA_METRICS")
    hops = [(message.get("RTA_OIF") or 0, message.get("RTA_GATEWAY") or "")]
    several = message.get("RTA_MULTIPATH")
    if several:
        hops = [(each["oif"], each.get("RTA_GATEWAY") or "") for each in several]
    return [
        Route(
            destination=f"{message.get('RTA_DST') or zero}/{message['dst_len']}",
            gateway=gateway,
            index=index,
            source=message.get("RTA_PREFSRC") or "",
            scope=message["scope"],
            table=message.get("RTA_TABLE") or message["table"],
            priority=message.get("RTA_PRIORITY") or 0,
            protocol=message["proto"],
            kind=message["type"],
            mtu=metrics.get("RTAX_MTU") or 0 if metrics else 0,
            advmss=metrics.get("RTAX_ADVMSS") or 0 if metrics else 0,
        )
        for index, gateway in hops
    ]


def rule(message: Any) -> PolicyRule:
    """A `PolicyRule` of an ``fibmsg``."""
    told = dict(message["attrs"])
    fields = {key: message[key] for key in ("action", "src_len", "dst_len", "tos", "flags")}
    return PolicyRule(
        family=6 if message["family"] == socket.AF_INET6 else 4,
        priority=told.get("FRA_PRIORITY", 0),
        table=told.get("FRA_TABLE", message["table"]),
        text=_text({**fields, **told}),
    )


def firewall_entry(kind: str, message: Any) -> FirewallEntry:
    """A `FirewallEntry` of an nf_tables message."""
    prefix = f"NFTA_{kind.upper()}_"
    told = {key.removeprefix(prefix): value for key, value in message["attrs"]}
    chain = told.get("CHAIN", "") if kind == "rule" else ""
    return FirewallEntry(
        kind=kind,
        family=_NF_FAMILIES.get(message["nfgen_family"], str(message["nfgen_family"])),
        table=told.get("NAME" if kind == "table" else "TABLE", ""),
        chain=chain,
        name=told.get("NAME", ""),
        comment=_comment(told.get("USERDATA")) or _iptables_comment(told.get("EXPRESSIONS") or ()),
        text=_text({key: value for key, value in told.items() if key != "USERDATA"}),
    )


def _comment(userdata: Any) -> str:
    if not isinstance(userdata, list):
        return str(userdata or "")
    comments = [value for kind, value in userdata if kind.endswith("COMMENT")]
    return " ".join(
        each.decode(errors="replace") if isinstance(each, bytes) else str(each) for each in comments
    )


def _iptables_comment(expressions: Any) -> str:
    """The comment of ``iptables -m comment``, which is stored as the bytes of a match."""
    for expression in expressions:
        parts = dict(expression["attrs"])
        match = dict(parts["NFTA_EXPR_DATA"]["attrs"]) if "NFTA_EXPR_DATA" in parts else {}
        if match.get("NFTA_MATCH_NAME") == "comment":
            raw = bytes.fromhex(str(match["NFTA_MATCH_INFO"]).replace(":", ""))
            return raw.split(b"\0", 1)[0].decode(errors="replace")
    return ""


def _text(value: Any) -> str:
    """A value as text, equal for equal values, without counters."""
    if isinstance(value, Mapping):
        if "attrs" in value:
            return f"({' '.join(_pair(*each[:2]) for each in value['attrs'])})"
        return " ".join(_pair(key, each) for key, each in value.items())
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, frozenset | set):
        return "|".join(sorted(map(str, value)))
    if isinstance(value, list | tuple):
        return f"[{' '.join(map(_text, value))}]"
    return str(value)


def _pair(key: str, value: Any) -> str:
    name = key.rpartition("_")[2]
    return f"{key}={'-' if name in _PASSING else _text(value)}"
