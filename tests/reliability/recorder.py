"""A plugin that attaches nothing and records its calls."""

from __future__ import annotations

from multus import hookimpl
from multus.api.conf import Conf
from multus.api.errors import IOFailure
from multus.api.invoker import Invoker
from multus.api.network import Delegate, Invocation, Plugin
from multus.api.result import Interface, Result

#: The interfaces that were deleted, in order.
DELETED: list[str] = []

#: Every DEL, also those that failed.
SEEN: list[Invocation] = []

#: The lists of valid attachments that GC passed, by network.
COLLECTED: dict[str, list[tuple[str, str]]] = {}


class Recorder(Invoker):
    name = "recorder"

    def add(self, invocation: Invocation) -> Result:
        return Result((Interface(invocation.ifname, "02:00:00:00:00:01"),))

    def delete_one(self, invocation: Invocation) -> None:
        SEEN.append(invocation)
        if invocation.config.get("stuck"):
            raise IOFailure("it is stuck")
        DELETED.append(invocation.ifname)

    def gc(self, invocation: Invocation) -> None:
        COLLECTED[invocation.delegate.name] = sorted(
            (each["containerID"], each["ifname"]) for each in invocation.valid_attachments
        )


@hookimpl(tryfirst=True)
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | None:
    return Recorder() if plugin.type == "recorder" else None
