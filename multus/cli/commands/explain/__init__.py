"""Explain what an ADD would do for a pod; changes nothing.

Runs the stages of an ADD that have no effects, and shows which source selects
which networks, their order and interface names, the invoker of each, and its
exact configuration.

Examples:
  multus explain --pod default/web               the pod in the API server
  multus explain -f pod.yaml -f networks.yaml    offline; the last pod
  multus explain --pod shop/web -f shop.yaml     offline; one of several pods
  multus explain --conf multus.conf              without a pod: conf-file mode
  multus explain -f pod.yaml --json | jq .refused
  multus explain --root /host --pod default/web

The configuration is the first of type multus in /etc/cni/net.d, unless --conf
names another. With -f and --conf, what only a node can answer (a binary, a
device, a file) is "not checked here"; --cni-path or --root say where to look.
The exit status is 0 when the ADD would succeed, 1 when it would be refused.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from multus.api.errors import InvalidConfig
from multus.api.network import Role
from multus.cli import screen
from multus.cli.node import BIN_DIR, find_conf, load_conf
from multus.cli.screen import Screen

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.request import Request
    from multus.api.session import Session
    from multus.cli.commands.explain.explaining import Explanation, PlannedNetwork
    from multus.cli.findings import Finding
    from multus.cli.objects import Named

#: Timeout for the API server's answers, in seconds.
_PATIENCE = 10.0


def configure(parser: argparse.ArgumentParser) -> None:
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
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Print the explanation; status 1 when the ADD would be refused."""
    from multus.cli.commands.explain.explaining import explain, off_node
    from multus.cli.objects import resource_of, without_resource
    from multus.engine.parse import parse
    from multus.registry.index import discover
    from multus.registry.loading import load
    from multus.registry.spelling import spelling_with

    found = load_conf(arguments.conf) if arguments.conf else find_conf()
    entries = discover()
    conf = parse(found.config, spelling=spelling_with(entries))
    objects = _objects(arguments.file) if arguments.file else []
    request = _request(arguments, conf, objects)
    installed = load(entries, conf.blocked_plugins, conf.raw)
    resources = {f"{each.namespace}/{each.name}": resource_of(each) for each in objects}
    elsewhere = _is_off_node(arguments)
    if elsewhere:
        objects = [without_resource(each) for each in objects]
    with _session(arguments, objects) as session:
        explanation = explain(installed, request, conf, session)
    if elsewhere:
        explanation = off_node(explanation, {k: v for k, v in resources.items() if v})
    if arguments.json:
        screen.as_json({"file": found.path, **explanation.to_wire()})
    else:
        _show(explanation, found.path)
    return 1 if explanation.refusals else 0


def _is_off_node(arguments: argparse.Namespace) -> bool:
    """Whether only files are given: nothing says that this machine is the pod's node."""
    given = arguments.file and arguments.conf
    return bool(given) and arguments.cni_path is None and not arguments.root


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
        deadline=time.monotonic() + _PATIENCE,
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


def _objects(paths: list[str]) -> list[Named]:
    """The objects of the files; raises ``InvalidConfig`` for text that cannot be read."""
    from multus.cli.documents import files_of, read
    from multus.cli.objects import objects_in

    objects: list[Named] = []
    for path in files_of(paths):
        reading = read(path)
        if reading.findings:
            first = reading.findings[0]
            raise InvalidConfig(
                f"{first.place}: {first.subject}: {first.reason}",
                fix=f"{first.fix}; 'multus validate -f {path}' shows all",
            )
        objects += [each for document in reading.documents for each in objects_in(document)]
    return objects


# --- For people ----------------------------------------------------------------------------------


def _show(explanation: Explanation, path: str) -> None:
    shown = Screen.open()
    request, conf = explanation.request, explanation.conf
    who = f"pod {request.pod}" if request.pod else "a container without a pod"
    shown.line((f"ADD of {who}, interface {request.ifname}", "bold"))
    shown.line(f"configuration {conf.name!r}, CNI {conf.cni_version}, from {path}")
    if explanation.selections:
        shown.heading("Selected networks")
        shown.rows(
            ("BY", "MEANS", "NETWORKS"),
            (
                (each.origin, _meaning(each.role), ", ".join(map(str, each.elements)))
                for each in explanation.selections
            ),
        )
    if explanation.networks:
        _show_networks(shown, explanation)
        for network in explanation.networks:
            _show_device(shown, network)
            _show_configs(shown, network)
        _show_routes(shown, explanation)
    _show_refusals(shown, explanation)


