"""What Multus asks of the Kubernetes API: pods, definitions, annotations, events."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from attrs import frozen

from multus.api.errors import CNIError
from multus.kube.deadline import Deadline
from multus.kube.failures import ApiFailure, Gone, TooLarge, Unreachable, Unreadable, failure
from multus.kube.transport import MAX_BODY, Stream, Transport, path_of
from multus.kube.wire import decode, metadata_of

if TYPE_CHECKING:
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

    @property
    def namespace(self) -> str:
        """The namespace that is read, as the path has it; "" for what is in none."""
        _, found, rest = self.path.partition("/namespaces/")
        return unquote(rest.partition("/")[0]) if found else ""


@frozen
class Change:
    """One event of a watch: ``ADDED``, ``MODIFIED``, ``DELETED`` or ``BOOKMARK``."""

    kind: str
    object: Mapping[str, Any]

    @property
    def resource_version(self) -> str:
        return str(metadata_of(self.object).get("resourceVersion", ""))


@frozen
class Page:
    """A page of a list in its wire form; ``whole`` says that its objects are as they were asked."""

    wire: Mapping[str, Any]
    whole: bool = True

    @property
    def items(self) -> Sequence[Any]:
        found = self.wire.get("items")
        return found if isinstance(found, list) else ()

    @property
    def resource_version(self) -> str:
        return str(metadata_of(self.wire).get("resourceVersion", ""))


class KubeClient:
    """A client of one API server, for as long as its user lives; close it when done.

    Every method takes the deadline of the whole CNI call and raises ``multus.api.errors`` classes:
    :class:`~multus.kube.failures.NotFound` and other ``TryAgainLater`` for what the server says,
    ``InvalidConfig`` for a kubeconfig that is wrong.
    """

    def __init__(self, access: Access) -> None:
        self._transport = Transport(access)
        self.server = access.cluster.server

    def close(self) -> None:
        """End what is under way, in any thread, and close all connections; for good."""
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
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else ()
        if not isinstance(metadata, dict) or not isinstance(annotations, dict | None):
            raise Unreachable(
                f"cannot get {wanted.what}: {self.server} sent a pod without usable metadata",
                fix="check that a proxy does not stand in between",
            )
        return metadata

    def pages(
        self,
        path: str,
        what: str,
        seconds: float,
        *,
        query: Mapping[str, str] | None = None,
        metadata_only: bool = False,
    ) -> Iterator[Page]:
        """The pages of a list; each may take *seconds*.

        A page is dropped before the next is read, and pages of large objects hold fewer of them,
        so that memory stays small.  An object that is too large on its own comes without all but
        its ``metadata``, on a page that is not ``whole``.  Raises
        :class:`~multus.kube.failures.Gone` when the server forgot the list between two pages.
        """
        limit, more, whole = _PAGE, "", not metadata_only
        while True:
            wanted = {**(query or {}), "limit": str(limit), **({"continue": more} if more else {})}
            action, headers = f"list {what}", None if whole else _METADATA_LIST
            try:
                body = self._transport.call(
                    "GET", path, action, Deadline.after(seconds), query=wanted, headers=headers
                )
            except TooLarge:
                if limit == 1 and not whole:
                    raise
                limit, whole = max(1, limit // 4), whole and limit > 1
                continue
            page = Page(self._object(action, body), whole or metadata_only)
            more = str(metadata_of(page.wire).get("continue") or "")
            # As many as fill half of what is read, by the objects of this page.
            limit = max(1, min(_PAGE, limit * 4, limit * MAX_BODY // (2 * len(body))))
            whole = not metadata_only
            yield page
            del page, body
            if not more:
                return

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
            if error.word != "AlreadyExists":
                raise

    def _object(self, action: str, body: bytes) -> dict[str, Any]:
        try:
            found = decode(body)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Unreadable(
                f"cannot {action}: {self.server} answered something that is no JSON object",
                fix="check that a proxy does not stand in between",
            )
        return found

    def _gone_or_failed(self, action: str, status: Mapping[str, Any]) -> ApiFailure:
        origin = self._transport.cluster.origin
        given = status.get("code")
        code = given if isinstance(given, int) else 500
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


__all__ = ["METADATA", "Change", "Gone", "KubeClient", "Page", "Wanted", "Watch"]
