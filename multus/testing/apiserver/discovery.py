"""API discovery: the groups, versions and kinds, in the form that kubectl reads."""

from __future__ import annotations

from typing import Any

from multus.testing.apiserver.store import Kind, Refused


def discover(segments: list[str], kinds: list[Kind]) -> dict[str, Any] | None:
    """The response for the path of *segments*, or None when it is not a discovery path."""
    if segments == ["version"]:
        return {"major": "1", "minor": "32", "gitVersion": "v1.32.0"}
    if segments == ["api"]:
        return {"kind": "APIVersions", "versions": ["v1"]}
    if segments == ["apis"]:
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": _groups(kinds)}
    if segments == ["api", "v1"]:
        return _resources("", "v1", kinds)
    if segments[0] == "apis" and len(segments) == 3:
        return _resources(segments[1], segments[2], kinds)
    return None


def _groups(kinds: list[Kind]) -> list[dict[str, Any]]:
    versions: dict[str, list[dict[str, str]]] = {}
    for kind in kinds:
        entry = {"groupVersion": kind.api_version, "version": kind.version}
        if kind.group and entry not in versions.setdefault(kind.group, []):
            versions[kind.group].append(entry)
    return [
        {"name": group, "versions": entries, "preferredVersion": entries[0]}
        for group, entries in versions.items()
    ]


def _resources(group: str, version: str, kinds: list[Kind]) -> dict[str, Any]:
    served = [kind for kind in kinds if (kind.group, kind.version) == (group, version)]
    if not served:
        raise Refused(404, "NotFound", "the server could not find the requested resource")
    return {
        "kind": "APIResourceList",
        "apiVersion": "v1",
        "groupVersion": served[0].api_version,
        "resources": [
            {
                "name": kind.plural,
                "singularName": kind.kind.lower(),
                "namespaced": kind.namespaced,
                "kind": kind.kind,
                "verbs": ["create", "delete", "get", "list", "patch", "update", "watch"],
            }
            for kind in served
        ],
    }
