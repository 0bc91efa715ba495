"""Predicts an ADD by running its stages that have no effects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.errors import CNIError, NoSuchNetwork, NotStarted
from multus.api.kubernetes import NotFound
from multus.api.network import Delegate, Element, Selection
from multus.cli import lacks
from multus.cli.commands.explain.explanation import Explanation, PlannedNetwork, Refusal
from multus.cli.node import DEFAULT_TYPE
from multus.cli.objects import ELSEWHERE
from multus.cli.routes import expected
from multus.engine import order, parse, resolve
from multus.engine.invoke.call import Call
from multus.engine.invoke.plan import plan
from multus.registry.hooks import Hooks

if TYPE_CHECKING:
    import pluggy

    from multus.api.conf import Conf
    from multus.api.request import Request
    from multus.api.session import Session
    from multus.registry.loading import Installed


class _Listening(Hooks):
    """The hooks; records the answers of the sources."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        super().__init__(manager)
        self.selections: list[Selection] = []
        self.asked: list[Element] = []
        self.named: list[tuple[str, Mapping[str, Sequence[str]]]] = []

    def select(self, request: Request, conf: Conf, session: Session) -> list[Selection]:
        self.selections[:] = super().select(request, conf, session)
        return list(self.selections)

    def devices_by_plugin(
        self, request: Request, conf: Conf, session: Session
    ) -> list[tuple[str, Mapping[str, Sequence[str]]]]:
        self.named[:] = super().devices_by_plugin(request, conf, session)
        return list(self.named)

    def device_by(self, delegate: Delegate) -> str:
        """The plugin that named the delegate's device; "" when the network's source did."""
        resource, device = delegate.resource, delegate.device
        return next((name for name, each in self.named if device in each.get(resource, ())), "")

    def resolve(
        self, element: Element, request: Request, conf: Conf, session: Session
    ) -> Delegate | None:
        self.asked.append(element)
        return super().resolve(element, request, conf, session)


def explain(
    installed: Installed, request: Request, conf: Conf, session: Session, assumed: str = ""
) -> Explanation:
    """Predict an ADD of *request*, with every refusal; changes nothing.

    *assumed* says what stands in place of a configuration, "" for nothing.
    """
    hooks = _Listening(installed.hooks.manager)
    installed = installed._replace(hooks=hooks)
    refusals: list[Refusal] = []
    known = Explanation(request, conf, not_ready=tuple(hooks.health(conf)), assumed=assumed)
    try:
        parse.validate(conf, installed)
    except CNIError as error:
        refusals.append(Refusal("validate", error))
    try:
        resolved = resolve.resolve(installed, request, conf, session)
    except CNIError as error:
        refusals.append(Refusal("resolve", error))
        refusals += _others_refused(installed, hooks, request, conf, session)
        return evolve(known, selections=tuple(hooks.selections), refusals=tuple(refusals))
    known = evolve(known, selections=tuple(hooks.selections), naming=resolved.naming)
    known = evolve(known, default_route=resolved.default_route)
    asked = [
        (_unordered(delegate), element.origin)
        for delegate, element in zip(resolved.delegates, hooks.asked, strict=True)
    ]
    try:
        delegates = order.order(hooks, resolved, request, conf, session)
    except CNIError as error:
        refusals.append(Refusal("order", error))
        return evolve(known, refusals=tuple(refusals))
    call = Call(installed, session, request, conf)
    networks = []
    for delegate in delegates:
        try:
            planned = _planned(delegate, _origin(delegate, asked), call)
            networks.append(evolve(planned, device_by=hooks.device_by(delegate)))
        except CNIError as error:
            refusals.append(Refusal("invoke", error))
    passing: list[CNIError] = []
    for network in networks:
        if not assumed or network.delegate.types != DEFAULT_TYPE:
            for found, of_node, is_passing in _lacking(network, call):
                if is_passing:
                    passing.append(found)
                else:
                    refusals.append(Refusal("invoke", found, of_node))
    return evolve(
        known,
        not_ready=(*known.not_ready, *passing),
        networks=tuple(_with_binaries(each, call) for each in networks),
        routes=expected([each.delegate for each in networks]),
        refusals=tuple(refusals),
    )


