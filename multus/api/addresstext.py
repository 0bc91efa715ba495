"""Whether text is an IP address, or one with a prefix length.

``ipaddress`` takes longer to import than a call that only starts a plugin can spare, and takes
more forms than CNI has.

Source: CNI specification 1.1.0, section "ADD Success"; RFC 4632, section 3.1 (CIDR).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket
else:
    # It has the functions; importing ``socket`` builds enumerations for a millisecond.
    import _socket as socket

_BITS: Mapping[int, int] = {socket.AF_INET: 32, socket.AF_INET6: 128}


def is_address(text: str) -> bool:
    """Whether *text* is an IPv4 or IPv6 address, like ``10.0.0.2``."""
    return _is(text, _family(text))


def is_prefix(text: str) -> bool:
    """Whether *text* is an address with a prefix length, like ``10.0.0.2/24``."""
    address, _, length = text.partition("/")
    family = _family(address)
    digits = length.isascii() and length.isdigit() and len(length) <= 3
    return digits and int(length) <= _BITS[family] and _is(address, family)


def _family(text: str) -> int:
    return socket.AF_INET6 if ":" in text else socket.AF_INET


def _is(text: str, family: int) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True
