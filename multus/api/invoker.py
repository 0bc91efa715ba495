"""The base class of invokers, which execute a plugin's verbs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from attrs import frozen

from multus.api._paths import is_possible
from multus.api.errors import CNIError, NotStarted, attempted, shown
from multus.api.versions import SUPPORTED

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate, Invocation, Plugin
    from multus.api.result import Result


@frozen
class Declined:
    """A ``multus_invoker`` hook returns it for a supported type with an unsupported configuration.

    ``reason`` goes to the log and to ``multus explain``, for example "key 'foo' is unknown to the
    in-process ptp".  The next invoker that offers itself is used.
    """

    invoker: str
    reason: str


def declined(plugin: Plugin, known: frozenset[str]) -> Declined | None:
    """The answer for a configuration with a key that an in-process invoker does not know.

    None when every key is either in *known* or the engine's own.
    """
    unknown = plugin.unknown_keys(known)
    if not unknown:
        return None
    kind = plugin.type
    return Declined(kind, f"key {unknown[0]!r} is not one that the in-process {kind} knows")


def elsewhere(
    plugin: Plugin, delegate: Delegate, conf: Conf, own: Mapping[str, str]
) -> Declined | None:
    """The answer for a tenant's configuration that names a path outside ``tenantPaths``.

    *own* maps each key that holds a path to the path that is used without it, which a tenant may
    name too.  What is not a valid path is left to the invoker, which refuses it.
    """
    for key, usual in own.items():
        path = plugin.config.get(key)
        if not isinstance(path, str) or not is_possible(path) or path == usual:
            continue
        if not delegate.serves_path(conf, key, path):
            reason = f"key {key!r} is {path!r}, outside 'tenantPaths.{key}'"
            return Declined(plugin.type, reason)
    return None


class NothingDone(CNIError):
    """``add`` raises it when it failed before it changed anything: ``delete`` is not called."""

    code = NotStarted.code


class Invoker:
    """Executes invocations.  Subclass it, set ``name``, override ``add`` and ``delete_one``.

    The verbs are CNI's.  Each raises a class of ``multus.api.errors``; the core adds the delegate's
    name.  An invoker keeps no state between calls: another process may execute the next one.
    """

    #: Its name in the keys ``invoker`` and ``invokers``, and in the journal.
    name: str = ""

    #: True when everything that ``add`` does disappears with the interface.  DEL and GC then skip
    #: the step, also when this invoker is no longer installed; the journal records the flag.
    leaves_nothing: bool = False

    #: Configuration keys that only the owner of the node may set: files that the invoker writes,
    #: for instance.  They are removed from a tenant's configuration.
    node_keys: frozenset[str] = frozenset()

    def prepare(self, invocation: Invocation) -> None:
        """Raise when an ADD cannot start, because of a missing binary for instance.

        Called for every network before the first is attached.  It must not have side effects:
        after an error here, nothing is undone.
        """

    def add(self, invocation: Invocation) -> Result:
        """Attach the network; return the result, or the empty one.

        After an error ``delete`` is called and must remove everything that ``add`` left, unless the
        error is ``NothingDone``.
        """
        raise MissingVerb(self.name, "ADD")

    def delete_one(self, invocation: Invocation) -> None:
        """Detach.  It must be idempotent: a missing object is not an error."""
        if self.leaves_nothing:
            return
        raise MissingVerb(self.name, "DEL")

    def delete(self, invocations: Sequence[Invocation]) -> list[CNIError | None]:
        """Detach neighbouring attachments of one container, in the order given.

        Returns each one's error or None; it does not stop at the first error.  Override it when
        deleting many at once is faster than one by one; use ``attempted`` for steps that concern
        one of them.  When it raises, or returns anything else, each is deleted separately.
        """
        return [self.attempted(self._delete_one, invocation) for invocation in invocations]

    def _delete_one(self, invocation: Invocation) -> None:
        verb: Callable[[Invocation], object] = self.delete_one
        answer = verb(invocation)
        if answer is not None:
            raise CNIError(
                f"invoker {self.name!r} of {type(self).__module__}: delete_one returned"
                f" {shown(answer)}",
                fix="report it to its author, who has to return nothing, and raise errors",
            )

    def attempted(self, step: Callable[..., object], *arguments: object) -> CNIError | None:
        """Call one of several steps of a removal; return any exception as a CNI error."""
        return attempted(f"invoker {self.name!r} of {type(self).__module__}", step, *arguments)

    @staticmethod
    def before_delete(deletions: Sequence[tuple[Invoker, Invocation]]) -> None:
        """Do at once what would take as long for each of several invokers' attachments.

        Neighbouring attachments of one container whose invokers share this very function are given
        to it together, before ``delete`` is called for each of them.  ``delete`` must not rely on
        it: it is not called for a single invoker, and an exception of it is ignored.
        """

    def check(self, invocation: Invocation) -> None:
        """Raise ``CheckFailed`` when the attachment differs from ``prev_result``."""

    def status(self, invocation: Invocation) -> None:
        """Raise ``NotAvailable`` when an ADD would fail now."""

    def gc(self, invocation: Invocation) -> None:
        """Remove what this network's attachments outside ``valid_attachments`` left."""

    def versions(self, invocation: Invocation) -> Sequence[str]:
        """The supported CNI versions; called only after ``IncompatibleVersion``."""
        return SUPPORTED


class MissingVerb(CNIError):
    """An invoker does not implement a required verb."""

    code = 999

    def __init__(self, invoker: str, verb: str) -> None:
        super().__init__(f"invoker {invoker!r} has no {verb}: report it to the plugin's author")
