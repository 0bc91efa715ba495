"""The API servers that a node's configurations name, each followed once.

The daemon's own (its ``kubeconfig``, else the one of the pod that it runs in) serves every
configuration that names any; without it, each configuration's own is followed from its first
request on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from multus.errors import CNIError

if TYPE_CHECKING:
    from multus.kube.node import NodeApi
    from multus.log import Log

#: A node has one API server, perhaps two while it is moved; not one for every request.
_MOST = 4


class Apis:
    """Caches, clients and outboxes; used by many threads.

    *busy* says whether containers wait for their answers.
    """

    def __init__(
        self,
        kubeconfig: str,
        node: str,
        environ: Mapping[str, str],
        log: Log,
        busy: Callable[[], bool],
    ) -> None:
        self._node = node
        self._log = log
        self._busy = busy
        self._lock = threading.Lock()
        self._by_path: dict[str, NodeApi] = {}
        self._own: NodeApi | None = None
        if kubeconfig or environ.get("KUBERNETES_SERVICE_HOST"):
            self._own = self._follow(kubeconfig)

    def of(self, kubeconfig: object) -> NodeApi | None:
        """The API for a configuration whose key ``kubeconfig`` is this; None when it has none."""
        if not isinstance(kubeconfig, str) or not kubeconfig:
            return None
        if self._own is not None:
            return self._own
        with self._lock:
            known = self._by_path.get(kubeconfig)
            if known is None and len(self._by_path) < _MOST:
                known = self._by_path[kubeconfig] = self._follow(kubeconfig)
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

    def close(self) -> None:
        """Write what waits, for a few seconds, and stop following."""
        for api in self:
            api.close()

    def _follow(self, kubeconfig: str) -> NodeApi:
        from multus.kube.kubeconfig import in_cluster, load_kubeconfig
        from multus.kube.node import NodeApi

        access = load_kubeconfig(kubeconfig) if kubeconfig else in_cluster()
        api = NodeApi(access, self._node, on_problem=self._problem, busy=self._busy)
        api.start()
        return api

    def _problem(self, error: CNIError) -> None:
        self._log.error("the API server", code=error.number, error=error)
