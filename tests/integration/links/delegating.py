"""flannel, with faults in the bridge that it delegates to."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import multus_invoker_flannel.invoker
from attrs import evolve
from contract.given import at_work, plugin_named
from multus_invoker_bridge.invoker import Bridge

from multus.engine.invoke.delegation import delegated
from multus.netlink import Transport

if TYPE_CHECKING:
    from socket import socket

    from multus.api.delegation import Delegated
    from multus.api.network import Invocation


class Flannel(multus_invoker_flannel.invoker.Flannel):
    """Delegates to a bridge that sends its messages by *transport*."""

    def __init__(self, transport: Callable[[socket], Transport]) -> None:
        def multus_invoker() -> Bridge:
            return Bridge(transport)

        self._installed = at_work(plugin_named("invoker-bridge", multus_invoker))

    def inner(self, invocation: Invocation) -> Delegated:
        delegating = partial(delegated, self._installed)
        return super().inner(evolve(invocation, delegating=delegating))
