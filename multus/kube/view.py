"""What one request sees of the API: its pod once, every definition once.

All sources of a request share one view, so that three that look at the pod's annotations cost one
GET.  Whoever selects reads ahead what it is going to resolve, at the same time over one connection
pool.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from multus.errors import CNIError, TryAgainLater
from multus.kube.deadline import Deadline
from multus.kube.failures import NotFound
from multus.kube.pods import is_same
from multus.kube.settings import Settings

if TYPE_CHECKING:
    from multus.kube.client import Wanted
    from multus.model.conf import Conf
    from multus.model.request import Api, Pod, Request

_KEY = "multus.kube"


def view_of(request: Request, conf: Conf) -> View | None:
    """The view of *request*; None when the configuration names no API server.

    DEL, CHECK and GC work from the journal: they see no API at all.
    """
    if request.command in ("DEL", "CHECK", "GC"):
        return None
    known = request.shared.get(_KEY)
    if isinstance(known, View):
        return known
    api = request.api
    if api is None and not conf.raw.get("kubeconfig"):
        return None
    settings = Settings.of(conf)
    if api is None:
        api = _client(settings.kubeconfig)
    view = View(api, request, settings)
    request.shared[_KEY] = view
    return view


def _client(kubeconfig: str) -> Api:
    # The one place where a process that is started per call imports HTTP and TLS.
    from multus.kube.client import KubeClient
    from multus.kube.kubeconfig import load_kubeconfig

    return KubeClient(load_kubeconfig(kubeconfig))


class View:
    """One request's view; used by one thread."""

    def __init__(self, api: Api, request: Request, settings: Settings) -> None:
        self.api = api
        self.settings = settings
        limit = time.monotonic() + settings.api_timeout
        self.deadline = Deadline(min(limit, request.deadline or limit))
        self._pod = request.pod
        self._metadata: Mapping[str, Any] | None = None
        self._read: dict[str, dict[str, Any] | CNIError] = {}
        self._claims: dict[str, dict[str, Sequence[str]]] = {}

    def annotation(self, key: str) -> str | None:
        """An annotation of the request's pod; None when it has none, or there is no pod.

        Raises ``TryAgainLater`` when the pod cannot be read, or is not the one that is started.
        """
        if self._pod is None:
            return None
        value = (self._pod_metadata(self._pod).get("annotations") or {}).get(key)
        return value if isinstance(value, str) and value.strip() else None

    def pod_uid(self) -> str:
        """The pod's UID in the API, as far as it was read."""
        return str((self._metadata or {}).get("uid", ""))

    def claim(self, annotation: str, plugin: str, groups: Sequence[str]) -> bool:
        """Whether *plugin* is the first of this request to serve *annotation*.

        Two plugins that know one annotation do not both select what it says.  *groups* are the API
        groups in which this one looks what is chosen up.
        """
        self._claims.setdefault(annotation, {})[plugin] = groups
        return next(iter(self._claims[annotation])) == plugin

    def served(self, annotation: str) -> set[str]:
        """The API groups of all the plugins that serve *annotation*."""
        return {group for groups in self._claims.get(annotation, {}).values() for group in groups}

    def read_ahead(self, wanted: Sequence[Wanted]) -> None:
        """Read definitions at the same time; their errors wait for whoever asks for them."""
        missing = [each for each in dict.fromkeys(wanted) if each.path not in self._read]
        if missing:
            answers = self.api.get_each(missing, self.deadline)
            for each, answer in zip(missing, answers, strict=True):
                self._read[each.path] = answer

    def definition(self, wanted: Wanted) -> dict[str, Any] | NotFound:
        """One definition, read at most once, or the API server's word that it has none.

        Raises ``TryAgainLater`` when it cannot say.
        """
        self.read_ahead([wanted])
        answer = self._read[wanted.path]
        if isinstance(answer, CNIError) and not isinstance(answer, NotFound):
            raise answer
        return answer

    def _pod_metadata(self, pod: Pod) -> Mapping[str, Any]:
        if self._metadata is None:
            found = self.api.pod(pod.namespace, pod.name, self.deadline, pod.uid)
            if not is_same(found, pod.uid):
                raise TryAgainLater(
                    f"pod {pod} has UID {found.get('uid')!r} in the API, and the one to be started"
                    f" has {pod.uid!r}: it was replaced; the runtime gives this one up"
                )
            self._metadata = found
        return self._metadata
