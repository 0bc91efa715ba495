"""The keys of a bandwidth configuration, and the limits that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from multus.inprocess import reader_of
from multus.netlink.queues import Limit

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.reader import Reader

#: Bits: a bucket has at most 2^32 - 1 bytes.
_BURSTS = range(8 * (2**32 - 1))
_RATES = range(2**64)
_UNSIGNED = 2**32 - 1
#: How long a packet may wait, and a second, in microseconds.
_LATENCY, _SECOND = 25_000.0, 1_000_000.0
#: The kernel counts time in units of 64 ns.
_TICKS_A_MICROSECOND = 1000 / 64

_KEYS = ("ingressRate", "ingressBurst", "egressRate", "egressBurst")


class Config(NamedTuple):
    """The limits of what goes into and out of the container; None: no limit.

    Source: the documentation of the reference plugin; CNI's CONVENTIONS.md, "bandwidth".
    """

    ingress: Limit | None
    egress: Limit | None

    @classmethod
    def read(cls, invocation: Invocation) -> Config:
        """Read the configuration; raises ``InvalidConfig`` with the key and the problem.

        The configuration's own keys, if it has any of them, precede ``runtimeConfig.bandwidth``.
        """
        reader = reader_of(invocation)
        if not any(key in reader.raw for key in _KEYS):
            reader = reader.inner("runtimeConfig").inner("bandwidth")
        return cls(_limit(reader, *_KEYS[:2]), _limit(reader, *_KEYS[2:]))


def _limit(reader: Reader, rate_key: str, burst_key: str) -> Limit | None:
    rate = reader.integer(rate_key, within=_RATES)
    burst = reader.integer(burst_key, within=_BURSTS)
    if not rate and not burst:
        return None
    if not burst:
        raise reader.error(burst_key, f"is missing, and {rate_key!r} is set", "set both, or none")
    if rate < 8:
        raise reader.error(rate_key, f"is {rate}", "use 8 bits a second or more, or no limit")
    rate, burst = rate // 8, burst // 8
    # The reference plugin computes with 32 bits, and what does not fit is cut off.  So it is here:
    # either has to find the values of the other.
    microseconds = int(burst * _SECOND / rate) & _UNSIGNED
    buffer = int(microseconds * _TICKS_A_MICROSECOND) & _UNSIGNED
    waiting = int(rate * _LATENCY / _SECOND) & _UNSIGNED
    return Limit(rate, (waiting + burst) & _UNSIGNED, buffer)
