from __future__ import annotations

from typing import Any

import pytest
from attrs import evolve
from contract.given import at_work, plugin_named, plugin_of, source
from unit.values import conf_of

from multus.api.errors import IncompatibleVersion, InvalidConfig, MissingPlugin
from multus.api.problem import Problem
from multus.engine.parse import parse, validate
from multus.registry.entry import Entry
from multus.registry.loading import Broken, Installed

RAW = {"cniVersion": "1.1.0", "name": "n", "type": "multus", "logToStderr": False}
WRONG = {
    "merger": 5,
    "naming": "mine",
    "delegateTimeout": "soon",
    "invokers": [],
    "runtimeConfig": [],
    "prevResult": "x",
    "blockedPlugins": {},
    "always_use_default": "maybe",
    "binDir": 5,
}


def owner(*keys: str) -> Entry:
    text = """
        from multus import hookimpl

        @hookimpl
        def multus_health():
            pass
    """
    return plugin_of(f"owner-of-{'-'.join(keys)}", text, keys)


class TestParse:
    @pytest.mark.parametrize("key", WRONG)
    def test_a_wrong_key_fails_an_add(self, key: str) -> None:
        for command in ("ADD", "CHECK", "STATUS"):
            with pytest.raises(InvalidConfig, match=key):
                parse({**RAW, key: WRONG[key]}, command)

    @pytest.mark.parametrize("command", ["DEL", "GC"])
    def test_the_way_out_does_without_what_is_wrong(self, command: str) -> None:
        good = {"cniDir": "/state", "other": 1}
        conf = parse({**RAW, **good, **WRONG}, command)
        assert evolve(conf, raw={}) == evolve(conf_of(name="n", cniDir="/state"), raw={})
        assert conf.raw == {**RAW, **good}

    def test_the_way_out_keeps_what_is_right(self) -> None:
        conf = parse({**RAW, "delegateTimeout": 5, "merger": 5, "binDir": "/x"}, "DEL")
        assert (conf.delegate_timeout, conf.bin_dir, conf.merger) == (5, "/x", "")

    def test_it_is_logged(self, capfd: pytest.CaptureFixture[str]) -> None:
        parse({**RAW, "logToStderr": True, "merger": 5}, "DEL")
        assert "DEL goes on without 'merger'" in capfd.readouterr().err

    @pytest.mark.parametrize(
        ("keys", "error"),
        [
            ({"name": "a/b"}, InvalidConfig),
            ({"cniDir": "relative"}, InvalidConfig),
            ({"cniVersion": "9.0.0"}, IncompatibleVersion),
        ],
    )
    def test_some_things_no_command_can_do_without(self, keys: Any, error: type) -> None:
        for command in ("ADD", "DEL", "GC"):
            with pytest.raises(error):
                parse({**RAW, **keys}, command)


class TestValidate:
    def test_a_key_that_selects_networks_needs_its_owner(self) -> None:
        conf = conf_of(delegates=[{"type": "x"}])
        with pytest.raises(MissingPlugin, match=r"reads 'delegates': install multus-source-conf"):
            validate(conf, at_work(source("x")))
        validate(conf, at_work(owner("delegates")))

    @pytest.mark.parametrize("key", ["clusterNetwork", "kubeconfig"])
    def test_so_that_no_container_gets_fewer_networks(self, key: str) -> None:
        with pytest.raises(MissingPlugin, match=key):
            validate(conf_of(**{key: "/x"}), at_work(owner("delegates")))

    def test_a_broken_owner_is_named_with_its_distribution(self) -> None:
        entry = Entry("source-x", "x", "multus-source-x", "1.0", keys=("inventory",))
        installed = Installed(at_work().hooks, (), (Broken(entry, "ImportError: y"),))
        with pytest.raises(InvalidConfig) as caught:
            validate(conf_of(inventory=1), installed)
        assert "ImportError: y" in caught.value.msg
        assert "reinstall multus-source-x" in caught.value.msg
        validate(conf_of(), installed)

    @pytest.mark.parametrize(
        "keys",
        [{"delegates": [{"type": "x"}]}, {"kubeconfig": "/k"}, {}],
        ids=["no kubeconfig", "no delegates", "neither"],
    )
    def test_always_use_default_needs_both(self, keys: Any) -> None:
        installed = at_work(owner("delegates", "kubeconfig"))
        with pytest.raises(InvalidConfig, match="you must also set the delegates & the kubeconfig"):
            validate(conf_of(always_use_default=True, **keys), installed)

    @pytest.mark.parametrize("keys", [{"delegates": [{"type": "x"}]}, {"clusterNetwork": "x"}])
    def test_always_use_default_with_both_is_well(self, keys: Any) -> None:
        installed = at_work(owner("delegates", "clusterNetwork", "kubeconfig"))
        validate(conf_of(always_use_default=True, kubeconfig="/k", **keys), installed)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            ("logLevel", 5),
            ("logFile", 5),
            ("logToStderr", "yes"),
            ("logOptions", []),
            ("logOptions", {"maxSize": "big"}),
            ("standalone", "perhaps"),
            ("disableGC", 5),
            ("capabilities", []),
        ],
    )
    def test_the_cores_own_keys(self, key: str, value: Any) -> None:
        with pytest.raises(InvalidConfig, match=key):
            validate(conf_of(**{key: value}), at_work(owner("kubeconfig")))

    def test_all_problems_are_told_the_first_in_the_message(self) -> None:
        def multus_validate() -> list[Problem]:
            return [Problem("a", "is odd", "mend it"), Problem("b", "is odd", "mend it")]

        installed = at_work(plugin_named("p", multus_validate))
        with pytest.raises(InvalidConfig) as caught:
            validate(conf_of(logLevel=5), installed)
        assert caught.value.msg.startswith("configuration 'unit': 'logLevel'")
        assert caught.value.details == "'a' is odd: mend it; 'b' is odd: mend it"
        assert [each.path for each in caught.value.problems] == [("logLevel",), ("a",), ("b",)]


def test_a_blocked_plugin_that_is_not_installed_is_logged(
    capfd: pytest.CaptureFixture[str],
) -> None:
    installed = at_work(plugin_named("some"))
    conf = conf_of(blockedPlugins=["lost", "multus-some", "Multus_Some", "some"])
    validate(conf, installed)
    (line,) = capfd.readouterr().err.splitlines()
    assert "'blockedPlugins' names 'lost', which no installed plugin is called" in line
