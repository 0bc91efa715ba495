"""The keys of a ptp configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from multus.inprocess import reader_of
from multus.ipam import dns

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import DNS

# RFC 791: the minimum is 68 bytes; linux/if_ether.h: the maximum of a veth.
_SIZES = range(68, 65536)


class Config(NamedTuple):
    """The keys for ADD.  ``mtu`` 0 is the kernel's default.

    ``dns`` is the configuration's, which replaces IPAM's.

    Source: the ptp plugin's documentation, section "Network configuration reference".
    """

    mtu: int
    dns: DNS

    @classmethod
    def read(cls, invocation: Invocation) -> Config:
        """Read the configuration; raises ``InvalidConfig`` with the key and the problem."""
        reader = reader_of(invocation)
        mtu = reader.integer("mtu")
        if mtu and mtu not in _SIZES:
            raise reader.error("mtu", f"is {mtu}", "use 68 to 65535 bytes, or remove the key")
        return cls(mtu, dns.from_config(reader))
