"""Messages about traffic control: limit what leaves an interface, and redirect what enters it.

The kernel limits only what an interface sends.  What it receives is redirected to an ``ifb``
interface (`multus.netlink.create.plain`) and limited there::

    channel.request([
        queues.limit(veth, rate, burst),
        queues.receive(veth),
        queues.redirect(veth, ifb),
        queues.limit(ifb, rate, burst),
    ])

Source: linux/pkt_sched.h, linux/pkt_cls.h, linux/tc_act/tc_mirred.h; tc-tbf(8), tc-u32(8),
tc-mirred(8); net/sched/sch_tbf.c.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

from multus.netlink import wire
from multus.netlink._channel import Channel
from multus.netlink.wire import Message

_RTM_NEWQDISC, _RTM_GETQDISC, _RTM_NEWTFILTER = 36, 38, 44
_NLM_F_ECHO = 0x08
_TCA_KIND, _TCA_OPTIONS = 1, 2
_TBF_PARMS, _TBF_RATE64 = 1, 4
_U32_CLASSID, _U32_SEL, _U32_ACT = 1, 5, 7
_MIRRED_PARMS = 2

_ROOT, _INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
_FIRST, _INGRESS_HANDLE, _FIRST_CLASS = 0x10000, 0xFFFF0000, 0x10001
_ETH_P_ALL = 0x0300  # in network order
_U32_TERMINAL, _STOLEN, _EGRESS_REDIRECT = 1, 4, 1

_TCMSG = struct.Struct("=BxxxiIII")
# tc_tbf_qopt: two tc_ratespec (the second, of the peak, is empty), then limit, buffer, mtu.
_TBF = struct.Struct("=8xI12xIII")
# tc_u32_sel with one key, which every packet matches.
_SELECTOR = struct.Struct("=BxBx12x16x")
# tc_mirred: index, capabilities, action, two counters, then what is done, and the interface.
_MIRRED = struct.Struct("=8xi8xiI")

_LARGEST_RATE = 0xFFFFFFFF


class Limit(NamedTuple):
    """A token bucket: ``rate`` in bytes a second, ``limit`` (what may wait) in bytes.

    ``buffer`` is the bucket's size, as the time that sending it takes, in ticks of 64 ns.
    """

    rate: int
    limit: int
    buffer: int


def limit(index: int, bucket: Limit) -> Message:
    """Limit what the interface with this index sends."""
    rate, most, buffer = bucket
    form = (min(rate, _LARGEST_RATE), most, buffer, 0)
    parameters = [wire.attribute(_TBF_PARMS, wire.packed(_TBF, "the limit of a rate", *form))]
    if rate > _LARGEST_RATE:
        parameters.append(wire.attribute(_TBF_RATE64, struct.pack("=Q", rate)))
    body = _TCMSG.pack(0, index, _FIRST, _ROOT, 0) + _of_kind("tbf", *parameters)
    words = f"limit interface {index} to {rate} bytes a second"
    return Message(_RTM_NEWQDISC, wire.NLM_F_CREATE | wire.NLM_F_EXCL, body, words)


def receive(index: int) -> Message:
    """Let filters see what the interface receives; `redirect` adds one."""
    body = _TCMSG.pack(0, index, _INGRESS_HANDLE, _INGRESS, 0) + _of_kind("ingress")
    words = f"add the ingress queue of interface {index}"
    return Message(_RTM_NEWQDISC, wire.NLM_F_CREATE | wire.NLM_F_EXCL, body, words)


def redirect(index: int, to: int) -> Message:
    """Redirect everything that the interface receives to the interface *to*."""
    what = _MIRRED.pack(_STOLEN, _EGRESS_REDIRECT, to)
    action = _of_kind("mirred", wire.attribute(_MIRRED_PARMS, what))
    body = _TCMSG.pack(0, index, 0, _INGRESS_HANDLE, 1 << 16 | _ETH_P_ALL) + _of_kind(
        "u32",
        wire.attribute(_U32_SEL, _SELECTOR.pack(_U32_TERMINAL, 1)),
        wire.u32(_U32_CLASSID, _FIRST_CLASS),
        wire.nested(_U32_ACT, wire.nested(1, action)),
    )
    words = f"redirect what interface {index} receives to interface {to}"
    return Message(_RTM_NEWTFILTER, wire.NLM_F_CREATE | wire.NLM_F_EXCL, body, words)


def limit_of(channel: Channel, index: int) -> Limit | None:
    """The limit of what the interface sends; None without one.

    Raises `Refused` when there is no such interface.
    """
    body = _TCMSG.pack(0, index, 0, _ROOT, 0)
    words = f"look up the limit of interface {index}"
    reply = channel.request([Message(_RTM_GETQDISC, _NLM_F_ECHO, body, words, replies=True)])[0]
    found = dict(wire.attributes(reply or b"", _TCMSG.size))
    if wire.read_string(found.get(_TCA_KIND, b"")) != "tbf":
        return None
    options = dict(wire.attributes(found.get(_TCA_OPTIONS, b""), 0))
    rate, most, buffer, _mtu = _TBF.unpack_from(options[_TBF_PARMS])
    if _TBF_RATE64 in options:
        rate = struct.unpack_from("=Q", options[_TBF_RATE64])[0]
    return Limit(rate, most, buffer)


def _of_kind(kind: str, *options: bytes) -> bytes:
    """Traffic control's objects and its actions have the same two attributes."""
    return wire.string(_TCA_KIND, kind) + (wire.nested(_TCA_OPTIONS, *options) if options else b"")
