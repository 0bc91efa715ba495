"""A VF's attributes on its card: reading them, and messages that change them.

The card's driver applies them to all traffic of the VF, in any namespace.

Source: linux/if_link.h, ``IFLA_VFINFO_LIST``; net/core/rtnetlink.c (``do_setvfinfo``).
"""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Sequence
from typing import Protocol

from attrs import evolve, frozen

from multus.api.errors import KernelRefused
from multus.netlink import Message, Namespace, Refused, wire
from multus.netlink.links import decode_mac, encode_mac

RTM_GETLINK, RTM_SETLINK = 18, 19
_IFLA_VFINFO_LIST, _IFLA_EXT_MASK = 22, 29
_IFLA_VF_INFO = 1
_MAC, _VLAN, _SPOOFCHK, _LINK_STATE, _RATE, _TRUST, _VLAN_LIST = 1, 2, 4, 5, 6, 9, 12
_VLAN_INFO = 1
_RTEXT_FILTER_VF, _RTEXT_FILTER_SKIP_STATS = 1, 8

_IFINFOMSG = struct.Struct("=BxHiII")
_PAIR = struct.Struct("=II")
_TRIPLE = struct.Struct("=III")
_MAC_STRUCT = struct.Struct("=I32s")
_VLAN_STRUCT = struct.Struct("=III2s2x")

#: A driver reports this for an unsupported switch.
_UNKNOWN = 0xFFFFFFFF

_ATTEMPTS, _PAUSE = 20, 0.1


@frozen
class VfState:
    """A VF's attributes; a switch that the driver does not report is None.

    ``proto`` is the VLAN's Ethertype, ``link_state`` 0 auto, 1 enable, 2 disable, rates in Mbit/s.
    """

    mac: str = "00:00:00:00:00:00"
    vlan: int = 0
    qos: int = 0
    proto: int = 0x8100
    spoofchk: bool | None = None
    trust: bool | None = None
    link_state: int = 0
    min_rate: int = 0
    max_rate: int = 0


class VfPort(Protocol):
    """Access to a card's driver; tests use an implementation that records."""

    def ask(self, pf: int) -> bytes:
        """The kernel's description of the interface with index *pf*, as ``get`` asks for it."""

    def apply(self, messages: Sequence[Message]) -> None:
        """Send all messages; raises ``KernelRefused`` for the first refused one."""


class KernelPort:
    """The kernel, in the calling thread's namespace."""

    def ask(self, pf: int) -> bytes:
        with Namespace.current() as host, host.channel() as channel:
            return channel.request([get(pf)])[0] or b""

    def apply(self, messages: Sequence[Message]) -> None:
        left = list(messages)
        with Namespace.current() as host, host.channel() as channel:
            for attempt in range(_ATTEMPTS):
                try:
                    channel.request(left)
                    return
                except Refused as error:
                    # Some drivers reset a VF when its MAC changes, and refuse changes meanwhile.
                    busy = all(each.errno in (errno.EBUSY, errno.EAGAIN) for each in error.refusals)
                    if not busy or attempt == _ATTEMPTS - 1:
                        raise
                    left = [each.message for each in error.refusals]
                time.sleep(_PAUSE)


def get(pf: int) -> Message:
    """Ask for an interface with its VFs; ``read`` takes one out of the reply."""
    mask = _RTEXT_FILTER_VF | _RTEXT_FILTER_SKIP_STATS
    body = _IFINFOMSG.pack(0, 0, pf, 0, 0) + wire.u32(_IFLA_EXT_MASK, mask)
    return Message(RTM_GETLINK, 0, body, f"look up the virtual functions of interface {pf}")


def read(body: bytes, vf: int) -> VfState | None:
    """VF *vf* in the reply to ``get``."""
    found = dict(wire.attributes(body, _IFINFOMSG.size))
    for _kind, info in wire.attributes(found.get(_IFLA_VFINFO_LIST, b""), 0):
        values = dict(wire.attributes(info, 0))
        if _MAC in values and wire.read_u32(values[_MAC]) == vf:
            return _state(values)
    return None


def _state(values: dict[int, bytes]) -> VfState:
    vlan, qos, proto = 0, 0, 0x8100
    listed = dict(wire.attributes(values.get(_VLAN_LIST, b""), 0)).get(_VLAN_INFO)
    if listed is not None and len(listed) >= 14:
        _, vlan, qos = _TRIPLE.unpack_from(listed)
        proto = int.from_bytes(listed[12:14], "big")
    elif _VLAN in values:
        _, vlan, qos = _TRIPLE.unpack_from(values[_VLAN])
    low, high = _TRIPLE.unpack_from(values[_RATE])[1:] if _RATE in values else (0, 0)
    return VfState(
        mac=decode_mac(values[_MAC][4:10]),
        vlan=vlan,
        qos=qos,
        proto=proto,
        spoofchk=_switch(values.get(_SPOOFCHK)),
        trust=_switch(values.get(_TRUST)),
        link_state=_PAIR.unpack_from(values[_LINK_STATE])[1] if _LINK_STATE in values else 0,
        min_rate=low,
        max_rate=high,
    )


