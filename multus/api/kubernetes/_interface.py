"""The operations of a request on an API server: reads and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from attrs import field, frozen

if TYPE_CHECKING:
    from multus.api.errors import CNIError
    from multus.api.kubernetes._deadline import Deadline
    from multus.api.kubernetes._edits import Edit
    from multus.api.kubernetes._objects import ObjectRef, Resource


@frozen
class PodRef:
    """The target of a write; ``uid`` prevents a late write to a new pod of the same name.

    With ``uid`` "" the write goes to the pod that has the name now.
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
    1024 characters of ``message``; a longer one is truncated.
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
    """The API server of a request (``api_of``).

    Objects are decoded JSON objects as the API server sends them.  A daemon keeps only their
    ``apiVersion``, ``kind``, ``metadata`` (namespace, name, uid and annotations) and the keys that
    a plugin named in ``multus_kubernetes``.  Every method raises ``NotFound``, ``ApiFailure``,
    ``Unreachable`` and other ``TryAgainLater`` errors (code 11), and ``InvalidConfig`` for an
    invalid kubeconfig.  ``node`` is the name of this node's object.
    """

    @property
    def node(self) -> str:
        """The daemon's ``nodeName``; without one ``MULTUS_NODE_NAME``, else the host's name."""

    def get(self, wanted: ObjectRef, deadline: Deadline) -> dict[str, Any]:
        """One object."""

    def get_each(
        self, wanted: Sequence[ObjectRef], deadline: Deadline
    ) -> list[dict[str, Any] | CNIError]:
        """Read several objects at the same time; returns each object or its error."""

    def select(
        self,
        resource: Resource,
        fields: Mapping[str, str],
        deadline: Deadline,
        *,
        fresh: bool = False,
    ) -> list[dict[str, Any]]:
        """The objects of a kind, in all namespaces, whose fields have these values.

        A field is a path: ``{"spec.nodeName": "n1"}``.  The API server knows few for each kind.
        With *fresh* the server is asked, whatever is cached: for those who do not find in the
        answer what has to be there.
        """

    def lacking(self, wanted: Sequence[ObjectRef], deadline: Deadline) -> list[ObjectRef]:
        """Those of *wanted* that may not exist, as far as is known without a request.

        In a daemon these are the ones that a complete cache does not have; else all of them.
        """

    def pod(self, namespace: str, name: str, deadline: Deadline, uid: str = "") -> dict[str, Any]:
        """The ``metadata`` of a pod; a cached pod with another *uid* is read again."""

    def edit(self, edit: Edit, deadline: Deadline) -> Any:
        """Change one object by a plugin's function; returns the function's answer.

        With ``Change.then`` it is a list of two, the second that of the edit which it names.
        The function's error is raised.  After an error of the API server the change may have been
        made: whoever gets one repeats the edit, or makes one that undoes it.  In a daemon, edits of
        one object that wait at the same time are one write; one that finds its object in a cache
        (with ``("metadata", "resourceVersion")`` in ``ApiUse.cached``) reads nothing.
        """

    def keep(self, edits: Sequence[Edit]) -> None:
        """Write down edits that have to be made when the API server can be reached again.

        They are in a file, fsynced, when this returns; they are made in their order, and before a
        later `edit` of one of the same objects.  Raises ``IOFailure``.
        """

    def write(self, writes: Sequence[Write], seconds: float) -> None:
        """Write to one pod, in this order.

        Annotations are written before this returns, unless that takes longer than *seconds*; what
        is queued of them is dropped.  In a daemon, events and failed writes are queued, annotations
        before events, and retried until the pod is gone.  Without a daemon, everything is written
        within *seconds*.  Raises the first error, also of a write that was queued.
        """


@frozen
class ApiUse:
    """An operation of a plugin on the API server, for people and for the daemon's caches.

    ``verb`` is the API's verb, such as "get"; ``subresource`` is, for example, "status".
    ``consequence`` says what happens when the account lacks the permission; with ``required``,
    pods are refused then.  ``cached`` names what the plugin reads of an object, each a
    top-level key or a path (a tuple of keys, through every element of a list): the daemon then
    watches all objects of the kind, or those of its node (``Resource.node_field``), and caches
    these parts.  ``only`` is the object that the plugin asks for, when it asks for no other.
    """

    verb: str
    resource: Resource
    consequence: str
    subresource: str = ""
    required: bool = True
    cached: tuple[str | tuple[str, ...], ...] = ()
    only: ObjectRef | None = None

    def __str__(self) -> str:
        kind = self.resource
        plural = f"{kind.plural}/{self.subresource}" if self.subresource else kind.plural
        return f"{self.verb} {plural}{f'.{kind.group}' if kind.group else ''}"
