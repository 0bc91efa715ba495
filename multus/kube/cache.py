"""What the daemon knows of pods and definitions before a request asks for them.

Only the fields that sources read are kept, within a budget of bytes, since a node's daemon lives
for months beside thousands of definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from multus.api.errors import CNIError
from multus.kube.client import KubeClient
from multus.kube.failures import NotFound
from multus.kube.follower import Followed, Follower
from multus.kube.pods import is_same
from multus.kube.wire import metadata_of

_PODS, _DEFINITIONS = 16 * 1024 * 1024, 32 * 1024 * 1024

#: What sources read of a definition, at its top (Network objects) and in its ``spec``.
_TOP, _SPEC = ("apiVersion", "kind", "plugin", "args"), ("config", "plugin", "args")


class ObjectCache:
    """What caches of any kind of object can do; ``follower`` keeps the objects."""

    follower: Follower

    def start(self) -> None:
        self.follower.start()

    def close(self) -> None:
        self.follower.close()

    @property
    def synced(self) -> bool:
        return self.follower.synced

    @property
    def age(self) -> float:
        return self.follower.age


class PodCache(ObjectCache):
    """The pods of one node: names, uid and annotations, nothing else."""

    def __init__(
        self,
        client: KubeClient,
        node: str,
        *,
        on_problem: Callable[[CNIError], None] | None = None,
    ) -> None:
        followed = Followed(
            "/api/v1/pods", f"pods of node {node}", f"spec.nodeName={node}", metadata_only=True
        )
        self.follower = Follower(client, followed, _metadata, budget=_PODS, on_problem=on_problem)

    def get(self, namespace: str, name: str, uid: str = "") -> dict[str, Any] | None:
        """The pod's ``metadata`` with name, namespace, uid and annotations; None when unknown.

        A pod with another *uid* is unknown: its successor may not have been heard of yet.
        """
        found = self.follower[namespace, name]
        return found if found is not None and is_same(found, uid) else None


class DefinitionCache(ObjectCache):
    """Definitions of one kind in all namespaces, for instance ``network-attachment-definitions``.

    A kind that the API server does not serve is an empty, unsynced cache that looks again later.
    """

    def __init__(
        self,
        client: KubeClient,
        group: str,
        plural: str,
        *,
        version: str = "v1",
        on_problem: Callable[[CNIError], None] | None = None,
    ) -> None:
        self.group, self.plural = group, plural
        self._report = on_problem
        followed = Followed(f"/apis/{group}/{version}/{plural}", f"{plural}.{group}")
        self.follower = Follower(
            client, followed, _definition, budget=_DEFINITIONS, on_problem=self._problem
        )

    def get(self, namespace: str, name: str, uid: str = "") -> dict[str, Any] | None:
        """The definition as sources read it; None when unknown."""
        found = self.follower[namespace, name]
        if found is None or (uid and found["metadata"]["uid"] != uid):
            return None
        return found

    def _problem(self, error: CNIError) -> None:
        if self._report and not (isinstance(error, NotFound) and not error.kind_known):
            self._report(error)


def _definition(wire: Mapping[str, Any]) -> dict[str, Any]:
    """What sources read of a definition."""
    kept = {key: wire[key] for key in _TOP if key in wire}
    spec = wire.get("spec")
    if spec is not None:
        kept["spec"] = {key: spec[key] for key in _SPEC if key in dict(spec)}
    return {**kept, "metadata": _metadata(wire)}


def _metadata(wire: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of ``metadata`` that sources read; kubectl's copy of the object is none."""
    metadata = metadata_of(wire)
    return {
        "namespace": metadata.get("namespace", ""),
        "name": metadata.get("name", ""),
        "uid": metadata.get("uid", ""),
        "annotations": {
            key: value
            for key, value in (metadata.get("annotations") or {}).items()
            if key != "kubectl.kubernetes.io/last-applied-configuration"
        },
    }
