"""Waits until the pods of a DaemonSet are ready on every node.

``status`` of a DaemonSet: ``kubernetes.io/docs/reference/kubernetes-api/workload-resources``.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.api.errors import InvalidConfig, TryAgainLater

if TYPE_CHECKING:
    from multus.kube.client import KubeClient

_LOOK_EVERY = 1.0
#: Timeout of one request, in seconds.
_REQUEST = 10.0


@frozen
class Progress:
    """How many nodes there are to be, and how many are ready.

    ``seen``: the controller of DaemonSets has read the object; until then the numbers mean nothing.
    A pod of an earlier form of the DaemonSet is not ready.
    """

    seen: bool
    nodes: int
    ready: int

    @classmethod
    def of(cls, wire: Mapping[str, Any]) -> Progress:
        """From the wire form of a DaemonSet."""
        status = wire.get("status") or {}
        generation = wire["metadata"].get("generation", 0)
        return cls(
            seen=status.get("observedGeneration", -1) >= generation,
            nodes=status.get("desiredNumberScheduled", 0),
            ready=min(status.get("numberReady", 0), status.get("updatedNumberScheduled", 0)),
        )

    @property
    def done(self) -> bool:
        return self.seen and self.ready >= self.nodes

    def __str__(self) -> str:
        if not self.seen:
            return "it has no pods yet"
        return f"{self.ready} of {self.nodes} node(s) are ready"


def named(text: str) -> tuple[str, str]:
    """Namespace and name of ``NAMESPACE/NAME``; raises ``InvalidConfig``."""
    namespace, _, name = text.partition("/")
    if not namespace or not name or "/" in name:
        raise InvalidConfig(f"{text!r} does not name a DaemonSet", fix="write NAMESPACE/NAME")
    return namespace, name


def wait(
    client: KubeClient, daemonset: tuple[str, str], seconds: float, tell: Callable[[str], None]
) -> Progress:
    """Wait until each node's pod of *daemonset* (namespace, name) is ready.

    *tell* is called with what has changed.  Raises ``TryAgainLater`` after *seconds*, with what is
    missing, or why the API server cannot say.
    """
    until, said = time.monotonic() + seconds, ""
    while True:
        progress, now = _look(client, *daemonset)
        if progress is not None and progress.done:
            return progress
        if now != said:
            said = now
            tell(now)
        if time.monotonic() >= until:
            namespace, name = daemonset
            raise TryAgainLater(
                f"DaemonSet {namespace}/{name} is not ready after {seconds:g} s: {now}",
                fix=f"'kubectl -n {namespace} get pods -l app.kubernetes.io/name={name} -o wide'"
                " shows the nodes",
            )
        time.sleep(_LOOK_EVERY)


def _look(client: KubeClient, namespace: str, name: str) -> tuple[Progress | None, str]:
    """The progress, or None when the API server does not give it; and both in words."""
    from multus.api.kubernetes import Deadline, Resource

    wanted = Resource("apps", "v1", "daemonsets", "DaemonSet").object(namespace, name)
    try:
        progress = Progress.of(client.get(wanted, Deadline.after(_REQUEST)))
    except TryAgainLater as error:
        return None, str(error)
    return progress, str(progress)
