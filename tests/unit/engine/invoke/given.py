"""What the tests of the stage *invoke* share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from contract.given import Recorder, at_work, plugin_named
from unit.values import conf_of, delegate_of, request_of

from multus.api.errors import IncompatibleVersion
from multus.api.invoker import Invoker
from multus.api.network import Delegate, Invocation, Plugin
from multus.engine.invoke.carrier import Carrier
from multus.engine.invoke.plan import plan
from multus.state.record import Planned
from multus.testing.session import new_session

NET = delegate_of("net", "make", "tune", ifname="eth0", primary=True, cni_version="1.1.0")


class Aged(Recorder):
    """Knows some versions only, and refuses the others."""

    name = "aged"

    def __init__(self, *known: str) -> None:
        super().__init__()
        self.known = known

    def _record(self, invocation: Invocation) -> None:
        super()._record(invocation)
        if invocation.cni_version not in self.known:
            raise IncompatibleVersion(f"{invocation.cni_version} is not known")

    def versions(self, invocation: Invocation) -> Sequence[str]:
        return self.known


def call_of(invoker: Invoker, **keys: Any) -> Carrier:
    def multus_invoker(plugin: Plugin) -> Invoker:
        return invoker

    installed = at_work(plugin_named("invoker", multus_invoker))
    return Carrier(installed, new_session(), request_of(), conf_of(**keys))


def planned(call: Carrier, *delegates: Delegate) -> list[tuple[int, Planned]]:
    return list(enumerate(plan(delegates, call)))
