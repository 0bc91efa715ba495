"""Plan: which invoker carries each plugin out, and the exact configuration that it gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from attrs import evolve

from multus.api.delegates import handed_on
from multus.api.errors import CNIError, InvalidConfig, described
from multus.api.invoker import Declined, Invoker
from multus.api.jsontext import encode
from multus.api.network import Delegate, Plugin, Provenance
from multus.engine.invoke.calling import carry_out, naming_delegate
from multus.engine.permit import withheld, without, without_info_file
from multus.engine.resolve import missing_plugin
from multus.state.record import Planned, Step

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.engine.invoke.call import Call
    from multus.registry.loading import Installed


#: ``multus.api.deviceinfo.CAPABILITY``, without the import: few networks have a device.
_INFO_FILE = "CNIDeviceInfoFile"


class Choice(NamedTuple):
    """The invoker for a plugin, and the answers of those that declined before it."""

    invoker: Invoker
    declined: tuple[Declined, ...] = ()


def choose(
    installed: Installed, plugin: Plugin, delegate: Delegate, conf: Conf, *, strict: bool = True
) -> Choice:
    """The invoker for *plugin*: the one that its configuration names, else the first that offers.

    With *strict*, it is an error when the named one does not offer itself.  Without (DEL, CHECK,
    GC) the first that offers takes its place: in-process invokers and binaries share their stores.
    Raises ``InvalidConfig`` and ``MissingPlugin``.
    """
    offers: list[Invoker] = []
    declined: list[Declined] = []
    for each in installed.hooks.invokers(plugin, delegate, conf):
        if isinstance(each, Declined):
            declined.append(each)
        elif plugin.invoker in ("", each.name):
            return Choice(each, tuple(declined))
        else:
            offers.append(each)
    if plugin.invoker and strict:
        refused = next((no for no in declined if no.invoker == plugin.invoker), None)
        if refused is not None:
            raise InvalidConfig(
                f"{delegate}: invoker {plugin.invoker!r} cannot serve it: {refused.reason}",
                fix="correct that, or do not ask for this invoker",
            )
        raise missing_plugin(
            f"is the invoker {plugin.invoker!r} that {delegate} asks for",
            f"multus-invoker-{plugin.invoker}",
            installed,
        )
    if not offers:
        raise missing_plugin(
            f"carries out type {plugin.type!r} of {delegate}", "multus-invoker-exec", installed
        )
    return Choice(offers[0], tuple(declined))


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
        kept = permitted(plugin, delegate, invoker, call)
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


def permitted(plugin: Plugin, delegate: Delegate, invoker: Invoker, call: Call) -> Plugin:
    """*plugin* without the keys that its writer may not give to *invoker*.

    The journal gets the same, so that DEL and CHECK look where ADD did.
    """
    plugin = without_info_file(plugin, delegate)
    keys = withheld(plugin, delegate, invoker.node_keys)
    for key in keys:
        call.log.verbose(
            f"{delegate}: key {key!r} of type {plugin.type!r} is for the owner of the node:"
            f" it is not passed to {invoker.name}"
        )
    return without(plugin, keys)


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
        for step in each.steps:
            try:
                invoker = invoker_of(step, each.delegate, call)
                invocation = call.invocation("ADD", each.delegate, step.plugin, step.config)
                carry_out(invoker, invoker.prepare, invocation)
            except CNIError as error:
                raise naming_delegate(error, each.delegate, step.plugin) from error
