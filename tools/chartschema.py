"""The part of the chart's ``values.schema.json`` that the tables of keys decide.

The rest of the file is written by hand.  ``docs/_generate.py`` writes this part, and compares it
in CI.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from multus.api import keys
from multus.api.keys import Key, Kind
from multus.daemon import keys as daemon_keys

#: Keys of the daemon's file that the chart alone may set: paths that its mounts decide, what
#: differs from node to node, and what 'metrics' says.
_OF_CHART = (
    daemon_keys.SOCKET_DIR,
    daemon_keys.CHROOT_DIR,
    daemon_keys.NODE_NAME,
    daemon_keys.METRICS_PORT,
    daemon_keys.METRICS_ADDRESS,
)

_KINDS: Mapping[Kind, Mapping[str, Any]] = {
    keys.TEXT: {"type": "string"},
    keys.WORD: {"type": "string"},
    keys.PATH: {"type": "string", "pattern": "^(/.*)?$"},
    # On all nodes there is no working folder that a relative path could begin at.
    keys.PLACE: {"type": "string", "pattern": "^(/.*)?$"},
    keys.BOOLEAN: {"type": "boolean"},
    keys.INTEGER: {"type": "integer"},
    keys.NUMBER: {"type": "number"},
    keys.OBJECT: {"type": "object"},
    keys.TEXTS: {"type": "array", "items": {"type": "string"}},
    keys.OBJECTS: {"type": "array", "items": {"type": "object"}},
}


def updated(schema: Mapping[str, Any], configuration: Iterable[Key]) -> str:
    """*schema* with the daemon's keys, and Multus' own keys *configuration*, as JSON text.

    An unknown key of the daemon is refused.  One of the configuration is not: a plugin of the
    image may read it, and ``multus install`` knows which plugins the image has.
    """
    daemon = of_keys([key for key in daemon_keys.KEYS if key not in _OF_CHART])
    values = {
        **schema["properties"],
        "daemon": {**daemon, "additionalProperties": False},
        "configuration": of_keys(configuration),
    }
    return json.dumps({**schema, "properties": values}, indent=2) + "\n"


def of_keys(wanted: Iterable[Key]) -> dict[str, Any]:
    """The JSON schema of an object with these keys."""
    found: dict[str, Any] = {}
    for key in sorted(wanted, key=lambda each: each.name):
        if key.top == key.name:
            found.setdefault(key.name, {}).update(of_key(key))
        else:
            outer = found.setdefault(key.top, {"type": "object"})
            outer["additionalProperties"] = False
            inner = outer.setdefault("properties", {})
            inner[key.name[len(key.top) + 1 :]] = of_key(key)
    return {"type": "object", "properties": found}


def of_key(key: Key) -> dict[str, Any]:
    """The JSON schema of one key's value, with its sentence as the description."""
    schema = dict(_KINDS.get(key.kind, {"type": "string"}))
    if key.choices and schema["type"] == "array":
        schema["items"] = {**schema["items"], "enum": list(key.choices)}
    elif key.choices:
        schema["enum"] = list(key.choices)
    for name, limit in (
        ("minimum", key.least),
        ("exclusiveMinimum", key.above),
        ("maximum", key.most),
    ):
        if limit is not None:
            schema[name] = limit
    return {**schema, "description": key.text.replace("`", "'")}
