"""What a plugin's configuration names and this node lacks.

A plugin in another program says "Link not found", with code 999.  These functions look at the
configuration and at the node, and say which key names what does not exist.

Source: CNI conventions, "Well-known types"; the documentation of the reference plugins.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError, InvalidConfig
from multus.api.names import interface_problem
from multus.inprocess.devices import Devices
from multus.netlink import Namespace, links, open_channel

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.netlink.links import Link

#: The keys that name an existing interface: of every type, and of some.
_ANY, _OF_TYPE = ("master",), {"host-device": ("device",)}
#: The keys that name a device on the PCI or the auxiliary bus.
_DEVICES = ("pciBusID", "deviceID")


def lacking(invocation: Invocation) -> list[CNIError]:
    """What the invocation needs and does not find, each with key, reason and fix.

    What cannot be looked up is left out: another error would hide the plugin's own.
    """
    found: list[CNIError] = []
    for look in (_links, _bridge, _devices, _addresses):
        try:
            found += look(invocation)
        except (CNIError, OSError) as error:
            invocation.log.verbose("the cause of the error is not looked for", error=error)
    return found


def _links(invocation: Invocation) -> Iterator[CNIError]:
    config = invocation.config
    inside = config.get("linkInContainer") is True
    for key in (*_ANY, *_OF_TYPE.get(invocation.plugin.type, ())):
        name = config.get(key)
        if isinstance(name, str) and name and _find(invocation, name, inside=inside) is None:
            there = f"the container ({invocation.request.netns})" if inside else "the host"
            yield InvalidConfig(
                f"is {name!r}, and {there} has no interface of that name",
                key=key,
                fix="name an interface that exists, or create it",
            )


def _bridge(invocation: Invocation) -> Iterator[CNIError]:
    name = invocation.config.get("bridge")
    if invocation.plugin.type != "bridge" or not isinstance(name, str) or not name:
        return
    link = _find(invocation, name)
    if link is not None and link.kind != "bridge":
        kind = f"of kind {link.kind}" if link.kind else "a device"
        yield InvalidConfig(
            f"is {name!r}, and that interface of the host is no bridge, but {kind}",
            key="bridge",
            fix="name a bridge, or a name that no interface has",
        )


def _find(invocation: Invocation, name: str, *, inside: bool = False) -> Link | None:
    if interface_problem(name):
        return None
    with ExitStack() as opened:
        if inside:
            pod = opened.enter_context(Namespace(invocation.request.netns))
            return links.find(opened.enter_context(pod.channel()), name)
        return links.find(opened.enter_context(open_channel()), name)


def _devices(invocation: Invocation) -> Iterator[CNIError]:
    sys = Devices()
    for key, name in _named_devices(invocation.config):
        if not any(os.path.exists(path) for path in (sys.pci(name), sys.auxiliary(name))):
            yield InvalidConfig(
                f"is {name!r}, and the host has no device of that name",
                key=key,
                fix="name a device of this node, or let its device plugin choose one",
            )


def _named_devices(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    requested = config.get("runtimeConfig")
    for prefix, keys in (("", config), ("runtimeConfig.", requested)):
        if isinstance(keys, Mapping):
            for key in _DEVICES:
                name = keys.get(key)
                if isinstance(name, str) and name and "/" not in name:
                    yield f"{prefix}{key}", name


def _addresses(invocation: Invocation) -> Iterator[CNIError]:
    from multus.ipam import lacking as of_ipam

    return of_ipam.lacking(invocation)
