"""The typed façade of the hooks: the core calls these methods, never pluggy.

pluggy registers, checks and stores the implementations.  This module calls them one by one, so that
an error, a wrong answer and a long run time are attributed to one plugin by name.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import evolve

from multus.api.errors import (
    PASSING,
    CNIError,
    InvalidConfig,
    attempted,
    described,
    failure,
    shown,
)
from multus.api.invoker import Declined, Invoker
from multus.api.ipam import Ipam
from multus.api.network import Delegate, Plugin, Selection
from multus.api.problem import Problem
from multus.api.progress import Overdue, Task, step
from multus.api.result import Result
from multus.registry.answers import Kind, are_texts, misfit

if TYPE_CHECKING:
    from collections.abc import Callable

    import pluggy

    from multus.api.allocations import AddressRange
    from multus.api.conf import Conf
    from multus.api.keys import Key
    from multus.api.kubernetes import ApiUse
    from multus.api.network import Attachment, Element, Invocation, Outcome
    from multus.api.request import Request
    from multus.api.session import Session


#: The hooks of observers; all other hooks affect the answer.
OBSERVING = frozenset({"multus_attached", "multus_undone", "multus_detached", "multus_finished"})


_REPORT = "report it to the plugin's author"


class PluginFailed(CNIError):
    """A plugin raised an exception that is not a CNI error, or its answer had a wrong type."""

    code = 999


class Part(NamedTuple):
    """One plugin's implementation of a hook; ``place`` names both for messages."""

    task: Task
    place: str
    function: Callable[..., Any]
    argnames: tuple[str, ...]

    @classmethod
    def of(cls, implementation: pluggy.HookImpl) -> Part:
        task = Task(implementation.plugin_name, implementation.function.__name__)
        place = f"plugin {task.plugin!r}, hook {task.name!r}"
        return cls(task, place, implementation.function, tuple(implementation.argnames))

    def call(self, arguments: Mapping[str, Any]) -> Any:
        """Call it as a watched and timed step."""
        with step(self.place, task=self.task):
            return self.function(*map(arguments.__getitem__, self.argnames))


