"""The keys of a ptp configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import InvalidConfig
from multus.api.reader import Reader
from multus.ipam import dns

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import DNS

# RFC 791: the minimum is 68 bytes; linux/if_ether.h: the maximum of a veth.
_SMALLEST, _LARGEST = 68, 65535

BACKENDS = ("iptables", "nftables")


class Config(NamedTuple):
    """The keys for ADD.  ``mtu`` 0 is the kernel's default, ``backend`` "" the machine's.

    ``dns`` is the configuration's, which replaces IPAM's.

    Source: the ptp plugin's documentation, section "Network configuration reference".
    """

    mtu: int
    masquerade: bool
    backend: str
    dns: DNS

    @classmethod
    def read(cls, invocation: Invocation) -> Config:
        """Read the configuration; raises ``InvalidConfig`` with the key and the problem."""
        where = f"network {invocation.config.get('name')!r}"
        reader = Reader(invocation.config, where)
        mtu, backend = reader.integer("mtu"), reader.text("ipMasqBackend")
        if mtu and not _SMALLEST <= mtu <= _LARGEST:
            raise InvalidConfig(
                f"is {mtu}",
                where=where,
                key="mtu",
                fix="use 68 to 65535 bytes, or remove the key",
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
