"""Kubernetes objects from files, used in place of the API server.

Sources read them through ``session.api``, as they read a cluster, so the offline explanation
matches a real ADD.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from multus.api.errors import (
    CNIError,
    InvalidConfig,
    IOFailure,
    LimitedConnectivity,
    MissingFile,
    NotAvailable,
    TryAgainLater,
)
from multus.api.kubernetes import NotFound
from multus.cli.documents import Document

if TYPE_CHECKING:
    from multus.api.kubernetes import Deadline, Edit, ObjectRef, Resource, Write

#: Errors about a node or a cluster, which files alone cannot answer for.
ELSEWHERE = (IOFailure, LimitedConnectivity, MissingFile, NotAvailable, TryAgainLater)
#: The key of a definition that names the resource whose devices its pods get.
RESOURCE = ("metadata", "annotations", "k8s.v1.cni.cncf.io/resourceName")

_GIVE_FILE = "pass the file that defines it (-f)"


class NotGiven(NotFound):
    """An object that no given file has: what depends on it cannot be looked at."""


#: The kinds that contain a pod template, and its path.
TEMPLATES: Mapping[str, tuple[str, ...]] = {
    "Deployment": ("spec", "template"),
    "ReplicaSet": ("spec", "template"),
    "ReplicationController": ("spec", "template"),
    "StatefulSet": ("spec", "template"),
    "DaemonSet": ("spec", "template"),
    "Job": ("spec", "template"),
    "CronJob": ("spec", "jobTemplate", "spec", "template"),
}
#: The kinds that define networks, by plural.
NETWORKS: Mapping[str, str] = {
    "Network": "networks",
    "NetworkAttachmentDefinition": "network-attachment-definitions",
}


@frozen
class Named:
    """An object in a file; ``path`` is where it is inside its workload or list."""

    document: Document
    kind: str
    group: str
    namespace: str
    name: str

    @property
    def wire(self) -> dict[str, Any]:
        return dict(self.document.value)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


def objects_in(document: Document) -> Iterator[Named]:
    """The Kubernetes objects of a document: a single one, a list's items, or a workload's pod."""
    value = document.value
    if not isinstance(value, dict) or not isinstance(value.get("kind"), str):
        return
    kind = value["kind"]
    # The API server lists each kind as one of its own, "NetworkAttachmentDefinitionList".
    if kind.endswith("List") and isinstance(value.get("items"), list):
        for index, item in enumerate(value["items"]):
            yield from objects_in(document.within(("items", index), item))
        return
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    named = Named(
        document=document,
        kind=kind,
        group=str(value.get("apiVersion", "")).rpartition("/")[0],
        namespace=str(metadata.get("namespace") or "default"),
        name=str(metadata.get("name") or metadata.get("generateName") or ""),
    )
    yield named
    pod = _template(named)
    if pod is not None:
        yield pod


def _template(owner: Named) -> Named | None:
    path = TEMPLATES.get(owner.kind, ())
    value: Any = owner.document.value if path else None
    for part in path:
        value = value.get(part) if isinstance(value, dict) else None
    if not isinstance(value, dict):
        return None
    metadata = value.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    named = {**metadata, "name": owner.name, "namespace": owner.namespace}
    document = owner.document.within(path, {**value, "kind": "Pod", "metadata": named})
    return Named(document, "Pod", "", owner.namespace, owner.name)


def resource_of(named: Named) -> object | None:
    """The resource whose devices the pods of a definition get, None when there is none."""
    value: object = named.wire
    for part in RESOURCE:
        value = value.get(part) if isinstance(value, dict) else None
    return value if named.kind == "NetworkAttachmentDefinition" and value else None


def without_resource(named: Named) -> Named:
    """The object without its resource: only a node's kubelet knows the devices of a pod."""
    if resource_of(named) is None:
        return named
    wire = named.wire
    metadata = dict(wire["metadata"])
    annotations = {k: v for k, v in metadata["annotations"].items() if k != RESOURCE[-1]}
    changed = {**wire, "metadata": {**metadata, "annotations": annotations}}
    return evolve(named, document=evolve(named.document, value=changed))


@frozen
class Objects:
    """The objects of files in place of an API server (``multus.api.kubernetes.Api``)."""

    by_name: Mapping[tuple[str, str, str, str], Mapping[str, Any]]
    pods: Mapping[tuple[str, str], Mapping[str, Any]] = field(factory=dict)

    @classmethod
    def of(cls, found: Sequence[Named]) -> Objects:
        """Serve all of *found*; a later object replaces an earlier one of the same name."""
        by_name, pods = {}, {}
        for each in found:
            if each.kind == "Pod":
                pods[each.namespace, each.name] = _pod_metadata(each)
            plural = NETWORKS.get(each.kind, f"{each.kind.lower()}s")
            by_name[each.group, plural, each.namespace, each.name] = each.wire
        return cls(by_name, pods)

    @property
    def node(self) -> str:
        """Files are of no node."""
        return ""

    def get(self, wanted: ObjectRef, deadline: Deadline) -> dict[str, Any]:
        """The object, or ``NotFound``."""
        kind = wanted.resource
        found = self.by_name.get((kind.group, kind.plural, wanted.namespace, wanted.name))
        if found is None:
            raise NotGiven(f"{wanted} is not in the given files", True, fix=_GIVE_FILE)
        return dict(found)

    def get_each(
        self, wanted: Sequence[ObjectRef], deadline: Deadline
    ) -> list[dict[str, Any] | CNIError]:
        """Each object, or the error for it."""
        answers: list[dict[str, Any] | CNIError] = []
        for each in wanted:
            try:
                answers.append(self.get(each, deadline))
            except CNIError as error:
                answers.append(error)
        return answers

    def select(
        self,
        resource: Resource,
        fields: Mapping[str, str],
        deadline: Deadline,
        *,
        fresh: bool = False,
    ) -> list[dict[str, Any]]:
        """The objects of the files with these values of *fields*."""
        from multus.kube.fields import matches

        kind = (resource.group, resource.plural)
        found = (dict(wire) for key, wire in self.by_name.items() if key[:2] == kind)
        return [each for each in found if matches(each, fields)]

    def lacking(self, wanted: Sequence[ObjectRef], deadline: Deadline) -> list[ObjectRef]:
        """Those of *wanted* that are in no file."""
        return [each for each in wanted if isinstance(self.get_each([each], deadline)[0], CNIError)]

    def pod(self, namespace: str, name: str, deadline: Deadline, uid: str = "") -> dict[str, Any]:
        """A pod's ``metadata``, or ``NotFound``."""
        found = self.pods.get((namespace, name))
        if found is None:
            raise NotGiven(
                f"pod {namespace}/{name} is not in the given files", True, fix=_GIVE_FILE
            )
        return dict(found)

    def edit(self, edit: Edit, deadline: Deadline) -> Any:
        """Refuse: this API is read-only, and what asks a runtime's questions changes nothing."""
        raise InvalidConfig(f"{edit.object} is in a file, which is not changed")

    def keep(self, edits: Sequence[Edit]) -> None:
        """Ignore edits: this API is read-only."""

    def write(self, writes: Sequence[Write], seconds: float) -> None:
        """Ignore writes: this API is read-only."""


def _pod_metadata(pod: Named) -> dict[str, Any]:
    metadata = pod.wire.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    return {"namespace": pod.namespace, "annotations": {}, **metadata}
