"""Predicts an ADD by running its stages that have no effects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from multus.api.errors import CNIError, NoSuchNetwork, NotStarted
from multus.api.invoker import Declined
from multus.api.kubernetes import NotFound
from multus.api.network import Delegate, Element, Selection
from multus.cli import lacks
from multus.cli.node import DEFAULT_TYPE
from multus.cli.objects import ELSEWHERE, NotGiven
from multus.cli.routes import Expected, expected
from multus.engine import order, parse, requests, resolve
from multus.engine.invoke.call import Call
from multus.engine.invoke.plan import plan
from multus.registry.hooks import Hooks
from multus.state.record import Planned, Step

if TYPE_CHECKING:
    import pluggy

    from multus.api.conf import Conf
    from multus.api.problem import Problem
    from multus.api.request import Request
    from multus.api.session import Session
    from multus.registry.loading import Installed


@frozen
class Refusal:
    """An error that the ADD would return; the runtime sees only the first."""

    stage: str
    error: CNIError
    #: Another node may have what is missing here.
    of_node: bool = False

    def to_wire(self) -> dict[str, Any]:
        error = self.error
        wire = {"stage": self.stage, "code": error.number, "msg": error.msg}
        return wire | ({"details": error.details} if error.details else {})


@frozen
class PlannedNetwork:
    """One network of the ADD; ``binaries`` maps types to the binaries that exec would start.

    ``device_by`` is the plugin that named the network's device.
    """

    planned: Planned
    origin: str
    declined: tuple[tuple[str, Declined], ...] = ()
    binaries: Mapping[str, str] = field(factory=dict)
    device_by: str = ""

    @property
    def delegate(self) -> Delegate:
        return self.planned.delegate

    def ipam_binary(self, step: Step) -> str:
        """The path of the IPAM plugin's binary that the step starts; "" for none."""
        ipam = step.config.get("ipam")
        kind = ipam.get("type") if isinstance(ipam, Mapping) else None
        return self.binaries.get(kind, "") if isinstance(kind, str) else ""

    def _device_wire(self) -> dict[str, Any]:
        found = {
            "resource": self.delegate.resource,
            "device": self.delegate.device,
            "deviceBy": self.device_by,
        }
        return {key: value for key, value in found.items() if value}

    @property
    def undeclared(self) -> list[Problem]:
        """The requests whose capability no plugin declares."""
        return requests.undeclared(self.delegate)

    @property
    def ignored(self) -> list[Problem]:
        """Those of them that no plugin gets."""
        return requests.ignored(self.delegate)

    def to_wire(self) -> dict[str, Any]:
        delegate = self.delegate
        return {
            "interface": delegate.ifname,
            "network": delegate.label,
            "name": delegate.name,
            "source": delegate.source,
            "origin": self.origin,
            "primary": delegate.primary,
            "default": delegate.default,
            **self._device_wire(),
            "args": dict(delegate.args),
            "undeclared": [str(each) for each in self.undeclared],
            "plugins": [
                {
                    "type": step.plugin.type,
                    "invoker": step.invoker,
                    "declined": {d.invoker: d.reason for t, d in self.declined if t == kind},
                    "config": step.config,
                }
                | ({"binary": self.binaries[kind]} if kind in self.binaries else {})
                | ({"ipamBinary": pool} if (pool := self.ipam_binary(step)) else {})
                for step in self.planned.steps
                for kind in (step.plugin.type,)
            ],
        }


