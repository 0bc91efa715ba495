"""The keys of a ptp configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import InvalidConfig
from multus.api.reader import Reader
from multus.ipam import dns

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import DNS

# RFC 791: every link carries 68 bytes; linux/if_ether.h: what a veth takes at most.
_SMALLEST, _LARGEST = 68, 65535

BACKENDS = ("iptables", "nftables")


class Config(NamedTuple):
    """What ADD reads.  ``mtu`` 0 is the kernel's default, ``backend`` "" the machine's.

    ``dns`` is what the configuration says, to stand in the place of what IPAM says.

    Source: the ptp plugin's documentation, section "Network configuration reference".
    """

    mtu: int
    masquerade: bool
    backend: str
    dns: DNS

    @classmethod
    def read(cls, invocation: Invocation) -> Config:
        """Read the configuration; raises ``InvalidConfig`` with the key and what is wrong."""
        where = f"network {invocation.config.get('name')!r}"
        reader = Reader(invocation.config, where)
        mtu, backend = reader.integer("mtu"), reader.text("ipMasqBackend")
        if mtu and not _SMALLEST <= mtu <= _LARGEST:
            raise InvalidConfig(
                f"is {mtu}",
                where=where,
                key="mtu",
                fix="use bytes from 68 to 65535, or leave it",
            )
        if backend and backend not in BACKENDS:
            raise InvalidConfig(
                f"is {backend!r}",
                where=where,
                key="ipMasqBackend",
                fix=f"use one of {', '.join(BACKENDS)}",
            )
        return cls(
            mtu=mtu,
            masquerade=reader.boolean("ipMasq"),
            backend=backend,
            dns=dns.from_config(reader),
        )


def masquerades(invocation: Invocation) -> bool:
    """Whether rules may be there; never raises, since DEL works with what went bad meanwhile."""
    return invocation.config.get("ipMasq") not in (None, False, "false", "False")