class Hooks:
    """The hooks of all registered plugins; each method combines answers as its hook specifies."""

    def __init__(self, manager: pluggy.PluginManager) -> None:
        self.manager = manager
        self._in_order: dict[str, list[pluggy.HookImpl]] = {}
        self._parts: dict[str, list[Part]] = {}
        self._keys: tuple[int, list[Key]] | None = None

    def implementations(self, hook: str) -> list[pluggy.HookImpl]:
        """The implementations of *hook*, in the order in which they are called.

        The order is by name; ``tryfirst`` comes before the others, ``trylast`` after them.
        """
        known = getattr(self.manager.hook, hook).get_hookimpls()
        in_order = self._in_order.get(hook)
        # Cached: some hooks are called for every network, and plugins are rarely added.
        if in_order is None or len(in_order) != len(known):
            in_order = sorted(
                known, key=lambda each: (each.trylast - each.tryfirst, each.plugin_name)
            )
            self._in_order[hook] = in_order
            self._parts[hook] = [Part.of(each) for each in in_order]
        return in_order

    def parts(self, hook: str) -> list[Part]:
        """The implementations of *hook* as parts, in the same order."""
        self.implementations(hook)
        return self._parts[hook]

    def configuration_keys(self) -> list[Key]:
        """The configuration keys that plugins read."""
        from multus.api.keys import Key

        # Cached: the journal needs them again after validation, and plugins are rarely added.
        count = len(self.implementations("multus_keys"))
        if self._keys is None or self._keys[0] != count:
            self._keys = count, list(self._collected("multus_keys", Key))
        return self._keys[1]

    def kubernetes(self) -> list[ApiUse]:
        """What plugins do at the API server; plugins that do the same each contribute an entry."""
        from multus.api.kubernetes import ApiUse

        return list(self._collected("multus_kubernetes", ApiUse))

    def validate(self, conf: Conf) -> list[Problem]:
        """All problems; plugins that share a key may report the same one.

        A plugin that cannot read its keys may raise ``InvalidConfig`` instead.
        """
        found: list[Problem] = []
        for part in self.parts("multus_validate"):
            try:
                found += _answer(part, Problem, {"conf": conf}, many=True) or ()
            except InvalidConfig as error:
                found += error.problems
        return list(dict.fromkeys(found))

    def select(self, request: Request, conf: Conf, session: Session) -> list[Selection]:
        """All selections; each element says which plugin selected it."""
        arguments = {"request": request, "conf": conf, "session": session}
        answers = self._asked("multus_select", Selection, arguments, many=True)
        return [_signed(each, plugin) for plugin, answer in answers for each in answer]

    def resolve(
        self, element: Element, request: Request, conf: Conf, session: Session
    ) -> Delegate | None:
        arguments = {"element": element, "request": request, "conf": conf, "session": session}
        return next((each for _, each in self._asked("multus_resolve", Delegate, arguments)), None)

    def devices(self, request: Request, conf: Conf, session: Session) -> dict[str, list[str]]:
        """The container's devices by resource, in the order in which networks take them."""
        found: dict[str, list[str]] = {}
        for _, answer in self.devices_by_plugin(request, conf, session):
            for resource, devices in answer.items():
                found.setdefault(resource, []).extend(devices)
        return {resource: list(dict.fromkeys(devices)) for resource, devices in found.items()}

    def devices_by_plugin(
        self, request: Request, conf: Conf, session: Session
    ) -> list[tuple[str, Mapping[str, Sequence[str]]]]:
        """The same, with the name of the plugin that gave each answer."""
        arguments = {"request": request, "conf": conf, "session": session}
        found = list(self._asked("multus_devices", Mapping, arguments))
        for plugin, answer in found:
            for resource, devices in answer.items():
                if not are_texts([resource]) or not are_texts(devices):
                    raise PluginFailed(
                        f"plugin {plugin!r}, hook 'multus_devices', answered with"
                        f" {shown(resource)}: {shown(devices)}, which the hook does not allow",
                        fix=_REPORT,
                    )
        return found

    def chain(
        self, delegate: Delegate, request: Request, conf: Conf, session: Session
    ) -> list[Plugin]:
        """The additional steps of a delegate, in the order of the plugins' names."""
        arguments = {"delegate": delegate, "request": request, "conf": conf, "session": session}
        return list(self._collected("multus_chain", Plugin, **arguments))

    def runtime_config(
        self, delegate: Delegate, request: Request, conf: Conf, session: Session
    ) -> dict[str, Any]:
        """All plugins' contributions; raises ``InvalidConfig`` when two give different values."""
        merged: dict[str, Any] = {}
        arguments = {"delegate": delegate, "request": request, "conf": conf, "session": session}
        for name, entries in self._asked("multus_runtime_config", Mapping, arguments):
            for capability, value in entries.items():
                if merged.setdefault(capability, value) != value:
                    raise InvalidConfig(
                        f"two values for runtimeConfig {capability!r}: {merged[capability]!r}, and"
                        f" {value!r} by plugin {name!r}",
                        where=str(delegate),
                        fix="request it in one place",
                    )
        return merged

    def order(
        self, delegates: Sequence[Delegate], request: Request, conf: Conf, session: Session
    ) -> tuple[str, Sequence[Delegate]] | None:
        """The first order that a plugin returns, and the plugin's name."""
        arguments = {"delegates": delegates, "request": request, "conf": conf, "session": session}
        return next(self._asked("multus_order", Delegate, arguments, many=True), None)

    def invokers(
        self, plugin: Plugin, delegate: Delegate, conf: Conf
    ) -> Iterator[Invoker | Declined]:
        """The offers and refusals to run *plugin*; lazy: a hook is called when the next is read."""
        arguments = {"plugin": plugin, "delegate": delegate, "conf": conf}
        for _, answer in self._asked("multus_invoker", (Invoker, Declined), arguments):
            yield answer

    def ipams(self, kind: str, invocation: Invocation) -> Iterator[Ipam | Declined]:
        """The offers and refusals to serve IPAM of type *kind*; lazy, as `invokers`."""
        arguments = {"kind": kind, "invocation": invocation}
        for _, answer in self._asked("multus_ipam", (Ipam, Declined), arguments):
            yield answer

    def merge(
        self, attachments: Sequence[Attachment], request: Request, conf: Conf, session: Session
    ) -> Result | None:
        asked = {"request": request, "conf": conf, "session": session}
        arguments = {"attachments": attachments, **asked}
        return next((each for _, each in self._asked("multus_merge", Result, arguments)), None)

    def health(self, conf: Conf) -> list[CNIError]:
        """Every reason, returned or raised, why an ADD would fail."""
        reasons = []
        for part in self.parts("multus_health"):
            try:
                reason = _answer(part, CNIError, {"conf": conf})
            except CNIError as error:
                reason = error
            if reason is not None:
                reasons.append(reason)
        return reasons

    def allocations(self, conf: Conf, session: Session) -> list[AddressRange]:
        """The ranges of all plugins, with what is allocated of them."""
        from multus.api.allocations import AddressRange

        return list(self._collected("multus_allocations", AddressRange, conf=conf, session=session))

    def upkeep(self, conf: Conf, session: Session, grace: float) -> Iterator[CNIError]:
        """Have each plugin put its things in order; yields the errors, one plugin's at most."""
        for part in self.parts("multus_upkeep"):
            try:
                _answer(part, type(None), {"conf": conf, "session": session, "grace": grace})
            except CNIError as error:
                yield error

    def observers(self, session: Session) -> Observers:
        """The observers' hooks; their exceptions are logged to the session's log."""
        return Observers(self, session)

    def _asked(
        self,
        hook: str,
        kind: Kind,
        arguments: Mapping[str, Any],
        *,
        many: bool = False,
    ) -> Iterator[tuple[str, Any]]:
        """Call the plugins one by one; yield the name and the answer when it is not None."""
        for part in self.parts(hook):
            answer = _answer(part, kind, arguments, many=many)
            if answer is not None:
                yield part.task.plugin, answer

    def _collected(self, hook: str, kind: type, **arguments: Any) -> Iterator[Any]:
        """All answers in one sequence; an answer is a sequence or, if the hook allows, a value."""
        for _, answer in self._asked(hook, kind, arguments, many=True):
            yield from answer


