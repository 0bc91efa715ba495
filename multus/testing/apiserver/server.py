"""The stand-in's server: a listener on loopback, its threads, its objects."""

from __future__ import annotations

import os
import socket
import ssl
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from multus.testing.apiserver.handler import Handler
from multus.testing.apiserver.state import State
from multus.testing.apiserver.store import (
    ADDRESS_KINDS,
    CORE_KINDS,
    DEVICE_KINDS,
    NETWORK_KINDS,
    Kind,
    merge_patch,
)

if TYPE_CHECKING:
    from types import TracebackType


class _Listener(ThreadingHTTPServer):
    """Daemon threads; the connection's thread does the TLS handshake."""

    daemon_threads = True
    request_queue_size = 128
    tls: ssl.SSLContext

    def get_request(self) -> tuple[socket.socket, Any]:
        connection, address = super().get_request()
        wrapped = self.tls.wrap_socket(
            connection, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )
        return wrapped, address

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Print errors of the stand-in, except disconnects of clients."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class ApiServer(State):
    """The stand-in; a context manager that listens on loopback in threads of this process.

    With *netns*, the path of a network namespace, it listens on the loopback of that namespace,
    where a node's programs run.
    """

    def __init__(
        self,
        kinds: tuple[Kind, ...] = CORE_KINDS + DEVICE_KINDS + NETWORK_KINDS + ADDRESS_KINDS,
        *,
        port: int = 0,
        netns: str = "",
        bookmark_seconds: float = 0.2,
    ) -> None:
        super().__init__(kinds, bookmark_seconds)
        handler = type("BoundHandler", (Handler,), {"api": self})
        with _within(netns):
            self._listener = _Listener(("127.0.0.1", port), handler)
        self._listener.tls = self.access.server_tls()
        self.port = int(self._listener.server_address[1])
        self.url = f"https://127.0.0.1:{self.port}"
        self._thread = threading.Thread(
            target=self._listener.serve_forever, args=(0.05,), name="apiserver", daemon=True
        )

    def __enter__(self) -> ApiServer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stopping.set()
        self.store.wake()
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    # --- Objects ---------------------------------------------------------------------------------

    def create(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        """Store an object as if a user created it; its kind must be served."""
        kind = self.store.kind_of(wire)
        namespace = wire.get("metadata", {}).get("namespace", "default") if kind.namespaced else ""
        return self.store.create(kind, namespace, wire)

    def create_pod(
        self,
        name: str,
        annotations: Mapping[str, str] | None = None,
        *,
        namespace: str = "default",
        node: str = "n1",
        **metadata: Any,
    ) -> dict[str, Any]:
        """Store a small pod; its specification contains a secret that must not leak."""
        container = {
            "name": name,
            "image": "busybox",
            "env": [{"name": "KEY", "value": "pod-secret"}],
        }
        return self.create(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "name": name,
                    "namespace": namespace,
                    "annotations": dict(annotations or {}),
                    **metadata,
                },
                "spec": {"nodeName": node, "containers": [container]},
            }
        )

    def get(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        """The stored object with the kind and name of *wire*."""
        kind, namespace, name = self._key(wire)
        return self.store.get(kind, namespace, name)

    def annotate(
        self, name: str, annotations: Mapping[str, str | None], *, namespace: str = "default"
    ) -> None:
        """Set annotations of a pod as ``kubectl annotate`` does; None removes one."""
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}

        def edit(stored: dict[str, Any]) -> None:
            patch = {"annotations": dict(annotations)}
            stored["metadata"] = merge_patch(stored["metadata"], patch)

        self.store.change(self.store.kind_of(pod), namespace, name, edit)

    def delete(self, wire: Mapping[str, Any]) -> None:
        self.store.delete(*self._key(wire))

    def drop_watches(self) -> None:
        """Abort every open watch, as a restart of the API server does."""
        self.generation += 1
        self.store.wake()

    def _key(self, wire: Mapping[str, Any]) -> tuple[Kind, str, str]:
        kind = self.store.kind_of(wire)
        metadata = wire["metadata"]
        namespace = metadata.get("namespace", "default") if kind.namespaced else ""
        return kind, namespace, metadata["name"]

    @property
    def ca_pem(self) -> bytes:
        """The certificate that clients have to trust, PEM."""
        return self.access.ca_pem

    def write_kubeconfig(
        self, directory: str | os.PathLike[str], proof: str = "token", **cluster: Any
    ) -> str:
        """Write a kubeconfig (JSON) that gives access; *cluster* changes keys of its cluster.

        *proof* is one of ``PROOFS``.  Returns its path.
        """
        return self.access.write_kubeconfig(self.url, directory, proof, **cluster)


@contextmanager
def _within(netns: str) -> Iterator[None]:
    """Move the calling thread into *netns*; sockets that it opens stay there."""
    if not netns:
        yield
        return
    from multus.netlink import Namespace

    with Namespace(netns) as namespace, namespace.entered():
        yield