def _meaning(role: Role) -> str:
    """A role in words; mypy finds one that is left out."""
    match role:
        case Role.DEFAULT:
            return "the node's defaults"
        case Role.INSTEAD:
            return "in place of the defaults"
        case Role.ADDED:
            return "after the defaults"
        case Role.EXCHANGED:
            return "in place of the first default"
        case Role.LAST:
            return "after all networks"


def _show_networks(shown: Screen, explanation: Explanation) -> None:
    shown.heading(f"Attached in this order (naming: {explanation.naming})")
    shown.rows(
        ("INTERFACE", "NETWORK", "PLUGINS", "INVOKER", "SOURCE", "REQUESTED BY"),
        (
            (
                each.delegate.ifname + (" (primary)" if each.delegate.primary else ""),
                each.delegate.label,
                each.delegate.types,
                ", ".join(step.invoker for step in each.planned.steps),
                each.delegate.source or "-",
                each.origin,
            )
            for each in explanation.networks
        ),
    )


def _show_device(shown: Screen, network: PlannedNetwork) -> None:
    delegate = network.delegate
    if not delegate.resource and not delegate.device:
        return
    shown.heading(f"{delegate.ifname}: device")
    if not delegate.device:
        shown.line(f"none: no plugin names a device of {delegate.resource}")
        return
    by = f"named by {network.device_by}" if network.device_by else "asked for by the pod"
    of = f" of {delegate.resource}" if network.device_by else ""
    shown.line(f"{delegate.device}{of}, {by}")


def _show_configs(shown: Screen, network: PlannedNetwork) -> None:
    args = ";".join(f"{key}={value}" for key, value in network.delegate.args.items())
    if args:
        shown.line()
        shown.line(f"{network.delegate.ifname}: CNI_ARGS has {args} too")
    for step in network.planned.steps:
        kind = step.plugin.type
        where = f" ({network.binaries[kind]})" if kind in network.binaries else ""
        shown.heading(f"{network.delegate.ifname}: {kind}, invoker {step.invoker}{where}")
        for declined_type, each in network.declined:
            if declined_type == kind:
                shown.line(f"{each.invoker} declined: {each.reason}")
        pool = network.ipam_binary(step)
        if pool:
            shown.line(f"its addresses come from a binary: {pool}")
        shown.json(step.config)


def _show_routes(shown: Screen, explanation: Explanation) -> None:
    routes = explanation.routes
    if not routes.routes and not routes.unknown:
        return
    shown.heading("Expected routes in the pod")
    cells = [(each.dst, each.gw or "-", each.ifname, each.note) for each in routes.routes]
    cells += [("(known later)", "-", ifname, reason) for ifname, reason in routes.unknown]
    shown.rows(("TO", "VIA", "INTERFACE", ""), cells)
    for said in routes.winners():
        shown.line(f"{said} ('defaultRoute': {explanation.default_route!r})")


def _show_refusals(shown: Screen, explanation: Explanation) -> None:
    from multus.cli.findings import NOTE, UNCHECKED, WARNING, Finding, of_error

    shown.line()
    for reason in explanation.unchecked:
        fix = "run this on the pod's node, or say where its files are (--root, --cni-path)"
        shown.finding(Finding(UNCHECKED, "not checked here", reason, fix))
    for note in explanation.notes:
        shown.finding(Finding(NOTE, "note", note))
    for network in explanation.networks:
        _show_requests(shown, network)
    for error in explanation.not_ready:
        shown.finding(of_error(error, "not ready", WARNING))
    if not explanation.refusals:
        shown.finding(_answer(explanation))
        return
    for each in explanation.refusals:
        shown.finding(of_error(each.error, f"refused by {each.stage}"))
        if each.error.details:
            shown.line(f"    details: {each.error.details}")


def _show_requests(shown: Screen, network: PlannedNetwork) -> None:
    """The requests whose capability no plugin declares."""
    from multus.api.where import dotted
    from multus.cli.findings import NOTE, WARNING, Finding

    for problem in network.undeclared:
        reason = f"{network.delegate}: {dotted(problem.path)!r} {problem.reason}"
        if problem in network.ignored:
            shown.finding(Finding(WARNING, "request", reason, problem.fix))
        else:
            compared = "ADD compares what its plugins make of CNI_ARGS with it"
            shown.finding(Finding(NOTE, "request", f"{reason}; {compared}"))


def _answer(explanation: Explanation) -> Finding:
    """The finding about the runtime's answer if nothing refuses the ADD."""
    from multus.cli.findings import OK, WARNING, Finding

    if explanation.unchecked:
        reason = f"the ADD would succeed, if its node has the {len(explanation.unchecked)} above"
        return Finding(OK, "answer", reason)
    if explanation.not_ready:
        return Finding(WARNING, "answer", "the ADD would succeed once the node is ready")
    return Finding(OK, "answer", "the ADD would succeed")
