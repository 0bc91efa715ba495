"""The stand-in's storage: kinds, objects, and the history that watches replay."""

from __future__ import annotations

import copy
import json
import threading
import time
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from attrs import field, frozen

#: What etcd accepts by default, in bytes.
LARGEST = 1_572_864


@frozen
class Kind:
    """A kind that is served; ``group`` is empty for the core API."""

    group: str
    version: str
    plural: str
    kind: str
    namespaced: bool = True

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


CORE_KINDS = (
    Kind("", "v1", "pods", "Pod"),
    Kind("", "v1", "events", "Event"),
    Kind("", "v1", "nodes", "Node", namespaced=False),
    Kind("", "v1", "namespaces", "Namespace", namespaced=False),
    Kind(
        "apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", False
    ),
    Kind(
        "apiextensions.k8s.io",
        "v1beta1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        False,
    ),
    Kind("extensions", "v1beta1", "thirdpartyresources", "ThirdPartyResource", False),
)

#: Devices that are allocated to claims (Kubernetes 1.34 and later).
DEVICE_KINDS = (
    Kind("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim"),
    Kind("resource.k8s.io", "v1", "resourceslices", "ResourceSlice", namespaced=False),
)

#: Addresses that are unique in a cluster.
ADDRESS_KINDS = (
    Kind("whereabouts.cni.cncf.io", "v1alpha1", "ippools", "IPPool"),
    Kind(
        "whereabouts.cni.cncf.io",
        "v1alpha1",
        "overlappingrangeipreservations",
        "OverlappingRangeIPReservation",
    ),
    Kind("whereabouts.cni.cncf.io", "v1alpha1", "nodeslicepools", "NodeSlicePool"),
    Kind("ipam.multus", "v1alpha1", "addressblocks", "AddressBlock"),
    Kind("k8s.cni.cncf.io", "v1alpha1", "ipamclaims", "IPAMClaim"),
    Kind("coordination.k8s.io", "v1", "leases", "Lease"),
)

#: The kinds of all dialects for networks, old and new.
NETWORK_KINDS = (
    Kind("kubernetes.com", "v1", "networks", "Network"),
    Kind("kubernetes-network.cni.cncf.io", "v1", "networks", "Network"),
    Kind("kubernetes.cni.cncf.io", "v1", "networks", "Network"),
    Kind("k8s.cni.cncf.io", "v1", "network-attachment-definitions", "NetworkAttachmentDefinition"),
)


class Refused(Exception):
    """An answer that is a ``Status`` object with an HTTP status of 400 and up."""

    def __init__(
        self, code: int, reason: str, message: str, kind: Kind | None = None, name: str = ""
    ):
        super().__init__(message)
        self.code = code
        self.wire: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
        if kind and name:
            details = {"name": name, "kind": kind.plural}
            if kind.group:
                details["group"] = kind.group
            self.wire["details"] = details


@frozen
class Event:
    """One entry of the history."""

    version: int
    type: str
    kind: Kind
    object: dict[str, Any]
    _lines: dict[bool, bytes] = field(factory=dict, init=False, eq=False, repr=False)

    def line(self, *, partial: bool) -> bytes:
        """As a watch sends it; *partial* is for metadata alone.  All watches share the bytes."""
        if partial not in self._lines:
            wire = metadata_only(self.object) if partial else self.object
            self._lines[partial] = compact_json({"type": self.type, "object": wire}) + b"\n"
        return self._lines[partial]


