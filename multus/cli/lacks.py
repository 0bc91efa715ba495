"""What networks need and do not find: programs, interfaces, bridges, devices, valid keys.

The same for explain, validate and doctor: what an ADD would fail with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.api._wellknown import meant
from multus.api.delegation import Delegating
from multus.api.errors import (
    CNIError,
    InvalidConfig,
    NotAvailable,
    NotStarted,
    TryAgainLater,
    UnsupportedField,
)
from multus.api.execute import Executor
from multus.engine.invoke.calling import call_verb
from multus.engine.invoke.choice import choose
from multus.inprocess import LinkInvoker
from multus.ipam import for_plugin

if TYPE_CHECKING:
    from multus.api.delegation import Delegated
    from multus.api.invoker import Declined, Invoker
    from multus.api.network import Delegate, Invocation, Plugin
    from multus.engine.invoke.call import Call
    from multus.state.record import Planned, Step

#: Keys that name something of a node, beside the programs.
_OF_NODE = ("master", "device", "pciBusID", "deviceID")
#: The paths of keys that name a device.
_DEVICES = (("deviceID",), ("pciBusID",))


@frozen
class Lack:
    """What the plugin at *place* in a network's chain does not find."""

    place: int
    error: CNIError
    #: Another node may have what is missing here.
    of_node: bool = True

    @property
    def is_passing(self) -> bool:
        """Whether the ADD is to be tried again later."""
        return isinstance(self.error, (TryAgainLater, NotAvailable))


def of_configuration(planned: Planned, call: Call) -> Iterator[Lack]:
    """What the in-process plugins would refuse before they attach anything.

    Missing programs are left to `of_programs`, devices to `of_host`.
    """
    for place, step in enumerate(planned.steps):
        invoker = step.chosen
        if invoker is None or step.invoker == "exec":
            continue
        invocation = call.invocation("ADD", planned.delegate, step.plugin, step.config)
        verbs: list[Callable[[Invocation], object]] = [invoker.prepare]
        if isinstance(invoker, LinkInvoker):
            verbs.insert(0, invoker.read)
        try:
            for verb in verbs:
                call_verb(invoker, verb, invocation)
        except CNIError as error:
            if not isinstance(error, NotStarted) and error.path[-1:] not in _DEVICES:
                yield Lack(place, error, not _is_of_file(error, invoker))


def _is_of_file(error: CNIError, invoker: Invoker) -> bool:
    """Whether the configuration alone is wrong, on every node."""
    # Without a key, the error may be about a device that only a node gives.
    return isinstance(error, (InvalidConfig, UnsupportedField)) and (
        bool(error.path) or not isinstance(invoker, (Delegating, LinkInvoker))
    )


def inner_of(step: Step, planned: Planned, call: Call) -> Delegated | None:
    """The plugin to which the plugin of *step* leaves its work; None for none, or not known."""
    if not isinstance(step.chosen, Delegating):
        return None
    try:
        return step.chosen.inner(call.invocation("ADD", planned.delegate, step.plugin, step.config))
    except CNIError:
        return None  # `of_configuration` has the error


def of_programs(planned: Planned, call: Call) -> Iterator[Lack]:
    """The binaries that would be started and are not there."""
    finder = executor(call)
    for kind, (place, path, reason) in executed(planned, call).items():
        try:
            finder.find(kind)
        except CNIError as error:
            needed = f"the binary is needed: {reason}" if reason else ""
            told = error.detailed(needed)
            told.path = path
            yield Lack(place, told)


def of_host(planned: Planned, call: Call) -> Iterator[Lack]:
    """Interfaces, bridges, devices and free addresses that the configuration needs.

    They are looked for on this machine.
    """
    from multus.inprocess.lacking import lacking

    for place, step in enumerate(planned.steps):
        invocation = call.invocation("ADD", planned.delegate, step.plugin, step.config)
        for error in lacking(invocation):
            # Programs are looked for by `of_programs`: not every one is started.  What a device
            # plugin calls a device need not be a name on a bus.
            chosen = planned.delegate.device and error.path[-1:] in _DEVICES
            if not isinstance(error, NotStarted) and not chosen:
                yield Lack(place, error)


def served(planned: Sequence[Planned]) -> str:
    """How each plugin of these networks is carried out, in words."""
    steps = [step for each in planned for step in each.steps]
    return ", ".join(
        f"{kind} ({'a program' if invoker == 'exec' else 'in-process'})"
        for kind, invoker in dict.fromkeys((step.plugin.type, step.invoker) for step in steps)
    )


def named(planned: Planned, call: Call) -> Iterator[str]:
    """What of a node the configuration names, in words."""
    for kind in executed(planned, call):
        name = meant(kind)
        yield f"program {kind!r}" + (f" (did you mean {name!r}?)" if name else "")
    for step in planned.steps:
        for key in _OF_NODE:
            if isinstance(step.config.get(key), str) and step.config[key]:
                yield f"{key} {step.config[key]!r}"


def executed(planned: Planned, call: Call) -> Mapping[str, tuple[int, tuple[str, ...], str]]:
    """The binaries of the plugins and of their IPAM that would be started.

    By name: the place of the plugin in the chain, the key, and the reason, which is "" for a type
    that is never served in-process.
    """
    found: dict[str, tuple[int, tuple[str, ...], str]] = {}
    delegate = planned.delegate
    for place, step in enumerate(planned.steps):
        if step.invoker == "exec":
            plugin = delegate.plugins[place]  # the step's own says which invoker was chosen
            no = "; ".join(each.reason for each in declined(plugin, delegate, call))
            found[step.plugin.type] = (place, ("type",), no)
        kind, reason = _executed_ipam(delegate, step, call)
        if kind:
            found.setdefault(kind, (place, ("ipam", "type"), reason))
    return found


def declined(plugin: Plugin, delegate: Delegate, call: Call) -> tuple[Declined, ...]:
    """The answers of in-process invokers that leave *plugin* to another one."""
    return choose(call.installed, plugin, delegate, call.conf, strict=False).declined


def _executed_ipam(delegate: Delegate, step: Step, call: Call) -> tuple[str, str]:
    """The IPAM plugin whose binary would be started, and the reason; "" for none."""
    ipam: Any = step.config.get("ipam")
    kind = ipam.get("type") if isinstance(ipam, Mapping) else None
    if not isinstance(kind, str) or not kind:
        return "", ""
    if step.invoker == "exec":
        return kind, ""
    pool = for_plugin(call.invocation("ADD", delegate, step.plugin, step.config))
    if pool is None or pool.name != "exec":
        return "", ""
    return kind, pool.reason


def executor(call: Call) -> Executor:
    """The finder of the binaries that a call starts."""
    folders = tuple(dict.fromkeys((call.conf.bin_dir, *call.request.path)))
    return Executor(folders, call.session.chroot)
