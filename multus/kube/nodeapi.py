"""The API as a node's daemon has it: from caches, and from the server what they do not have.

The daemon makes one ``NodeApi`` for each API server, in the process that its workers ask::

    api = NodeApi(load_kubeconfig(path), node_name, cached, on_problem=log_it)
    api.start()
    ...
    api.close()
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.api.errors import CNIError
from multus.api.kubernetes._deadline import Deadline
from multus.api.kubernetes._failures import NotFound
from multus.api.kubernetes._interface import Annotate
from multus.api.kubernetes._pods import is_same
from multus.kube.cache import DefinitionCache, PodCache
from multus.kube.client import KubeClient
from multus.kube.writequeue import WriteQueue

if TYPE_CHECKING:
    from multus.api.kubernetes._edits import Edit
    from multus.api.kubernetes._interface import PodRef, Write
    from multus.api.kubernetes._objects import ObjectRef, Resource
    from multus.kube.follower import Follower
    from multus.kube.kubeconfig import Access

#: How long it may take to find out whether a pod is gone, in seconds.
_LOOK = 5.0
#: How long a thread that was stopped may take to end.
_ENDING = 0.2


@frozen
class CacheState:
    """How one cache is.

    ``synced`` says that it answers; ``age`` is in seconds since the API server sent something.
    ``stale`` says that its objects may be out of date, so that the API server is asked.  ``bytes``
    is the memory of the objects; ``marked`` of them are too large or of an odd form, and are not
    kept themselves.
    """

    what: str
    synced: bool
    age: float
    objects: int
    stale: bool = False
    bytes: int = 0
    marked: int = 0


class NodeApi:
    """Caches of this node's pods and of other objects, a client, and queued writes.

    *cached* has the kinds that are followed, and the parts of an object that are kept
    (``ApiUse.cached``).
    A kind that the API server does not serve costs one request in a while.  *on_pod* is called with
    namespace and name of a pod that changed; it must not block.
    """

    def __init__(
        self,
        access: Access,
        node: str,
        cached: Mapping[Resource, Sequence[str | tuple[str, ...]]],
        *,
        on_problem: Callable[[CNIError], None] | None = None,
        on_pod: Callable[[str, str], None] | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self.client = KubeClient(access, node)
        self.pods = PodCache(self.client, node, on_problem=on_problem, on_change=on_pod)
        self.caches = {
            kind: DefinitionCache(self.client, kind, keys, node, on_problem=on_problem)
            for kind, keys in cached.items()
        }
        self.client.editor.watch(self._known, self._lacks)
        self.queue = WriteQueue(self.client, on_problem=on_problem, busy=busy, gone=self._is_gone)

    def start(self) -> None:
        """Begin to follow; until a cache is synced, the server is asked."""
        for follower in self._followers():
            follower.start()
        self.queue.start()

    def close(self, seconds: float = 1.5) -> None:
        """Write what is queued, for *seconds* at most, and stop all threads.

        It may be called twice, and by several threads at a time.  Requests under way end with an
        error that has the runtime repeat them.
        """
        ends = time.monotonic() + seconds
        for follower in self._followers():
            follower.stop()
        self.queue.close(seconds)
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

    def write(self, writes: Sequence[Write], seconds: float) -> None:
        """Write annotations at once; events, and what failed, are queued."""
        problem: CNIError | None = None
        deadline = Deadline.after(seconds)
        for each in writes:
            if isinstance(each, Annotate) and self.queue.make_way(each, deadline.remaining()):
                try:
                    self.client.carry_out(each, deadline)
                    continue
                except CNIError as error:
                    problem = error
            self.queue.put(each)
        if problem is not None:
            raise problem

    def keep(self, edits: Sequence[Edit]) -> None:
        """Keep *edits* in a file; see ``multus.api.kubernetes.Api``."""
        self.client.keep(edits)

    @property
    def node(self) -> str:
        """This node's name."""
        return self.client.node

    def edit(self, edit: Edit, deadline: Deadline) -> Any:
        """Make *edit*, together with those that other calls of this node wait for."""
        return self.client.edit(edit, deadline)

    def edit_each(self, edits: Sequence[Edit], deadline: Deadline) -> list[Any]:
        """Make several of one object; see ``multus.kube.editing``."""
        return self.client.editor.edit_each(edits, deadline)

    def get(self, wanted: ObjectRef, deadline: Deadline) -> dict[str, Any]:
        """From the kind's cache; from the server what no cache has."""
        known = self._known(wanted)
        return known if known is not None else self.client.get(wanted, deadline)

    def get_each(
        self, wanted: Sequence[ObjectRef], deadline: Deadline
    ) -> list[dict[str, Any] | CNIError]:
        """Several; those that no cache has are read from the server at the same time."""
        known = {each: self._known(each) for each in wanted}
        asked = [each for each in known if known[each] is None]
        answers = dict(zip(asked, self.client.get_each(asked, deadline), strict=True))
        return [known[each] or answers[each] for each in wanted]

    def select(
        self,
        resource: Resource,
        fields: Mapping[str, str],
        deadline: Deadline,
        *,
        fresh: bool = False,
    ) -> list[dict[str, Any]]:
        """From the kind's cache when it is complete; else, and with *fresh*, from the server."""
        cache = None if fresh else self.caches.get(resource)
        known = cache.select(fields) if cache else None
        return self.client.select(resource, fields, deadline) if known is None else known

    def lacking(self, wanted: Sequence[ObjectRef], deadline: Deadline) -> list[ObjectRef]:
        """Those that the kind's cache lacks; those of a kind without a synced cache too."""
        return [each for each in wanted if not self._has(each)]

    def pod(self, namespace: str, name: str, deadline: Deadline, uid: str = "") -> dict[str, Any]:
        """A pod's ``metadata``; the server is asked when the cache has none with *uid*.

        Without *uid* it always is: the cached one may be an earlier pod of the same name.
        """
        known = self.pods.get(namespace, name, uid) if uid else None
        return known if known is not None else self.client.pod(namespace, name, deadline, uid)

    def _is_gone(self, pod: PodRef) -> bool:
        """Whether the server says that a pod that is not cached does not exist."""
        if self.pods.get(pod.namespace, pod.name, pod.uid) is not None:
            return False
        try:
            found = self.client.pod(pod.namespace, pod.name, Deadline.after(_LOOK))
        except NotFound:
            return True
        except CNIError:
            return False
        return not is_same(found, pod.uid)

    def _known(self, wanted: ObjectRef) -> dict[str, Any] | None:
        cache = self.caches.get(wanted.resource)
        return cache.get(wanted.namespace, wanted.name) if cache else None

    def _lacks(self, wanted: ObjectRef) -> bool:
        cache = self.caches.get(wanted.resource)
        return cache is not None and cache.lacks(wanted.namespace, wanted.name)

    def _has(self, wanted: ObjectRef) -> bool:
        cache = self.caches.get(wanted.resource)
        return cache is not None and cache.has(wanted.namespace, wanted.name)

    def _followers(self) -> list[Follower]:
        return [self.pods.follower, *(each.follower for each in self.caches.values())]
