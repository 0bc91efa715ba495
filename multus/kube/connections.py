"""Connections to one API server: TLS, proxy, and the pool of open connections.

urllib3 does HTTP, TLS, pooling and proxies.
"""

from __future__ import annotations

import os
import socket
import ssl
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from weakref import WeakSet

import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import InsecureRequestWarning

from multus.api.errors import InvalidConfig

if TYPE_CHECKING:
    from multus.kube.kubeconfig import Cluster
    from multus.kube.proof import Certificate

# A watch may be silent for minutes: only keep-alive probes notice that the server is gone.
_SOCKET_OPTIONS = [
    *HTTPConnection.default_socket_options,
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
]


class Sockets:
    """The open sockets of a client; :meth:`close` ends every wait for one of them."""

    def __init__(self) -> None:
        self._open: WeakSet[socket.socket] = WeakSet()
        self._lock = threading.Lock()
        self._closed = False

    def add(self, opened: socket.socket) -> None:
        """Remember *opened*; raises ``OSError`` when the client was closed meanwhile."""
        with self._lock:
            if self._closed:
                raise ConnectionAbortedError("the client was closed")
            self._open.add(opened)

    def close(self) -> None:
        """End every read, write and TLS handshake, in whichever thread; allow no more."""
        with self._lock:
            self._closed = True
            found = list(self._open)
        for each in found:
            # Not the method of an SSL socket: that one removes TLS while another thread reads.
            with suppress(OSError):
                socket.socket.shutdown(each, socket.SHUT_RDWR)


class ConnectionPool:
    """Connections with one CA and one client certificate; safe to use from several threads."""

    def __init__(
        self,
        cluster: Cluster,
        authority: bytes,
        certificate: Certificate | None,
        sockets: Sockets,
    ) -> None:
        settings: dict[str, Any] = {"maxsize": 8, "socket_options": _SOCKET_OPTIONS}
        if cluster.server.startswith("https:"):
            settings["ssl_context"] = _tls(cluster, authority, certificate)
            settings["ssl_context"].sslsocket_class = _tls_socket(sockets)
            if cluster.tls_server_name:
                settings["server_hostname"] = cluster.tls_server_name
        proxy = cluster.proxy_url or _proxy_of_environment(cluster.server)
        self._pool: urllib3.PoolManager | urllib3.HTTPConnectionPool
        if proxy:
            self._pool = _proxied(cluster, proxy, settings)
            self._base = cluster.server
        else:
            # A manager would look up the pool of this one server before every request.
            self._pool = urllib3.connection_from_url(cluster.server, **settings)
            if cluster.server.startswith("http:"):
                self._pool.ConnectionCls = _plain_connection(sockets)
            self._base = urlsplit(cluster.server).path

    def send(self, method: str, target: str, **options: Any) -> urllib3.BaseHTTPResponse:
        """Send a request for *target*, a path with its query; the answer is not read yet."""
        return self._pool.urlopen(
            method,
            self._base + target,
            retries=False,
            redirect=False,
            preload_content=False,
            **options,
        )

    def close(self) -> None:
        """Close every idle connection."""
        if isinstance(self._pool, urllib3.PoolManager):
            self._pool.clear()
        else:
            self._pool.close()


def _tls_socket(sockets: Sockets) -> type[ssl.SSLSocket]:
    """TLS sockets that *sockets* knows from their handshake on."""

    class Known(ssl.SSLSocket):
        def do_handshake(self, block: bool = False) -> None:
            sockets.add(self)
            super().do_handshake(block)

    return Known


def _plain_connection(sockets: Sockets) -> type[HTTPConnection]:
    """Connections without TLS whose socket *sockets* knows."""

    class Known(HTTPConnection):
        def _new_conn(self) -> socket.socket:
            opened = super()._new_conn()
            sockets.add(opened)
            return opened

    return Known


def _proxied(cluster: Cluster, proxy: str, settings: dict[str, Any]) -> urllib3.PoolManager:
    if proxy.startswith("socks5"):
        try:
            from urllib3.contrib.socks import SOCKSProxyManager
        except ImportError as error:
            raise InvalidConfig(
                f"{cluster.origin}: proxy-url is a SOCKS proxy, which needs PySocks",
                fix="install urllib3[socks]",
            ) from error
        return SOCKSProxyManager(proxy, num_pools=2, **settings)
    if not proxy.startswith(("http://", "https://")):
        raise InvalidConfig(f"{cluster.origin}: proxy-url must begin with http, https or socks5")
    parts = urlsplit(proxy)
    headers = None
    if parts.username:
        headers = urllib3.make_headers(proxy_basic_auth=f"{parts.username}:{parts.password or ''}")
        proxy = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    return urllib3.ProxyManager(proxy, num_pools=2, proxy_headers=headers, **settings)


def _proxy_of_environment(server: str) -> str:
    """The proxy that HTTPS_PROXY and NO_PROXY name, as kubectl reads them."""
    scheme = server.partition(":")[0]
    if not (os.environ.get(f"{scheme}_proxy") or os.environ.get(f"{scheme}_proxy".upper())):
        return ""
    from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore

    host = urlsplit(server).netloc
    if proxy_bypass_environment(host):
        return ""
    return str(getproxies_environment().get(scheme, ""))


def _tls(cluster: Cluster, authority: bytes, certificate: Certificate | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(
            cadata=authority.decode("ascii", "replace") if authority else None
        )
    except ssl.SSLError as error:
        raise InvalidConfig(
            f"{cluster.origin}: certificate-authority is not a PEM certificate",
            fix="correct it",
        ) from error
    # Python 3.13 began to refuse CAs without an Authority Key Identifier, which older installers of
    # clusters made and all other clients accept.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if cluster.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        # The kubeconfig asks for it; a warning for each request would fill the runtime's log.
        urllib3.disable_warnings(InsecureRequestWarning)
    if certificate:
        _load(context, cluster, certificate)
    return context


def _load(context: ssl.SSLContext, cluster: Cluster, certificate: Certificate) -> None:
    # OpenSSL reads chains from files only; an anonymous file keeps the key off the disks.
    descriptor = os.memfd_create("client-certificate", os.MFD_CLOEXEC)
    try:
        with open(descriptor, "wb", closefd=False) as file:
            file.write(certificate.chain.rstrip() + b"\n" + certificate.key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    except ssl.SSLError as error:
        raise InvalidConfig(
            f"{cluster.origin}: client-certificate and client-key are not a PEM pair:"
            f" {error.reason}"
        ) from error
    finally:
        os.close(descriptor)
