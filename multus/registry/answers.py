"""Check that a plugin's answer has a type that its hook allows.

A wrong type, such as a dictionary in place of a value, would later look like an error of Multus.
So types are checked here, with the plugin's name.  The contents of fields are checked where they
are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from multus.api.errors import shown
from multus.api.invoker import Invoker
from multus.api.network import Delegate, Element, Plugin, Role, Selection
from multus.api.result import DNS, IP, Interface, Result, Route

#: The type of an answer: a class, or one of several.
Kind = type | tuple[type, ...]


def misfit(answer: object, kind: Kind) -> str:
    """What is wrong with *answer*, which must be of *kind*; "" when it is correct."""
    if not isinstance(answer, kind):
        return shown(answer)
    look = _INSIDE.get(type(answer))
    if look is not None:
        return look(answer)
    return _invoker(answer) if isinstance(answer, Invoker) else ""


def _selection(answer: Any) -> str:
    if not isinstance(answer.role, Role):
        return _inside(answer, "role", answer.role)
    return _each(answer, "elements", Element)


def _delegate(answer: Delegate) -> str:
    wrong = _each(answer, "plugins", Plugin)
    if wrong or not answer.plugins:
        return wrong or _inside(answer, "plugins", answer.plugins)
    return next(filter(None, map(_plugin, answer.plugins)), "")


def _plugin(answer: Any) -> str:
    if not isinstance(answer.config, Mapping):
        return _inside(answer, "config", answer.config)
    kind = answer.config.get("type")
    return "" if isinstance(kind, str) and kind else "a Plugin whose configuration has no 'type'"


def _result(answer: Result) -> str:
    for field, kind, name in _PARTS:
        wrong = _each(answer, field, kind)
        for each in () if wrong else getattr(answer, field):
            value = getattr(each, name)
            if not isinstance(value, str):
                return _inside(each, name, value)
        if wrong:
            return wrong
    return "" if isinstance(answer.dns, DNS) else _inside(answer, "dns", answer.dns)


#: The fields of a result, the type of their entries, and the entries' identifying field.
_PARTS = (("interfaces", Interface, "name"), ("ips", IP, "address"), ("routes", Route, "dst"))


def _invoker(answer: Invoker) -> str:
    named = isinstance(answer.name, str) and answer.name
    return "" if named else f"a {type(answer).__name__} that has no 'name'"


def _each(answer: object, field: str, kind: type) -> str:
    """What is wrong with a field that must hold values of *kind*."""
    values: Iterable[object] = getattr(answer, field)
    if not isinstance(values, tuple | list):
        return _inside(answer, field, values)
    wrong = next((each for each in values if not isinstance(each, kind)), None)
    if wrong is None:
        return ""
    return f"a {type(answer).__name__} with a {type(wrong).__name__} among its {field!r}"


def _inside(answer: object, field: str, value: object) -> str:
    return f"a {type(answer).__name__} whose {field!r} is {shown(value)}"


_INSIDE: Mapping[type, Callable[[Any], str]] = {
    Selection: _selection,
    Delegate: _delegate,
    Plugin: _plugin,
    Result: _result,
}
