"""The trace observer: records every request's steps and their durations.

``multus trace`` shows them.  The file is ``<cniDir>.trace``; with its predecessor it has at most
two megabytes.  It contains names and times, no configuration and no result.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from multus import hookimpl
from multus.log.trace import append

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.errors import CNIError
    from multus.api.network import Attachment, Delegate, Outcome
    from multus.api.progress import Spent
    from multus.api.request import Request

#: An error's text may hold what a plugin printed.
_LONGEST = 500
_ATTACHING = ("ADD", "ATTACH")
#: A plugin's time is recorded when it is at least this long, in seconds.
_NOTED = 0.001


@hookimpl
def multus_undone(delegate: Delegate, error: CNIError | None, request: Request, conf: Conf) -> None:
    """A delegate was detached because the ADD failed."""
    entry = {**_who("ADD", request, conf), "delegate": _named(delegate), "undone": True}
    append(conf.cni_dir, {**entry, **_failed(error)})


@hookimpl
def multus_detached(
    delegate: Delegate, error: CNIError | None, request: Request, conf: Conf
) -> None:
    """A delegate was removed, by DEL or GC."""
    entry = {**_who(request.command, request, conf), "delegate": _named(delegate)}
    append(conf.cni_dir, {**entry, **_failed(error)})


@hookimpl
def multus_finished(outcome: Outcome, request: Request, conf: Conf) -> None:
    """A request ended; a look at a container that has what it is to have is left out."""
    if outcome.changes is not None and not any(outcome.changes):
        return
    entry = {
        **_who(outcome.command, request, conf),
        "seconds": round(outcome.seconds, 6),
        "stages": {name: round(seconds, 6) for name, seconds in outcome.stages.items()},
        "delegates": _delegates(outcome),
        "plugins": [_spent(each) for each in outcome.plugins if each.seconds >= _NOTED],
    }
    append(conf.cni_dir, {**entry, **_failed(outcome.error)})


def _who(command: str, request: Request, conf: Conf) -> dict[str, Any]:
    who: dict[str, Any] = {
        "time": round(time.time(), 3),
        "command": command,
        "container": request.container_id,
        "ifname": request.ifname,
        "network": conf.name,
    }
    return {**who, "pod": request.pod_label} if request.pod_label else who


def _named(delegate: Delegate) -> dict[str, Any]:
    return {"ifname": delegate.ifname, "network": delegate.label, "types": delegate.types}


def _delegates(outcome: Outcome) -> list[dict[str, Any]]:
    """What was attached; of an ADD also what failed, with its error."""
    made = {each.delegate.ifname: _attached(each) for each in outcome.attachments}
    if outcome.command not in _ATTACHING:
        return list(made.values())
    return [
        made.get(each.delegate.ifname)
        or {
            **_named(each.delegate),
            "invokers": [],
            "seconds": round(each.seconds, 6),
            **_failed(each.error),
        }
        for each in outcome.delegates
    ]


def _attached(attachment: Attachment) -> dict[str, Any]:
    return {
        **_named(attachment.delegate),
        "invokers": list(attachment.invokers),
        "seconds": round(attachment.seconds, 6),
    }


def _spent(spent: Spent) -> dict[str, Any]:
    return {
        "plugin": spent.task.plugin,
        "task": spent.task.name,
        "seconds": round(spent.seconds, 6),
        "waited": round(spent.waited, 6),
    }


def _failed(error: CNIError | None) -> dict[str, Any]:
    return {"error": {"code": error.number, "msg": error.msg[:_LONGEST]}} if error else {}
