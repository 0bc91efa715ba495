"""The status observer: writes a pod's networks to an annotation of the pod, and as events.

A failed write does not affect the attachment: the write has a time limit, and an error is logged.
A daemon queues the write and retries it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from multus import hookimpl
from multus.api.conf import Conf
from multus.api.errors import NoSuchNetwork
from multus.api.kubernetes import (
    EVENTS,
    KUBECONFIG,
    PODS,
    Annotate,
    ApiUse,
    NotFound,
    PodEvent,
    PodRef,
    Unreachable,
    View,
    Write,
    view_of,
)
from multus.api.network import Changes, Outcome
from multus.api.request import Request
from multus.api.session import Session
from multus_observer_status.status import (
    STATUS,
    added_message,
    annotation,
    entries,
    entries_of,
    refused_message,
    removed_message,
    says,
    theirs,
    unserved_messages,
)

if TYPE_CHECKING:
    from multus.api.errors import CNIError
    from multus.api.keys import Key
    from multus.api.network import Attachment

#: How long an answer waits for the writes, in seconds.
PATIENCE = 3.0


@hookimpl
def multus_keys() -> list[Key]:
    """The key that it needs: without it, the plugin is not loaded."""
    return [KUBECONFIG]


@hookimpl
def multus_kubernetes() -> list[ApiUse]:
    """The status annotation, and events."""
    return [
        ApiUse("patch", PODS, "no status is written", subresource="status", required=False),
        ApiUse("create", EVENTS, "pods get no events", required=False),
    ]


@hookimpl
def multus_finished(outcome: Outcome, request: Request, conf: Conf, session: Session) -> None:
    """Write the status of a finished ADD, and events; after a change, what differs.

    Raises the error of a failed write, which is only logged.
    """
    pod = request.pod
    view = view_of(request, conf, session)
    if outcome.command not in ("ADD", "ATTACH", "CHANGE") or pod is None or view is None:
        return
    if _was_not_read(outcome, view):
        return
    written = PodRef(pod.namespace, pod.name, view.pod_uid() or pod.uid)
    if outcome.command == "CHANGE":
        writes = _writes_of_change(outcome, written, request.netns, view.annotation(STATUS))
    else:
        writes = _writes(outcome, written, request.netns)
    if writes:
        view.api.write(writes, PATIENCE)


def _was_not_read(outcome: Outcome, view: View) -> bool:
    """Whether the API server is unreachable, or does not have the pod."""
    error = outcome.error
    return isinstance(error, Unreachable) or (isinstance(error, NotFound) and not view.pod_uid())


def _writes(outcome: Outcome, pod: PodRef, netns: str) -> list[Write]:
    if outcome.error is not None:
        return [_failed(pod, outcome.error, str(outcome.error))]
    found = [entries(each, netns) for each in outcome.attachments]
    events = _added(outcome.attachments, found, pod)
    if outcome.command == "ATTACH":
        return list(events)  # who asked for one more network writes its status
    return [Annotate(pod, {STATUS: annotation(found)}), *events]


def _writes_of_change(outcome: Outcome, pod: PodRef, netns: str, status: str | None) -> list[Write]:
    """The writes after a change of a running pod, whose annotation says *status* now.

    One that says what is attached is left alone, whoever wrote it, and so is what an outside
    controller says of the networks that it attached.
    """
    if outcome.error is not None:
        return [_failed(pod, outcome.error, f"its networks are not changed: {outcome.error}")]
    writes: list[Write] = []
    told = entries_of(status)
    found = [theirs(each, told) or entries(each, netns) for each in outcome.attachments]
    if not says(told, found):
        writes.append(Annotate(pod, {STATUS: annotation(found)}))
    changes = outcome.changes or Changes()
    writes += [
        PodEvent(pod, "Normal", "RemovedInterface", removed_message(each))
        for each in changes.removed
    ]
    writes += _added(changes.added, [entries(each, netns) for each in changes.added], pod)
    writes += [_failed(pod, each.error, refused_message(each)) for each in changes.refused]
    return writes


def _failed(pod: PodRef, error: CNIError, message: str) -> PodEvent:
    missing = isinstance(error, NotFound | NoSuchNetwork)
    reason = "NoNetworkFound" if missing else "NetworkAttachmentFailed"
    return PodEvent(pod, "Warning", reason, message)


def _added(
    attachments: Sequence[Attachment], found: Sequence[Sequence[object]], pod: PodRef
) -> list[PodEvent]:
    """The events of new *attachments*; *found* are the entries of each."""
    events = [
        PodEvent(pod, "Normal", "AddedInterface", added_message(each))
        for each, made in zip(attachments, found, strict=True)
        if made
    ]
    events += [
        PodEvent(pod, "Warning", "NetworkRequestUnserved", message)
        for each in attachments
        for message in unserved_messages(each)
    ]
    return events
