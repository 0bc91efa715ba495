from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from multus_source_conffile import NAME
from multus_source_conffile.keys import KEYS
from waiting import PATIENCE

from multus.api.conf import Conf
from multus.api.errors import CNIError, InvalidConfig, IOFailure, TryAgainLater
from multus.api.keys import BOOLEAN, Key, problems
from multus.api.network import Delegate, Element, Provenance, Role, Selection
from multus.api.problem import Problem
from multus.api.request import Request
from multus.api.where import dotted
from multus.engine.resolve import resolve
from multus.registry.hooks import Hooks
from multus.registry.index import discover
from multus.registry.loading import load
from multus.testing.session import new_session

POD = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": "shop"}
SYSTEM = {**POD, "K8S_POD_NAMESPACE": "kube-system"}
SRIOV = {
    "type": "sriov",
    "if0": "enp12s0f0",
    "ipam": {"type": "host-local", "subnet": "10.56.217.0/24"},
}
CHAIN = {"auxiliaryCNIChainName": "chain"}
FLANNEL = {"type": "flannel", "masterplugin": True, "delegate": {"isDefaultGateway": True}}


INSTALLED = load([each for each in discover() if each.name == NAME])


@pytest.fixture
def hooks() -> Hooks:
    """The plugin alone, as it is found."""
    assert INSTALLED.broken == () and len(INSTALLED.loaded) == 1
    return INSTALLED.hooks


def conf_of(**keys: Any) -> Conf:
    return Conf.from_wire({"cniVersion": "1.0.0", "name": "node", "type": "multus", **keys})


def request_of(command: str = "ADD", **values: Any) -> Request:
    return Request(command, container_id="c1", ifname="eth0", **values)


def selected(hooks: Hooks, conf: Conf, **values: Any) -> Selection:
    (selection,) = hooks.select(request_of(**values), conf, new_session())
    return selection


def resolved(hooks: Hooks, conf: Conf, **values: Any) -> list[Delegate]:
    """The delegates that the configuration offers."""
    return list(resolve(INSTALLED, request_of(**values), conf, new_session()).delegates)


