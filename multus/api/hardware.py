"""Hardware addresses in the forms that people write.

Source: the documentation of Go's ``net.ParseMAC``, with which the Go Multus and plugins read them:
IEEE 802 MAC-48, EUI-48, EUI-64, or a 20-octet IP over InfiniBand address.
"""

from __future__ import annotations

import re

#: Pairs joined by one of ":" and "-", or groups of four joined by ".".
_PAIRS = re.compile(r"[0-9a-fA-F]{2}([:-])[0-9a-fA-F]{2}(\1[0-9a-fA-F]{2})*")
_FOURS = re.compile(r"[0-9a-fA-F]{4}(\.[0-9a-fA-F]{4})+")
_SIZES = (6, 8, 20)


def hardware_address(text: str) -> bytes | None:
    """The 6, 8 or 20 bytes of an address; None when *text* is not one.

    >>> hardware_address("0200.5e10.0001").hex(":")
    '02:00:5e:10:00:01'
    """
    if not (_PAIRS.fullmatch(text) or _FOURS.fullmatch(text)):
        return None
    found = bytes.fromhex(re.sub(r"[:.-]", "", text))
    return found if len(found) in _SIZES else None