@frozen
class Explanation:
    """Everything that is known about an ADD in advance."""

    request: Request
    conf: Conf
    selections: tuple[Selection, ...] = ()
    naming: str = ""
    default_route: str = ""
    networks: tuple[PlannedNetwork, ...] = ()
    routes: Expected = field(factory=Expected)
    #: Conditions under which an ADD would wait or be refused for now.
    not_ready: tuple[CNIError, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    #: What only the pod's node can answer.
    unchecked: tuple[str, ...] = ()
    #: What was assumed in place of a configuration; "" with one.
    assumed: str = ""

    @property
    def missing(self) -> tuple[CNIError, ...]:
        """The objects that are not in the given files: without them the answer is not known."""
        every = (each.error for each in self.refusals)
        return tuple(each for each in every if isinstance(each, NotGiven))

    @property
    def refused(self) -> tuple[Refusal, ...]:
        """The refusals that are known."""
        return tuple(each for each in self.refusals if not isinstance(each.error, NotGiven))

    @property
    def notes(self) -> tuple[str, ...]:
        """Hints that are not errors."""
        if self.assumed:
            return (self.assumed,)
        if self.request.pod is None or self.conf.raw.get("kubeconfig"):
            return ()
        return (
            f"configuration {self.conf.name!r} has no 'kubeconfig': pod annotations are not read",
        )

    def to_wire(self) -> dict[str, Any]:
        pod = self.request.pod
        return {
            "pod": str(pod) if pod else None,
            "configuration": self.conf.name,
            "cniVersion": self.conf.cni_version,
            "selections": [
                {
                    "origin": each.origin,
                    "role": each.role.value,
                    "networks": [str(element) for element in each.elements],
                }
                for each in self.selections
            ],
            "naming": self.naming,
            "defaultRoute": self.default_route,
            "networks": [each.to_wire() for each in self.networks],
            "routes": [each.to_wire() for each in self.routes.routes],
            "routesKnownLater": dict(self.routes.unknown),
            "notes": list(self.notes),
            "notReady": [{"code": each.number, "msg": each.msg} for each in self.not_ready],
            "refused": [each.to_wire() for each in self.refused],
            "missing": [each.said for each in self.missing],
            "notChecked": list(self.unchecked),
        }


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
    for network in networks:
        if not assumed or network.delegate.types != DEFAULT_TYPE:
            refusals += _lacking(network, call)
    return evolve(
        known,
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
    return PlannedNetwork(planned, origin, tuple(declined))


def _with_binaries(network: PlannedNetwork, call: Call) -> PlannedNetwork:
    found = {}
    for kind in lacks.executed(network.planned, call):
        try:
            found[kind] = lacks.executor(call).find(kind)
        except CNIError:
            continue  # already among the refusals
    return evolve(network, binaries=found)


def _lacking(network: PlannedNetwork, call: Call) -> Iterator[Refusal]:
    """What the network does not find on this node."""
    where = f"{network.delegate}, interface {network.delegate.ifname}"
    found = list(lacks.of_programs(network.planned, call))
    if not call.session.chroot:
        found += lacks.of_host(network.planned, call)
    for each in found:
        yield Refusal("invoke", each.error.at(where), of_node=True)


def off_node(explanation: Explanation, resources: Mapping[str, object]) -> Explanation:
    """The explanation for another machine than the pod's node.

    What depends on the node is not a refusal: it is named as not checked.  *resources* are those of
    the definitions whose devices a kubelet gives, by network.
    """
    devices = [
        f"which device of {resources[each.delegate.label]} {each.delegate} gets"
        for each in explanation.networks
        if each.delegate.label in resources
    ]
    elsewhere = [each for each in explanation.refusals if _is_elsewhere(each)]
    here = tuple(each for each in explanation.refusals if each not in elsewhere)
    said = [each.error.said for each in elsewhere]
    said += [each.said for each in explanation.not_ready]
    return evolve(
        explanation, refusals=here, not_ready=(), unchecked=(*devices, *dict.fromkeys(said))
    )


def _is_elsewhere(refusal: Refusal) -> bool:
    error = refusal.error
    # Without an object that the pod names, what it would get is not known.
    of_node = refusal.of_node or isinstance(error, (*ELSEWHERE, NotStarted, NoSuchNetwork))
    return of_node and not isinstance(error, NotFound)
