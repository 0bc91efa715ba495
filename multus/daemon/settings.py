"""The daemon's own configuration: one JSON file; every key is optional (``multus.daemon.keys``)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from multus.api import keys
from multus.api.addresstext import is_address
from multus.api.errors import InvalidConfig, IOFailure
from multus.api.jsontext import decode_object
from multus.api.keys import DAEMON
from multus.api.problem import Problem
from multus.api.reader import Reader
from multus.api.spelling import spelled
from multus.certificate.wanted import Wanted, seconds_of
from multus.cni.shim import SOCKET
from multus.daemon import keys as table

_SOCKET_NAME = os.path.basename(os.fsdecode(SOCKET))


@frozen
class Limits:
    """At most ``workers`` calls run at a time; at most ``admitted`` run or wait.

    ``quick_workers`` more workers serve STATUS and VERSION.  A client has ``message_seconds`` to
    send its message.  When the daemon stops, running calls have ``stop_seconds`` to end.
    """

    workers: int = 32
    admitted: int = 1024
    quick_workers: int = 2
    message_seconds: float = 10.0
    stop_seconds: float = 90.0

    @property
    def slots(self) -> int:
        """The most worker processes: each stuck worker gets one replacement."""
        return 2 * self.workers + self.quick_workers

    @property
    def adds(self) -> int:
        """The most ADDs at a time: a quarter of the workers is reserved for other commands."""
        return max(1, self.workers - self.workers // 4)


@frozen
class Settings:
    """The decoded and checked file; ``raw`` is the decoded JSON.

    ``stuck_seconds``, ``heal_seconds`` (0: never) and ``heal_grace`` are in seconds,
    ``worker_memory`` in bytes.  ``follows_pods``: the networks of a running pod follow its
    annotation.  ``page_address`` is empty without a page.  ``certificate`` is the node's own; None
    when ``kubeconfig`` has the credentials.  ``metrics_address`` is empty for the pod's own
    address outside of a pod.
    """

    path: str
    socket: str
    socket_link: str
    cni_dir: str
    kubeconfig: str
    node: str
    certificate: Wanted | None
    chroot: str
    metrics_port: int
    metrics_address: str
    limits: Limits
    log: Mapping[str, Any]
    stuck_seconds: float
    worker_memory: int
    follows_pods: bool
    heal_seconds: float
    heal_grace: float
    cri_socket: str
    page_address: str
    raw: Mapping[str, Any]

    @property
    def runtime_socket(self) -> str:
        """Where this process finds ``cri_socket``: under ``chroot``, if it has the node's root."""
        return f"{self.chroot}{self.cri_socket}" if self.cri_socket else ""

    @classmethod
    def read(cls, path: str, environ: Mapping[str, str]) -> Settings:
        """Read *path*; the defaults when there is no such file.

        Raises ``InvalidConfig`` or ``DecodingFailure``, with the file and the key.
        """
        try:
            with open(path, "rb") as file:
                raw = decode_object(file.read(), path, comments=True)
        except FileNotFoundError:
            raw = {}
        except OSError as error:
            raise IOFailure(
                f"cannot read {path}: {error.strerror}", fix="let the daemon read the file"
            ) from error
        return cls.of(raw, path, environ)

    @classmethod
    def of(cls, raw: Mapping[str, Any], where: str, environ: Mapping[str, str]) -> Settings:
        """The settings from the decoded *raw*; *where* names it in errors."""
        raw = spelled(raw, keys.spelling_of(table.KEYS))
        reader = Reader(raw, where)
        unknown = min(raw.keys() - {key.top for key in table.KEYS}, default=None)
        if unknown is not None:
            raise InvalidConfig(
                f"unknown key {unknown!r}", where=where, path=(unknown,), fix="correct or remove it"
            )
        wrong = keys.problems(reader, table.KEYS, DAEMON)
        if wrong:
            raise InvalidConfig.of(wrong, where)
        node = (
            table.NODE_NAME.read(reader) or environ.get("MULTUS_NODE_NAME") or os.uname().nodename
        )
        certificate = _certificate(reader, node)
        return cls(
            path=where,
            socket=environ.get("MULTUS_SOCKET")
            or os.path.join(table.SOCKET_DIR.read(reader), _SOCKET_NAME),
            socket_link=_in(table.SOCKET_LINK_DIR.read(reader)),
            cni_dir=table.CNI_DIR.read(reader),
            kubeconfig=table.KUBECONFIG.read(reader)
            if certificate is None
            else certificate.kubeconfig,
            node=node,
            certificate=certificate,
            chroot=table.CHROOT_DIR.read(reader).rstrip("/"),
            metrics_port=table.METRICS_PORT.read(reader),
            metrics_address=_metrics_address(reader, environ),
            limits=Limits(
                workers=table.WORKERS.read(reader), admitted=table.CONNECTION_LIMIT.read(reader)
            ),
            log={key: value for key, value in raw.items() if key.startswith("log")},
            stuck_seconds=float(table.STUCK_SECONDS.read(reader)),
            worker_memory=table.WORKER_MEMORY.read(reader) << 20,
            follows_pods=table.POD_CHANGES.read(reader) == "follow",
            heal_seconds=60.0 * table.HEAL_MINUTES.read(reader),
            heal_grace=float(table.HEAL_GRACE_SECONDS.read(reader)),
            cri_socket=table.CRI_SOCKET.read(reader),
            page_address=table.PAGE_ADDRESS.read(reader),
            raw=raw,
        )


def problems(raw: Mapping[str, Any]) -> tuple[Problem, ...]:
    """Why the daemon would not start with the decoded *raw*; empty when it would."""
    try:
        Settings.of(raw, "", {})
    except InvalidConfig as error:
        return error.problems
    return ()


def _certificate(reader: Reader, node: str) -> Wanted | None:
    """The certificate that ``perNodeCertificate`` asks for; None when it is not enabled."""
    if not table.CERTIFICATE_ENABLED.read(reader):
        return None
    bootstrap, folder = table.CERTIFICATE_BOOTSTRAP.read(reader), table.CERTIFICATE_DIR.read(reader)
    for key, value in ((table.CERTIFICATE_BOOTSTRAP, bootstrap), (table.CERTIFICATE_DIR, folder)):
        if not value:
            path = tuple(key.name.split("."))
            raise reader.error(path, "is missing", "give it, or do not enable the certificate")
    duration = table.CERTIFICATE_DURATION.read(reader) or table.CERTIFICATE_DURATION.absent
    return Wanted(node, bootstrap, folder, int(seconds_of(duration)))


def _metrics_address(reader: Reader, environ: Mapping[str, str]) -> str:
    """The IP address; empty for the pod's own outside of a pod."""
    address = table.METRICS_ADDRESS.read(reader) or table.METRICS_ADDRESS.absent
    if address != table.POD:
        return str(address)
    own = environ.get("MULTUS_POD_IP", "")
    return own if is_address(own) else ""


def _in(folder: str) -> str:
    return os.path.join(folder, _SOCKET_NAME) if folder else ""
