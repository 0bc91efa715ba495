"""Takes a connection over for ``exec``: the upgrade of a request to WebSocket or SPDY."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

from multus.testing.apiserver.answer import Answering
from multus.testing.apiserver.execution import Streams, execute
from multus.testing.apiserver.spdy import Spdy
from multus.testing.apiserver.store import Refused
from multus.testing.apiserver.websocket import WebSocket

_CHANNELS = ("stdin", "stdout", "stderr")


def attend(handler: Answering, namespace: str, pod: str) -> None:
    """Run the command that the request names in its container, and send what it prints."""
    query = parse_qs(urlsplit(handler.path).query)
    name = query.get("container", [""])[-1]
    container = handler.api.containers.get((namespace, pod, name))
    if container is None:
        raise Refused(400, "BadRequest", f"container {name} is not valid for pod {pod}")
    stdin, streams = query.get("stdin") == ["true"], _upgraded(handler)
    handler.close_connection = True
    if isinstance(streams, Spdy):
        streams.open(channels=1 + sum(query.get(each) == ["true"] for each in _CHANNELS))
    execute(container, query.get("command", []), streams, stdin=stdin)


def _upgraded(handler: Answering) -> Streams:
    """Answer the request for an upgrade."""
    wanted = handler.headers.get("Upgrade", "").lower()
    if wanted == "websocket":
        return WebSocket(handler.connection, handler.path, handler.headers.items())
    if wanted == "spdy/3.1":
        handler.send_response(101)
        handler.send_header("Connection", "Upgrade")
        handler.send_header("Upgrade", "SPDY/3.1")
        handler.send_header("X-Stream-Protocol-Version", "v4.channel.k8s.io")
        handler.end_headers()
        return Spdy(handler.connection)
    raise Refused(400, "BadRequest", "Upgrade request required")
