"""The daemon's own configuration: one JSON file, all of whose keys may be left out.

| key | value |
|---|---|
| ``socketDir`` | the folder of ``multus.sock``, ``/run/multus``; ``MULTUS_SOCKET`` overrides both |
| ``cniDir`` | where shims keep DELs for the daemon, and where records are counted |
| ``kubeconfig`` | the API server whose pods and definitions are followed from the start |
| ``nodeName`` | this node's name there; else ``MULTUS_NODE_NAME``, else the host's name |
| ``chrootDir`` | the host's root, when the daemon runs in a container |
| ``metricsPort`` | a port on the loopback address that shows the metrics; 0 for none |
| ``connectionLimit`` | calls that wait or run at a time, 1024 |
| ``workers`` | calls that run at a time, each in a process of its own, 32 |
| ``stuckSeconds`` | how long a plugin's hook may take before it is interrupted, 10 |
| ``workerMemory`` | MiB that a worker may allocate for one call, 128 |
| ``logToStderr``, ``logFile``, ``logLevel``, ``logOptions`` | as in Multus' configuration |
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from multus import log
from multus.api.errors import InvalidConfig, IOFailure
from multus.api.jsontext import decode_object
from multus.api.reader import Reader
from multus.cni.shim import CNI_DIR, SOCKET

_KEYS = frozenset(
    (
        "chrootDir",
        "cniDir",
        "connectionLimit",
        "kubeconfig",
        "logFile",
        "logLevel",
        "logOptions",
        "logToStderr",
        "metricsPort",
        "nodeName",
        "socketDir",
        "stuckSeconds",
        "workerMemory",
        "workers",
    )
)


@frozen
class Limits:
    """``workers`` calls are carried out at a time; ``admitted`` is those and the waiting ones.

    ``quick_workers`` more serve STATUS.  A client has ``message_seconds`` to send its message, and
    what runs when the daemon is told to stop has ``stop_seconds`` to end.
    """

    workers: int = 32
    admitted: int = 1024
    quick_workers: int = 2
    message_seconds: float = 10.0
    stop_seconds: float = 90.0

    @property
    def slots(self) -> int:
        """Processes at most: each stuck worker is replaced, once."""
        return 2 * self.workers + self.quick_workers

    @property
    def adds(self) -> int:
        """ADDs at a time: a quarter of the workers is kept for what takes networks away."""
        return max(1, self.workers - self.workers // 4)


@frozen
class Settings:
    """That file, typed; ``raw`` is the file as decoded.

    ``stuck_seconds`` are seconds, ``worker_memory`` are bytes.
    """

    path: str
    socket: str
    cni_dir: str
    kubeconfig: str
    node: str
    chroot: str
    metrics_port: int
    limits: Limits
    log: Mapping[str, Any]
    stuck_seconds: float
    worker_memory: int
    raw: Mapping[str, Any]

    @classmethod
    def read(cls, path: str, environ: Mapping[str, str]) -> Settings:
        """Read *path*; the defaults when there is no file of that name.

        Raises ``InvalidConfig`` or ``DecodingFailure`` naming the file and the key.
        """
        try:
            with open(path, "rb") as file:
                raw = decode_object(file.read(), path, comments=True)
        except FileNotFoundError:
            raw = {}
        except OSError as error:
            raise IOFailure(f"cannot read {path}: {error.strerror}") from error
        return cls.of(raw, path, environ)

    @classmethod
    def of(cls, raw: Mapping[str, Any], where: str, environ: Mapping[str, str]) -> Settings:
        """The settings in the decoded *raw*; *where* names it in errors."""
        unknown = sorted(raw.keys() - _KEYS)
        if unknown:
            raise InvalidConfig(f"{where}: unknown key {unknown[0]!r}: correct or remove it")
        for key, reason, fix in log.problems(raw):
            raise InvalidConfig(f"{where}: '{key}' {reason}: {fix}")
        reader = Reader(raw, where)
        paths = {
            key: reader.text(key)
            for key in ("socketDir", "cniDir", "kubeconfig", "chrootDir")
            if reader.text(key)
        }
        for key, value in paths.items():
            if not value.startswith("/"):
                raise InvalidConfig(f"{where}: '{key}' is {value!r}: use an absolute path")
        folder = paths.get("socketDir", os.path.dirname(os.fsdecode(SOCKET)))
        name = os.path.basename(os.fsdecode(SOCKET))
        return cls(
            path=where,
            socket=environ.get("MULTUS_SOCKET") or os.path.join(folder, name),
            cni_dir=paths.get("cniDir", os.fsdecode(CNI_DIR)).rstrip("/") or "/",
            kubeconfig=paths.get("kubeconfig", ""),
            node=reader.text("nodeName")
            or environ.get("MULTUS_NODE_NAME", "")
            or os.uname().nodename,
            chroot=paths.get("chrootDir", "").rstrip("/"),
            metrics_port=_number(reader, "metricsPort", 0, 0, 65535),
            limits=Limits(
                workers=_number(reader, "workers", 32, 1, 1024),
                admitted=_number(reader, "connectionLimit", 1024, 1, 65536),
            ),
            log={key: value for key, value in raw.items() if key.startswith("log")},
            stuck_seconds=float(_number(reader, "stuckSeconds", 10, 1, 600)),
            worker_memory=_number(reader, "workerMemory", 128, 16, 65536) << 20,
            raw=raw,
        )


def _number(reader: Reader, key: str, default: int, least: int, most: int) -> int:
    value = reader.integer(key, default)
    if not least <= value <= most:
        raise InvalidConfig(
            f"{reader.where}: '{key}' is {value}: use a whole number from {least} to {most}"
        )
    return value
