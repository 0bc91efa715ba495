"""What the daemon knows of pods and definitions before a request asks for them.

A cache follows one list of the API server in a thread of its own.  It may be behind: a reader that
does not find what it looks for asks the API server itself.  Only the fields that sources read are
kept, since a node's daemon lives for months beside thousands of definitions.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen

from multus.errors import CNIError
from multus.kube.client import Change, KubeClient, Watch
from multus.kube.deadline import Deadline
from multus.kube.failures import Gone, NotFound, Unreachable
from multus.kube.pods import is_same

_OPENING = 30.0
_FIRST_WAIT, _LONGEST_WAIT = 0.5, 30.0
#: How long to wait for a kind that the API server does not serve: it is rarely added.
_ABSENT = 300.0

Key = tuple[str, str]


@frozen
class Followed:
    """One list of the API server: its path, its name for people, and a fieldSelector."""

    path: str
    what: str
    field_selector: str = ""
    metadata_only: bool = False


class Follower:
    """Objects of one list, kept up to date by a thread: list, watch, and list again after 410.

    *keep* turns an object's wire form into what is stored, or None to leave it out.  Beyond *most*
    objects the cache stops storing and stays unsynced, so that its memory is bounded and readers
    ask the API server.
    """

    def __init__(
        self,
        client: KubeClient,
        followed: Followed,
        keep: Callable[[Mapping[str, Any]], Any],
        *,
        most: int = 20_000,
        on_problem: Callable[[CNIError], None] | None = None,
    ) -> None:
        self._client, self._followed, self._keep, self._most = client, followed, keep, most
        self._on_problem = on_problem
        self._objects: dict[Key, Any] = {}
        self._heard = 0.0
        self._synced = threading.Event()
        self._stop = threading.Event()
        self._watch: Watch | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(
            target=self._follow, name=f"follow {followed.what}", daemon=True
        )
        self.what = followed.what
        self.lists = 0

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop at once, also in the middle of a watch; the thread is gone afterwards."""
        self._stop.set()
        with self._lock:
            watch = self._watch
        if watch:
            watch.close()
        if self._thread.ident is not None:
            self._thread.join()

    @property
    def synced(self) -> bool:
        """Whether the objects are a complete list that a watch keeps up to date."""
        return self._synced.is_set()

    @property
    def age(self) -> float:
        """Seconds since the API server was last heard of; infinite before the first list."""
        return time.monotonic() - self._heard if self._heard else float("inf")

    def wait(self, seconds: float) -> bool:
        """Wait until it is synced; False when it is not after *seconds*."""
        return self._synced.wait(seconds)

    def __len__(self) -> int:
        return len(self._objects)

    def __getitem__(self, key: Key) -> Any:
        """What is stored for ``(namespace, name)``; None when unknown or not synced."""
        return self._objects.get(key) if self.synced else None

    def _follow(self) -> None:
        pause = _FIRST_WAIT
        while not self._stop.is_set():
            try:
                version = self._list()
                pause = _FIRST_WAIT
                self._watch_from(version)
            except Gone:
                # The server forgot our version; the next list is complete again.
                pause = _FIRST_WAIT
            except CNIError as error:
                self._synced.clear()
                absent = isinstance(error, NotFound) and not error.kind_known
                pause = _ABSENT if absent else min(pause * 2, _LONGEST_WAIT)
                if self._on_problem and not self._stop.is_set():
                    self._on_problem(error)
            self._stop.wait(pause * random.uniform(0.5, 1.0))

    def _list(self) -> str:
        """Read the whole list; the old objects serve until it is complete."""
        followed = self._followed
        query = {"fieldSelector": followed.field_selector} if followed.field_selector else {}
        fresh: dict[Key, Any] = {}
        version, complete = "", True
        pages = self._client.pages(
            followed.path,
            followed.what,
            Deadline.after(_OPENING),
            query=query,
            metadata_only=followed.metadata_only,
        )
        for page in pages:
            version = str((page.get("metadata") or {}).get("resourceVersion", ""))
            for wire in page.get("items") or ():
                kept = self._keep(wire)
                if kept is not None and len(fresh) < self._most:
                    fresh[_key(wire)] = kept
                elif kept is not None:
                    complete = False
        self._objects = fresh
        self._heard = time.monotonic()
        self.lists += 1
        if complete:
            self._synced.set()
        else:
            self._synced.clear()
        return version

    def _watch_from(self, version: str) -> None:
        """Follow changes until something ends them for good (410, errors) or we are closed."""
        followed = self._followed
        query = {"fieldSelector": followed.field_selector} if followed.field_selector else {}
        while not self._stop.is_set():
            watch = self._client.watch(
                followed.path,
                followed.what,
                version,
                Deadline.after(_OPENING),
                query=query,
                metadata_only=followed.metadata_only,
            )
            with self._lock:
                self._watch = watch
            if self._stop.is_set():
                watch.close()
            began = time.monotonic()
            try:
                for change in watch:
                    self._heard = time.monotonic()
                    self._apply(change)
                    version = change.resource_version or version
            except Unreachable as error:
                # Nothing is missed: the next watch goes on from the same version.
                if self._on_problem and not self._stop.is_set():
                    self._on_problem(error)
            if time.monotonic() - began < 1.0:
                # A server that ends watches at once must not be asked in a tight loop.
                self._stop.wait(_FIRST_WAIT)

    def _apply(self, change: Change) -> None:
        if change.kind == "BOOKMARK":
            return
        key = _key(change.object)
        kept = None if change.kind == "DELETED" else self._keep(change.object)
        if kept is None:
            self._objects.pop(key, None)
        elif key in self._objects or len(self._objects) < self._most:
            self._objects[key] = kept
        else:
            self._synced.clear()


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
        self.follower = Follower(client, followed, _metadata, on_problem=on_problem)

    def get(self, namespace: str, name: str, uid: str = "") -> dict[str, Any] | None:
        """The pod's ``metadata`` with name, namespace, uid and annotations; None when unknown.

        A pod with another *uid* is unknown: its successor may not have been heard of yet.
        """
        found = self.follower[namespace, name]
        return dict(found) if found is not None and is_same(found, uid) else None


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
        self.follower = Follower(client, followed, _definition, on_problem=self._problem)

    def get(self, namespace: str, name: str, uid: str = "") -> dict[str, Any] | None:
        """The definition as sources read it; None when unknown."""
        found = self.follower[namespace, name]
        if found is None or (uid and found["metadata"]["uid"] != uid):
            return None
        return dict(found)

    def _problem(self, error: CNIError) -> None:
        if self._report and not (isinstance(error, NotFound) and not error.kind_known):
            self._report(error)


def _definition(wire: Mapping[str, Any]) -> dict[str, Any]:
    """All of a definition but what the API server keeps for itself (managedFields, status)."""
    kept = {key: value for key, value in wire.items() if key not in ("metadata", "status")}
    return {**kept, "metadata": _metadata(wire)}


def _metadata(wire: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of ``metadata`` that sources read; kubectl's copy of the object is none."""
    metadata = wire.get("metadata") or {}
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


def _key(wire: Mapping[str, Any]) -> Key:
    metadata = wire.get("metadata") or {}
    return str(metadata.get("namespace", "")), str(metadata.get("name", ""))
