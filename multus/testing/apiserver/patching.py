"""Patches: merge patches (RFC 7386) with preconditions, and JSON patches (RFC 6902)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from multus.testing.apiserver.store import Kind, Refused, merge_patch, require_same


def edit_by_merge(
    kind: Kind, patch: Mapping[str, Any], subresource: str, stored: dict[str, Any]
) -> None:
    """Merge *patch* into *stored*; a UID or version in it is a precondition."""
    for key in ("uid", "resourceVersion"):
        require_same(kind, stored, key, (patch.get("metadata") or {}).get(key))
    allowed = ("metadata", "status") if subresource == "status" else tuple(patch)
    merged = merge_patch(stored, {k: v for k, v in patch.items() if k in allowed})
    stored.clear()
    stored.update(merged)


def apply_json_patch(
    kind: Kind, operations: Sequence[Mapping[str, Any]], stored: dict[str, Any]
) -> None:
    """Apply test, add, replace and remove; what cannot be applied is invalid (422)."""
    try:
        _apply(stored, operations)
    except (LookupError, TypeError, ValueError) as error:
        message = f"the server rejected our request due to an error in our request: {error}"
        raise Refused(422, "Invalid", message, kind, stored["metadata"]["name"]) from None


def _apply(wire: dict[str, Any], operations: Sequence[Mapping[str, Any]]) -> None:
    """Change *wire* in place; raises ``ValueError`` or ``LookupError`` for what does not apply.

    As the API server's library does, ``test`` for null succeeds where there is nothing.
    """
    for operation in operations:
        *above, last = (
            part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]
        )
        owner: Any = wire
        for part in above:
            owner = owner[part]
        kind = operation["op"]
        if kind == "test":
            if owner.get(last) != operation.get("value"):
                raise ValueError(f"testing path {operation['path']} failed")
        elif kind == "add":
            owner[last] = operation["value"]
        elif kind == "replace":
            owner[last]  # it has to exist
            owner[last] = operation["value"]
        elif kind == "remove":
            del owner[last]
        else:
            raise ValueError(f"unexpected operation {kind!r}")