def _signed(selection: Selection, plugin: str) -> Selection:
    """The selection with *plugin* as the source of the elements that name none."""
    if all(each.source for each in selection.elements):
        return selection
    signed = (each if each.source else evolve(each, source=plugin) for each in selection.elements)
    return evolve(selection, elements=tuple(signed))


def _answer(part: Part, kind: Kind, arguments: Mapping[str, Any], *, many: bool = False) -> Any:
    """One plugin's answer; with *many*, a single value becomes a sequence of one.

    Raises ``PluginFailed`` for an exception that is not a CNI error and for an answer that is not
    of *kind*.
    """
    try:
        answer = part.call(arguments)
    except (CNIError, *PASSING):
        raise
    except Overdue as error:
        raise failure("", error, _REPORT) from error
    except BaseException as error:
        raise PluginFailed(f"{part.place}, failed with {described(error)}", fix=_REPORT) from error
    if answer is None:
        return None
    if many and isinstance(answer, kind):
        answer = (answer,)
    if many and not isinstance(answer, list | tuple):
        wrong = misfit(answer, list)
    else:
        values = answer if many else (answer,)
        wrong = next(filter(None, (misfit(each, kind) for each in values)), "")
    if wrong:
        raise PluginFailed(
            f"{part.place}, answered with {wrong}, which the hook does not allow", fix=_REPORT
        )
    return answer


class Observers:
    """The observers of one request; their exceptions are logged and do not affect the request."""

    def __init__(self, hooks: Hooks, session: Session) -> None:
        self.hooks = hooks
        self.session = session

    def attached(
        self, attachment: Attachment, request: Request, conf: Conf, reason: str = "add"
    ) -> None:
        told = {"attachment": attachment, "reason": reason}
        self._tell("multus_attached", **told, request=request, conf=conf)

    def undone(
        self, delegate: Delegate, error: CNIError | None, request: Request, conf: Conf
    ) -> None:
        self._tell("multus_undone", delegate=delegate, error=error, request=request, conf=conf)

    def detached(
        self,
        delegate: Delegate,
        error: CNIError | None,
        request: Request,
        conf: Conf,
        reason: str = "delete",
    ) -> None:
        told = {"delegate": delegate, "error": error, "reason": reason}
        self._tell("multus_detached", **told, request=request, conf=conf)

    def finished(self, outcome: Outcome, request: Request, conf: Conf) -> None:
        self._tell("multus_finished", outcome=outcome, request=request, conf=conf)

    def _tell(self, hook: str, **arguments: Any) -> None:
        arguments["session"] = self.session
        for part in self.hooks.parts(hook):
            error = attempted(part.place, part.call, arguments)
            if error is not None:
                log = self.session.log
                log.error(f"observer {part.task.plugin!r} failed in {hook}", error=error)
