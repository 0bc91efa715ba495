"""Valid names in CNI: container IDs, networks, interfaces.

Source: CNI specification 1.1.0, "Parameters"; interface names are the kernel's
``dev_valid_name`` (net/core/dev.c) with ``IFNAMSIZ`` = 16.
"""

from __future__ import annotations

import re

_IDENTIFIER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.\-]*")
_LONGEST_INTERFACE = 15
#: Folders of /proc/sys/net/ipv4/conf that belong to no interface.
_SETTINGS = ("all", "default")


def is_identifier(name: str) -> bool:
    """Whether *name* may name a container or a network."""
    return _IDENTIFIER.fullmatch(name) is not None


def interface_problem(name: str) -> str | None:
    """Why *name* is not a valid interface name; None when it is."""
    if "%" in name:
        # The kernel treats it as a pattern: "net%d" becomes net0, and DEL would not find it.
        return "holds '%', which the kernel replaces by a number"
    if name in _SETTINGS:
        return "is 'all' or 'default', which the kernel keeps for the settings of all interfaces"
    return unnameable(name)


def unnameable(name: str) -> str | None:
    """Why a record cannot have the interface name *name*; None when it can.

    This is less strict than ``interface_problem``: older records must stay removable.
    """
    if not name:
        return "is empty"
    if name in (".", ".."):
        return "is '.' or '..'"
    # Bytes that are not UTF-8 are decoded as surrogates, which are not printable.
    if any(char in "/:" or char.isspace() or not char.isprintable() for char in name):
        return "holds '/', ':', a space or an unprintable character"
    if len(name.encode()) > _LONGEST_INTERFACE:
        return f"is longer than {_LONGEST_INTERFACE} characters"
    return None