def _switch(payload: bytes | None) -> bool | None:
    setting = _UNKNOWN if payload is None else _PAIR.unpack_from(payload)[1]
    return None if setting == _UNKNOWN else bool(setting)


# --- Messages: pf is the card's interface index, vf the number on the card ------------------------


def set_vlan(pf: int, vf: int, vlan: int, qos: int, proto: int) -> Message:
    """Tag the VF's frames with a VLAN; 0 for none."""
    info = wire.packed(_VLAN_STRUCT, "a VLAN", vf, vlan, qos, proto.to_bytes(2, "big"))
    words = f"set VLAN {vlan}, priority {qos}, protocol {proto:#06x}"
    return _set(pf, vf, words, wire.nested(_VLAN_LIST, wire.attribute(_VLAN_INFO, info)))


def set_mac(pf: int, vf: int, mac: str) -> Message:
    """Set the VF's administrative MAC; with all zero the VF's driver chooses."""
    value = wire.packed(_MAC_STRUCT, "a MAC", vf, encode_mac(mac))
    return _set(pf, vf, f"set MAC {mac}", wire.attribute(_MAC, value))


def set_rate(pf: int, vf: int, low: int, high: int) -> Message:
    """Set the least and the highest rate in Mbit/s; 0 for no limit."""
    words = f"set rate {low} to {high} Mbit/s"
    return _set(pf, vf, words, wire.attribute(_RATE, wire.packed(_TRIPLE, "a rate", vf, low, high)))


def set_spoofchk(pf: int, vf: int, on: bool) -> Message:
    """Set whether the card drops frames that the VF sends from another MAC."""
    words = f"set spoof checking {'on' if on else 'off'}"
    return _set(pf, vf, words, wire.attribute(_SPOOFCHK, wire.packed(_PAIR, "a switch", vf, on)))


def set_trust(pf: int, vf: int, on: bool) -> Message:
    """Set whether the VF's user may change administrative settings."""
    words = f"set trust {'on' if on else 'off'}"
    return _set(pf, vf, words, wire.attribute(_TRUST, wire.packed(_PAIR, "a switch", vf, on)))


def set_link_state(pf: int, vf: int, state: int) -> Message:
    """Set the link state that the VF sees: 0 the card's, 1 always up, 2 always down."""
    words = f"set link state {('auto', 'enable', 'disable')[state]}"
    value = wire.packed(_PAIR, "a link state", vf, state)
    return _set(pf, vf, words, wire.attribute(_LINK_STATE, value))


def _set(pf: int, vf: int, words: str, attribute: bytes) -> Message:
    body = _IFINFOMSG.pack(0, 0, pf, 0, 0) + wire.nested(
        _IFLA_VFINFO_LIST, wire.nested(_IFLA_VF_INFO, attribute)
    )
    return Message(RTM_SETLINK, 0, body, f"{words} on VF {vf} of interface {pf}")


def require(port: VfPort, pf: int, vf: int) -> VfState:
    """The VF's attributes; raises ``KernelRefused`` when the card's driver lists no such VF."""
    state = read(port.ask(pf), vf)
    if state is None:
        raise KernelRefused(
            f"interface {pf} lists no virtual function {vf}: its driver may not support SR-IOV"
        )
    return state


# --- All of a state's messages -------------------------------------------------------------------

#: The names of the attributes, as keys of ``messages``.
ATTRIBUTES = ("vlan", "mac", "rate", "spoofchk", "trust", "link_state")


def messages(state: VfState, pf: int, vf: int) -> dict[str, Message]:
    """By attribute: the message that sets it to *state*'s value; none for an unknown value."""
    made = {
        "vlan": set_vlan(pf, vf, state.vlan, state.qos, state.proto),
        "mac": set_mac(pf, vf, state.mac),
        "rate": set_rate(pf, vf, state.min_rate, state.max_rate),
        "link_state": set_link_state(pf, vf, state.link_state),
    }
    if state.spoofchk is not None:
        made["spoofchk"] = set_spoofchk(pf, vf, state.spoofchk)
    if state.trust is not None:
        made["trust"] = set_trust(pf, vf, state.trust)
    return {name: made[name] for name in ATTRIBUTES if name in made}


def restoring(
    before: VfState, now: VfState, changed: frozenset[str], pf: int, vf: int
) -> list[Message]:
    """The messages that turn *now* into *before*: for *changed* attributes and other differences.

    Equal attributes are not set, because some drivers cannot set all of them.  A switch that was
    set, but that the driver does not report, is set to off, its value after a card's reset.
    """
    if before.spoofchk is None and "spoofchk" in changed:
        before = evolve(before, spoofchk=False)
    if before.trust is None and "trust" in changed:
        before = evolve(before, trust=False)
    is_now = messages(now, pf, vf)
    return [
        message
        for name, message in messages(before, pf, vf).items()
        if name in changed or message != is_now.get(name, message)
    ]
