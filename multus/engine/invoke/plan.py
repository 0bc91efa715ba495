"""Plan: which invoker carries each plugin out, and the exact configuration that it gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.delegates import handed_on
from multus.api.errors import CNIError, NotStarted, described
from multus.api.jsontext import encode
from multus.api.network import Delegate, Plugin, Provenance
from multus.engine.invoke.calling import carry_out, naming_delegate
from multus.engine.invoke.choice import choose, needed_because, permitted
from multus.state.record import Planned, Step

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.invoker import Invoker
    from multus.engine.invoke.call import Call


#: ``multus.api.deviceinfo.CAPABILITY``, without the import: few networks have a device.
_INFO_FILE = "CNIDeviceInfoFile"


def invoker_of(step: Step, delegate: Delegate, call: Call) -> Invoker:
    """The invoker of a planned or recorded step; raises ``MissingPlugin``."""
    if step.chosen is not None:
        return step.chosen
    return choose(call.installed, step.plugin, delegate, call.conf, strict=False).invoker


def plan(delegates: Sequence[Delegate], call: Call) -> tuple[Planned, ...]:
    """What is about to be done, for the journal: every plugin's invoker and configuration."""
    return tuple(_plan_one(delegate, call) for delegate in delegates)


def _plan_one(delegate: Delegate, call: Call) -> Planned:
    delegate = _with_device_info(delegate, call)
    steps = []
    for plugin in delegate.plugins:
        choice = choose(call.installed, plugin, delegate, call.conf)
        invoker = choice.invoker
        for each in choice.declined:
            call.log.verbose(
                f"{delegate}: {each.invoker} leaves type {plugin.type!r} to"
                f" {invoker.name}: {each.reason}"
            )
        kept = permitted(plugin, delegate, invoker, call.log)
        step = Step(
            plugin=Plugin(kept.config, invoker.name),
            config=handed_on(delegate, kept, call.conf),
            invoker=invoker.name,
            leaves_nothing=invoker.leaves_nothing,
            chosen=invoker,
        )
        steps.append(step)
    return Planned(_with_places(delegate, call.conf), tuple(steps))


def _with_device_info(delegate: Delegate, call: Call) -> Delegate:
    """*delegate* with the path of its device information, when a plugin or its device has some."""
    declared = any(_INFO_FILE in plugin.capabilities for plugin in delegate.plugins)
    if not declared and not (delegate.resource and delegate.device):
        return delegate
    from multus.api import deviceinfo

    request = call.request
    path = deviceinfo.of_attachment(delegate.label, request.container_id, delegate.ifname)
    asked = {**delegate.runtime_config, **({_INFO_FILE: path} if declared else {})}
    return evolve(delegate, device_info=path, runtime_config=asked)


def unwritable(planned: Sequence[Planned]) -> CNIError | None:
    """The error of a configuration that is not JSON, which the journal cannot keep; None for none.

    A plugin has put something else into it.
    """
    for each in planned:
        for step in each.steps:
            try:
                encode(step.config)
            except (TypeError, ValueError, AttributeError) as error:
                source = each.delegate.source or "a plugin"
                wrong = CNIError(
                    f"{each.delegate}: its configuration is not JSON ({described(error)})",
                    fix=f"report it to the author of {source}, or of what adds to it",
                )
                wrong.__cause__ = error
                return wrong
    return None


def _with_places(delegate: Delegate, conf: Conf) -> Delegate:
    """*delegate* with today's ``tenantPaths``, for the journal."""
    if delegate.provenance is Provenance.NODE:
        return delegate
    return evolve(delegate, tenant_paths=conf.tenant_paths)


def prepare(planned: Sequence[Planned], call: Call) -> None:
    """Ask every invoker whether its part can begin; raises the first reason against it."""
    for each in planned:
        for plugin, step in zip(each.delegate.plugins, each.steps, strict=True):
            try:
                invoker = invoker_of(step, each.delegate, call)
                invocation = call.invocation("ADD", each.delegate, step.plugin, step.config)
                carry_out(invoker, invoker.prepare, invocation)
            except NotStarted as error:
                why = needed_because(error, call.installed, plugin, each.delegate, call.conf)
                raise naming_delegate(why, each.delegate, step.plugin) from error
            except CNIError as error:
                raise naming_delegate(error, each.delegate, step.plugin) from error
