"""The keys of the daemon's own configuration file: what each is, its default and its limits."""

from __future__ import annotations

import os

from multus.api import keys
from multus.api.addresstext import is_address
from multus.api.errors import InvalidConfig
from multus.api.keys import BOOLEAN, DAEMON, INTEGER, OBJECT, PATH, TEXT, Key, Kind
from multus.api.reader import Reader
from multus.certificate.wanted import duration_problem
from multus.cni.shim import SOCKET
from multus.serving.address import parsed

_FOLDER = os.path.dirname(os.fsdecode(SOCKET))


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