def _unordered(delegate: Delegate) -> Delegate:
    """A delegate without the fields that ordering sets."""
    return evolve(delegate, ifname="", primary=False)


def _origin(delegate: Delegate, asked: list[tuple[Delegate, str]]) -> str:
    """Where *delegate* was requested; equal delegates each get their own place."""
    wanted = _unordered(delegate)
    index = next(index for index, (each, _) in enumerate(asked) if each == wanted)
    return asked.pop(index)[1]


def _others_refused(
    installed: Installed, hooks: _Listening, request: Request, conf: Conf, session: Session
) -> list[Refusal]:
    """The errors of the networks after the one at which resolving stopped."""
    try:
        networks = resolve.combine(hooks.selections, conf)
    except CNIError:
        return []
    refusals = []
    for each in networks[len(hooks.asked) :]:
        try:
            resolve.resolve_one(each, installed, request, conf, session)
        except CNIError as error:
            refusals.append(Refusal("resolve", error))
    return refusals


def _planned(delegate: Delegate, origin: str, call: Call) -> PlannedNetwork:
    (planned,) = plan([delegate], call)
    declined = [
        (plugin.type, each)
        for plugin in delegate.plugins
        for each in lacks.declined(plugin, delegate, call)
    ]
    called = ((at, lacks.inner_of(step, planned, call)) for at, step in enumerate(planned.steps))
    inner = {at: each for at, each in called if each is not None}
    return PlannedNetwork(planned, origin, tuple(declined), inner=inner)


def _with_binaries(network: PlannedNetwork, call: Call) -> PlannedNetwork:
    found = {}
    for kind in lacks.executed(network.planned, call):
        try:
            found[kind] = lacks.executor(call).find(kind)
        except CNIError:
            continue  # already among the refusals
    return evolve(network, binaries=found)


def _lacking(network: PlannedNetwork, call: Call) -> Iterator[tuple[CNIError, bool, bool]]:
    """What the network does not find: the error, whether it is of this node, and may pass."""
    where = f"{network.delegate}, interface {network.delegate.ifname}"
    found, chroot = list(lacks.of_programs(network.planned, call)), call.session.chroot
    if not chroot:
        found += lacks.of_host(network.planned, call)
    found += [
        e for e in lacks.of_configuration(network.planned, call) if not chroot or not e.of_node
    ]
    for each in found:
        yield each.error.at(where), each.of_node, each.is_passing


def without_devices(explanation: Explanation, resources: Mapping[str, object]) -> Explanation:
    """The explanation for a pod whose devices are not known here.

    *resources* are those of the definitions whose devices a kubelet gives, by network.
    """
    devices = tuple(
        f"which device of {resources[each.delegate.label]} {each.delegate} gets"
        for each in explanation.networks
        if each.delegate.label in resources
    )
    return evolve(explanation, unchecked=(*explanation.unchecked, *devices))


def off_node(explanation: Explanation) -> Explanation:
    """The explanation for another machine than the pod's node.

    What depends on the node is not a refusal: it is named as not checked.
    """
    elsewhere = [each for each in explanation.refusals if _is_elsewhere(each)]
    here = tuple(each for each in explanation.refusals if each not in elsewhere)
    said = [each.error.said for each in elsewhere]
    said += [each.said for each in explanation.not_ready]
    unchecked = (*explanation.unchecked, *dict.fromkeys(said))
    return evolve(explanation, refusals=here, not_ready=(), unchecked=unchecked)


def _is_elsewhere(refusal: Refusal) -> bool:
    error = refusal.error
    # Without an object that the pod names, what it would get is not known.
    of_node = refusal.of_node or isinstance(error, (*ELSEWHERE, NotStarted, NoSuchNetwork))
    return of_node and not isinstance(error, NotFound)
