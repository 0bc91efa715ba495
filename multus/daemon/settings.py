"""The daemon's own configuration: one JSON file; every key is optional."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from attrs import frozen

from multus.api import keys
from multus.api.addresstext import is_address
from multus.api.errors import InvalidConfig, IOFailure
from multus.api.jsontext import decode_object
from multus.api.keys import BOOLEAN, DAEMON, INTEGER, OBJECT, PATH, TEXT, Key, Kind
from multus.api.problem import Problem
from multus.api.reader import Reader
from multus.api.spelling import spelled
from multus.certificate.wanted import Wanted, duration_problem, seconds_of
from multus.cni.shim import SOCKET
from multus.picture.address import parsed

_FOLDER, _SOCKET_NAME = os.path.split(os.fsdecode(SOCKET))


def _page(reader: Reader, key: str) -> str:
    text = reader.text(key)
    if text:
        try:
            parsed(text)
        except InvalidConfig as error:
            raise reader.error(key, f"is {text!r}", "write one such as 127.0.0.1:8470") from error
    return text


def _duration(reader: Reader, key: str) -> str:
    text = reader.text(key)
    problem = duration_problem(text) if text else ""
    if problem:
        raise reader.error(key, problem, "write one such as 24h, from 10m to 8760h")
    return text


def _address(reader: Reader, key: str) -> str:
    text = reader.text(key)
    if text and text != POD and not is_address(text):
        raise reader.error(
            key, f"is {text!r}", f"write an IP address, or '{POD}' for the pod's own"
        )
    return text


#: The value of ``metricsAddress`` for the pod's own address.
POD = "pod"
DURATION = Kind("duration", _duration, str)
ADDRESS = Kind("IP address", _address, str)
PAGE = Kind("address with port", _page, str)

SOCKET_DIR = Key(
    "socketDir",
    PATH,
    "The folder of `multus.sock`; `MULTUS_SOCKET` in the environment names the socket itself.",
    _FOLDER,
    of=DAEMON,
)
SOCKET_LINK_DIR = Key(
    "socketLinkDir",
    PATH,
    "A folder that gets a link to `multus.sock`, for programs that look there: the Go Multus' shim"
    " and its neighbours, on a node where its `socketDir` was another one.",
    of=DAEMON,
)
CNI_DIR = Key(
    "cniDir",
    PATH,
    "As in Multus' configuration: where kept DELs are looked for, and where records are counted.",
    keys.CNI_DIR.absent,
    of=DAEMON,
)
KUBECONFIG = Key(
    "kubeconfig",
    PATH,
    "The API server whose pods and definitions are followed from the start.",
    of=DAEMON,
)
NODE_NAME = Key(
    "nodeName",
    TEXT,
    "Whose pods are followed; without it `MULTUS_NODE_NAME` in the environment says it, else the"
    " host's name.",
    of=DAEMON,
)
NODE_CERTIFICATE = Key(
    "perNodeCertificate",
    OBJECT,
    "A client certificate of this node's own in place of `kubeconfig`, requested from Kubernetes"
    " and renewed.",
    of=DAEMON,
)
CERTIFICATE_ENABLED = Key(
    "perNodeCertificate.enabled", BOOLEAN, "Whether it is used.", False, of=DAEMON
)
CERTIFICATE_BOOTSTRAP = Key(
    "perNodeCertificate.bootstrapKubeconfig",
    PATH,
    "The kubeconfig by whose credentials it is requested, such as the kubelet's.",
    of=DAEMON,
)
CERTIFICATE_DIR = Key("perNodeCertificate.certDir", PATH, "The folder where it is kept.", of=DAEMON)
CERTIFICATE_DURATION = Key(
    "perNodeCertificate.certDuration",
    DURATION,
    "How long it is valid, such as `24h`; at least `10m`.",
    "10m",
    of=DAEMON,
)
CHROOT_DIR = Key("chrootDir", PATH, "The host's root as the daemon's container sees it.", of=DAEMON)
METRICS_PORT = Key(
    "metricsPort",
    INTEGER,
    "A port of `metricsAddress` that shows the metrics; 0 for none.",
    0,
    of=DAEMON,
    least=0,
    most=65535,
)
METRICS_ADDRESS = Key(
    "metricsAddress",
    ADDRESS,
    "Where the metrics are shown, to everyone who reaches it: an address of the node, `0.0.0.0` or"
    " `::` for all of them, or `pod` for the pod's own, which `MULTUS_POD_IP` in the environment"
    " names.",
    "127.0.0.1",
    of=DAEMON,
)
CONNECTION_LIMIT = Key(
    "connectionLimit",
    INTEGER,
    "Calls that wait or are carried out at a time.",
    1024,
    of=DAEMON,
    least=1,
    most=65536,
)
WORKERS = Key(
    "workers",
    INTEGER,
    "Calls that are carried out at a time, each in a worker.",
    32,
    of=DAEMON,
    least=1,
    most=1024,
)
STUCK_SECONDS = Key(
    "stuckSeconds",
    INTEGER,
    "Seconds (1 to 600) that a plugin's hook, or an in-process invocation, may take.",
    10,
    of=DAEMON,
    least=1,
    most=600,
)
WORKER_MEMORY = Key(
    "workerMemory",
    INTEGER,
    "MiB (16 or more) that a worker may allocate beyond what it starts with.",
    128,
    of=DAEMON,
    least=16,
    most=65536,
)
HEAL_MINUTES = Key(
    "healMinutes",
    INTEGER,
    "Minutes between two looks for what containers that are gone have left, which is removed; 0 for"
    " none.",
    5,
    of=DAEMON,
    least=0,
    most=1440,
)
HEAL_GRACE_SECONDS = Key(
    "healGraceSeconds",
    INTEGER,
    "Seconds that a record or an address stays at least, whatever has become of its container.",
    300,
    of=DAEMON,
    least=0,
    most=86400,
)
CRI_SOCKET = Key(
    "criSocket",
    PATH,
    "The runtime's CRI socket on the node, such as `/run/containerd/containerd.sock`: a container"
    " that the runtime lists is left alone.",
    of=DAEMON,
)
PAGE_ADDRESS = Key(
    "pageAddress",
    PAGE,
    "Where the daemon serves [the page of its node](picture.md), such as `127.0.0.1:8470`. Whoever"
    " reaches the address may read it. Without it there is none.",
    of=DAEMON,
)

POD_CHANGES = Key(
    "podChanges",
    TEXT,
    "`follow`: when the annotation of a running pod changes, its networks are changed; `off`: they"
    " are those that it started with.",
    "off",
    of=DAEMON,
    choices=("off", "follow"),
)

#: The keys of the file: the daemon's own, and those of the log.
KEYS: tuple[Key, ...] = (
    SOCKET_DIR,
    SOCKET_LINK_DIR,
    CNI_DIR,
    KUBECONFIG,
    NODE_NAME,
    NODE_CERTIFICATE,
    CERTIFICATE_ENABLED,
    CERTIFICATE_BOOTSTRAP,
    CERTIFICATE_DIR,
    CERTIFICATE_DURATION,
    CHROOT_DIR,
    METRICS_PORT,
    METRICS_ADDRESS,
    CONNECTION_LIMIT,
    WORKERS,
    STUCK_SECONDS,
    WORKER_MEMORY,
    POD_CHANGES,
    HEAL_MINUTES,
    HEAL_GRACE_SECONDS,
    CRI_SOCKET,
    PAGE_ADDRESS,
    *(key._replace(of=DAEMON) for key in keys.LOG),
)


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
        raw = spelled(raw, keys.spelling_of(KEYS))
        reader = Reader(raw, where)
        unknown = min(raw.keys() - {key.top for key in KEYS}, default=None)
        if unknown is not None:
            raise InvalidConfig(
                f"unknown key {unknown!r}", where=where, path=(unknown,), fix="correct or remove it"
            )
        wrong = keys.problems(reader, KEYS, DAEMON)
        if wrong:
            raise InvalidConfig.of(wrong, where)
        node = NODE_NAME.read(reader) or environ.get("MULTUS_NODE_NAME") or os.uname().nodename
        certificate = _certificate(reader, node)
        return cls(
            path=where,
            socket=environ.get("MULTUS_SOCKET")
            or os.path.join(SOCKET_DIR.read(reader), _SOCKET_NAME),
            socket_link=_in(SOCKET_LINK_DIR.read(reader)),
            cni_dir=CNI_DIR.read(reader),
            kubeconfig=KUBECONFIG.read(reader) if certificate is None else certificate.kubeconfig,
            node=node,
            certificate=certificate,
            chroot=CHROOT_DIR.read(reader).rstrip("/"),
            metrics_port=METRICS_PORT.read(reader),
            metrics_address=_metrics_address(reader, environ),
            limits=Limits(workers=WORKERS.read(reader), admitted=CONNECTION_LIMIT.read(reader)),
            log={key: value for key, value in raw.items() if key.startswith("log")},
            stuck_seconds=float(STUCK_SECONDS.read(reader)),
            worker_memory=WORKER_MEMORY.read(reader) << 20,
            follows_pods=POD_CHANGES.read(reader) == "follow",
            heal_seconds=60.0 * HEAL_MINUTES.read(reader),
            heal_grace=float(HEAL_GRACE_SECONDS.read(reader)),
            cri_socket=CRI_SOCKET.read(reader),
            page_address=PAGE_ADDRESS.read(reader),
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
    if not CERTIFICATE_ENABLED.read(reader):
        return None
    bootstrap, folder = CERTIFICATE_BOOTSTRAP.read(reader), CERTIFICATE_DIR.read(reader)
    for key, value in ((CERTIFICATE_BOOTSTRAP, bootstrap), (CERTIFICATE_DIR, folder)):
        if not value:
            path = tuple(key.name.split("."))
            raise reader.error(path, "is missing", "give it, or do not enable the certificate")
    duration = CERTIFICATE_DURATION.read(reader) or CERTIFICATE_DURATION.absent
    return Wanted(node, bootstrap, folder, int(seconds_of(duration)))


def _metrics_address(reader: Reader, environ: Mapping[str, str]) -> str:
    """The IP address; empty for the pod's own outside of a pod."""
    address = METRICS_ADDRESS.read(reader) or METRICS_ADDRESS.absent
    if address != POD:
        return str(address)
    own = environ.get("MULTUS_POD_IP", "")
    return own if is_address(own) else ""


def _in(folder: str) -> str:
    return os.path.join(folder, _SOCKET_NAME) if folder else ""
