"""What one request sees of the API: its pod once, every definition once.

All sources of a request share one view, so that three that look at the pod's annotations cost one
GET.  A source reads ahead what it is going to resolve, at the same time over one connection pool.

What a pod may use, and how much of it, is decided here, where it is read: namespaces by
:meth:`View.chosen`, the length of annotations and the size of all definitions together.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError, InvalidConfig, TryAgainLater
from multus.api.jsontext import LARGEST
from multus.api.where import path_of
from multus.kube.annotations import annotation_of
from multus.kube.deadline import Deadline
from multus.kube.failures import NotFound
from multus.kube.pods import is_same
from multus.kube.settings import Settings

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.request import Pod, Request
    from multus.api.session import Api, Session
    from multus.kube.client import KubeClient, Wanted

_KEY = "multus.kube.view"
#: The API server refuses pods whose annotations are longer than that together.
_LONGEST_ANNOTATION = 256 * 1024
#: How many definitions are asked for at a time.
_AT_A_TIME = 8


def view_of(request: Request, conf: Conf, session: Session) -> View | None:
    """The view of *request*; None when the configuration names no API server.

    DEL, CHECK and GC work from the journal: they see no API at all.
    """
    if request.command in ("DEL", "CHECK", "GC"):
        return None
    if session.api is None and not conf.raw.get("kubeconfig"):
        return None
    return session.once(_KEY, partial(_open, request, conf, session))


def _open(request: Request, conf: Conf, session: Session) -> View:
    settings = Settings.of(conf)
    api = session.api
    if api is None:
        client = _client(settings.kubeconfig)
        session.closing.callback(client.close)
        api = client
    deadline = Deadline.after(session.remaining(settings.api_timeout))
    return View(api, request.pod, settings, deadline)


def _client(kubeconfig: str) -> KubeClient:
    # The one place where a process that is started per call imports HTTP and TLS.
    from multus.kube.client import KubeClient
    from multus.kube.kubeconfig import load_kubeconfig

    return KubeClient(load_kubeconfig(kubeconfig))


class View:
    """One request's view; used by one thread."""

    def __init__(self, api: Api, pod: Pod | None, settings: Settings, deadline: Deadline) -> None:
        self.api = api
        self.settings = settings
        self.deadline = deadline
        self._pod = pod
        self._metadata: Mapping[str, Any] | None = None
        self._read: dict[str, dict[str, Any] | CNIError] = {}
        self._begun: set[Hashable] = set()
        self._used: set[str] = set()
        self._total = 0
        self._claims: dict[str, dict[str, Sequence[str]]] = {}

    def annotation(self, key: str) -> str | None:
        """An annotation of the request's pod; None when it has none, or there is no pod.

        Raises ``TryAgainLater`` when the pod cannot be read, or is not the one that is started,
        and ``InvalidConfig`` when the annotation is longer than any that the API server takes.
        """
        if self._pod is None:
            return None
        value = (self._pod_metadata(self._pod).get("annotations") or {}).get(key)
        if not isinstance(value, str):
            return None
        if len(value) > _LONGEST_ANNOTATION:
            where = annotation_of(key, str(self._pod))
            raise InvalidConfig(
                f"{where} is {len(value)} characters long: at most {_LONGEST_ANNOTATION} are read",
                path=path_of(where),
                fix="shorten it",
            )
        return value if value.strip() else None

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

    def read_ahead(self, wanted: Iterable[Wanted]) -> None:
        """Read definitions at the same time; their errors wait for whoever asks for them.

        It stops where they are larger together than what a container may use.
        """
        missing = [each for each in dict.fromkeys(wanted) if each.path not in self._read]
        size = 0
        for start in range(0, len(missing), _AT_A_TIME):
            asked = missing[start : start + _AT_A_TIME]
            for each, answer in zip(asked, self.api.get_each(asked, self.deadline), strict=True):
                self._read[each.path] = answer
                size += _size(answer)
            if size > LARGEST:
                return

    def read_ahead_once(self, key: Hashable, wanted: Iterable[Wanted]) -> None:
        """``read_ahead``, unless this request has done it under *key*."""
        if key not in self._begun:
            self._begun.add(key)
            self.read_ahead(wanted)

    def permits(self, wanted: Wanted) -> bool:
        """Whether the request's pod may use a definition: isolation, by the namespace read."""
        own = self._pod.namespace if self._pod else ""
        return self.settings.permits(wanted.namespace, own)

    def require(self, wanted: Wanted, origin: str) -> None:
        """Raise ``InvalidConfig`` when the pod may not use what it asks for at *origin*."""
        if not self.permits(wanted):
            own = self._pod.namespace if self._pod else ""
            raise InvalidConfig(
                f"namespace isolation is on, and a pod of namespace {own!r} may not use"
                f" {wanted.what}, which is in namespace {wanted.namespace!r}",
                where=origin,
                fix="use a definition of its own namespace, or let the administrator add that one"
                " to 'globalNamespaces'",
            )

    def chosen(self, wanted: Wanted, origin: str) -> dict[str, Any] | NotFound:
        """A definition that the pod chose at *origin*: ``definition``, if the pod may use it."""
        self.require(wanted, origin)
        return self.definition(wanted, origin)

    def definition(self, wanted: Wanted, origin: str) -> dict[str, Any] | NotFound:
        """A definition that the configuration names at *origin*, or the server's word for none.

        It is read at most once.  Raises ``TryAgainLater`` when the server cannot say, and
        ``InvalidConfig`` when the definitions of this request are too large together.
        """
        if not self.deadline.remaining():
            raise TryAgainLater(
                f"no time is left to look {wanted.what} up",
                where=origin,
                fix="choose fewer networks, or raise 'apiTimeout'",
            )
        self.read_ahead([wanted])
        answer = self._read[wanted.path]
        if isinstance(answer, CNIError) and not isinstance(answer, NotFound):
            raise answer
        if origin not in self._used:
            # An element that is resolved again costs nothing more.
            self._used.add(origin)
            self._total += _size(answer)
        if self._total > LARGEST:
            raise InvalidConfig(
                f"with {wanted.what}, the definitions for this container are larger than {LARGEST}"
                " bytes together",
                where=origin,
                fix="choose fewer networks, or make them smaller",
            )
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


def _size(wire: object) -> int:
    """How long the texts of a definition are: those at its top and those in its ``spec``."""
    if not isinstance(wire, Mapping):
        return 0
    spec = wire.get("spec")
    texts = (*wire.values(), *(spec.values() if isinstance(spec, Mapping) else ()))
    return sum(len(each) for each in texts if isinstance(each, str))
