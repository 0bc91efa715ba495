"""Fields of a decoded result, as the JSON types that the specification gives them.

Each raises ``TypeError`` for a value of another type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from multus.api.reader import describe
from multus.api.spelling import Spelling

_DNS = Spelling(("nameservers", "domain", "search", "options"))
_ROUTE = Spelling(("dst", "gw", "mtu", "advmss", "priority", "table", "scope"))
_OLD = Spelling(("ip", "gateway"), {"routes": _ROUTE})

#: The names of a result's fields, in every version.
SPELLING = Spelling(
    ("cniVersion",),
    {
        "interfaces": Spelling(("name", "mac", "mtu", "sandbox", "socketPath", "pciID")),
        "ips": Spelling(("version", "interface", "address", "gateway")),
        "routes": _ROUTE,
        "dns": _DNS,
        "ip4": _OLD,
        "ip6": _OLD,
    },
)


def has(raw: Mapping[str, Any], key: str) -> bool:
    """Whether the object has *key*."""
    if not isinstance(raw, dict):
        raise TypeError(f"{describe(raw)} must be an object")
    return key in raw


def text(raw: Mapping[str, Any], key: str) -> str:
    """The text at *key*; "" when it is absent or null."""
    value = raw.get(key)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise TypeError(f"'{key}' must be a string")
    return value


def texts(raw: Mapping[str, Any], key: str) -> tuple[str, ...]:
    """The list of texts at *key*; empty when it is absent or null."""
    values: Sequence[Any] = raw.get(key) or ()
    if not isinstance(values, list | tuple) or not all(isinstance(each, str) for each in values):
        raise TypeError(f"'{key}' must be a list of strings")
    return tuple(values)


def number(raw: Mapping[str, Any], key: str) -> int | None:
    """The whole number at *key*; None when it is absent or null."""
    value = raw.get(key)
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"'{key}' must be a whole number")
    return value


def present(wire: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that have a value."""
    return {key: value for key, value in wire.items() if value is not None}
