from __future__ import annotations

import json
from typing import Any

import pytest
from contract.given import at_work
from unit.values import conf_of

from multus.api.delegates import delegate_from
from multus.api.errors import CNIError
from multus.api.keys import (
    BOOLEAN,
    CORE,
    INTEGER,
    LOG,
    MULTUS,
    NETWORK,
    NUMBER,
    OBJECT,
    OBJECTS,
    PATH,
    PLACE,
    TEXT,
    TEXTS,
    WORD,
    Key,
    Kind,
    kept,
    problems,
)
from multus.api.reader import Reader
from multus.api.where import dotted
from multus.engine.parse import validate
from multus.log import Log

OTHERS: dict[Kind, list[Any]] = {
    TEXT: [5, True, [], {}],
    WORD: [5, True, [], {}],
    PATH: [5, True, [], {}, "relative"],
    PLACE: [5, True, [], {}, "a\0b"],
    BOOLEAN: [5, "maybe", [], {}],
    INTEGER: ["5", 1.5, True, []],
    NUMBER: ["5", True, []],
    OBJECT: [5, "x", []],
    TEXTS: [5, "x", {}, [5]],
    OBJECTS: [5, "x", {}, [5]],
}


def placed(key: Key, value: Any) -> dict[str, Any]:
    """The key with a value, where it stands."""
    nested = key.of == MULTUS and not key.name.startswith("cni.dev")
    for name in reversed(key.name.split(".")) if nested else [key.name]:
        value = {name: value}
    return dict(value)


CASES = [(key, value) for key in CORE for value in OTHERS[key.kind]]


@pytest.mark.parametrize(
    ("key", "value"), CASES, ids=[f"{key.of}-{key.name}={value!r}" for key, value in CASES]
)
def test_a_value_of_another_type_is_refused(key: Key, value: Any) -> None:
    with pytest.raises(CNIError) as caught:
        if key.of == MULTUS:
            validate(conf_of(**placed(key, value)), at_work())
        else:
            # Beside a type, plugins count for nothing.
            kind = {} if key.name == "plugins" else {"type": "fake"}
            _read_network({**kind, **placed(key, value)})
    assert caught.value.number in (1, 7)


def _read_network(config: dict[str, Any]) -> None:
    from multus.api.conffiles import _with_folder

    delegate_from(config, conf_of(), "here")
    if "loadOnlyInlinedPlugins" in config:
        _with_folder("/no/such/folder/file", config)


FIELDS = {
    "binDir": "bin_dir",
    "cniDir": "cni_dir",
    "always_use_default": "always_use_default",
    "delegateTimeout": "delegate_timeout",
    "cniVersion": "cni_version",
}


def test_the_places_open_to_tenants_are_the_ones_that_are_used() -> None:
    said = {
        key.name.partition(".")[2]: key.default
        for key in CORE
        if key.name.startswith("tenantPaths.")
    }
    assert conf_of().tenant_paths == said
    assert conf_of(tenantPaths={"dataDir": []}).tenant_paths == {**said, "dataDir": ()}


@pytest.mark.parametrize("name", FIELDS)
def test_the_default_is_the_one_that_is_used(name: str) -> None:
    (key,) = (each for each in CORE if each.name == name and each.of == MULTUS)
    conf = conf_of(cniVersion=None)
    assert getattr(conf, FIELDS[name]) == key.default


def test_the_logs_defaults_are_those_that_are_used() -> None:
    said = {key.name: key.default for key in LOG if key.default is not None}
    options = {name.partition(".")[2]: value for name, value in said.items() if "." in name}
    explicit = Log.from_conf({**said, "logOptions": options})
    implicit = Log.from_conf({})
    assert explicit.level == implicit.level
    for name in ("_stderr", "_max_bytes", "_max_backups", "_max_age_days", "_compress"):
        assert getattr(explicit._sink, name) == getattr(implicit._sink, name)


def test_every_key_is_reported_once_and_as_text() -> None:
    names = [(key.of, key.name) for key in CORE]
    assert len(set(names)) == len(names)
    for key in CORE:
        assert key.kind in OTHERS and key.of in (MULTUS, NETWORK)
        assert key.text.endswith(".") and "|" not in key.text
        assert json.loads(json.dumps(key.default)) is not None or key.default is None
        if key.default is not None:
            assert problems(Reader(placed(key, written(key.default)), "here"), [key], key.of) == []


def written(default: Any) -> Any:
    """A default as JSON has it."""
    return json.loads(json.dumps(default))


LIMITED = [
    (Key("k", TEXT, "", choices=("a", "b")), ["a", "b", None, ""], ["c", "A"]),
    (Key("k", WORD, "", "a", choices=("a", "b")), ["A", "b"], ["c", ""]),
    (Key("k", TEXTS, "", choices=("a",)), [[], ["a", "a"]], [["a", "b"]]),
    (Key("k", INTEGER, "", 5, least=1, most=9), [1, 9, None], [0, 10, -1]),
    (Key("k", INTEGER, "", least=0), [0, 10**9], [-1]),
    (Key("k", NUMBER, "", 5, above=0, most=9), [0.1, 9], [0, 9.1]),
    (Key("outer.k", INTEGER, "", 5, most=9), [9], [10]),
]


@pytest.mark.parametrize(("key", "good", "bad"), LIMITED)
def test_a_value_outside_of_its_limits_is_refused_with_the_whole_path(
    key: Key, good: list[Any], bad: list[Any]
) -> None:
    for value in good:
        assert problems(Reader(placed(key, value), "here"), [key]) == []
    for value in bad:
        (problem,) = problems(Reader(placed(key, value), "here"), [key])
        assert dotted(problem.path).startswith(key.name) and problem.fix.startswith("use ")


def test_an_absent_key_is_its_default_or_empty() -> None:
    empty = Reader({}, "here")
    assert Key("k", PATH, "", "/x").read(empty) == "/x"
    assert Key("k", PATH, "", "/x").read(Reader({"k": ""}, "here")) == "/x"
    assert Key("k", TEXT, "", "x").read(Reader({"k": ""}, "here")) == ""
    assert Key("k", TEXTS, "").read(empty) == ()
    assert Key("o.k", INTEGER, "", 7).read(empty) == 7


def test_a_wrong_object_is_one_problem_whatever_keys_it_has() -> None:
    (problem,) = problems(Reader({"logOptions": []}, "here"), LOG)
    assert problem.path == ("logOptions",)


def test_the_journal_does_not_keep_what_belongs_to_single_requests() -> None:
    raw = {"name": "n", "prevResult": {}, "runtimeConfig": {}, "cni.dev/attachments": [], "x": 1}
    listed = Key("listed", OBJECTS, "", kept=False)
    assert kept({**raw, "listed": [{}]}, (*CORE, listed)) == {"name": "n", "x": 1}
