"""The status observer: what a pod got, on the pod, for people and programs to read.

A status that cannot be written never harms the attachment: the attempt has a limit, failure is
logged, and a daemon's outbox goes on trying.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from multus import hookimpl
from multus.api.conf import Conf
from multus.api.errors import CNIError
from multus.api.network import Outcome
from multus.api.request import Request
from multus.api.session import Session
from multus.kube.deadline import Deadline
from multus.kube.failures import NotFound, Unreachable
from multus.kube.view import View, view_of
from multus_observer_status.status import STATUS, added_message, annotation

if TYPE_CHECKING:
    from multus.api.keys import Key
    from multus.kube.client import KubeClient
    from multus.kube.outbox import Letter, Target

#: How long an answer waits for what is written here, in seconds.
PATIENCE = 3.0


@hookimpl
def multus_keys() -> list[Key]:
    """The key that wakes it."""
    from multus.kube.keys import SHARED

    return [key for key in SHARED if key.name == "kubeconfig"]


@hookimpl
def multus_finished(outcome: Outcome, request: Request, conf: Conf, session: Session) -> None:
    """Write the status of a finished ADD, and events.

    Raises what could not be written; that goes to the log and no further.
    """
    pod = request.pod
    view = view_of(request, conf, session)
    if outcome.command != "ADD" or pod is None or view is None or _was_not_read(outcome, view):
        return
    # Whoever has a view has imported these.
    from multus.kube.client import KubeClient
    from multus.kube.outbox import Postbox, Target

    target = Target(pod.namespace, pod.name, view.pod_uid() or pod.uid)
    api = view.api
    if isinstance(api, Postbox):
        api.deliver(_letters(outcome, target, api.node), PATIENCE)
    elif isinstance(api, KubeClient):
        _write_now(_letters(outcome, target, os.uname().nodename), api)


def _was_not_read(outcome: Outcome, view: View) -> bool:
    """The API is away, or has no such pod: there is nothing to write to."""
    error = outcome.error
    return isinstance(error, Unreachable) or (isinstance(error, NotFound) and not view.pod_uid())


def _letters(outcome: Outcome, target: Target, node: str) -> list[Letter]:
    from multus.kube.outbox import Annotate, Event

    error = outcome.error
    if error is not None:
        reason = "NoNetworkFound" if isinstance(error, NotFound) else "NetworkAttachmentFailed"
        return [Event(target, "Warning", reason, str(error), node)]
    events = [
        Event(target, "Normal", "AddedInterface", added_message(each), node)
        for each in outcome.attachments
    ]
    return [Annotate(target, {STATUS: annotation(outcome.attachments)}), *events]


def _write_now(letters: Sequence[Letter], client: KubeClient) -> None:
    """A process that ends with its answer writes all it can before."""
    deadline = Deadline.after(PATIENCE)
    errors: list[CNIError] = []
    for letter in letters:
        try:
            letter.write(client, deadline)
        except CNIError as error:
            errors.append(error)
            if isinstance(error, Unreachable):
                break
    if errors:
        raise errors[0]
