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
    MULTUS,
    NETWORK,
    NUMBER,
    OBJECT,
    OBJECTS,
    PATH,
    TEXT,
    TEXTS,
    Key,
)
from multus.engine.parse import validate
from multus.log import Log

OTHERS: dict[str, list[Any]] = {
    TEXT: [5, True, [], {}],
    PATH: [5, True, [], {}, "relative"],
    BOOLEAN: [5, "maybe", [], {}],
    INTEGER: ["5", 1.5, True, []],
    NUMBER: ["5", True, []],
    OBJECT: [5, "x", []],
    TEXTS: [5, "x", {}, [5]],
    OBJECTS: [5, "x", {}, [5]],
}

#: What the runtime keeps to itself: Multus does not read it in its own configuration.
UNREAD = {"type", "capabilities", "disableCheck", "disableGC"}


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
    if key.of == MULTUS and key.name in UNREAD:
        validate(conf_of(**placed(key, value)), at_work())
        return
    with pytest.raises(CNIError) as caught:
        if key.of == MULTUS:
            validate(conf_of(**placed(key, value)), at_work())
        else:
            _read_network({"type": "fake", **placed(key, value)})
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
        key.name.partition(".")[2]: tuple(json.loads(key.default))
        for key in CORE
        if key.name.startswith("tenantPaths.")
    }
    assert conf_of().tenant_paths == said
    assert conf_of(tenantPaths={"dataDir": []}).tenant_paths == {**said, "dataDir": ()}


@pytest.mark.parametrize("name", FIELDS)
def test_the_default_is_the_one_that_is_used(name: str) -> None:
    (key,) = (each for each in CORE if each.name == name and each.of == MULTUS)
    conf = conf_of(cniVersion=None)
    assert getattr(conf, FIELDS[name]) == json.loads(key.default)


def test_the_logs_defaults_are_those_that_are_used() -> None:
    said = {
        key.name: json.loads(key.default)
        for key in CORE
        if key.name.startswith("log") and key.default
    }
    options = {name.partition(".")[2]: value for name, value in said.items() if "." in name}
    explicit = Log.from_conf({**said, "logOptions": options})
    implicit = Log.from_conf({})
    assert explicit.level == implicit.level
    for name in ("_stderr", "_max_bytes", "_max_backups", "_max_age_days", "_compress"):
        assert getattr(explicit._sink, name) == getattr(implicit._sink, name)


def test_every_key_is_told_once_and_in_words() -> None:
    names = [(key.of, key.name) for key in CORE]
    assert len(set(names)) == len(names)
    for key in CORE:
        assert key.kind in OTHERS and key.of in (MULTUS, NETWORK)
        assert key.text.endswith(".") and "|" not in key.text
        if key.default:
            json.loads(key.default)
