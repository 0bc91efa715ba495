"""What a request may ask of an API server, and write there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen

if TYPE_CHECKING:
    from multus.api.errors import CNIError
    from multus.api.kubernetes._deadline import Deadline
    from multus.api.kubernetes._objects import ObjectRef, Resource


@frozen
class PodRef:
    """A pod that is written to; its ``uid`` keeps a late write from a later pod of the same name.

    With an ``uid`` of "" a write reaches whichever pod has the name.
    """

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@frozen
class Annotate:
    """Set annotations of a pod; None as a value removes one."""

    pod: PodRef
    annotations: Mapping[str, str | None] = field(repr=False)

    @property
    def size(self) -> int:
        """About how many bytes it takes while it is queued."""
        return sum(len(key) + len(value or "") for key, value in self.annotations.items())


@frozen
class PodEvent:
    """Create an event on a pod, which ``kubectl describe pod`` shows.

    ``kind`` is "Normal" or "Warning", ``reason`` a word such as "AddedInterface".  The API takes
    1024 characters of ``message``; what is longer is cut off.
    """

    pod: PodRef
    kind: str
    reason: str
    message: str

    @property
    def size(self) -> int:
        """About how many bytes it takes while it is queued."""
        return len(self.message)


Write = Annotate | PodEvent


class Api(Protocol):
    """An API server, as a request has it (``api_of``).

    Objects are in their wire form: JSON objects as the API server sends them, of which a daemon
    keeps ``apiVersion``, ``kind``, ``metadata`` (namespace, name, uid and annotations) and the keys
    that a plugin named in ``multus_kubernetes``.  Every method raises ``NotFound``, ``ApiFailure``,
    ``Unreachable`` and other errors of code 11, ``TryAgainLater``, and ``InvalidConfig`` for a
    kubeconfig that is wrong.
    """

    def get(self, wanted: ObjectRef, deadline: Deadline) -> dict[str, Any]:
        """One object."""

    def get_each(
        self, wanted: Sequence[ObjectRef], deadline: Deadline
    ) -> list[dict[str, Any] | CNIError]:
        """Several objects at the same time: each, or why it could not be read."""

    def pod(self, namespace: str, name: str, deadline: Deadline, uid: str = "") -> dict[str, Any]:
        """The ``metadata`` of a pod; a cache that knows only one with another *uid* looks again."""

    def write(self, writes: Sequence[Write], seconds: float) -> None:
        """Write to one pod, in this order.

        Annotations are written before this returns, unless that takes longer than *seconds*.  Under
        a daemon, events and what could not be written are queued, and tried until the pod is gone.
        Without one, all is written within *seconds*.  Raises the first error, queued or not.
        """


@frozen
class ApiUse:
    """Something that a plugin does at the API server, for people, and for the daemon's caches.

    ``verb`` is the API's word, "get" for instance; ``subresource`` "status" for example.
    ``consequence`` says what happens where the account may not do it; with ``required``, pods are
    refused then.  ``cached`` names the keys at the top of an object that the plugin reads: the
    daemon then follows all objects of the kind, and keeps these keys of each in memory.
    """

    verb: str
    resource: Resource
    consequence: str
    subresource: str = ""
    required: bool = True
    cached: tuple[str, ...] = ()

    def __str__(self) -> str:
        kind = self.resource
        plural = f"{kind.plural}/{self.subresource}" if self.subresource else kind.plural
        return f"{self.verb} {plural}{f'.{kind.group}' if kind.group else ''}"
