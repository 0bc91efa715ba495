"""What the daemon knows of pods and other objects before a request asks for them.

Only the keys that plugins read are kept, within a budget of bytes: a daemon runs for months, and a
cluster may have thousands of definitions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from multus.api.errors import CNIError
from multus.api.kubernetes._failures import NotFound
from multus.api.kubernetes._objects import PODS, Resource
from multus.api.kubernetes._pods import is_same
from multus.kube.client import KubeClient
from multus.kube.decoding import metadata_of
from multus.kube.fields import matches, selector
from multus.kube.follower import Followed, Follower

_PODS, _OBJECTS = 16 * 1024 * 1024, 32 * 1024 * 1024

#: Kept of every object, beside its ``metadata`` and the keys that plugins read.
_ALWAYS = ("apiVersion", "kind")


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
        on_change: Callable[[str, str], None] | None = None,
    ) -> None:
        followed = Followed(
            PODS,
            f"pods of node {node}",
            f"spec.nodeName={node}",
            metadata_only=True,
            required=True,
        )
        told = None if on_change is None else (lambda key: on_change(*key))
        self.follower = Follower(
            client, followed, _metadata, budget=_PODS, on_problem=on_problem, on_change=told
        )

    def get(self, namespace: str, name: str, uid: str = "") -> dict[str, Any] | None:
        """The pod's ``metadata`` with name, namespace, uid and annotations; None when unknown.

        A pod with another *uid* counts as unknown: the cache may not have the later one yet.
        """
        found = self.follower[namespace, name]
        return found if found is not None and is_same(found, uid) else None


class DefinitionCache(ObjectCache):
    """The objects of one kind in all namespaces, each with the parts at *keys*.

    They are those of *node* alone when the kind has a ``node_field``.

    A kind that the API server does not serve is an empty, unsynced cache that looks again later.
    """

    def __init__(
        self,
        client: KubeClient,
        resource: Resource,
        keys: Iterable[str | tuple[str, ...]],
        node: str = "",
        *,
        on_problem: Callable[[CNIError], None] | None = None,
    ) -> None:
        self.resource = resource
        self._paths = [(each,) if isinstance(each, str) else each for each in (*_ALWAYS, *keys)]
        self._tree = _tree(self._paths)
        self._report = on_problem
        self._fields = {resource.node_field: node} if resource.node_field else {}
        of_node = f" of node {node}" if self._fields else ""
        self.follower = Follower(
            client,
            Followed(resource, f"{resource}{of_node}", selector(self._fields)),
            self._kept,
            budget=_OBJECTS,
            on_problem=self._problem,
        )

    def get(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The object as plugins read it; None when unknown."""
        return self.follower[namespace, name]

    def lacks(self, namespace: str, name: str) -> bool:
        """Whether no node has such an object, as far as the watch has come; False when unknown."""
        return not self._fields and self.follower.lacks((namespace, name))

    def has(self, namespace: str, name: str) -> bool:
        """Whether there is such an object, as far as the watch has come; False when unknown."""
        return self.follower.has((namespace, name))

    def select(self, fields: Mapping[str, str]) -> list[dict[str, Any]] | None:
        """The objects with these values of *fields*; None when the cache may lack one of them."""
        if any(fields.get(name) != value for name, value in self._fields.items()):
            return None
        others = {name: value for name, value in fields.items() if name not in self._fields}
        if not all(self._keeps(tuple(name.split("."))) for name in others):
            return None
        found = self.follower.all()
        return None if found is None else [each for each in found if matches(each, others)]

    def _keeps(self, path: tuple[str, ...]) -> bool:
        return any(path[: len(known)] == known for known in self._paths)

    def _kept(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        kept = _part(wire, self._tree)
        return {**kept, "metadata": {**kept.get("metadata", {}), **_metadata(wire)}}

    def _problem(self, error: CNIError) -> None:
        if self._report and not (isinstance(error, NotFound) and not error.kind_known):
            self._report(error)


def _metadata(wire: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of ``metadata`` that plugins read, without the copy of the object by kubectl."""
    metadata = metadata_of(wire)
    ending = metadata.get("deletionTimestamp")
    return {
        **({"deletionTimestamp": ending} if ending else {}),
        "namespace": metadata.get("namespace", ""),
        "name": metadata.get("name", ""),
        "uid": metadata.get("uid", ""),
        "annotations": {
            key: value
            for key, value in (metadata.get("annotations") or {}).items()
            if key != "kubectl.kubernetes.io/last-applied-configuration"
        },
    }


#: Keys to keep, each with those below it; empty for all.
_Tree = dict[str, Any]


def _tree(paths: Iterable[tuple[str, ...]]) -> _Tree:
    below: dict[str, list[tuple[str, ...]]] = {}
    for first, *rest in paths:
        below.setdefault(first, []).append(tuple(rest))
    # A path that ends here keeps everything below it.
    return {key: {} if () in rests else _tree(rests) for key, rests in below.items()}


def _part(value: Any, tree: _Tree) -> Any:
    if not tree:
        return value
    if isinstance(value, list):
        return [_part(each, tree) for each in value]
    if not isinstance(value, Mapping):
        return value
    return {key: _part(value[key], below) for key, below in tree.items() if key in value}
