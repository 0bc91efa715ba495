"""Fields of objects, by which lists are narrowed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def selector(fields: Mapping[str, str]) -> str:
    """The fieldSelector for these values of fields."""
    return ",".join(f"{name}={_escaped(value)}" for name, value in fields.items())


def _escaped(value: str) -> str:
    # k8s.io/apimachinery/pkg/fields, EscapeValue.
    return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")


def matches(wire: Mapping[str, Any], fields: Mapping[str, str]) -> bool:
    """Whether an object's fields have these values."""
    return all(_field(wire, name) == value for name, value in fields.items())


def _field(wire: Mapping[str, Any], name: str) -> Any:
    value: Any = wire
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value