class Store:
    """Objects by kind, namespace and name, with one resourceVersion counter like etcd's."""

    def __init__(self, kinds: tuple[Kind, ...]) -> None:
        self._lock = threading.RLock()
        self._watching: dict[Kind, threading.Condition] = {}
        self._kinds = {(k.group, k.version, k.plural): k for k in kinds}
        self._objects: dict[tuple[str, str], dict[tuple[str, str], dict[str, Any]]] = {}
        self._version = 1000
        self._history: list[Event] = []
        self._compacted = 0

    @property
    def version(self) -> int:
        return self._version

    def kinds(self) -> list[Kind]:
        with self._lock:
            return list(self._kinds.values())

    def kind(self, group: str, version: str, plural: str) -> Kind | None:
        return self._kinds.get((group, version, plural))

    def kind_of(self, wire: Mapping[str, Any]) -> Kind:
        """The served kind of an object; KeyError when its definition does not exist."""
        for kind in self.kinds():
            if (kind.api_version, kind.kind) == (wire.get("apiVersion"), wire.get("kind")):
                return kind
        raise KeyError(f"{wire.get('apiVersion')} {wire.get('kind')} is not served")

    def get(self, kind: Kind, namespace: str, name: str) -> dict[str, Any]:
        with self._lock:
            found = self._shelf(kind).get((namespace, name))
            if found is None:
                raise _not_found(kind, name)
            return copy.deepcopy(found)

    def objects(
        self, kind: Kind, namespace: str, wanted: Sequence[Requirement]
    ) -> list[dict[str, Any]]:
        """Objects in the order of their keys that fulfil what selectors want."""
        with self._lock:
            return [
                copy.deepcopy(found)
                for (ns, _), found in sorted(self._shelf(kind).items())
                if (not namespace or ns == namespace) and matches(found, wanted)
            ]

    def create(self, kind: Kind, namespace: str, wire: Mapping[str, Any]) -> dict[str, Any]:
        with self._lock:
            stored: dict[str, Any] = copy.deepcopy(dict(wire))
            metadata = stored.setdefault("metadata", {})
            if not metadata.get("name") and metadata.get("generateName"):
                metadata["name"] = metadata["generateName"] + uuid.uuid4().hex[:5]
            name = metadata.get("name", "")
            if not name:
                raise Refused(422, "Invalid", "metadata.name: Required value: name is required")
            if (namespace, name) in self._shelf(kind):
                raise Refused(
                    409, "AlreadyExists", f'{resource(kind)} "{name}" already exists', kind, name
                )
            if kind.namespaced:
                metadata["namespace"] = namespace
            metadata.setdefault("uid", str(uuid.uuid4()))
            metadata.setdefault(
                "creationTimestamp", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
            )
            self._put("ADDED", kind, namespace, stored)
            self._serve(stored)
            return copy.deepcopy(stored)

    def change(
        self, kind: Kind, namespace: str, name: str, edit: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        with self._lock:
            found = self._shelf(kind).get((namespace, name))
            if found is None:
                raise _not_found(kind, name)
            stored = copy.deepcopy(found)
            edit(stored)
            stored["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"]
            # As in the API server, a write that changes nothing makes no version and no event.
            if stored != found:
                self._put("MODIFIED", kind, namespace, stored)
            return copy.deepcopy(stored)

    def delete(
        self, kind: Kind, namespace: str, name: str, preconditions: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        with self._lock:
            found = self._shelf(kind).get((namespace, name))
            if found is None:
                raise _not_found(kind, name)
            for key, wanted in (preconditions or {}).items():
                require_same(kind, found, key, wanted)
            del self._shelf(kind)[namespace, name]
            self._record("DELETED", kind, found)
            return found

    def watching(self, kind: Kind) -> threading.Condition:
        """What is told of each event of a kind: those who watch others are not woken."""
        with self._lock:
            return self._watching.setdefault(kind, threading.Condition(self._lock))

    def wake(self) -> None:
        """Have everyone who watches look at what else has changed."""
        with self._lock:
            for each in self._watching.values():
                each.notify_all()

    def since(self, version: int, kind: Kind) -> tuple[list[Event], int] | None:
        """The history after *version*, and its end; None when it was compacted.

        The caller holds ``watching(kind)``.
        """
        if version < self._compacted:
            return None
        start = bisect_right(self._history, version, key=attrgetter("version"))
        return [event for event in self._history[start:] if event.kind == kind], self._version

    def compact(self, version: int | None = None) -> None:
        """Compact the history before *version*, as etcd does: a watch from there gets 410.

        Without a version all of it is compacted, and every open watch gets 410.
        """
        with self._lock:
            if version is None:
                version = self._version = self._version + 1
            self._compacted = version
            self._history = [each for each in self._history if each.version > version]
            self.wake()

    def compacted(self, version: int) -> bool:
        return version < self._compacted

    def _shelf(self, kind: Kind) -> dict[tuple[str, str], dict[str, Any]]:
        # All versions of a group share their objects.
        return self._objects.setdefault((kind.group, kind.plural), {})

    def _put(self, event: str, kind: Kind, namespace: str, stored: dict[str, Any]) -> None:
        if len(compact_json(stored)) > LARGEST:
            raise Refused(500, "", "etcdserver: request is too large")
        self._record(event, kind, stored)
        self._shelf(kind)[namespace, stored["metadata"]["name"]] = stored

    def _record(self, event: str, kind: Kind, stored: dict[str, Any]) -> None:
        self._version += 1
        stored["metadata"]["resourceVersion"] = str(self._version)
        self._history.append(Event(self._version, event, kind, copy.deepcopy(stored)))
        self.watching(kind).notify_all()

    def _serve(self, wire: Mapping[str, Any]) -> None:
        """Serve the kind that a definition describes."""
        spec = wire.get("spec") or {}
        if wire.get("kind") == "CustomResourceDefinition":
            names = spec["names"]
            versions = [v["name"] for v in spec.get("versions") or []] or [spec["version"]]
            for version in versions:
                kind = Kind(
                    spec["group"],
                    version,
                    names["plural"],
                    names["kind"],
                    spec.get("scope", "Namespaced") == "Namespaced",
                )
                self._kinds[kind.group, version, kind.plural] = kind
        elif wire.get("kind") == "ThirdPartyResource":
            # network.example.org: kind Network, plural networks, group example.org.
            word, _, group = wire["metadata"]["name"].partition(".")
            title = "".join(part.capitalize() for part in word.split("-"))
            for entry in wire.get("versions") or []:
                plural = f"{title.lower()}s"
                self._kinds[group, entry["name"], plural] = Kind(
                    group, entry["name"], plural, title
                )


def require_same(kind: Kind, stored: Mapping[str, Any], key: str, wanted: object) -> None:
    """Refuse a write whose precondition on ``metadata`` does not hold; without one, none."""
    there = stored["metadata"][key]
    if wanted and wanted != there:
        name = stored["metadata"]["name"]
        precondition = "UID" if key == "uid" else "ResourceVersion"
        message = (
            f'Operation cannot be fulfilled on {resource(kind)} "{name}": Precondition failed:'
            f" {precondition} in precondition: {wanted}, {precondition} in object meta: {there}"
        )
        raise Refused(409, "Conflict", message, kind, name)


def resource(kind: Kind) -> str:
    """The name of a kind in the API server's messages: ``networks.example.org``."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


@frozen
class Requirement:
    """A part of a selector: the value at *path* equals *value*, or does not."""

    path: tuple[str, ...]
    equal: bool
    value: str


def selected(query: Mapping[str, str]) -> list[Requirement]:
    """What the selectors of a list or a watch want."""
    labels = requirements(query.get("labelSelector", ""), ("metadata", "labels"))
    return requirements(query.get("fieldSelector", "")) + labels


def requirements(selector: str, below: tuple[str, ...] = ()) -> list[Requirement]:
    """A fieldSelector; with *below*, a labelSelector of equalities for the labels there."""
    found = []
    for part in selector.split(",") if selector else ():
        key, _, value = part.partition("=")
        name = key.rstrip("!")
        path = (*below, name) if below else tuple(name.split("."))
        found.append(Requirement(path, not key.endswith("!"), value.lstrip("=")))
    return found


def matches(wire: Mapping[str, Any], wanted: Iterable[Requirement]) -> bool:
    """Whether an object fulfils all requirements; a key that is missing has the value ""."""
    for each in wanted:
        value: Any = wire
        for part in each.path:
            value = value.get(part) if isinstance(value, dict) else None
        if ((value or "") == each.value) != each.equal:
            return False
    return True


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def metadata_only(wire: Mapping[str, Any]) -> dict[str, Any]:
    """An object as ``PartialObjectMetadata``."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": wire.get("metadata") or {},
    }


def compact_json(wire: object) -> bytes:
    return json.dumps(wire, separators=(",", ":")).encode()


def _not_found(kind: Kind, name: str) -> Refused:
    return Refused(404, "NotFound", f'{resource(kind)} "{name}" not found', kind, name)
