"""The API server stand-in's HTTP side: paths, verbs, lists in pages, watch streams."""

from __future__ import annotations

import base64
import json
import os
import socket
import ssl
import struct
import time
from functools import partial
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from attrs import frozen

from multus.testing.apiserver.answer import Answering
from multus.testing.apiserver.attending import attend
from multus.testing.apiserver.discovery import discover
from multus.testing.apiserver.faults import Fault
from multus.testing.apiserver.patching import apply_json_patch, edit_by_merge
from multus.testing.apiserver.protobuf import MAGIC, lease_of
from multus.testing.apiserver.store import (
    Event,
    Kind,
    Refused,
    compact_json,
    matches,
    metadata_only,
    require_same,
    resource,
    selected,
)
from multus.testing.apiserver.tables import table_of

_REVIEW = ["apis", "authorization.k8s.io", "v1", "selfsubjectaccessreviews"]
_VERBS = {"GET": "get", "POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}


@frozen
class Target:
    """The target of a path."""

    kind: Kind
    namespace: str
    name: str
    subresource: str


class Handler(Answering):
    """One connection: paths, verbs, lists in pages, watch streams."""

    def handle(self) -> None:
        self.api.connections += 1
        try:
            super().handle()
        except OSError:
            # The client disconnected, or rejected our certificate.
            self.close_connection = True

    def _serve(self) -> None:
        url = urlsplit(self.path)
        self.query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length) if length else b""
        try:
            if url.path.startswith("/stand-in/"):
                self._control(url.path)
                return
            self.api.requests[self.command, url.path] += 1
            self.api.last_headers = self.headers
            fault = self.api.faults.take(self.command, url.path)
            if fault and not self._before(fault):
                return
            self._authenticate()
            self._answer(url.path, fault)
        except Refused as refused:
            self._send(refused.code, refused.wire)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve

    # --- Faults and control ----------------------------------------------------------------------

    def _before(self, fault: Fault) -> bool:
        """Apply the part of a fault before the response; False ends the request."""
        if fault.kind == "status":
            refused = Refused(fault.code, fault.reason, fault.message)
            self._send(fault.code, refused.wire, retry_after=fault.retry_after)
            return False
        if fault.kind == "reset":
            # Closing with a zero linger time sends RST instead of FIN.
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            # The file objects on the socket keep it open, so close the descriptor itself.
            os.close(self.connection.detach())
            self.close_connection = True
            return False
        if fault.kind == "garbage":
            self._send_bytes(200, b"<html>proxy login</html>", "text/html")
            return False
        fault.wait(self.api.stopping)
        return True

    def _control(self, path: str) -> None:
        """Control requests for a stand-in in another process."""
        if path == "/stand-in/requests":
            counts = {f"{method} {where}": n for (method, where), n in self.api.requests.items()}
            self._send(200, {"requests": counts, "connections": self.api.connections})
        elif path == "/stand-in/faults":
            self.api.faults.add(Fault.from_wire(json.loads(self.body)))
            self._send(200, {})
        elif path == "/stand-in/reset":
            self.api.requests.clear()
            self.api.connections = 0
            self.api.faults.clear()
            self._send(200, {})
        else:
            self._send(404, {})

    def _authenticate(self) -> None:
        access, given = self.api.access, self.headers.get("Authorization", "")
        basic = base64.b64encode(f"{access.username}:{access.password}".encode()).decode()
        if given in (f"Bearer {access.token}", f"Basic {basic}"):
            return
        if isinstance(self.connection, ssl.SSLSocket) and self.connection.getpeercert():
            return
        raise Refused(401, "Unauthorized", "Unauthorized")

    # --- Verbs -----------------------------------------------------------------------------------

    def _answer(self, path: str, fault: Fault | None) -> None:
        segments = [unquote(part) for part in path.strip("/").split("/")]
        discovered = discover(segments, self.api.store.kinds())
        if discovered is not None:
            self._send(200, discovered)
            return
        if self.command == "POST" and segments == _REVIEW:
            self._send(201, self._reviewed(self._object()))
            return
        target = self._target(segments)
        self._authorize(target)
        if target.subresource == "exec":
            attend(self, target.namespace, target.name)
            return
        if self.command == "GET" and not target.name:
            if self.query.get("watch") in ("true", "1"):
                self._watch(target)
            else:
                self._send(200, self._list(target), fault)
            return
        status, wire = getattr(self, f"_{_VERBS[self.command]}")(target)
        self._send(status, self._form(wire), fault)

    def _target(self, segments: list[str]) -> Target:
        if segments[:2] == ["api", "v1"]:
            group, version, rest = "", "v1", segments[2:]
        elif segments[0] == "apis" and len(segments) > 3:
            group, version, rest = segments[1], segments[2], segments[3:]
        else:
            rest, group, version = [], "", ""
        namespace = ""
        if len(rest) > 2 and rest[0] == "namespaces":
            namespace, rest = rest[1], rest[2:]
        kind = self.api.store.kind(group, version, rest[0]) if rest else None
        if kind is None or len(rest) > 3:
            raise Refused(404, "NotFound", "the server could not find the requested resource")
        name = rest[1] if len(rest) > 1 else ""
        return Target(kind, namespace, name, rest[2] if len(rest) > 2 else "")

    def _authorize(self, target: Target) -> None:
        verb = _VERBS[self.command]
        if verb == "get" and not target.name:
            verb = "watch" if self.query.get("watch") else "list"
        what = target.kind.plural + (f"/{target.subresource}" if target.subresource else "")
        if (verb, what) in self.api.forbidden:
            raise Refused(
                403,
                "Forbidden",
                f'{resource(target.kind)} "{target.name}" is forbidden: User "system:node:n1" '
                f'cannot {verb} resource "{what}" in API group "{target.kind.group}" in the '
                f'namespace "{target.namespace}"',
                target.kind,
                target.name or "*",
            )

    def _reviewed(self, wire: dict[str, Any]) -> dict[str, Any]:
        """Answer a SelfSubjectAccessReview."""
        asked = (wire.get("spec") or {}).get("resourceAttributes") or {}
        what = str(asked.get("resource", ""))
        if asked.get("subresource"):
            what += f"/{asked['subresource']}"
        allowed = (asked.get("verb"), what) not in self.api.forbidden
        return {**wire, "status": {"allowed": allowed}}

    def _get(self, target: Target) -> tuple[int, dict[str, Any]]:
        return 200, self.api.store.get(target.kind, target.namespace, target.name)

    def _create(self, target: Target) -> tuple[int, dict[str, Any]]:
        wire = self._object()
        if target.kind.plural == "certificatesigningrequests":
            wire["spec"] = {**(wire.get("spec") or {}), **self._user()}
        return 201, self.api.store.create(target.kind, target.namespace, wire)

    def _user(self) -> dict[str, Any]:
        """Who sends the request, as the API server writes it into a certificate's request."""
        proven: Any = None
        if isinstance(self.connection, ssl.SSLSocket):
            proven = self.connection.getpeercert()
        named = dict(pair for part in (proven or {}).get("subject", ()) for pair in part)
        user = named.get("commonName", "system:node:n1")
        groups = [named.get("organizationName", "system:nodes"), "system:authenticated"]
        return {"username": user, "groups": groups}

    def _delete(self, target: Target) -> tuple[int, dict[str, Any]]:
        options = self._object() if self.body else {}
        preconditions = options.get("preconditions") or {}
        store = self.api.store
        return 200, store.delete(target.kind, target.namespace, target.name, preconditions)

    def _update(self, target: Target) -> tuple[int, dict[str, Any]]:
        wire = self._object()

        def edit(stored: dict[str, Any]) -> None:
            metadata = wire.setdefault("metadata", {})
            if target.kind.group.endswith(".cncf.io") and not metadata.get("resourceVersion"):
                message = (
                    "metadata.resourceVersion: Invalid value: 0: must be specified for an update"
                )
                raise Refused(422, "Invalid", message, target.kind, target.name)
            require_same(target.kind, stored, "resourceVersion", metadata.get("resourceVersion"))
            uid, created = (stored["metadata"][key] for key in ("uid", "creationTimestamp"))
            stored.clear()
            stored.update(wire)
            stored["metadata"].update(uid=uid, creationTimestamp=created)

        return 200, self.api.store.change(target.kind, target.namespace, target.name, edit)

    def _patch(self, target: Target) -> tuple[int, dict[str, Any]]:
        form, kind = self.headers.get("Content-Type"), target.kind
        if form == "application/json-patch+json":
            edit = partial(apply_json_patch, kind, self._decoded())
        elif form in ("application/merge-patch+json", "application/strategic-merge-patch+json"):
            edit = partial(edit_by_merge, kind, self._object(), target.subresource)
        else:
            raise Refused(415, "UnsupportedMediaType", "use a merge patch or a JSON patch")
        return 200, self.api.store.change(kind, target.namespace, target.name, edit)

    def _decoded(self) -> Any:
        if self.body.startswith(MAGIC):
            return lease_of(self.body)
        try:
            return json.loads(self.body)
        except ValueError:
            raise Refused(400, "BadRequest", "the object provided is unrecognized") from None

    def _object(self) -> dict[str, Any]:
        wire = self._decoded()
        if not isinstance(wire, dict):
            raise Refused(400, "BadRequest", "the object provided is unrecognized")
        return wire

    # --- Lists and watches -----------------------------------------------------------------------

    def _list(self, target: Target) -> dict[str, Any]:
        store = self.api.store
        items = store.objects(target.kind, target.namespace, selected(self.query))
        version, start = store.version, 0
        if "continue" in self.query:
            token = json.loads(base64.b64decode(self.query["continue"]))
            version, start = token["rv"], token["start"]
            if store.compacted(version):
                raise Refused(410, "Expired", "The provided continue parameter is too old")
        limit = int(self.query.get("limit", "0"))
        metadata: dict[str, Any] = {"resourceVersion": str(version)}
        if limit and start + limit < len(items):
            token = {"rv": version, "start": start + limit}
            metadata["continue"] = base64.b64encode(compact_json(token)).decode()
            metadata["remainingItemCount"] = len(items) - start - limit
        page = items[start : start + limit] if limit else items
        if "as=Table" in self.headers.get("Accept", ""):
            return {**table_of(target.kind, page), "metadata": metadata}
        partial = self._partial()
        return {
            "kind": "PartialObjectMetadataList" if partial else f"{target.kind.kind}List",
            "apiVersion": "meta.k8s.io/v1" if partial else target.kind.api_version,
            "metadata": metadata,
            "items": [*(self._form(item) for item in page), *self.api.odd],
        }

    def _watch(self, target: Target) -> None:
        store, since = self.api.store, int(self.query.get("resourceVersion") or 0)
        ends = time.monotonic() + float(self.query.get("timeoutSeconds") or 1800)
        bookmarks = self.query.get("allowWatchBookmarks") == "true"
        wanted, generation, told = selected(self.query), self.api.generation, 0
        watching = store.watching(target.kind)
        if store.compacted(since) and self.api.gone_as_status:
            raise Refused(410, "Expired", f"too old resource version: {since}")
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

        def happened() -> bool:
            found = store.since(since, target.kind)
            ended = self.api.stopping.is_set() or generation != self.api.generation
            return ended or found is None or bool(found[0])

        while time.monotonic() < ends and not self.api.stopping.is_set():
            pause = min(self.api.bookmark_seconds, ends - time.monotonic())
            with watching:
                watching.wait_for(happened, max(0.0, pause))
                news = store.since(since, target.kind)
            if generation != self.api.generation:
                # The test drops all watches: end abruptly, without the last chunk.
                self.close_connection = True
                return
            if news is None:
                gone = Refused(410, "Expired", f"too old resource version: {since}")
                self._event("ERROR", gone.wire)
                break
            events, since = news
            for wire in self.api.odd[told:]:
                self._event("MODIFIED", wire)
                told += 1
            for event in events:
                if self._concerns(event, target) and matches(event.object, wanted):
                    self._chunk(event.line(partial=self._partial()))
            if not events and bookmarks:
                bookmark = {
                    "kind": target.kind.kind,
                    "apiVersion": target.kind.api_version,
                    "metadata": {"resourceVersion": str(since), "creationTimestamp": None},
                }
                self._event("BOOKMARK", self._form(bookmark))
        self.wfile.write(b"0\r\n\r\n")

    def _concerns(self, event: Event, target: Target) -> bool:
        return target.namespace in ("", event.object["metadata"].get("namespace"))

    def _event(self, kind: str, wire: dict[str, Any]) -> None:
        self._chunk(compact_json({"type": kind, "object": wire}) + b"\n")

    def _partial(self) -> bool:
        return "PartialObjectMetadata" in self.headers.get("Accept", "")

    def _form(self, wire: dict[str, Any]) -> dict[str, Any]:
        return metadata_only(wire) if self._partial() else wire
