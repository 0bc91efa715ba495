"""Devices: which of the container's devices each network gets.

A delegate with a ``resource`` takes the next free device of that resource, in the order in which
the networks were requested.  Plugins name the container's devices (``multus_devices``); the engine
does not know where they come from.  Each plugin of the network's chain gets the device.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.errors import InvalidConfig
from multus.api.network import Plugin

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate
    from multus.api.request import Request
    from multus.api.session import Session
    from multus.registry.hooks import Hooks

#: The keys of a plugin's configuration for its device: newer plugins read the first, older ones the
#: second.
KEYS = ("deviceID", "pciBusID")
#: The capability of plugins that take the device by ``runtimeConfig``.
CAPABILITY = "deviceID"


def with_devices(
    delegates: Sequence[Delegate],
    origins: Sequence[str],
    hooks: Hooks,
    request: Request,
    conf: Conf,
    session: Session,
    taken: Collection[str] = (),
    *,
    needed: bool = False,
) -> list[Delegate]:
    """*delegates*, each with a device of its resource, as far as the container has such devices.

    *origins* are the places that requested them, for errors.  A resource of which the container has
    no device at all is used for scheduling alone: its networks get none.  A network for which none
    is left keeps the device that its source gave.  Raises ``InvalidConfig`` for one without.

    *taken* are devices of the container's other networks.  With *needed*, a network of a resource
    of which the container has no device is refused too: a running container is scheduled already.
    """
    if request.command != "ADD" or not any(each.resource for each in delegates):
        return list(delegates)
    free = {
        resource: iter([each for each in devices if each not in taken])
        for resource, devices in hooks.devices(request, conf, session).items()
        if devices
    }
    assigned = []
    for each, origin in zip(delegates, origins, strict=True):
        device = next(free[each.resource], "") if each.resource in free else ""
        if not device and (needed or each.resource in free) and each.resource and not each.device:
            raise InvalidConfig(
                f"{each} needs a device of {each.resource}, and {_who(request)} has no free one",
                where=origin,
                fix="request one more in the pod's resources"
                + (", and create the pod anew" if needed else ""),
            )
        assigned.append(_with_device(each, device) if device else each)
    return assigned


def _who(request: Request) -> str:
    return f"pod {request.pod}" if request.pod else str(request)


def _with_device(delegate: Delegate, device: str) -> Delegate:
    """Every plugin of the chain gets it: rdma behind sriov reads it too."""
    given = dict.fromkeys(KEYS, device)
    plugins = tuple(Plugin({**each.config, **given}, each.invoker) for each in delegate.plugins)
    return evolve(delegate, plugins=plugins, device=device)


def runtime_config(delegate: Delegate) -> Mapping[str, str]:
    """The device by ``runtimeConfig``, for plugins of the chain that take it so.

    A device that the engine assigned is in every plugin's configuration too.  One that the source
    asked for is not: when no plugin declares the capability, that request is not served.
    """
    device = delegate.device
    declared = any(CAPABILITY in each.capabilities for each in delegate.plugins)
    assigned = any(each.config.get(KEYS[0]) == device for each in delegate.plugins)
    return {CAPABILITY: device} if device and (declared or not assigned) else {}
