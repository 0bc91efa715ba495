"""IP addresses as numbers: reading, printing and comparing them without importing a library.

The host-local store names files after addresses, so the text must be exactly what Go's
``net.IP.String`` prints.  Standalone calls use this module, and importing netaddr takes longer than
the rest of an ADD.  So addresses are Python integers, and ``inet_pton`` parses the text; it is as
strict as Go's parser (no octal octets, no zones, no spaces).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    import socket
else:
    # ``_socket`` has the functions; importing ``socket`` builds enumerations for a millisecond.
    import _socket as socket

_MAPPED = 0xFFFF << 32  # ::ffff:0:0/96, which Go always treats as IPv4
_V4_TOP = 1 << 32


@frozen
class Address:
    """An address: *family* 4 or 6, and its *value*, an unsigned number."""

    family: int
    value: int

    @classmethod
    def parse(cls, text: str) -> Address | None:
        """Parse *text*; None when it is not an address.  An IPv4-mapped address becomes IPv4."""
        try:
            if ":" not in text:
                return cls(4, int.from_bytes(socket.inet_pton(socket.AF_INET, text), "big"))
            value = int.from_bytes(socket.inet_pton(socket.AF_INET6, text), "big")
        except (OSError, ValueError):
            return None
        if value - _MAPPED in range(_V4_TOP):
            return cls(4, value - _MAPPED)
        return cls(6, value)

    @property
    def bits(self) -> int:
        """The length of an address of this family: 32 or 128."""
        return 32 if self.family == 4 else 128

    def __str__(self) -> str:
        """The shortest form (RFC 5952), as Go's ``net.IP.String`` prints it."""
        if self.family == 4:
            return socket.inet_ntop(socket.AF_INET, self.value.to_bytes(4, "big"))
        if 0xFFFF < self.value < _V4_TOP:
            # The C library writes this block as ::192.0.2.1, Go as ::c000:201.
            return f"::{self.value >> 16:x}:{self.value & 0xFFFF:x}"
        return socket.inet_ntop(socket.AF_INET6, self.value.to_bytes(16, "big"))

    def __le__(self, other: Address) -> bool:
        """Order by family, then by value."""
        return (self.family, self.value) <= (other.family, other.value)

    def __add__(self, offset: int) -> Address:
        return Address(self.family, self.value + offset)


@frozen
class Network:
    """An address with a prefix length, as written: it may have host bits set."""

    address: Address
    prefix: int

    @classmethod
    def parse(cls, text: str) -> Network | None:
        """Parse ``address/prefix``; None when *text* has another form."""
        written, slash, digits = text.partition("/")
        address = Address.parse(written)
        if address is None or not slash or not (digits.isascii() and digits.isdigit()):
            return None
        prefix = int(digits[:4])
        if ":" in written and address.family == 4:
            prefix -= 96  # ::ffff:192.0.2.0/120 is 192.0.2.0/24
        return cls(address, prefix) if 0 <= prefix <= address.bits else None

    @property
    def host_mask(self) -> int:
        """The number with every host bit set."""
        return (1 << (self.address.bits - self.prefix)) - 1

    @property
    def first(self) -> Address:
        """The network's own address."""
        return Address(self.address.family, self.address.value & ~self.host_mask)

    @property
    def last(self) -> Address:
        """The highest address; for IPv4 it is the broadcast address."""
        return Address(self.address.family, self.address.value | self.host_mask)

    def __contains__(self, address: Address) -> bool:
        own, hosts = self.address, self.address.bits - self.prefix
        return own.family == address.family and own.value >> hosts == address.value >> hosts

    def __str__(self) -> str:
        return f"{self.address}/{self.prefix}"
