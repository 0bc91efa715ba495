"""A stand-in for the Kubernetes API server that speaks its wire form over TLS.

In a test::

    with ApiServer() as api:
        api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {...}, ...})
        api.faults.add(Fault("status", path="*/pods/web", code=429, retry_after="1"))
        kubeconfig = api.write_kubeconfig(tmp_path)
        ...
        assert api.requests["GET", "/api/v1/namespaces/default/pods/web"] == 2

or as a process of its own, which prints its URL when it listens::

    python -m multus.testing.apiserver --directory /tmp/api --objects deploy/examples/*.yaml

``kubectl --kubeconfig /tmp/api/kubeconfig`` works with it.  Certificates are made at the start by
trustme (extra ``test``).
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import signal
import socket
import ssl
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from email.message import Message
from http.server import ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from multus.testing.apiserver_faults import Fault, Faults
from multus.testing.apiserver_http import Handler
from multus.testing.apiserver_store import CORE_KINDS, NETWORK_KINDS, Kind, Store

if TYPE_CHECKING:
    from types import TracebackType

#: How a kubeconfig may prove who it is.
PROOFS = ("token", "token-file", "basic", "certificate", "certificate-file", "exec")


class _Listener(ThreadingHTTPServer):
    """Threads end with the process; the TLS handshake is made in the connection's thread."""

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
        """Show defects of the stand-in, but not that a client went away."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class ApiServer:
    """The stand-in; a context manager that listens on loopback in threads of this process.

    ``requests`` counts ``(method, path)``, ``connections`` the TLS connections; ``forbidden`` holds
    pairs such as ``("get", "pods")`` or ``("patch", "pods/status")`` that are answered with 403;
    ``last_headers`` are those of the last request.  What stands in ``odd`` is in every list, and
    told to every watch once, as it is.  With *netns*, the path of a network namespace,
    it listens on the loopback in there, where a node's programs are.
    """

    def __init__(
        self,
        kinds: tuple[Kind, ...] = CORE_KINDS + NETWORK_KINDS,
        *,
        port: int = 0,
        netns: str = "",
        bookmark_seconds: float = 0.2,
    ) -> None:
        self.store = Store(kinds)
        self.faults = Faults()
        self.requests: Counter[tuple[str, str]] = Counter()
        self.forbidden: set[tuple[str, str]] = set()
        self.odd: list[Any] = []
        self.connections = 0
        self.last_headers = Message()
        self.token = "stand-in-token"
        self.username, self.password = "stand-in", "stand-in-password"
        self.bookmark_seconds = bookmark_seconds
        self.gone_as_status = False
        self.generation = 0
        self.stopping = False
        self._make_certificates()
        handler = type("BoundHandler", (Handler,), {"api": self})
        with _within(netns):
            self._listener = _Listener(("127.0.0.1", port), handler)
        self._listener.tls = self._server_tls()
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
        self.stopping = True
        with self.store.changed:
            self.store.changed.notify_all()
        self._listener.shutdown()
        self._listener.server_close()
        self._thread.join()

    # --- Objects ---------------------------------------------------------------------------------

    def create(self, wire: Mapping[str, Any]) -> dict[str, Any]:
        """Store an object as if a user had created it; its kind must be served."""
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
        """Store a small pod; its specification holds a secret that must not be seen anywhere."""
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
        """The stored form of an object that is named like *wire*."""
        kind, namespace, name = self._key(wire)
        return self.store.get(kind, namespace, name)

    def delete(self, wire: Mapping[str, Any]) -> None:
        self.store.delete(*self._key(wire))

    def drop_watches(self) -> None:
        """Cut every open watch, as a restart of the API server does."""
        with self.store.changed:
            self.generation += 1
            self.store.changed.notify_all()

    def _key(self, wire: Mapping[str, Any]) -> tuple[Kind, str, str]:
        kind = self.store.kind_of(wire)
        metadata = wire["metadata"]
        namespace = metadata.get("namespace", "default") if kind.namespaced else ""
        return kind, namespace, metadata["name"]

    # --- Access ----------------------------------------------------------------------------------

    def write_kubeconfig(
        self, directory: str | os.PathLike[str], proof: str = "token", **cluster: Any
    ) -> str:
        """Write a kubeconfig (JSON) that gives access; *cluster* changes keys of its cluster.

        *proof* is one of ``PROOFS``.  Returns its path.
        """
        where = os.fspath(directory)
        section: dict[str, Any] = {
            "server": self.url,
            "certificate-authority-data": base64.b64encode(self.ca_pem).decode(),
        }
        section.update({key.replace("_", "-"): value for key, value in cluster.items()})
        wire = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "stand-in", "cluster": {k: v for k, v in section.items() if v is not None}}
            ],
            "users": [{"name": "node", "user": self._user(where, proof)}],
            "contexts": [{"name": "node", "context": {"cluster": "stand-in", "user": "node"}}],
            "current-context": "node",
        }
        return _write(where, "kubeconfig", json.dumps(wire, indent=2).encode())

    def _user(self, where: str, proof: str) -> dict[str, Any]:
        chain, key = self.client_certificate
        if proof == "token":
            return {"token": self.token}
        if proof == "token-file":
            _write(where, "token", self.token.encode() + b"\n")
            return {"tokenFile": "token"}
        if proof == "basic":
            return {"username": self.username, "password": self.password}
        if proof == "certificate":
            return {
                "client-certificate-data": base64.b64encode(chain).decode(),
                "client-key-data": base64.b64encode(key).decode(),
            }
        if proof == "certificate-file":
            _write(where, "client.crt", chain)
            _write(where, "client.key", key)
            return {"client-certificate": "client.crt", "client-key": "client.key"}
        if proof == "exec":
            return {"exec": self._exec_plugin(where)}
        raise ValueError(f"no such proof: {proof!r}; use one of {', '.join(PROOFS)}")

    def _exec_plugin(self, where: str) -> dict[str, Any]:
        credential = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": self.token},
        }
        _write(where, "credential.json", json.dumps(credential).encode())
        script = _write(
            where, "credential", b'#!/bin/sh\nexec cat "$(dirname "$0")/credential.json"\n'
        )
        os.chmod(script, 0o700)
        return {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "./credential",
            "interactiveMode": "Never",
        }

    def _make_certificates(self) -> None:
        import trustme

        self._authority = trustme.CA(organization_name="multus stand-in")
        self.ca_pem = self._authority.cert_pem.bytes()
        node = self._authority.issue_cert("node@stand-in", common_name="system:node:n1")
        self.client_certificate = (
            b"".join(blob.bytes() for blob in node.cert_chain_pems),
            node.private_key_pem.bytes(),
        )

    def _server_tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        names = ("127.0.0.1", "localhost", "kubernetes.default.svc")
        self._authority.issue_cert(*names).configure_cert(context)
        self._authority.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


@contextmanager
def _within(netns: str) -> Iterator[None]:
    """The calling thread is in *netns*: a socket that is opened there stays there."""
    if not netns:
        yield
        return
    from multus.netlink import Namespace

    with Namespace(netns) as namespace, namespace.entered():
        yield


def _write(directory: str, name: str, content: bytes) -> str:
    path = os.path.join(directory, name)
    temporary = f"{path}.new"
    with open(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    os.replace(temporary, path)
    return path


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser(prog="apiserver", description=__doc__.partition("\n")[0])
    parser.add_argument("--directory", required=True, help="where the kubeconfig is written")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--proof", choices=PROOFS, default="token")
    parser.add_argument("--slow", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--bookmarks", type=float, default=60.0, help="seconds between them")
    parser.add_argument("--objects", nargs="*", default=[], help="YAML or JSON files")
    options = parser.parse_args(arguments)
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    with ApiServer(port=options.port, bookmark_seconds=options.bookmarks) as api:
        for path in options.objects:
            _load(api, path)
        if options.slow:
            api.faults.add(Fault("slow", times=0, seconds=options.slow))
        os.makedirs(options.directory, mode=0o700, exist_ok=True)
        _write(options.directory, "ca.crt", api.ca_pem)
        api.write_kubeconfig(options.directory, options.proof)
        sys.stdout.write(f"{api.url}\n")
        sys.stdout.flush()
        ended.wait()
    return 0


def _load(api: ApiServer, path: str) -> None:
    import yaml

    with open(path, encoding="utf-8") as file:
        for wire in yaml.safe_load_all(file):
            for each in (wire or {}).get("items", [wire]) if wire else []:
                api.create(each)


if __name__ == "__main__":
    sys.exit(main())
