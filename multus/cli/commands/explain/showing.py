"""Shows an explanation to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus.api.network import Role
from multus.cli.findings import NOTE, OK, UNCHECKED, WARNING, Finding, of_error
from multus.cli.screen import Screen

if TYPE_CHECKING:
    from multus.cli.commands.explain.explanation import Explanation, PlannedNetwork


def show(explanation: Explanation, path: str) -> None:
    """Print the explanation; *path* is the configuration's file."""
    shown = Screen.open()
    request, conf = explanation.request, explanation.conf
    who = f"pod {request.pod}" if request.pod else "a container without a pod"
    shown.line((f"ADD of {who}, interface {request.ifname}", "bold"))
    origin = f"from {path}" if path else "assumed"
    shown.line(f"configuration {conf.name!r}, CNI {conf.cni_version}, {origin}", hang=2)
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
                each.types,
                each.invokers,
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
    for place, step in enumerate(network.planned.steps):
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
        inner = network.inner.get(place)
        if inner is not None:
            called = inner.invocation
            shown.heading(
                f"{network.delegate.ifname}: {called.plugin.type}, called by {kind},"
                f" invoker {inner.invoker.name}"
            )
            shown.json(called.config)


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
    for missing in explanation.missing:
        shown.finding(of_error(missing, "not given", UNCHECKED))
    if not explanation.refused:
        shown.finding(_answer(explanation))
        return
    for each in explanation.refused:
        shown.finding(of_error(each.error, f"refused by {each.stage}"))
        if each.error.details:
            shown.line(f"    details: {each.error.details}")


def _show_requests(shown: Screen, network: PlannedNetwork) -> None:
    """The requests whose capability no plugin declares."""
    from multus.api.where import dotted

    for problem in network.undeclared:
        reason = f"{network.delegate}: {dotted(problem.path)!r} {problem.reason}"
        if problem in network.ignored:
            shown.finding(Finding(WARNING, "request", reason, problem.fix))
        else:
            compared = "ADD compares what its plugins make of CNI_ARGS with it"
            shown.finding(Finding(NOTE, "request", f"{reason}; {compared}"))


def _answer(explanation: Explanation) -> Finding:
    """The finding about the runtime's answer if nothing refuses the ADD."""
    if explanation.missing:
        return Finding(UNCHECKED, "answer", "not known without the objects above")
    if explanation.unchecked:
        reason = f"the ADD would succeed, if its node has the {len(explanation.unchecked)} above"
        return Finding(NOTE, "answer", reason)
    if explanation.not_ready:
        return Finding(WARNING, "answer", "the ADD would succeed once the node is ready")
    return Finding(OK, "answer", "the ADD would succeed")