def write(path: Path, config: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


class TestDelegates:
    CONF = conf_of(delegates=[SRIOV, {"type": "ptp"}, FLANNEL])

    def test_are_the_nodes_defaults_named_as_the_first_documentation_has_it(
        self, hooks: Hooks
    ) -> None:
        selection = selected(hooks, self.CONF)
        assert (selection.role, selection.naming) == (Role.DEFAULT, "seed")
        assert [element.source for element in selection.elements] == [NAME] * 3

    def test_keep_every_key(self, hooks: Hooks) -> None:
        delegates = resolved(hooks, self.CONF)
        assert [dict(each.plugins[0].config) for each in delegates] == [
            SRIOV,
            {"type": "ptp"},
            FLANNEL,
        ]
        assert [each.primary for each in delegates] == [False, False, True]
        assert {(each.name, each.cni_version) for each in delegates} == {("node", "1.0.0")}

    def test_may_be_chains(self, hooks: Hooks) -> None:
        chain = {"name": "chain", "plugins": [{"type": "bridge"}, {"type": "tuning"}]}
        (delegate,) = resolved(hooks, conf_of(delegates=[chain]))
        assert (delegate.name, delegate.types) == ("chain", "bridge+tuning")

    def test_without_any_nothing_is_selected(self, hooks: Hooks) -> None:
        none: tuple[dict[str, Any], ...] = (
            {},
            {"delegates": []},
            {"delegates": None},
            {"defaultNetworks": []},
        )
        for keys in none:
            assert hooks.select(request_of(), conf_of(**keys), new_session()) == []

    def test_every_pod_gets_them(self, hooks: Hooks) -> None:
        for args in ({}, POD, SYSTEM):
            assert len(resolved(hooks, self.CONF, args=args)) == 3


class TestNames:
    """``clusterNetwork`` and ``defaultNetworks``."""

    @pytest.fixture
    def net_d(self, tmp_path: Path) -> Path:
        folder = tmp_path / "net.d"
        write(folder / "10-one.conf", '{"name": "one", "type": "a",\n# explained\n"x": 1.10}')
        write(folder / "20-two.conflist", {"name": "two", "plugins": [{"type": "b"}]})
        write(folder / "three" / "20.conf", {"name": "late", "type": "late"})
        write(folder / "three" / "10.conf", {"name": "early", "type": "early"})
        return folder

    def types(self, hooks: Hooks, net_d: Path, args: Any = POD, **keys: Any) -> list[str]:
        conf = conf_of(confDir=str(net_d), **keys)
        return [each.types for each in resolved(hooks, conf, args=args)]

    def test_in_a_file(self, hooks: Hooks, net_d: Path) -> None:
        keys = {"clusterNetwork": "two", "defaultNetworks": ["one"]}
        assert self.types(hooks, net_d, **keys) == ["b", "a"]

    def test_of_a_folder(self, hooks: Hooks, net_d: Path) -> None:
        assert self.types(hooks, net_d, clusterNetwork="three") == ["early"]

    def test_that_are_paths(self, hooks: Hooks, net_d: Path) -> None:
        for path in (net_d / "10-one.conf", net_d / "three" / "20.conf"):
            assert self.types(hooks, net_d, clusterNetwork=str(path)) in (["a"], ["late"])
        assert self.types(hooks, net_d, clusterNetwork=str(net_d / "three")) == ["early"]

    def test_are_named_as_today(self, hooks: Hooks, net_d: Path) -> None:
        conf = conf_of(confDir=str(net_d), defaultNetworks=["one"])
        selection = selected(hooks, conf)
        assert (selection.naming, selection.origin) == ("npwg", "key 'defaultNetworks'")

    def test_pods_of_the_system_get_the_cluster_network_alone(
        self, hooks: Hooks, net_d: Path
    ) -> None:
        keys = {"clusterNetwork": "two", "defaultNetworks": ["one"]}
        assert self.types(hooks, net_d, SYSTEM, **keys) == ["b"]
        assert self.types(hooks, net_d, SYSTEM, systemNamespaces=["shop"], **keys) == ["b", "a"]
        assert self.types(hooks, net_d, POD, systemNamespaces=["shop"], **keys) == ["b"]

    @pytest.mark.parametrize("name", ["nobody", "..", ".", "../net.d", "three/10.conf"])
    def test_that_are_not_there_are_left_to_others(
        self, hooks: Hooks, net_d: Path, name: str
    ) -> None:
        conf = conf_of(confDir=str(net_d), clusterNetwork=name)
        (element,) = selected(hooks, conf).elements
        assert hooks.resolve(element, request_of(), conf, new_session()) is None

    def test_a_path_that_is_not_there_is_named(self, hooks: Hooks, net_d: Path) -> None:
        conf = conf_of(confDir=str(net_d), clusterNetwork="/no/such/file")
        (element,) = selected(hooks, conf).elements
        with pytest.raises(IOFailure, match="/no/such/file"):
            hooks.resolve(element, request_of(), conf, new_session())

    def test_a_pods_annotation_reaches_no_file(self, hooks: Hooks, net_d: Path) -> None:
        conf = conf_of(confDir=str(net_d))
        for name in ("one", str(net_d / "10-one.conf")):
            asked = Element(name, "annotation of pod shop/web", source="source-nad")
            assert hooks.resolve(asked, request_of(), conf, new_session()) is None

    def test_another_sources_name_is_looked_up_if_the_nodes_owner_wrote_it(
        self, hooks: Hooks, net_d: Path
    ) -> None:
        conf = conf_of(confDir=str(net_d))
        asked = Element("two", "key 'theirs'", source="theirs", provenance=Provenance.NODE)
        found = hooks.resolve(asked, request_of(), conf, new_session())
        assert found is not None
        assert (found.types, found.provenance) == ("b", Provenance.NODE)
        for other in (evolve(asked, namespace="shop"), evolve(asked, name="nobody")):
            assert hooks.resolve(other, request_of(), conf, new_session()) is None

    def test_numbers_pass_as_they_were_written(self, hooks: Hooks, net_d: Path) -> None:
        from multus.api.jsontext import encode

        (delegate,) = resolved(hooks, conf_of(confDir=str(net_d), clusterNetwork="one"))
        assert b'"x":1.10' in encode(dict(delegate.plugins[0].config))


class TestReadiness:
    def test_an_add_waits_for_the_file(self, hooks: Hooks, tmp_path: Path) -> None:
        path = tmp_path / "ready"
        conf = conf_of(delegates=[{"type": "a"}], readinessindicatorfile=str(path))
        timer = threading.Timer(0.4, path.touch)
        started = time.monotonic()
        timer.start()
        assert len(resolved(hooks, conf)) == 1
        assert time.monotonic() - started >= 0.3
        timer.join()

    def test_but_not_longer_than_the_caller_does(self, hooks: Hooks, tmp_path: Path) -> None:
        conf = conf_of(delegates=[{"type": "a"}], readinessindicatorfile=str(tmp_path / "gone"))
        with pytest.raises(TryAgainLater, match="gone, which is missing"):
            hooks.select(request_of(), conf, new_session(deadline=time.monotonic() + 0.3))

    @pytest.mark.parametrize("command", ["DEL", "GC", "STATUS"])
    def test_no_other_command_waits(self, hooks: Hooks, tmp_path: Path, command: str) -> None:
        conf = conf_of(delegates=[{"type": "a"}], readinessindicatorfile=str(tmp_path / "gone"))
        started = time.monotonic()
        assert len(hooks.select(request_of(command), conf, new_session())) == 1
        assert time.monotonic() - started < PATIENCE

    def test_an_add_that_is_only_asked_about_does_not_wait(
        self, hooks: Hooks, tmp_path: Path
    ) -> None:
        conf = conf_of(delegates=[{"type": "a"}], readinessindicatorfile=str(tmp_path / "gone"))
        started = time.monotonic()
        assert len(hooks.select(request_of(dry_run=True), conf, new_session())) == 1
        assert time.monotonic() - started < PATIENCE

    def test_a_missing_file_is_bad_health(self, hooks: Hooks, tmp_path: Path) -> None:
        path = tmp_path / "ready"
        conf = conf_of(readinessindicatorfile=str(path))
        (reason,) = hooks.health(conf)
        assert reason.number == 50 and str(path) in reason.msg
        path.touch()
        assert hooks.health(conf) == hooks.health(conf_of()) == []


class TestValidation:
    def said(self, hooks: Hooks, **keys: Any) -> list[str]:
        return [str(each) for each in self.problems(hooks, **keys)]

    def problems(self, hooks: Hooks, **keys: Any) -> list[Problem]:
        conf = conf_of(**keys)
        table = hooks.configuration_keys()
        return list(dict.fromkeys([*problems(conf.reader, table), *hooks.validate(conf)]))

    @pytest.mark.parametrize(
        "keys",
        [
            {},
            {"delegates": [SRIOV, FLANNEL]},
            {"clusterNetwork": "x", "defaultNetworks": ["y"], "confDir": "/x"},
            {**CHAIN, "clusterNetwork": "/x/y"},
        ],
    )
    def test_what_is_right(self, hooks: Hooks, keys: Any) -> None:
        assert self.said(hooks, **keys) == []

    @pytest.mark.parametrize(
        ("keys", "path", "said"),
        [
            ({"delegates": {}}, "delegates", "must be a list"),
            ({"delegates": ["x"]}, "delegates[0]", "must be an object"),
            ({"delegates": [{}]}, "delegates[0].type", "delegate must have the field 'type'"),
            ({"delegates": [{"type": 5}]}, "delegates[0].type", "'type' must be a string"),
            ({"delegates": [SRIOV, {"type": "../x"}]}, "delegates[1].type", "is '../x'"),
            (
                {"delegates": [{"type": "x", "masterplugin": 5}]},
                "delegates[0].masterplugin",
                "'masterplugin' must be a bool",
            ),
            ({"delegates": [{"plugins": []}]}, "delegates[0].plugins", "is empty"),
            ({"clusterNetwork": 5}, "clusterNetwork", "must be a string"),
            ({"defaultNetworks": "x"}, "defaultNetworks", "must be a list"),
            ({"systemNamespaces": [5]}, "systemNamespaces[0]", "must be a string"),
            ({"confDir": "x"}, "confDir", "relative"),
            ({"readinessindicatorfile": "x"}, "readinessindicatorfile", "relative"),
            ({"delegates": [SRIOV], "clusterNetwork": "x"}, "delegates", "stands beside"),
            ({**CHAIN, "clusterNetwork": "x"}, "auxiliaryCNIChainName", "needs a path"),
            ({**CHAIN, "delegates": [SRIOV]}, "auxiliaryCNIChainName", "needs a path"),
            (
                {"auxiliaryCNIChainName": "../x", "clusterNetwork": "/x/y"},
                "auxiliaryCNIChainName",
                "invalid network name",
            ),
        ],
    )
    def test_a_problem_is_reported_under_its_key(
        self, hooks: Hooks, keys: Any, path: str, said: str
    ) -> None:
        (problem,) = self.problems(hooks, **keys)
        assert dotted(problem.path) == path and said in problem.reason and problem.fix

    def test_all_problems_are_reported_at_once(self, hooks: Hooks) -> None:
        wrong = {"delegates": [{}, {"type": 5}], "confDir": 5, "systemNamespaces": 5}
        paths = [dotted(each.path) for each in self.problems(hooks, **wrong)]
        delegates = ["delegates[0].type", "delegates[1].type"]
        assert sorted(paths) == ["confDir", *delegates, "systemNamespaces"]

    @pytest.mark.parametrize("key", KEYS, ids=lambda key: key.name)
    def test_no_key_takes_any_type(self, hooks: Hooks, key: Key) -> None:
        wrong: tuple[Any, ...] = (5, 1.5, {"a": {}}, "true?" if key.kind is BOOLEAN else True)
        for value in wrong:
            try:
                found = self.problems(hooks, **{key.name: value})
            except CNIError as error:
                pytest.fail(f"{error}")
            assert [each.path for each in found] == [(key.name,)]


@pytest.mark.parametrize("kind", ["file", "link"])
def test_a_chain_whose_name_is_no_folders_is_refused_and_a_del_goes_on(
    hooks: Hooks, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "chain"
    path.symlink_to("gone") if kind == "link" else path.write_text("")
    conf = conf_of(**CHAIN, clusterNetwork=str(tmp_path / "lan.conf"))
    with pytest.raises(IOFailure, match=str(path)):
        hooks.select(request_of(), conf, new_session())
    assert len(hooks.select(request_of("DEL"), conf, new_session())) == 1


def test_a_wrong_delegate_is_refused_when_it_is_resolved_too(hooks: Hooks) -> None:
    with pytest.raises(InvalidConfig, match=r"delegates\[0\]"):
        resolved(hooks, conf_of(delegates=[{"type": 5}]))


def test_its_keys_are_those_of_its_distribution(hooks: Hooks) -> None:
    (entry,) = (each for each in discover() if each.name == NAME)
    assert sorted(entry.keys) == sorted(key.name for key in KEYS)
    assert hooks.configuration_keys() == list(KEYS)
