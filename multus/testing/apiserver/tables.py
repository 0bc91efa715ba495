"""A list as the table that ``kubectl get`` shows.

Source: kubernetes.io, "Receiving resources as Tables"; the columns of pods are those of Kubernetes'
``printers/internalversion``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from multus.testing.apiserver.store import Kind, metadata_only

_PODS = ("Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node")


def table_of(kind: Kind, items: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The ``Table`` of *items*; of other kinds than pods it has names and times alone."""
    columns = _PODS if kind.plural == "pods" else ("Name", "Created At")
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "columnDefinitions": [
            {"name": name, "type": "string", "format": "", "description": "", "priority": 0}
            for name in columns
        ],
        "rows": [{"cells": _cells(kind, each), "object": metadata_only(each)} for each in items],
    }


def _cells(kind: Kind, wire: dict[str, Any]) -> list[Any]:
    metadata = wire.get("metadata") or {}
    if kind.plural != "pods":
        return [metadata.get("name"), metadata.get("creationTimestamp")]
    spec, status = wire.get("spec") or {}, wire.get("status") or {}
    count = len(spec.get("containers") or ())
    address, node = status.get("podIP") or "<none>", spec.get("nodeName") or "<none>"
    phase = status.get("phase") or "Unknown"
    return [metadata.get("name"), f"{count}/{count}", phase, "0", "1m", address, node, "<none>"]
