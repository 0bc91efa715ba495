"""What is known about an ADD in advance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from multus.api.errors import CNIError
from multus.api.invoker import Declined
from multus.api.network import Delegate, Selection
from multus.cli.objects import NotGiven
from multus.cli.routes import Expected
from multus.engine import requests
from multus.state.record import Planned, Step

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.delegation import Delegated
    from multus.api.problem import Problem
    from multus.api.request import Request


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


def _type_of(inner: Delegated) -> str:
    return inner.invocation.plugin.type


def _invoker_of(inner: Delegated) -> str:
    return inner.invoker.name


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
    #: By place in the chain, the plugin to which a plugin leaves its work.
    inner: Mapping[int, Delegated] = field(factory=dict)

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
    def types(self) -> str:
        """The plugins of the chain, each with the one to which it leaves its work."""
        if not self.inner:
            return self.delegate.types
        return self._chain([step.plugin.type for step in self.planned.steps], _type_of, "+")

    @property
    def invokers(self) -> str:
        """The invokers of the chain."""
        return self._chain([step.invoker for step in self.planned.steps], _invoker_of, ", ")

    def _chain(self, outer: list[str], of: Callable[[Delegated], str], between: str) -> str:
        return between.join(
            f"{name} > {of(self.inner[place])}" if place in self.inner else name
            for place, name in enumerate(outer)
        )

    def _inner_wire(self, place: int) -> dict[str, Any]:
        inner = self.inner.get(place)
        if inner is None:
            return {}
        called = inner.invocation
        of = {"type": called.plugin.type, "invoker": inner.invoker.name}
        return {"delegated": {**of, "config": called.config}}

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
                | self._inner_wire(place)
                for place, step in enumerate(self.planned.steps)
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
