"""Plugins for one test, registered like installed ones."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable, Iterable
from types import ModuleType
from typing import Any

from multus import hookimpl
from multus.api import hookspecs
from multus.api.errors import CNIError
from multus.api.invoker import Invoker
from multus.api.network import Delegate, Element, Invocation, Plugin, Role, Selection
from multus.api.result import Interface, Result
from multus.registry.entry import Entry
from multus.registry.loading import Installed, load


def plugin_named(name: str, *functions: Callable[..., Any], **marks: Any) -> Entry:
    """A plugin of these functions, each named as its hook; *marks* go to ``hookimpl``."""
    module = _module(name)
    for function in functions:
        setattr(module, function.__name__, hookimpl(**marks)(function))
    return _entry(name, module)


def plugin_of(name: str, source: str, keys: Iterable[str] = ()) -> Entry:
    """A plugin whose module has this text."""
    module = _module(name)
    exec(compile(textwrap.dedent(source), f"<{name}>", "exec"), vars(module))
    return _entry(name, module, keys)


def documentation(hook: str) -> str:
    """The documentation of a hook."""
    return inspect.getdoc(getattr(hookspecs, hook)) or ""


def example(hook: str) -> Entry:
    """The example of a hook's documentation, as a plugin."""
    _, _, code = documentation(hook).partition("Example::\n")
    return plugin_of("example", code)


def at_work(*entries: Entry) -> Installed:
    """Load the plugins; fails when one cannot be loaded."""
    installed = load(entries)
    assert installed.broken == ()
    return installed


class Recorder(Invoker):
    """Executes every type by recording the call; raises the errors in ``errors``.

    ``errors`` maps ``"ADD net0"``, a verb and an interface, to an exception.
    """

    name = "recorder"

    def __init__(self, **errors: CNIError) -> None:
        self.calls: list[Invocation] = []
        self.errors = errors
        self.results: dict[str, Result] = {}

    def _record(self, invocation: Invocation) -> None:
        self.calls.append(invocation)
        error = self.errors.get(f"{invocation.verb}_{invocation.ifname}")
        if error is not None:
            raise error

    def add(self, invocation: Invocation) -> Result:
        self._record(invocation)
        made = Result(interfaces=(Interface(invocation.ifname, sandbox="/run/netns/none"),))
        return self.results.get(invocation.plugin.type, made)

    def delete_one(self, invocation: Invocation) -> None:
        self._record(invocation)

    def check(self, invocation: Invocation) -> None:
        self._record(invocation)

    def status(self, invocation: Invocation) -> None:
        self._record(invocation)

    def gc(self, invocation: Invocation) -> None:
        self._record(invocation)

    @property
    def said(self) -> list[str]:
        """The calls as text: ``ADD fake eth0``."""
        return [f"{each.verb} {each.plugin.type} {each.ifname}".strip() for each in self.calls]

    def plugin(self) -> Entry:
        """This invoker as a plugin."""

        def multus_invoker(plugin: Plugin, delegate: Delegate) -> Invoker:
            return self

        return plugin_named("invoker-recorder", multus_invoker, trylast=True)


def source(*kinds: str, name: str = "source-given", role: Role = Role.DEFAULT) -> Entry:
    """A source that selects a network for each plugin type, and resolves it."""

    def multus_select() -> Selection:
        elements = tuple(
            Element(kind, "the test", name, config={"type": kind, "name": f"{kind}-net"})
            for kind in kinds
        )
        return Selection(role, elements, f"source {name!r}", naming="seed")

    return plugin_named(name, multus_select)


def merger() -> Entry:
    """A merger that answers with the first result."""

    def multus_merge(attachments: list[Any]) -> Result:
        return Result(interfaces=attachments[0].result.interfaces)

    return plugin_named("merger-given", multus_merge, trylast=True)


def _module(name: str) -> ModuleType:
    module = ModuleType(f"given_{name.replace('-', '_')}")
    sys.modules[module.__name__] = module
    return module


def _entry(name: str, module: ModuleType, keys: Iterable[str] = ()) -> Entry:
    return Entry(name, module.__name__, f"multus-{name}", "1.0", keys=tuple(keys))
