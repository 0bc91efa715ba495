"""The API servers that a node's configurations name: one watch for each.

If the daemon has an API server of its own (from its ``kubeconfig``, else from the pod that it runs
in), that one serves every configuration that has a ``kubeconfig``.  Otherwise the API server of
each configuration is watched from its first request on.  One that has never answered, and that
no request names any more, is forgotten: the configuration may have been corrected.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError, TryAgainLater

if TYPE_CHECKING:
    from multus.api.kubernetes import Resource
    from multus.kube.kubeconfig import Access
    from multus.kube.nodeapi import NodeApi
    from multus.log import Log

#: A node has one API server, or two during a migration.  Beyond this number, the least recently
#: used one is closed.
_MOST = 4
#: How long one that has never answered is tried after the last request that named it, in seconds.
#: Longer than the pauses after which kept edits name theirs again.
_TRIED = 150.0


class Apis:
    """Caches, clients and queued writes; used by many threads.

    *busy* says whether calls are under way.  *cached* maps each kind of object to watch to the
    parts of an object to keep.  *on_pod* is called with namespace and name of a pod that changed.
    """

    def __init__(
        self,
        kubeconfig: str,
        node: str,
        environ: Mapping[str, str],
        log: Log,
        busy: Callable[[], bool],
        cached: Mapping[Resource, Sequence[str | tuple[str, ...]]],
        on_pod: Callable[[str, str], None] | None = None,
    ) -> None:
        self._on_pod = on_pod
        self._node = node
        self._environ = environ
        self._log = log
        self._busy = busy
        self._cached = cached
        self._lock = threading.Lock()
        self._by_path: OrderedDict[str, NodeApi] = OrderedDict()
        self._asked: dict[str, float] = {}  # when a request named it last
        self._own: NodeApi | None = None
        if kubeconfig or environ.get("KUBERNETES_SERVICE_HOST"):
            self._own = self._follow(kubeconfig)

    def of(self, kubeconfig: str) -> NodeApi:
        """The API for a configuration with this value of ``kubeconfig``.

        Raises ``InvalidConfig`` for an invalid kubeconfig.
        """
        if self._own is not None:
            return self._own
        given_up = None
        with self._lock:
            known = self._by_path.get(kubeconfig)
            if known is None:
                known = self._by_path[kubeconfig] = self._follow(kubeconfig)
                if len(self._by_path) > _MOST:
                    given_up = self._by_path.popitem(last=False)[1]
            self._by_path.move_to_end(kubeconfig)
            self._asked[kubeconfig] = time.monotonic()
        if given_up is not None:
            given_up.close()
        return known

    def __iter__(self) -> Iterator[NodeApi]:
        with self._lock:
            return iter([*([self._own] if self._own else []), *self._by_path.values()])

    def by_kubeconfig(self) -> list[tuple[str, NodeApi]]:
        """Each API with the ``kubeconfig`` that names it: "" for the daemon's own, for all."""
        if self._own is not None:
            return [("", self._own)]
        with self._lock:
            return list(self._by_path.items())

    def pod(self, namespace: str, name: str) -> dict[str, Any] | None:
        """The ``metadata`` of a pod of this node, as far as it is known without a request."""
        found = (api.pods.get(namespace, name) for api in self)
        return next((each for each in found if each is not None), None)

    def first(self) -> NodeApi | None:
        """The daemon's own API server, else the first that a configuration named."""
        return next(iter(self), None)

    def not_synced(self) -> str:
        """Name a cache that is not synced yet; empty when all are."""
        for api in self:
            if not api.pods.synced:
                return f"the pods of node {self._node} are not known yet from {api.client.server}"
        return ""

    def forget_unused(self, now: float) -> None:
        """Close those that have never answered, and that no request has named for a while."""
        with self._lock:
            unused = [
                path
                for path, api in self._by_path.items()
                if now - self._asked[path] > _TRIED
                if api.pods.age == float("inf") and not len(api.queue)
            ]
            given_up = [self._by_path.pop(path) for path in unused]
        for api in given_up:
            self._log.notice("no longer follows Kubernetes", server=api.client.server)
            api.close(0.0)

    def close(self, seconds: float) -> None:
        """Flush the write queues, within *seconds* in all; then stop the watches."""
        until = time.monotonic() + seconds
        for api in self:
            api.close(max(0.0, until - time.monotonic()))

    def _follow(self, kubeconfig: str) -> NodeApi:
        from multus.kube.nodeapi import NodeApi

        access = access_of(kubeconfig, "", self._environ)
        api = NodeApi(
            access,
            self._node,
            self._cached,
            on_problem=self._problem,
            on_pod=self._on_pod,
            busy=self._busy,
        )
        try:
            api.start()
        except RuntimeError as error:
            api.close(0.0)
            raise TryAgainLater(
                f"cannot follow {access.cluster.server}: {error}",
                fix="raise the limit of processes, or try again",
            ) from error
        kinds = [f"pods of node {self._node}", *map(str, self._cached)]
        self._log.notice("follows Kubernetes", server=access.cluster.server, kinds=kinds)
        return api

    def _problem(self, error: CNIError) -> None:
        self._log.error("the API server", code=error.number, error=error)


def access_of(own: str, kubeconfig: str, environ: Mapping[str, str]) -> Access:
    """The access to an API server: by the daemon's *own* kubeconfig, its pod, or *kubeconfig*."""
    from multus.kube.kubeconfig import in_cluster, load_kubeconfig

    if not own and environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(environ)
    return load_kubeconfig(own or kubeconfig)
