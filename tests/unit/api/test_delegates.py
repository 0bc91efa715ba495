from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from unit.values import conf_of, objects

from multus.api.delegates import delegate_from, handed_on, is_primary, with_cni_args
from multus.api.errors import IncompatibleVersion, InvalidConfig
from multus.api.jsontext import decode, encode
from multus.api.keys import CORE, NETWORK, NETWORK_SPELLING
from multus.api.network import Plugin

OURS = {"prevResult", *(key.name for key in CORE if key.of == NETWORK)}
PORTS = [{"hostPort": 80}]


def only(config: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """The configuration that the only plugin gets."""
    delegate = delegate_from(config, conf_of(**keys), "here")
    (plugin,) = delegate.plugins
    return dict(handed_on(evolve(delegate, primary=True), plugin, conf_of(**keys)))


@given(objects)
def test_unknown_keys_pass_unchanged(extra: dict[str, Any]) -> None:
    known = NETWORK_SPELLING.name_of
    kept = {key: value for key, value in extra.items() if key not in OURS and known(key) == key}
    data = encode({"type": "fake", **kept})
    config = only(decode(data, "x"))
    for key, value in kept.items():
        assert encode(config[key]) == encode(value)
    assert set(config) == {"type", "name", "cniVersion", *kept}


def test_name_and_version_are_ours_where_there_are_none() -> None:
    assert only({"type": "fake"}) == {"type": "fake", "name": "unit", "cniVersion": "1.1.0"}


def test_a_name_and_a_version_of_its_own_stay() -> None:
    config = {"type": "fake", "name": "mine", "cniVersion": "0.3.1"}
    assert only(config) == config


def test_of_its_versions_the_newest_that_we_know_is_spoken() -> None:
    config = {"type": "fake", "cniVersion": "0.3.1", "cniVersions": ["0.4.0", "7.0.0"]}
    assert only(config)["cniVersion"] == "0.4.0"


def test_an_unknown_version_is_incompatible() -> None:
    with pytest.raises(IncompatibleVersion, match="here"):
        delegate_from({"type": "fake", "cniVersion": "7.0.0"}, conf_of(), "here")


@pytest.mark.parametrize(
    ("config", "in_each"),
    [
        ({"type": "fake"}, [{"a": 1}]),
        ({"plugins": [{"type": "one"}, {"type": "two"}]}, [{"a": 1}, {"a": 1}]),
        ({"Plugins": [{"type": "one"}, {"type": "two"}]}, [{"a": 1}, {"a": 1}]),
        ({"type": "fake", "plugins": [{"type": "other"}]}, [{"a": 1}]),
        ({"type": "fake", "args": {"cni": {"a": 0, "b": 2}}}, [{"a": 1, "b": 2}]),
        ({"type": "fake", "Args": {"cni": {"b": 2}}}, [{"a": 1, "b": 2}]),
    ],
)
def test_cni_args_reach_each_plugin(config: dict[str, Any], in_each: list[Any]) -> None:
    delegate = delegate_from(with_cni_args(config, {"a": 1}, "here"), conf_of(), "here")
    assert [each.config["args"]["cni"] for each in delegate.plugins] == in_each


def test_a_plugin_of_a_list_that_is_no_object_gets_no_cni_args() -> None:
    with pytest.raises(InvalidConfig, match=r"here, plugins\[0\] must be an object, not a list"):
        with_cni_args({"plugins": [[]]}, {"a": 1}, "here")


def test_a_chain_is_one_delegate() -> None:
    config = {
        "name": "chain",
        "cniVersion": "0.4.0",
        "plugins": [{"type": "make", "x": 1}, {"type": "tune"}],
        "disableCheck": "true",
        "disableGC": True,
    }
    delegate = delegate_from(config, conf_of(), "here", label="shop/chain")
    assert (delegate.name, delegate.label, delegate.types) == ("chain", "shop/chain", "make+tune")
    assert delegate.disable_check and delegate.disable_gc and not delegate.primary
    inserted = {"name": "chain", "cniVersion": "0.4.0"}
    assert [handed_on(delegate, each, conf_of()) for each in delegate.plugins] == [
        {"type": "make", "x": 1, **inserted},
        {"type": "tune", **inserted},
    ]


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ({}, "delegate must have the field 'type'"),
        ({"type": ""}, "delegate must have the field 'type'"),
        ({"type": None}, "delegate must have the field 'type'"),
        ({"type": 5}, "delegate field 'type' must be a string"),
        ({"type": "../x"}, "bare name"),
        ({"type": ".."}, "bare name"),
        ({"type": "x\0"}, "bare name"),
        ({"type": "x", "masterplugin": "yes"}, "delegate field 'masterplugin' must be a bool"),
        ({"type": "x", "masterplugin": 1}, "delegate field 'masterplugin' must be a bool"),
        ({"type": "x", "name": "a/b"}, "'name' is 'a/b': invalid network name"),
        ({"type": "x", "name": 5}, "'name'"),
        ({"type": "x", "capabilities": []}, "'capabilities'"),
        ({"type": "x", "invoker": 5}, "'invoker'"),
        ({"plugins": []}, "'plugins' is empty"),
        ({"plugins": {}}, "'plugins'"),
        ({"plugins": ["x"]}, "'plugins[0]'"),
        ({"plugins": [{"type": "x"}, {}]}, "plugins[1]"),
        ({"plugins": [{"type": "x", "masterplugin": 5}]}, "'masterplugin' must be a bool"),
        ({"type": "x", "disableCheck": "often"}, "'disableCheck'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(config: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        delegate_from(config, conf_of(), "here")
    assert caught.value.msg.startswith("here")
    assert said in caught.value.msg


class TestPrimary:
    @pytest.mark.parametrize("value", [True, "true", "True"])
    def test_is_who_says_so(self, value: Any) -> None:
        assert is_primary({"type": "x", "masterplugin": value}, "here")
        assert is_primary({"plugins": [{"type": "x"}, {"masterplugin": value}]}, "here")

    @pytest.mark.parametrize("config", [{}, {"masterplugin": "false"}, {"plugins": [{}, 5]}])
    def test_is_not_who_does_not(self, config: dict[str, Any]) -> None:
        assert not is_primary(config, "here")


class TestRuntimeConfig:
    CONFIG = {"type": "fake", "capabilities": {"portMappings": True, "mac": "true", "ips": False}}

    def test_is_what_is_asked_for_and_declared(self) -> None:
        asked = {"portMappings": PORTS, "ips": ["10.0.0.2/8"], "bandwidth": {}}
        config = only(self.CONFIG, runtimeConfig=asked)
        assert config["runtimeConfig"] == {"portMappings": PORTS}
        assert "capabilities" not in config

    def test_is_not_there_when_nothing_is(self) -> None:
        assert "runtimeConfig" not in only(self.CONFIG)

    def test_that_the_runtime_gives_is_for_the_primary_alone(self) -> None:
        conf = conf_of(runtimeConfig={"portMappings": PORTS})
        delegate = delegate_from(self.CONFIG, conf, "here")
        assert "runtimeConfig" not in handed_on(delegate, delegate.plugins[0], conf)

    def test_of_the_network_itself_wins_over_the_runtimes(self) -> None:
        conf = conf_of(runtimeConfig={"mac": "02:00:00:00:00:01"})
        delegate = evolve(
            delegate_from(self.CONFIG, conf, "here"),
            primary=True,
            runtime_config={"mac": "02:00:00:00:00:02"},
        )
        config = handed_on(delegate, delegate.plugins[0], conf)
        assert config["runtimeConfig"] == {"mac": "02:00:00:00:00:02"}

    def test_that_was_written_into_the_configuration_stays(self) -> None:
        written = {"type": "fake", "runtimeConfig": {"deviceID": "0000:01:00.1"}}
        assert only(written)["runtimeConfig"] == written["runtimeConfig"]


def test_a_result_in_the_configuration_is_not_handed_on() -> None:
    assert "prevResult" not in only({"type": "fake", "prevResult": {"cniVersion": "1.0.0"}})


def test_its_invoker_is_the_requested_one_or_that_of_its_type() -> None:
    conf = conf_of(invokers={"ptp": "exec"})

    def invoker(**config: Any) -> str:
        return delegate_from(config, conf, "here").plugins[0].invoker

    assert invoker(type="ptp") == "exec"
    assert invoker(type="ptp", invoker="ptp") == "ptp"
    assert invoker(type="bridge") == ""
    assert delegate_from({"type": "x"}, conf_of(), "here").plugins == (Plugin({"type": "x"}),)
