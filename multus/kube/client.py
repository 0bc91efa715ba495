"""What Multus asks of the Kubernetes API: pods, definitions, annotations, events."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.errors import CNIError
from multus.kube.failures import ApiFailure, Gone, Unreachable, failure
from multus.kube.transport import Stream, Transport, path_of

if TYPE_CHECKING:
    from multus.kube.deadline import Deadline
    from multus.kube.kubeconfig import Access

#: Only ``metadata`` of an object leaves the server; one too old for that sends the whole object.
METADATA = {
    "Accept": "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1, application/json"
}
_METADATA_LIST = {
    "Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1, application/json"
}
_CONCURRENT = 4
_PAGE = 250
#: A server sends a bookmark about once a minute.
_SILENCE = 150.0


@frozen
class Wanted:
    """One object to read: its URL path and its name for people ("network default/a")."""

    path: str
    what: str


@frozen
class Change:
    """One event of a watch: ``ADDED``, ``MODIFIED``, ``DELETED`` or ``BOOKMARK``."""

    kind: str
    object: Mapping[str, Any]

    @property
    def resource_version(self) -> str:
        return str((self.object.get("metadata") or {}).get("resourceVersion", ""))


class KubeClient:
    """A client of one API server, for as long as its user lives; close it when done.

    Every method takes the deadline of the whole CNI call and raises ``multus.errors`` classes:
    :class:`~multus.kube.failures.NotFound` and other ``TryAgainLater`` for what the server says,
    ``InvalidConfig`` for a kubeconfig that is wrong.
    """

    def __init__(self, access: Access) -> None:
        self._transport = Transport(access)
        self.server = access.cluster.server

    def close(self) -> None:
        self._transport.close()

    def get(
        self,
        wanted: Wanted,
        deadline: Deadline,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """One object in its wire form."""
        action = f"get {wanted.what}"
        body = self._transport.call("GET", wanted.path, action, deadline, headers=headers)
        return self._object(action, body)

    def get_each(
        self, wanted: Sequence[Wanted], deadline: Deadline
    ) -> list[dict[str, Any] | CNIError]:
        """Several objects at the same time over one connection pool, each or why it failed."""

        def one(each: Wanted) -> dict[str, Any] | CNIError:
            try:
                return self.get(each, deadline)
            except CNIError as error:
                return error

        if len(wanted) < 2:
            return [one(each) for each in wanted]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(_CONCURRENT, len(wanted))) as workers:
            return list(workers.map(one, wanted))

    def pod(self, namespace: str, name: str, deadline: Deadline, uid: str = "") -> dict[str, Any]:
        """The ``metadata`` of a pod; its specification, with all its secrets, is not asked for.

        *uid* is what the caller expects, for those who answer from a cache.
        """
        wanted = Wanted(
            path_of("api", "v1", "namespaces", namespace, "pods", name), f"pod {namespace}/{name}"
        )
        metadata = self.get(wanted, deadline, METADATA).get("metadata")
        if not isinstance(metadata, dict):
            raise Unreachable(f"cannot {wanted.what}: {self.server} sent a pod without metadata")
        return metadata

    def pages(
        self,
        path: str,
        what: str,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        metadata_only: bool = False,
    ) -> Iterator[dict[str, Any]]:
        """The pages of a list, each in wire form: ``items``, and ``metadata.resourceVersion``.

        A page is dropped before the next is read, so that memory stays small.  Raises
        :class:`~multus.kube.failures.Gone` when the server forgot the list between two pages.
        """
        action = f"list {what}"
        wanted = {**(query or {}), "limit": str(_PAGE)}
        while True:
            body = self._transport.call(
                "GET",
                path,
                action,
                deadline,
                query=wanted,
                headers=_METADATA_LIST if metadata_only else None,
            )
            page = self._object(action, body)
            more = (page.get("metadata") or {}).get("continue")
            yield page
            del page, body
            if not more:
                return
            wanted["continue"] = str(more)

    def watch(
        self,
        path: str,
        what: str,
        resource_version: str,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        metadata_only: bool = False,
        seconds: int = 300,
    ) -> Watch:
        """The changes since *resource_version*, for about *seconds*, bookmarks included.

        *deadline* is for the opening.  The first answer or the iteration raises
        :class:`~multus.kube.failures.Gone` when the version is too old: list again.
        """
        action = f"watch {what}"
        stream = self._transport.stream(
            path,
            action,
            deadline,
            query={
                **(query or {}),
                "watch": "true",
                "allowWatchBookmarks": "true",
                "resourceVersion": resource_version,
                "timeoutSeconds": str(seconds),
            },
            headers=METADATA if metadata_only else {},
            silence=min(_SILENCE, seconds + 15.0),
        )
        return Watch(stream, self, action)

    def annotate_pod(
        self,
        namespace: str,
        name: str,
        uid: str,
        annotations: Mapping[str, str | None],
        deadline: Deadline,
    ) -> None:
        """Set annotations of a pod (None removes one) through its ``status`` subresource.

        With *uid*, a pod of the same name that came later is left alone: 409.
        """
        metadata: dict[str, Any] = {"annotations": dict(annotations)}
        if uid:
            metadata["uid"] = uid
        self._transport.call(
            "PATCH",
            path_of("api", "v1", "namespaces", namespace, "pods", name, "status"),
            f"set annotations of pod {namespace}/{name}",
            deadline,
            headers={**METADATA, "Content-Type": "application/merge-patch+json"},
            body=json.dumps({"metadata": metadata}).encode(),
        )

    def create_event(
        self,
        namespace: str,
        name: str,
        uid: str,
        *,
        kind: str,
        reason: str,
        message: str,
        node: str,
        deadline: Deadline,
    ) -> None:
        """Tell the reader of ``kubectl describe pod`` something; *kind* is Normal or Warning.

        The event's name is made of what it says, so that repeating it is harmless.
        """
        now = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        digest = hashlib.sha256("\0".join((uid, reason, message, now)).encode()).hexdigest()[:16]
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"namespace": namespace, "name": f"{name[:230]}.{digest}"},
            "involvedObject": {
                "apiVersion": "v1",
                "kind": "Pod",
                "namespace": namespace,
                "name": name,
                "uid": uid,
            },
            "type": kind,
            "reason": reason,
            # The API refuses longer messages.
            "message": message[:1024],
            "source": {"component": "multus", "host": node},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        }
        try:
            self._transport.call(
                "POST",
                path_of("api", "v1", "namespaces", namespace, "events"),
                f"create an event on pod {namespace}/{name}",
                deadline,
                headers={"Content-Type": "application/json"},
                body=json.dumps(event).encode(),
            )
        except ApiFailure as error:
            # An earlier try arrived, though its answer was lost.
            if error.reason != "AlreadyExists":
                raise

    def _object(self, action: str, body: bytes) -> dict[str, Any]:
        try:
            found = json.loads(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Unreachable(
                f"cannot {action}: {self.server} answered something that is no JSON object; "
                "check that a proxy does not stand in between"
            )
        return found

    def _gone_or_failed(self, action: str, status: Mapping[str, Any]) -> ApiFailure:
        origin = self._transport.cluster.origin
        code = int(status.get("code") or 500)
        return failure(action, self.server, origin, code, json.dumps(status).encode())


class Watch:
    """An open watch: iterate over it in one thread, :meth:`close` it from any."""

    def __init__(self, stream: Stream, client: KubeClient, action: str) -> None:
        self._stream = stream
        self._client = client
        self._action = action

    def __iter__(self) -> Iterator[Change]:
        for line in self._stream.lines():
            if not line.strip():
                continue
            event = self._client._object(self._action, line)
            kind, found = event.get("type"), event.get("object")
            if not isinstance(found, dict):
                continue
            if kind == "ERROR":
                raise self._client._gone_or_failed(self._action, found)
            yield Change(str(kind), found)

    def close(self) -> None:
        self._stream.close()


__all__ = ["METADATA", "Change", "Gone", "KubeClient", "Wanted", "Watch"]
