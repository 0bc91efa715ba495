"""The API servers that a node's configurations name, each followed once.

The daemon's own (its ``kubeconfig``, else the one of the pod that it runs in) serves every
configuration that names any; without it, each configuration's own is followed from its first
request on.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from multus.api.errors import CNIError, TryAgainLater

if TYPE_CHECKING:
    from multus.api.kubernetes import Resource
    from multus.kube.kubeconfig import Access
    from multus.kube.nodeapi import NodeApi
    from multus.log import Log

#: A node has one API server, perhaps two while it is moved.  Beyond this number, the one that was
#: not asked for the longest time is given up.
_MOST = 4


class Apis:
    """Caches, clients and queued writes; used by many threads.

    *busy* says whether containers wait for their answers.  *cached* has the kinds of objects that
    are followed, and the keys of an object that are kept.
    """

    def __init__(
        self,
        kubeconfig: str,
        node: str,
        environ: Mapping[str, str],
        log: Log,
        busy: Callable[[], bool],
        cached: Mapping[Resource, Sequence[str]],
    ) -> None:
        self._node = node
        self._environ = environ
        self._log = log
        self._busy = busy
        self._cached = cached
        self._lock = threading.Lock()
        self._by_path: OrderedDict[str, NodeApi] = OrderedDict()
        self._own: NodeApi | None = None
        if kubeconfig or environ.get("KUBERNETES_SERVICE_HOST"):
            self._own = self._follow(kubeconfig)

    def of(self, kubeconfig: str) -> NodeApi:
        """The API for a configuration whose key ``kubeconfig`` is this.

        Raises ``InvalidConfig`` for a kubeconfig that is wrong.
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
        if given_up is not None:
            given_up.close()
        return known

    def __iter__(self) -> Iterator[NodeApi]:
        with self._lock:
            return iter([*([self._own] if self._own else []), *self._by_path.values()])

    def not_synced(self) -> str:
        """Which cache is not complete yet; empty when all are."""
        for api in self:
            if not api.pods.synced:
                return f"the pods of node {self._node} are not known yet from {api.client.server}"
        return ""

    def close(self, seconds: float) -> None:
        """Write what is queued, for *seconds* in all; then stop following."""
        until = time.monotonic() + seconds
        for api in self:
            api.close(max(0.0, until - time.monotonic()))

    def _follow(self, kubeconfig: str) -> NodeApi:
        from multus.kube.nodeapi import NodeApi

        access = access_of(kubeconfig, "", self._environ)
        api = NodeApi(access, self._node, self._cached, on_problem=self._problem, busy=self._busy)
        try:
            api.start()
        except RuntimeError as error:
            api.close(0.0)
            raise TryAgainLater(
                f"cannot follow {access.cluster.server}: {error}",
                fix="raise the limit of processes, or try again",
            ) from error
        return api

    def _problem(self, error: CNIError) -> None:
        self._log.error("the API server", code=error.number, error=error)


def access_of(own: str, kubeconfig: str, environ: Mapping[str, str]) -> Access:
    """The access to an API server: the daemon's *own*, its pod's, or a configuration's."""
    from multus.kube.kubeconfig import in_cluster, load_kubeconfig

    if not own and environ.get("KUBERNETES_SERVICE_HOST"):
        return in_cluster(environ)
    return load_kubeconfig(own or kubeconfig)
