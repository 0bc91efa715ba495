"""Explain what an ADD would do for a pod; changes nothing.

Runs the stages of an ADD that have no effects, and shows which source selects
which networks, their order and interface names, the invoker of each, and its
exact configuration.

Examples:
  multus explain --pod default/web               the pod in the API server
  multus explain pod.yaml networks.yaml          offline; the last pod
  multus explain --pod shop/web -f shop.yaml     offline; one of several pods
  multus explain --conf multus.conf              without a pod: conf-file mode
  multus explain -f pod.yaml --json | jq .refused
  multus explain --root /host --pod default/web

The configuration is that of --conf, else the one among the files, else the
first of type multus in /etc/cni/net.d. With files and without any, a plain one
is assumed, and said. With files, unless the configuration is this node's own,
what only a node can answer (a binary, an interface, a file) is "not checked
here"; --cni-path or --root say where to look.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from multus.api.errors import InvalidConfig, IOFailure
from multus.api.versions import NEWEST
from multus.cli import numbers, screen, telling
from multus.cli.node import (
    BIN_DIR,
    DEFAULT_TYPE,
    NET_D,
    NodeConf,
    NotConfigured,
    find_conf,
    load_conf,
    multus_part,
)

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.request import Pod, Request
    from multus.api.session import Session
    from multus.cli.documents import Document
    from multus.cli.objects import Named

#: Timeout for the API server's answers, and when to say that they are waited for, in seconds.
_PATIENCE, _SILENT = 3.0, 0.3
#: Assumed where there is no configuration: a node with some default network, in a cluster.
_ASSUMED = {
    "cniVersion": NEWEST,
    "name": "assumed",
    "type": "multus",
    "kubeconfig": "/etc/kubernetes/kubelet.conf",
    "delegates": [{"type": DEFAULT_TYPE, "name": DEFAULT_TYPE}],
}


STATUSES = {
    0: "the ADD would succeed",
    1: "the ADD would be refused, or the command failed",
    3: "not known: an object that the pod needs is not in the given files",
}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="*", metavar="FILE", help="the same as -f FILE")
    parser.add_argument("--pod", metavar="NAMESPACE/NAME", help="the pod to explain")
    parser.add_argument(
        "-f",
        "--file",
        action="append",
        default=[],
        metavar="FILE",
        help="a file or folder of pods and networks, YAML or JSON; may be repeated; - is stdin",
    )
    parser.add_argument("-c", "--conf", metavar="FILE", help="Multus' configuration")
    parser.add_argument("--ifname", default="eth0", help="the runtime's CNI_IFNAME (%(default)s)")
    parser.add_argument("--cni-path", help=f"the runtime's CNI_PATH ({BIN_DIR})")
    parser.add_argument(
        "--root", default="", metavar="FOLDER", help="where the node's / is mounted"
    )
    parser.add_argument(
        "--timeout",
        type=numbers.seconds,
        default=_PATIENCE,
        metavar="SECONDS",
        help="how long to wait for the API server (%(default)g)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation; status 1 when the ADD would be refused, 3 when that is not known."""
    from multus.cli.commands.explain.explaining import explain, off_node, without_devices
    from multus.cli.commands.explain.showing import show
    from multus.cli.findings import STATUS_OK, STATUS_PROBLEM, STATUS_UNCHECKED
    from multus.cli.objects import objects_in, resource_of, without_resource
    from multus.engine.parse import parse
    from multus.registry.index import discover
    from multus.registry.loading import load
    from multus.registry.spelling import spelling_with

    files = arguments.file = [*arguments.files, *arguments.file]
    documents = _documents(files)
    objects = [each for document in documents for each in objects_in(document)]
    found, assumed = _configuration(arguments, documents)
    entries = discover()
    conf = parse(found.config, spelling=spelling_with(entries))
    request = _request(arguments, conf, objects)
    installed = load(entries, conf.blocked_plugins, conf.raw)
    elsewhere, resources = _is_off_node(arguments, found.path), {}
    if elsewhere or not _has_identity(objects, request.pod):
        named = ((f"{e.namespace}/{e.name}", resource_of(e)) for e in objects)
        resources = {network: resource for network, resource in named if resource}
        objects = [without_resource(each) for each in objects]
    telling.doing("running the stages of an ADD")
    with _session(arguments, objects) as session, _telling_that_it_waits(arguments, conf):
        explanation = explain(installed, request, conf, session, assumed)
    explanation = without_devices(explanation, resources)
    if elsewhere:
        explanation = off_node(explanation)
    if arguments.json:
        screen.as_json({"file": found.path, **explanation.to_wire()})
    else:
        show(explanation, found.path)
    if explanation.refused:
        return STATUS_PROBLEM
    return STATUS_UNCHECKED if explanation.missing else STATUS_OK


