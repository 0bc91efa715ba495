"""An API server that sends raw text: invalid objects, and pages of any size."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from multus.kube.kubeconfig import Access, load_kubeconfig


class Scripted(ThreadingHTTPServer):
    """Serves one list in pages, one watch, and ``objects`` by path; all are raw JSON.

    ``partial`` is what an item looks like when only metadata is asked for.  ``asked`` are the
    queries in their order.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.items: list[bytes] = []
        self.objects: dict[str, bytes] = {}
        self.partial: dict[int, bytes] = {}
        self.asked: list[dict[str, str]] = []
        self.events: list[bytes] = []
        self.changed = threading.Condition()
        self.stopping = False

    def send(self, event: bytes) -> None:
        """Send a line to all watches."""
        with self.changed:
            self.events.append(event)
            self.changed.notify_all()

    def access(self, folder: Path) -> Access:
        path = folder / "scripted.kubeconfig"
        cluster = {"server": f"http://127.0.0.1:{self.server_address[1]}"}
        wire = {
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "u", "user": {"token": "t"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path.write_text(json.dumps(wire))
        return load_kubeconfig(str(path))

    @property
    def lists(self) -> list[dict[str, str]]:
        return [each for each in self.asked if "watch" not in each]


class _Handler(BaseHTTPRequestHandler):
    server: Scripted
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Standard error is the tests'."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:
            self.close_connection = True  # the client went away

    def do_GET(self) -> None:
        query = {key: each[-1] for key, each in parse_qs(urlsplit(self.path).query).items()}
        self.server.asked.append(query)
        found = self.server.objects.get(urlsplit(self.path).path)
        if found is not None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(found)))
            self.end_headers()
            self.wfile.write(found)
        elif "watch" in query:
            self._watch()
        else:
            self._list(query)

    def _list(self, query: dict[str, str]) -> None:
        server, start = self.server, int(query.get("continue", "0"))
        end = start + int(query["limit"])
        partial = "PartialObjectMetadataList" in self.headers.get("Accept", "")
        items = [
            server.partial.get(index, item) if partial else item
            for index, item in enumerate(server.items[start:end], start)
        ]
        more = str(end) if end < len(server.items) else ""
        head = json.dumps({"resourceVersion": "7", "continue": more}).encode()
        head = b'{"metadata":%s,"items":[' % head
        length = len(head) + sum(map(len, items)) + max(0, len(items) - 1) + 2
        self.send_response(200)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        # Not joined: tests measure this process's memory.
        self.wfile.write(head)
        for number, item in enumerate(items):
            self.wfile.write(b"," if number else b"")
            self.wfile.write(item)
        self.wfile.write(b"]}")

    def _watch(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        server = self.server
        while not server.stopping:
            with server.changed:
                server.changed.wait_for(lambda: server.events or server.stopping, 0.2)
                lines, server.events = server.events, []
            for line in lines:
                self.wfile.write(b"%x\r\n%s\n\r\n" % (len(line) + 1, line))


@contextmanager
def scripted() -> Iterator[Scripted]:
    server = Scripted()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopping = True
        server.shutdown()
        server.server_close()
        thread.join()


def nad(name: str, config: str = "{}", **more: object) -> bytes:
    """A definition in namespace team, as compact JSON."""
    wire = {
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"namespace": "team", "name": name, "uid": f"u-{name}", **more},
        "spec": {"config": config},
    }
    return json.dumps(wire, separators=(",", ":")).encode()


def event(kind: str, item: bytes) -> bytes:
    """A line of a watch."""
    return b'{"type":"%s","object":%s}' % (kind.encode(), item)
