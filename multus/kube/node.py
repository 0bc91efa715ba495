"""The API as a node's daemon has it: what it has heard of already, and the server for the rest.

A daemon makes one ``NodeApi``, starts it, and puts it into every request's ``api``::

    api = NodeApi(load_kubeconfig(path), node_name, on_problem=log_it)
    api.start()
    ...
    engine.add(evolve(request, api=api), conf)
    ...
    api.close()
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from attrs import frozen

from multus.api.errors import CNIError
from multus.kube.cache import DefinitionCache, PodCache
from multus.kube.client import KubeClient
from multus.kube.deadline import Deadline
from multus.kube.follower import Follower
from multus.kube.outbox import Annotate, Outbox

if TYPE_CHECKING:
    from multus.kube.client import Wanted
    from multus.kube.kubeconfig import Access
    from multus.kube.outbox import Letter

#: Group and plural of the definitions that are followed; those not served cost one GET in a while.
KINDS = (
    ("k8s.cni.cncf.io", "network-attachment-definitions"),
    ("kubernetes-network.cni.cncf.io", "networks"),
)


#: How long a thread that was stopped may take to end.
_ENDING = 0.2


@frozen
class CacheState:
    """How one cache is: whether it answers, seconds since it heard, how many objects it has.

    ``stale`` says that what it has may be out of date, so that the API server is asked.  ``bytes``
    is what the objects take; ``marked`` of them are too large or odd, and are not kept themselves.
    """

    what: str
    synced: bool
    age: float
    objects: int
    stale: bool = False
    bytes: int = 0
    marked: int = 0


class NodeApi:
    """Caches of this node's pods and of the definitions, a client, and an outbox for writes."""

    def __init__(
        self,
        access: Access,
        node: str,
        *,
        kinds: Sequence[tuple[str, str]] = KINDS,
        on_problem: Callable[[CNIError], None] | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self.node = node
        self.client = KubeClient(access)
        self.pods = PodCache(self.client, node, on_problem=on_problem)
        self.definitions = {
            kind: DefinitionCache(self.client, *kind, on_problem=on_problem) for kind in kinds
        }
        self.outbox = Outbox(self.client, on_problem=on_problem, busy=busy)

    def start(self) -> None:
        """Begin to follow; requests may come at once, and ask the server until it is synced."""
        for follower in self._followers():
            follower.start()
        self.outbox.start()

    def close(self, seconds: float = 1.5) -> None:
        """Write what is queued, for *seconds* at most, and stop all threads.

        It may be called twice, and by several threads at a time.  Requests under way end with an
        error that has the runtime repeat them.
        """
        ends = time.monotonic() + seconds
        for follower in self._followers():
            follower.stop()
        self.outbox.close(seconds)
        self.client.close()
        for follower in self._followers():
            follower.close(max(_ENDING, ends - time.monotonic()))

    def states(self) -> list[CacheState]:
        """How each cache is, for metrics and doctor."""
        return [
            CacheState(
                what=follower.what,
                synced=follower.synced,
                age=follower.age,
                objects=len(follower),
                stale=follower.stale,
                bytes=follower.bytes,
                marked=follower.marked,
            )
            for follower in self._followers()
        ]

    def deliver(self, letters: Sequence[Letter], seconds: float) -> None:
        """Write annotations at once; the outbox has events, and what failed.

        See ``multus.kube.outbox.Postbox``.
        """
        problem: CNIError | None = None
        for letter in letters:
            if isinstance(letter, Annotate) and not self.outbox.holds(letter.target):
                try:
                    letter.write(self.client, Deadline.after(seconds))
                    continue
                except CNIError as error:
                    problem = error
            self.outbox.put(letter)
        if problem is not None:
            raise problem

    def get(
        self, wanted: Wanted, deadline: Deadline, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """A definition from its cache; anything else, and what no cache knows, from the server."""
        known = self._known(wanted)
        return known if known is not None else self.client.get(wanted, deadline, headers)

    def get_each(
        self, wanted: Sequence[Wanted], deadline: Deadline
    ) -> list[dict[str, Any] | CNIError]:
        """Several; the server is asked at the same time for those that no cache knows."""
        known = {each: self._known(each) for each in wanted}
        asked = [each for each in known if known[each] is None]
        answers = dict(zip(asked, self.client.get_each(asked, deadline), strict=True))
        return [known[each] or answers[each] for each in wanted]

    def pod(self, namespace: str, name: str, deadline: Deadline, uid: str = "") -> dict[str, Any]:
        """A pod's ``metadata``; the server is asked when the cache knows none with *uid*.

        Without *uid* it always is: what is known may be a predecessor of the same name.
        """
        known = self.pods.get(namespace, name, uid) if uid else None
        return known if known is not None else self.client.pod(namespace, name, deadline, uid)

    def _known(self, wanted: Wanted) -> dict[str, Any] | None:
        parts = wanted.path.split("/")
        # /apis/<group>/<version>/namespaces/<namespace>/<plural>/<name>
        if len(parts) != 8 or parts[1] != "apis":
            return None
        cache = self.definitions.get((parts[2], parts[6]))
        return cache.get(unquote(parts[5]), unquote(parts[7])) if cache else None

    def _followers(self) -> list[Follower]:
        return [self.pods.follower, *(each.follower for each in self.definitions.values())]
