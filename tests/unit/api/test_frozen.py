from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from attrs import asdict, evolve
from hypothesis import given
from unit.values import conf_of, delegate_of, objects, request_of

from multus.api.frozen import DEEPEST, FrozenDict, FrozenList, freeze
from multus.api.jsontext import decode, encode
from multus.api.network import Element, Invocation, Outcome, Plugin
from multus.log import Log
from multus.testing.session import new_session

_OBJECT: list[Callable[[dict[str, Any]], object]] = [
    lambda it: it.__setitem__("b", 1),
    lambda it: it.__delitem__("a"),
    lambda it: it.__ior__({"b": 1}),
    lambda it: it.clear(),
    lambda it: it.pop("a"),
    lambda it: it.popitem(),
    lambda it: it.setdefault("b", 1),
    lambda it: it.update(b=1),
]
_LIST: list[Callable[[list[Any]], object]] = [
    lambda it: it.__setitem__(0, 1),
    lambda it: it.__setitem__(slice(0, 1), [1, 2]),
    lambda it: it.__delitem__(0),
    lambda it: it.__iadd__([1]),
    lambda it: it.__imul__(2),
    lambda it: it.append(1),
    lambda it: it.clear(),
    lambda it: it.extend([1]),
    lambda it: it.insert(0, 1),
    lambda it: it.pop(),
    lambda it: it.remove(3),
    lambda it: it.reverse(),
    lambda it: it.sort(),
]


@pytest.mark.parametrize("change", _OBJECT)
def test_an_object_cannot_be_changed(change: Callable[[dict[str, Any]], object]) -> None:
    value = freeze({"a": 1})
    with pytest.raises(TypeError, match="read-only"):
        change(value)
    assert value == {"a": 1}


@pytest.mark.parametrize("change", _LIST)
def test_a_list_cannot_be_changed(change: Callable[[list[Any]], object]) -> None:
    value = freeze([3, 2])
    with pytest.raises(TypeError, match="read-only"):
        change(value)
    assert value == [3, 2]


@pytest.mark.parametrize("kind", [FrozenDict, FrozenList])
def test_every_method_that_changes_is_refused(kind: type) -> None:
    """Every method of the base class that a tuple or a mapping proxy lacks."""
    reading = {*dir(tuple), *dir(type(type.__dict__)), "fromkeys", "__reversed__", "__init__"}
    changing = {name for name in dir(kind.__base__) if name not in reading}
    assert {
        name for name in changing if getattr(kind, name) is getattr(kind.__base__, name)
    } == set()


@given(objects)
def test_it_reads_as_what_it_was_made_of(value: dict[str, Any]) -> None:
    frozen = freeze(value)
    assert frozen == value and freeze(frozen) is frozen
    assert encode(frozen) == encode(value)
    assert json.dumps(frozen) == json.dumps(value)
    again = pickle.loads(pickle.dumps(frozen))  # noqa: S301  what was written the line before
    assert again == value and type(again) is FrozenDict


@given(objects)
def test_a_deep_copy_can_be_changed_everywhere(value: dict[str, Any]) -> None:
    def kinds(each: Any) -> set[type]:
        inner = each.values() if isinstance(each, dict) else each if isinstance(each, list) else ()
        return {type(each)}.union(*map(kinds, inner))

    copied = copy.deepcopy(freeze(value))
    assert copied == value
    assert not kinds(copied) & {FrozenDict, FrozenList}


def test_copies_of_one_level_can_be_changed() -> None:
    value = freeze({"a": [1]})
    for copied in (dict(value), value.copy(), copy.copy(value), value | {}, {**value}):
        copied["b"] = 1
    for listed in (list(value["a"]), value["a"].copy(), copy.copy(value["a"]), value["a"][:]):
        listed.append(2)
    assert value == {"a": [1]}


def test_what_is_nested_too_deep_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    deep: Any = 1
    for _ in range(DEEPEST):
        deep = [deep]
    assert freeze(deep) == deep
    for value in (endless, [deep]):
        with pytest.raises(RecursionError):
            freeze(value)


def _mappings() -> dict[str, Any]:
    """Every mapping and list that a plugin gets, by its path."""
    inner = {"x": {"y": [1]}}
    conf = conf_of(
        delegates=[{"type": "a"}], runtimeConfig=inner, prevResult=inner, invokers={"a": "b"}
    )
    request = request_of(args={"A": "1"}, environ={"B": "2"})
    element = Element("n", "the test", config=inner, options=inner)
    delegate = delegate_of(
        "n", runtime_config=inner, options=inner, args={"MAC": "x"}, tenant_paths={"dataDir": ()}
    )
    plugin = Plugin({"type": "a", **inner})
    invocation = Invocation(
        verb="GC",
        delegate=delegate,
        plugin=plugin,
        config={"cniVersion": "1.0.0", **inner},
        request=request,
        conf=conf,
        log=Log.from_conf({}),
        session=new_session(),
        valid_attachments=({"containerID": "c", "ifname": "eth0"},),
    )
    every: dict[str, Any] = {"conf": conf, "request": request, "element": element}
    every |= {"delegate": delegate}
    every |= {"plugin": plugin, "invocation": invocation, "at": invocation.at("0.4.0")}
    every["outcome"] = Outcome("ADD", stages={"invoke": 0.1})
    every["evolved"] = evolve(request, args={"C": "3"})
    found = {}
    for name, value in every.items():
        for name_of_part in asdict(value, recurse=False):
            part = getattr(value, name_of_part)
            parts = part if isinstance(part, tuple) else (part,)
            for one in parts:
                if isinstance(one, dict | list):
                    found[f"{name}.{name_of_part}"] = one
    return found


_MAPPINGS = _mappings()


@pytest.mark.parametrize("place", sorted(_MAPPINGS))
def test_the_values_are_read_only_to_the_bottom(place: str) -> None:
    def all_frozen(value: Any) -> bool:
        inner = value.values() if isinstance(value, dict) else value
        return isinstance(value, FrozenDict | FrozenList) and all(
            all_frozen(each) for each in inner if isinstance(each, dict | list)
        )

    assert all_frozen(_MAPPINGS[place])


def test_these_places_were_looked_at() -> None:
    """A new field that is a mapping must be one of them."""
    wanted = {"conf.raw", "conf.invokers", "conf.tenant_paths", "conf.runtime_config"}
    wanted |= {"conf.prev_result", "request.args", "request.environ", "element.config"}
    wanted |= {"element.options", "delegate.runtime_config", "delegate.options"}
    wanted |= {
        "delegate.args",
        "delegate.tenant_paths",
        "plugin.config",
        "invocation.config",
        "at.config",
    }
    wanted |= {"invocation.valid_attachments", "evolved.args", "outcome.stages"}
    assert wanted <= _MAPPINGS.keys()


def test_what_is_decoded_is_read_only() -> None:
    with pytest.raises(TypeError):
        decode(b'{"delegates": [{}]}', "it")["delegates"].append({})
