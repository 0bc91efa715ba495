"""The status observer: what a pod got, on the pod, for people and programs to read.

A status that cannot be written never harms the attachment: the attempt has a limit, and a failure
is logged.  A daemon queues the write and repeats it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus import hookimpl
from multus.api.conf import Conf
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
from multus.api.network import Outcome
from multus.api.request import Request
from multus.api.session import Session
from multus_observer_status.status import STATUS, added_message, annotation

if TYPE_CHECKING:
    from multus.api.keys import Key

#: How long an answer waits for what is written here, in seconds.
PATIENCE = 3.0


@hookimpl
def multus_keys() -> list[Key]:
    """The key without which it is not loaded."""
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
    """Write the status of a finished ADD, and events.

    Raises what could not be written at once; that goes to the log and no further.
    """
    pod = request.pod
    view = view_of(request, conf, session)
    if outcome.command != "ADD" or pod is None or view is None or _was_not_read(outcome, view):
        return
    written = PodRef(pod.namespace, pod.name, view.pod_uid() or pod.uid)
    view.api.write(_writes(outcome, written), PATIENCE)


def _was_not_read(outcome: Outcome, view: View) -> bool:
    """Whether the API server is away, or has no such pod."""
    error = outcome.error
    return isinstance(error, Unreachable) or (isinstance(error, NotFound) and not view.pod_uid())


def _writes(outcome: Outcome, pod: PodRef) -> list[Write]:
    error = outcome.error
    if error is not None:
        reason = "NoNetworkFound" if isinstance(error, NotFound) else "NetworkAttachmentFailed"
        return [PodEvent(pod, "Warning", reason, str(error))]
    events = [
        PodEvent(pod, "Normal", "AddedInterface", added_message(each))
        for each in outcome.attachments
    ]
    return [Annotate(pod, {STATUS: annotation(outcome.attachments)}), *events]
