"""Delegated plugins: what an invoker leaves to another plugin (``multus.api.delegation``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api.delegates import delegate_from, is_list
from multus.api.delegation import Delegated
from multus.api.errors import CNIError, InvalidConfig, NotStarted
from multus.api.invoker import NothingDone
from multus.api.result import Result
from multus.engine.invoke.calling import (
    call_in_common_version,
    carry_out,
    delete,
    malformed,
    require_no_answer,
)
from multus.engine.invoke.choice import choose, permitted
from multus.engine.invoke.explained import explained
from multus.engine.permit import require_permitted
from multus.registry.answers import misfit

if TYPE_CHECKING:
    from multus.api.invoker import Invoker
    from multus.api.network import Invocation
    from multus.registry.loading import Installed

#: The verbs that need the invoker that the configuration names; the others take any.
_STRICT = ("ADD", "STATUS")


def delegated(installed: Installed, outer: Invocation, config: Mapping[str, Any]) -> Delegated:
    """The plugin of *config*, on behalf of *outer*; raises ``InvalidConfig``, ``MissingPlugin``."""
    where = f"{outer.delegate}, delegated by type {outer.plugin.type!r}"
    complete = {"name": outer.delegate.name, "cniVersion": outer.cni_version, **config}
    made = delegate_from(complete, outer.conf, where, provenance=outer.provenance)
    if is_list(complete):
        raise InvalidConfig("is a list: one plugin can be delegated", where=where, key="plugins")
    delegate = evolve(
        outer.delegate, name=made.name, plugins=made.plugins, cni_version=made.cni_version
    )
    strict = outer.verb in _STRICT
    if strict:
        require_permitted(delegate, where)
    (plugin,) = delegate.plugins
    choice = choose(installed, plugin, delegate, outer.conf, strict=strict)
    for each in choice.declined:
        outer.log.verbose(
            f"{where}: {each.invoker} leaves type {plugin.type!r} to {choice.invoker.name}:"
            f" {each.reason}"
        )
    kept = permitted(plugin, delegate, choice.invoker, outer.log)
    inner = evolve(
        outer,
        delegate=evolve(delegate, plugins=(kept,)),
        plugin=kept,
        config={**kept.config, "name": made.name, "cniVersion": made.cni_version},
        # What an earlier plugin of the chain made is the outer plugin's alone.
        prev_result=None if outer.verb == "ADD" else outer.prev_result,
        log=outer.log.bind(type=plugin.type),
    )
    return _Carried(choice.invoker, inner)


class _Carried(Delegated):
    """Carried out by the engine."""

    def __init__(self, invoker: Invoker, invocation: Invocation) -> None:
        self.invoker = invoker
        self.invocation = invocation

    def prepare(self) -> None:
        with self._named():
            carry_out(self.invoker, self.invoker.prepare, self.invocation)

    def add(self) -> Result:
        with self._named():
            try:
                with explained(self.invocation):
                    result, _version = call_in_common_version(
                        self.invoker, self.invocation, self.invoker.add
                    )
            except NothingDone as error:
                # The outer plugin has done something, and needs its DEL.
                raise error.into(NotStarted, code=error.number) from error
            wrong = misfit(result, Result)
            if wrong:
                fix = "return a Result, Result() when there is nothing to report"
                raise malformed(self.invoker, "add", wrong, fix)
        return result

    def delete(self) -> None:
        if self.invoker.leaves_nothing:
            return
        with self._named():
            for error in filter(None, delete(self.invoker, [self.invocation])):
                raise error

    def check(self) -> None:
        self._carry_out(self.invoker.check)

    def status(self) -> None:
        self._carry_out(self.invoker.status)

    def gc(self) -> None:
        self._carry_out(self.invoker.gc)

    def _carry_out(self, verb: Callable[[Invocation], object]) -> None:
        # The journal has the outer plugin's version alone.
        with self._named():
            answer, _version = call_in_common_version(self.invoker, self.invocation, verb)
            require_no_answer(self.invoker, verb, answer)

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except CNIError as error:
            raise error.at(f"delegated plugin {self.invocation.plugin.type!r}") from error
