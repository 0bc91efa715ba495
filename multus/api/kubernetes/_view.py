"""One request's reads of the API: its pod once, every definition once.

All sources of a request share one view: three sources that read the pod's annotations need one GET.
A source prefetches the definitions that it will resolve: several requests at the same time, over
one pool of connections.

The view enforces a pod's limits: the namespaces (:meth:`View.chosen`), the length of annotations,
and the total size of the definitions.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError, InvalidConfig, TryAgainLater
from multus.api.jsontext import LARGEST
from multus.api.kubernetes._annotations import annotation_of
from multus.api.kubernetes._deadline import Deadline
from multus.api.kubernetes._failures import NotFound
from multus.api.kubernetes._opening import api_of
from multus.api.kubernetes._pods import is_same
from multus.api.kubernetes._settings import SourceSettings
from multus.api.where import path_of

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.kubernetes._interface import Api
    from multus.api.kubernetes._objects import ObjectRef
    from multus.api.request import Pod, Request
    from multus.api.session import Session

_KEY = "multus.api.kubernetes._view"
#: The API server refuses pods whose annotations are longer in total.
_LONGEST_ANNOTATION = 256 * 1024
#: How many definitions are read at the same time.
_AT_A_TIME = 8


def view_of(request: Request, conf: Conf, session: Session) -> View | None:
    """The view of *request*; None when the configuration names no API server.

    It is also None for DEL, CHECK and GC, which use the journal.
    """
    if request.command in ("DEL", "CHECK", "GC"):
        return None
    api = api_of(conf, session)
    return None if api is None else session.once(_KEY, partial(_open, api, request, conf, session))


def _open(api: Api, request: Request, conf: Conf, session: Session) -> View:
    settings = SourceSettings.of(conf)
    deadline = Deadline.after(session.remaining(settings.api_timeout))
    return View(api, request.pod, settings, deadline)


class View:
    """One request's view; not thread-safe."""

    def __init__(
        self, api: Api, pod: Pod | None, settings: SourceSettings, deadline: Deadline
    ) -> None:
        self.api = api
        self.settings = settings
        self.deadline = deadline
        self._pod = pod
        self._metadata: Mapping[str, Any] | None = None
        self._read: dict[ObjectRef, dict[str, Any] | CNIError] = {}
        self._begun: set[Hashable] = set()
        self._used: set[str] = set()
        self._total = 0
        self._claims: dict[str, dict[str, Sequence[str]]] = {}

    def annotation(self, key: str) -> str | None:
        """An annotation of the request's pod; None when it is not set, or there is no pod.

        Raises ``TryAgainLater`` when the pod cannot be read or has another UID than the request's,
        and ``InvalidConfig`` when the annotation is longer than the API server allows.
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
        """The pod's UID in the API, if the pod was read."""
        return str((self._metadata or {}).get("uid", ""))

    def claim(self, annotation: str, plugin: str, groups: Sequence[str]) -> bool:
        """Whether *plugin* is the first of this request to serve *annotation*.

        When two plugins know one annotation, only the first selects its networks.  *groups* are the
        API groups in which *plugin* looks them up.
        """
        self._claims.setdefault(annotation, {})[plugin] = groups
        return next(iter(self._claims[annotation])) == plugin

    def served(self, annotation: str) -> set[str]:
        """The API groups of all the plugins that serve *annotation*."""
        return {group for groups in self._claims.get(annotation, {}).values() for group in groups}

    def read_ahead(self, wanted: Iterable[ObjectRef]) -> None:
        """Prefetch definitions, several at a time; :meth:`definition` raises their errors.

        It stops when their total size exceeds a container's limit.
        """
        missing = [each for each in dict.fromkeys(wanted) if each not in self._read]
        size = 0
        for start in range(0, len(missing), _AT_A_TIME):
            asked = missing[start : start + _AT_A_TIME]
            for each, answer in zip(asked, self.api.get_each(asked, self.deadline), strict=True):
                self._read[each] = answer
                size += _size(answer)
            if size > LARGEST:
                return

    def read_ahead_once(self, key: Hashable, wanted: Iterable[ObjectRef]) -> None:
        """``read_ahead``, unless this request has done it under *key*."""
        if key not in self._begun:
            self._begun.add(key)
            self.read_ahead(wanted)

    def permits(self, wanted: ObjectRef) -> bool:
        """Whether namespace isolation lets the request's pod use a definition."""
        own = self._pod.namespace if self._pod else ""
        return self.settings.permits(wanted.namespace, own)

    def require(self, wanted: ObjectRef, origin: str) -> None:
        """Raise ``InvalidConfig`` when the pod may not use the definition named at *origin*."""
        if not self.permits(wanted):
            own = self._pod.namespace if self._pod else ""
            raise InvalidConfig(
                f"namespace isolation is on, and a pod of namespace {own!r} may not use"
                f" {wanted}, which is in namespace {wanted.namespace!r}",
                where=origin,
                fix="use a definition of its own namespace, or let the administrator add that one"
                " to 'globalNamespaces'",
            )

    def chosen(self, wanted: ObjectRef, origin: str) -> dict[str, Any] | NotFound:
        """``require`` and ``definition`` for a definition that the pod chose at *origin*."""
        self.require(wanted, origin)
        return self.definition(wanted, origin)

    def definition(self, wanted: ObjectRef, origin: str) -> dict[str, Any] | NotFound:
        """A definition that *origin* names, or the ``NotFound``; without an isolation check.

        It is read at most once.  Raises ``TryAgainLater`` when it cannot be read, and
        ``InvalidConfig`` when the total size of this request's definitions is too large.
        """
        if not self.deadline.remaining():
            raise TryAgainLater(
                f"the time limit passed before {wanted} could be read",
                where=origin,
                fix="choose fewer networks, or raise 'apiTimeout'",
            )
        self.read_ahead([wanted])
        answer = self._read[wanted]
        if isinstance(answer, CNIError) and not isinstance(answer, NotFound):
            raise answer
        if origin not in self._used:
            # A definition that is resolved again counts once.
            self._used.add(origin)
            self._total += _size(answer)
        if self._total > LARGEST:
            raise InvalidConfig(
                f"with {wanted}, the definitions for this container are larger than {LARGEST}"
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
                    f"pod {pod} has UID {found.get('uid')!r} in the API, but the request is for"
                    f" UID {pod.uid!r}: the pod was replaced; the runtime will drop the old one"
                )
            self._metadata = found
        return self._metadata


def _size(wire: object) -> int:
    """The length of a definition's strings, at its top and in its ``spec``."""
    if not isinstance(wire, Mapping):
        return 0
    spec = wire.get("spec")
    texts = (*wire.values(), *(spec.values() if isinstance(spec, Mapping) else ()))
    return sum(len(each) for each in texts if isinstance(each, str))