def _configuration(
    arguments: argparse.Namespace, documents: list[Document]
) -> tuple[NodeConf, str]:
    """Multus' configuration, and what was assumed in its place."""
    if arguments.conf:
        return load_conf(arguments.conf), ""
    parts = (multus_part(d.file, d.value) for d in documents if isinstance(d.value, dict))
    given = next(filter(None, parts), None)
    if given is not None:
        return given, ""
    try:
        return find_conf(f"{arguments.root.rstrip('/')}{NET_D}"), ""
    except (NotConfigured, IOFailure) as error:
        if not arguments.file:
            if isinstance(error, IOFailure):
                raise  # there may be one, which this user cannot read
            fix = "name a configuration with --conf, or give the files of a pod and its networks"
            raise NotConfigured(
                f"there is no configuration of Multus in {NET_D}", fix=fix
            ) from error
        said = "no configuration of Multus is given or here: a plain one is assumed, of a node in"
        return NodeConf("", _ASSUMED), f"{said} a cluster with a default network of its own"


def _is_off_node(arguments: argparse.Namespace, conf: str) -> bool:
    """Whether only files are given: nothing says that this machine is the pod's node."""
    named = bool(arguments.conf) or not conf.startswith(f"{NET_D}/")
    return bool(arguments.file) and named and arguments.cni_path is None and not arguments.root


def _has_identity(objects: list[Named], pod: Pod | None) -> bool:
    """Whether the pod exists, as far as the files say: a kubelet knows no devices of another."""
    key = ("Pod", pod.namespace, pod.name) if pod else ()
    given = [each.wire for each in objects if (each.kind, each.namespace, each.name) == key]
    metadata = given[-1].get("metadata") if given else None
    return not given or (isinstance(metadata, dict) and bool(metadata.get("uid")))


@contextmanager
def _telling_that_it_waits(arguments: argparse.Namespace, conf: Conf) -> Iterator[None]:
    """Say that an API server is waited for, when it does not answer at once."""
    if arguments.file or not arguments.pod:
        yield
        return
    said = f"waiting for the API server of {conf.raw.get('kubeconfig')}"
    text = f"multus explain: {said}, at most {arguments.timeout:g} s (--timeout)"
    timer = threading.Timer(_SILENT, screen.complain, (text,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _session(arguments: argparse.Namespace, objects: list[Named]) -> Session:
    from multus.api.session import Session
    from multus.log import Log

    api = None
    if arguments.file:
        from multus.cli.objects import Objects

        api = Objects.of(objects)
    return Session(
        Log.from_conf({"logLevel": "panic"}),
        api=api,
        deadline=time.monotonic() + arguments.timeout,
        chroot=arguments.root.rstrip("/"),
    )


def _request(arguments: argparse.Namespace, conf: Conf, objects: list[Named]) -> Request:
    from multus.api.request import Request

    if arguments.pod and not arguments.file and not conf.raw.get("kubeconfig"):
        raise InvalidConfig(
            f"configuration {conf.name!r} has no 'kubeconfig': cannot read pod {arguments.pod}",
            fix="give the pod and its networks as files (-f)",
        )
    args = {"IgnoreUnknown": "1"}
    namespace, name = _pod(arguments.pod, [each for each in objects if each.kind == "Pod"])
    if name:
        args |= {"K8S_POD_NAMESPACE": namespace, "K8S_POD_NAME": name}
    return Request(
        command="ADD",
        container_id="explain",
        ifname=arguments.ifname,
        path=tuple(folder for folder in (arguments.cni_path or BIN_DIR).split(":") if folder),
        args=args,
        environ={"CNI_ARGS": ";".join(f"{key}={value}" for key, value in args.items())},
        dry_run=True,
    )


def _pod(wanted: str | None, pods: list[Named]) -> tuple[str, str]:
    if wanted:
        namespace, slash, name = wanted.rpartition("/")
        if not name or (slash and not namespace):
            raise InvalidConfig(
                f"--pod {wanted!r} is not NAMESPACE/NAME",
                fix="write default/web",
            )
        return namespace or "default", name
    if pods:
        return pods[-1].namespace, pods[-1].name
    return "", ""


def _documents(paths: list[str]) -> list[Document]:
    """The content of the files; raises ``InvalidConfig`` for text that cannot be read."""
    from multus.cli.documents import read
    from multus.cli.gathering import gathered

    documents: list[Document] = []
    for path in gathered(paths).files:
        reading = read(path)
        if reading.findings:
            first = reading.findings[0]
            raise InvalidConfig(
                f"{first.place}: {first.subject}: {first.reason}",
                fix=f"{first.fix}; 'multus validate -f {path}' shows all",
            )
        documents += reading.documents
    if paths and not documents:
        raise InvalidConfig(
            f"{', '.join(paths)}: no JSON or YAML is there",
            fix="name files of pods and networks",
        )
    return documents
