"""Check that a plugin's answer has a type that its hook allows.

A wrong type, such as a dictionary in place of a value, would later look like an error of Multus.
So types are checked here, with the plugin's name.  The contents of fields are checked where they
are used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

from multus.api.errors import shown
from multus.api.invoker import Invoker
from multus.api.network import Delegate, Element, Plugin, Provenance, Role, Selection
from multus.api.result import DNS, IP, Interface, Result, Route

#: The type of an answer: a class, or one of several.
Kind = type | tuple[type, ...]


def misfit(answer: object, kind: Kind) -> str:
    """What is wrong with *answer*, which must be of *kind*; "" when it is correct."""
    if not isinstance(answer, kind):
        return shown(answer)
    wrong = _wrong_field(answer)
    if wrong:
        return wrong
    look = _INSIDE.get(type(answer))
    if look is not None:
        return look(answer)
    return _invoker(answer) if isinstance(answer, Invoker) else ""


def _wrong_field(answer: Any) -> str:
    """What is wrong with the type of a field, by the annotations of the answer's class."""
    kind: Any = type(answer)
    for name, accepts in _checks(kind):
        value = getattr(answer, name)
        if not accepts(value):
            return _inside(answer, name, value)
    return ""


@lru_cache(maxsize=64)
def _checks(kind: Any) -> tuple[tuple[str, Callable[[Any], bool]], ...]:
    fields = getattr(kind, "__attrs_attrs__", ())
    return tuple((each.name, _ACCEPTS[each.type]) for each in fields if each.type in _ACCEPTS)


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def are_texts(value: object) -> bool:
    """Whether *value* is a sequence of strings."""
    return isinstance(value, tuple | list) and all(isinstance(each, str) for each in value)


#: What a field takes, by its annotation.
_ACCEPTS: Mapping[object, Callable[[Any], bool]] = {
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "int": _is_whole,
    "int | None": lambda value: value is None or _is_whole(value),
    "tuple[str, ...]": are_texts,
    "Role": lambda value: isinstance(value, Role),
    "Provenance": lambda value: isinstance(value, Provenance),
    "DNS": lambda value: isinstance(value, DNS),
}


def _selection(answer: Selection) -> str:
    wrong = _each(answer, "elements", Element)
    return wrong or next(filter(None, map(_wrong_field, answer.elements)), "")


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
    for field, kind in _PARTS:
        wrong = _each(answer, field, kind)
        parts = () if wrong else getattr(answer, field)
        wrong = wrong or next(filter(None, map(_wrong_field, parts)), "")
        if wrong:
            return wrong
    for ip in answer.ips:
        if ip.interface is not None and not 0 <= ip.interface < len(answer.interfaces):
            return _inside(ip, "interface", ip.interface)
    wrong = answer.malformed()
    return f"a Result in which {wrong}" if wrong else _wrong_field(answer.dns)


#: The fields of a result, and what they hold.
_PARTS = (("interfaces", Interface), ("ips", IP), ("routes", Route))


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
