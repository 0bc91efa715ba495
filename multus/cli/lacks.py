"""What networks need of a node and do not find there: programs, interfaces, bridges, devices.

The same for explain, validate and doctor: what an ADD would fail with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.api.errors import CNIError, NotStarted
from multus.api.execute import Executor
from multus.engine.invoke.choice import choose
from multus.ipam import for_plugin

if TYPE_CHECKING:
    from multus.api.invoker import Declined
    from multus.api.network import Delegate, Plugin
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


def named(planned: Planned, call: Call) -> Iterator[str]:
    """What of a node the configuration names, in words."""
    for kind in executed(planned, call):
        yield f"program {kind!r}"
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
