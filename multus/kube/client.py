"""What Multus asks of the Kubernetes API: pods, definitions, annotations, events."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.api.errors import CNIError, IOFailure
from multus.api.kubernetes._deadline import Deadline
from multus.api.kubernetes._failures import ApiFailure, TooLarge, Unreachable, Unreadable
from multus.api.kubernetes._interface import Annotate
from multus.api.kubernetes._objects import EVENTS, PODS
from multus.kube.answers import failure
from multus.kube.decoding import decode, metadata_of
from multus.kube.editing import Editor
from multus.kube.events import event_of
from multus.kube.fields import selector
from multus.kube.forms import METADATA, METADATA_LIST, TABLE
from multus.kube.keptedits import KeptEdits
from multus.kube.objectwriter import ObjectWriter
from multus.kube.transport import MAX_BODY, HttpClient, Stream
from multus.kube.urls import list_path, path_of

if TYPE_CHECKING:
    from multus.api.kubernetes._edits import Edit
    from multus.api.kubernetes._interface import PodEvent, Write
    from multus.api.kubernetes._objects import ObjectRef, Resource
    from multus.kube.kubeconfig import Access

_CONCURRENT = 4
_PAGE = 250
#: A server sends a bookmark about once a minute.
_SILENCE = 150.0


@frozen
class WatchEvent:
    """One event of a watch: ``ADDED``, ``MODIFIED``, ``DELETED`` or ``BOOKMARK``."""

    kind: str
    object: Mapping[str, Any]

    @property
    def resource_version(self) -> str:
        return str(metadata_of(self.object).get("resourceVersion", ""))


@frozen
class ListPage:
    """A page of a list in its wire form; ``whole`` says that its objects are complete."""

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
    """A client of one API server (``multus.api.kubernetes.Api``); close it when done.

    *node* is the name of this node in events; without it, that is the host's name.  *cni_dir* is
    where `keep` writes, and *kubeconfig* is written with it.
    """

    def __init__(
        self, access: Access, node: str = "", *, cni_dir: str = "", kubeconfig: str = ""
    ) -> None:
        self._kubeconfig = kubeconfig
        self._kept = KeptEdits(cni_dir, only=kubeconfig) if cni_dir else None
        self._transport = HttpClient(access)
        self.server = access.cluster.server
        self.node = node or os.uname().nodename
        self.editor = Editor(ObjectWriter(self._transport), self.get)

    def close(self) -> None:
        """End what is under way, in any thread, and close all connections; for good."""
        self._transport.close()

    def get(self, wanted: ObjectRef, deadline: Deadline) -> dict[str, Any]:
        """One object in its wire form."""
        return self._get(wanted, deadline)

    def _get(
        self, wanted: ObjectRef, deadline: Deadline, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        action = f"get {wanted}"
        body = self._transport.call("GET", path_of(wanted), action, deadline, headers=headers)
        return self._object(action, body)

    def get_each(
        self, wanted: Sequence[ObjectRef], deadline: Deadline
    ) -> list[dict[str, Any] | CNIError]:
        """Several objects at the same time over one connection pool, each or why it failed."""

        def one(each: ObjectRef) -> dict[str, Any] | CNIError:
            try:
                return self.get(each, deadline)
            except CNIError as error:
                return error

        if len(wanted) < 2:
            return [one(each) for each in wanted]
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(min(_CONCURRENT, len(wanted))) as workers:
            return list(workers.map(one, wanted))

    def select(
        self,
        resource: Resource,
        fields: Mapping[str, str],
        deadline: Deadline,
        *,
        fresh: bool = True,
    ) -> list[dict[str, Any]]:
        """The objects of a kind with these values of *fields*; the server is always asked.

        Raises ``TooLarge`` when one object alone is too large.
        """
        found: list[dict[str, Any]] = []
        what = f"{resource} with {selector(fields)}" if fields else str(resource)
        query = {"fieldSelector": selector(fields)} if fields else None
        for page in self.pages(resource, what, deadline.remaining(), query=query):
            if not page.whole:
                raise TooLarge(f"cannot list {what}: one of them is longer than {MAX_BODY} bytes")
            found += [each for each in page.items if isinstance(each, dict)]
        return found

    def lacking(self, wanted: Sequence[ObjectRef], deadline: Deadline) -> list[ObjectRef]:
        """All of *wanted*: a client knows nothing without a request."""
        return list(wanted)

    def pod(self, namespace: str, name: str, deadline: Deadline, uid: str = "") -> dict[str, Any]:
        """The ``metadata`` of a pod; its specification, with all its secrets, is not asked for.

        *uid* is what the caller expects, for those who answer from a cache.
        """
        wanted = PODS.object(namespace, name)
        metadata = self._get(wanted, deadline, METADATA).get("metadata")
        annotations = metadata.get("annotations") if isinstance(metadata, dict) else ()
        if not isinstance(metadata, dict) or not isinstance(annotations, dict | None):
            raise Unreachable(
                f"cannot get {wanted}: {self.server} sent a pod without usable metadata",
                fix="check whether a proxy answers in its place",
            )
        return metadata

    def pages(
        self,
        resource: Resource,
        what: str,
        seconds: float,
        *,
        query: Mapping[str, str] | None = None,
        metadata_only: bool = False,
        table: bool = False,
    ) -> Iterator[ListPage]:
        """The pages of a list; each may take *seconds*.

        With *table* a page is a ``Table`` of columns and metadata, if the server knows tables.

        A page is dropped before the next is read, and pages of large objects hold fewer of them,
        so that memory stays small.  An object that is too large on its own comes without all but
        its ``metadata``, on a page that is not ``whole``.  Raises ``VersionExpired`` when the
        server no longer knows the list between two pages.
        """
        limit, more, whole = _PAGE, "", not metadata_only
        while True:
            wanted = {**(query or {}), "limit": str(limit), **({"continue": more} if more else {})}
            action = f"list {what}"
            headers = METADATA_LIST if not whole else TABLE if table else None
            try:
                body = self._transport.call(
                    "GET",
                    list_path(resource),
                    action,
                    Deadline.after(seconds),
                    query=wanted,
                    headers=headers,
                )
            except TooLarge:
                if limit == 1 and not whole:
                    raise
                limit, whole = max(1, limit // 4), whole and limit > 1
                continue
            page = ListPage(self._object(action, body), whole or metadata_only)
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
        resource: Resource,
        what: str,
        resource_version: str,
        deadline: Deadline,
        *,
        query: Mapping[str, str] | None = None,
        metadata_only: bool = False,
        seconds: int = 300,
    ) -> WatchStream:
        """The changes since *resource_version*, for about *seconds*, bookmarks included.

        *deadline* is for the opening.  The first answer or the iteration raises
        :class:`~multus.api.kubernetes.VersionExpired` when the version is too old: list again.
        """
        action = f"watch {what}"
        stream = self._transport.stream(
            list_path(resource),
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
        return WatchStream(stream, self, action)

    def write(self, writes: Sequence[Write], seconds: float) -> None:
        """Write all of *writes*, in this order; a process that ends afterwards can queue nothing.

        One that is refused does not keep the others from being written; the first error is raised.
        """
        deadline = Deadline.after(seconds)
        errors: list[CNIError] = []
        for each in writes:
            try:
                self.carry_out(each, deadline)
            except CNIError as error:
                errors.append(error)
                if isinstance(error, Unreachable):
                    break
        if errors:
            raise errors[0]

    def edit(self, edit: Edit, deadline: Deadline) -> Any:
        """Make *edit* now; see ``multus.api.kubernetes.Api``."""
        if self._kept is None:
            return self.editor.edit(edit, deadline)
        self._kept.make_before(
            edit.object, lambda _, edits: self.editor.edit_each(edits, deadline), deadline
        )
        answer = self.editor.edit(edit, deadline)
        self._kept.make_rest(self.editor.edit_each, deadline)
        return answer

    def keep(self, edits: Sequence[Edit]) -> None:
        """Keep *edits* in a file; see ``multus.api.kubernetes.Api``."""
        if self._kept is None:
            raise IOFailure("edits cannot be kept: this client has no folder for them")
        self._kept.put(self._kubeconfig, edits)

    def carry_out(self, write: Write, deadline: Deadline) -> None:
        """Make one write.  It may be repeated: what is there already is not an error."""
        if isinstance(write, Annotate):
            self._annotate(write, deadline)
        else:
            self._create_event(write, deadline)

    def _annotate(self, write: Annotate, deadline: Deadline) -> None:
        """The UID is sent too: the API server answers 409 when the pod has another one."""
        pod = write.pod
        metadata: dict[str, Any] = {"annotations": dict(write.annotations)}
        if pod.uid:
            metadata["uid"] = pod.uid
        self._transport.call(
            "PATCH",
            f"{path_of(PODS.object(pod.namespace, pod.name))}/status",
            f"set annotations of pod {pod}",
            deadline,
            headers={**METADATA, "Content-Type": "application/merge-patch+json"},
            body=json.dumps({"metadata": metadata}).encode(),
        )

    def _create_event(self, write: PodEvent, deadline: Deadline) -> None:
        """The event's name is made of its content, so that a repetition makes no second one."""
        pod, event = write.pod, event_of(write, self.node)
        try:
            self._transport.call(
                "POST",
                list_path(EVENTS, pod.namespace),
                f"create an event on pod {pod}",
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
                f"cannot {action}: {self.server} answered something that is not a JSON object",
                fix="check whether a proxy answers in its place",
            )
        return found

    def _gone_or_failed(self, action: str, status: Mapping[str, Any]) -> ApiFailure:
        origin = self._transport.cluster.origin
        given = status.get("code")
        code = given if isinstance(given, int) else 500
        return failure(action, self.server, origin, code, json.dumps(status).encode())


class WatchStream:
    """An open watch: iterate over it in one thread, :meth:`close` it from any."""

    def __init__(self, stream: Stream, client: KubeClient, action: str) -> None:
        self._stream = stream
        self._client = client
        self._action = action

    def __iter__(self) -> Iterator[WatchEvent]:
        for line in self._stream.lines():
            if not line.strip():
                continue
            event = self._client._object(self._action, line)
            kind, found = event.get("type"), event.get("object")
            if not isinstance(found, dict):
                continue
            if kind == "ERROR":
                raise self._client._gone_or_failed(self._action, found)
            yield WatchEvent(str(kind), found)

    def close(self) -> None:
        self._stream.close()
