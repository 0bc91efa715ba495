"""What delegates are handed, in which order, and what is made of their answers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from integration.blackbox.program import Multus, refused
from multus.testing.delegates import Reply, interface_result
from multus.testing.runtime import Container

NETNS = "/run/netns/none"


class TestOrderAndNames:
    def test_the_primary_comes_first_wherever_it_stands(self, multus: Multus) -> None:
        for kind in ("a", "b", "c"):
            multus.bin.stand_in(kind)
        conf = multus.conf({"type": "a"}, {"type": "b"}, {"type": "c", "masterplugin": True})
        multus.add(conf, Container(NETNS)).require()
        assert multus.bin.commands() == ["ADD c eth0", "ADD a net0", "ADD b net1"]

    def test_without_a_mark_the_first_is_the_primary(self, multus: Multus) -> None:
        multus.bin.stand_in("a").stand_in("b")
        multus.add(multus.conf({"type": "b"}, {"type": "a"}), Container(NETNS)).require()
        assert multus.bin.commands() == ["ADD b eth0", "ADD a net0"]

    def test_the_primary_gets_the_name_that_the_runtime_chose(self, multus: Multus) -> None:
        multus.bin.stand_in("a").stand_in("b")
        container = Container(NETNS, ifname="ens5")
        multus.add(multus.conf({"type": "a"}, {"type": "b"}), container).require()
        assert multus.bin.commands() == ["ADD a ens5", "ADD b net0"]

    def test_two_interfaces_of_one_name_are_refused(self, multus: Multus) -> None:
        multus.bin.stand_in("a").stand_in("b")
        conf = multus.conf({"type": "a"}, {"type": "b"})
        refused(multus.add(conf, Container(NETNS, ifname="net0")), 7, "net0")
        assert multus.bin.commands() == []

    def test_names_of_today_count_by_place(self, multus: Multus) -> None:
        multus.bin.stand_in("a").stand_in("b")
        conf = multus.conf({"type": "a"}, {"type": "b"}, naming="npwg")
        multus.add(conf, Container(NETNS)).require()
        assert multus.bin.commands() == ["ADD a eth0", "ADD b net1"]

    def test_delegates_are_deleted_in_reverse(self, multus: Multus) -> None:
        for kind in ("a", "b", "c"):
            multus.bin.stand_in(kind)
        conf = multus.conf({"type": "a"}, {"type": "b"}, {"type": "c", "masterplugin": True})
        container = Container(NETNS)
        result = multus.add(conf, container).result
        multus.delete(conf, container, result).require()
        assert multus.bin.commands("DEL") == ["DEL b net1", "DEL a net0", "DEL c eth0"]
        assert multus.records() == []


class TestWhatIsHandedOn:
    KEPT: dict[str, Any] = {
        "unknown": {"nested": [1, None, {"deep": "\u00e9\u4e16\U0001f30d"}]},
        "": "an empty key",
        "big": 2**70,
        "float": 1.10,
        "null": None,
        "false": False,
        "string": 'quotes " and \\ and \n and \u2028',
        "list": [],
        "object": {},
        "ipam": {},
        "args": {"cni": {"ips": ["10.0.0.1"]}},
    }

    def test_every_key_unchanged_and_name_and_version_inserted(self, multus: Multus) -> None:
        multus.bin.stand_in("fake")
        conf = multus.conf({"type": "fake", **self.KEPT})
        container = Container(NETNS)
        multus.delete(conf, container, multus.add(conf, container).result).require()
        inserted = {"type": "fake", "name": "blackbox", "cniVersion": "1.0.0"}
        add, delete = multus.bin.calls
        assert add.conf == {**self.KEPT, **inserted}
        assert {key: delete.conf[key] for key in add.conf} == add.conf

    @pytest.mark.parametrize("number", ["1.10", "1e3", "0.1000000000000000055", "1E-7", "-0.0"])
    def test_numbers_of_the_same_value(self, multus: Multus, number: str) -> None:
        multus.bin.stand_in("fake")
        text = json.dumps(multus.conf({"type": "fake", "x": "NUMBER"}))
        conf = text.replace('"NUMBER"', number).encode()
        multus.add(conf, Container(NETNS)).require()
        multus.delete(conf, Container(NETNS)).require()
        for call in multus.bin.calls:
            assert repr(call.conf["x"]) == repr(float(number))

    def test_a_name_of_its_own_stays(self, multus: Multus) -> None:
        multus.bin.stand_in("fake")
        multus.add(multus.conf({"type": "fake", "name": "mine"}), Container(NETNS)).require()
        assert multus.bin.calls[0].conf["name"] == "mine"

    def test_the_environment_with_the_interface_exchanged(self, multus: Multus) -> None:
        multus.bin.stand_in("first").stand_in("second")
        container = Container(NETNS, args="IgnoreUnknown=1;FOO=BAR")
        extra = {"TRACEPARENT": "00-1-2-01", "TRACESTATE": "a=b", "BAGGAGE": "c=d"}
        variables = {**container.environ(), **extra}
        conf = multus.conf({"type": "first"}, {"type": "second"})
        multus.runtime.call("ADD", conf, variables).require()
        first, second = multus.bin.calls
        for call, ifname in ((first, "eth0"), (second, "net0")):
            wanted = {**variables, "CNI_IFNAME": ifname, "CNI_COMMAND": "ADD"}
            assert {key: call.environ.get(key) for key in wanted} == wanted
            assert multus.bin.path in call.environ["CNI_PATH"].split(":")

    def test_capabilities_become_the_runtime_config_that_was_asked_for(
        self, multus: Multus
    ) -> None:
        multus.bin.stand_in("first").stand_in("second")
        declared = {"portMappings": True, "bandwidth": False, "mac": True}
        ports = [{"hostPort": 80, "containerPort": 8080, "protocol": "tcp"}]
        conf = multus.conf(
            {"type": "first", "capabilities": declared},
            {"type": "second", "capabilities": declared},
            runtimeConfig={"portMappings": ports, "bandwidth": {"ingressRate": 1}, "ips": ["x"]},
        )
        multus.add(conf, Container(NETNS)).require()
        first, second = multus.bin.calls
        assert first.conf["runtimeConfig"] == {"portMappings": ports}
        # What the runtime asks for is meant for the network that it knows of (NPWG 1.3, 7.5).
        assert "runtimeConfig" not in second.conf
        assert "capabilities" not in first.conf and "capabilities" not in second.conf

    def test_its_own_folder_comes_before_the_path(self, multus: Multus, tmp_path: Any) -> None:
        multus.bin.stand_in("fake", ADD=Reply.json(interface_result(["10.1.1.1/24"])))
        other = type(multus.bin)(str(tmp_path / "other"))
        other.stand_in("fake").stand_in("elsewhere")
        variables = {**Container(NETNS).environ(), "CNI_PATH": f"/nowhere::{other.path}"}
        conf = multus.conf({"type": "fake"}, {"type": "elsewhere"})
        multus.runtime.call("ADD", conf, variables).require()
        assert multus.bin.commands() == ["ADD fake eth0"]
        assert other.commands() == ["ADD elsewhere net0"]


class TestChains:
    """A delegate that is a list of plugins."""

    @pytest.fixture
    def conf(self, multus: Multus) -> dict[str, Any]:
        plugins = [{"type": "make"}, {"type": "tune", "x": 1}]
        return multus.conf({"name": "chained", "plugins": plugins}, {"type": "make"})

    def test_each_gets_the_result_of_the_one_before(
        self, multus: Multus, conf: dict[str, Any]
    ) -> None:
        made = interface_result(["10.1.0.2/24"])
        tuned = {**made, "dns": {"domain": "tuned.example"}}
        multus.bin.stand_in("make", ADD=Reply.json(made))
        multus.bin.stand_in("tune", ADD=Reply.json(tuned))
        result = multus.add(conf, Container(NETNS)).result
        make, tune, other = multus.bin.calls
        assert "prevResult" not in make.conf and "prevResult" not in other.conf
        assert tune.conf["prevResult"]["ips"] == [{"address": "10.1.0.2/24", "interface": 0}]
        assert tune.conf["name"] == "chained" and tune.conf["x"] == 1
        assert result["dns"] == {"domain": "tuned.example"}

    def test_del_goes_backwards_with_the_final_result(
        self, multus: Multus, conf: dict[str, Any]
    ) -> None:
        tuned = {**interface_result(), "dns": {"domain": "tuned.example"}}
        multus.bin.stand_in("make").stand_in("tune", ADD=Reply.json(tuned))
        container = Container(NETNS)
        multus.delete(conf, container, multus.add(conf, container).result).require()
        assert multus.bin.commands("DEL") == ["DEL make net0", "DEL tune eth0", "DEL make eth0"]
        _, tune, make = (call for call in multus.bin.calls if call.command == "DEL")
        for call in (tune, make):
            assert call.conf["prevResult"]["dns"] == {"domain": "tuned.example"}

    def test_a_failure_undoes_the_whole_chain(self, multus: Multus, conf: dict[str, Any]) -> None:
        multus.bin.stand_in("make").stand_in("tune", ADD=Reply.error(7, "cannot tune"))
        refused(multus.add(conf, Container(NETNS)), 7, "cannot tune", "chained")
        assert multus.bin.commands() == [
            "ADD make eth0",
            "ADD tune eth0",
            "DEL tune eth0",
            "DEL make eth0",
        ]
        assert multus.records() == []


class TestResults:
    def test_only_the_primarys_is_reported(self, multus: Multus) -> None:
        multus.bin.stand_in("a", ADD=Reply.json(interface_result(["10.1.0.2/24"])))
        multus.bin.stand_in("b", ADD=Reply.json(interface_result(["10.2.0.2/24"])))
        conf = multus.conf({"type": "a"}, {"type": "b", "masterplugin": True})
        result = multus.add(conf, Container(NETNS)).result
        assert [link["name"] for link in result["interfaces"]] == ["eth0"]
        assert [ip["address"] for ip in result["ips"]] == ["10.2.0.2/24"]

    def test_all_are_reported_when_asked_for(self, multus: Multus) -> None:
        multus.bin.stand_in("a", ADD=Reply.json(interface_result(["10.1.0.2/24"])))
        multus.bin.stand_in("b", ADD=Reply.json(interface_result(["10.2.0.2/24"])))
        conf = multus.conf({"type": "a"}, {"type": "b", "masterplugin": True}, merger="all")
        result = multus.add(conf, Container(NETNS)).result
        assert [link["name"] for link in result["interfaces"]] == ["eth0", "net0"]
        assert [(ip["address"], ip["interface"]) for ip in result["ips"]] == [
            ("10.2.0.2/24", 0),
            ("10.1.0.2/24", 1),
        ]

    def test_a_merger_that_is_not_there_is_named(self, multus: Multus) -> None:
        multus.bin.stand_in("fake")
        answer = multus.add(multus.conf({"type": "fake"}, merger="mine"), Container(NETNS))
        assert answer.status == 1 and "mine" in answer.error["msg"]
        assert multus.records() == []

    @pytest.mark.parametrize("nothing", ["", "null", " \n", "{}"])
    def test_an_empty_result_is_a_result(self, multus: Multus, nothing: str) -> None:
        # The VF with l2enable of the first SR-IOV plugin prints nothing.
        multus.bin.stand_in("fake", ADD=Reply(nothing))
        conf = multus.conf({"type": "fake"})
        container = Container(NETNS)
        result = multus.add(conf, container).result
        assert result["cniVersion"] == "1.0.0" and not result.get("ips")
        multus.delete(conf, container, result).require()
        assert multus.bin.commands() == ["ADD fake eth0", "DEL fake eth0"]


class TestLog:
    def test_what_a_delegate_says_on_stderr_stays_off_stdout(self, multus: Multus) -> None:
        said = Reply(json.dumps(interface_result()), stderr="the card is warm")
        multus.bin.stand_in("fake", ADD=said)
        conf = multus.conf({"type": "fake"}, logLevel="debug")
        answer = multus.add(conf, Container(NETNS))
        assert b"warm" not in answer.require().stdout
        assert b"the card is warm" in answer.stderr


class TestFilesOfNetworks:
    """``clusterNetwork`` and ``defaultNetworks``: networks by name, folder or path."""

    @pytest.fixture
    def conf_dir(self, multus: Multus, tmp_path: Any) -> Any:
        multus.bin.stand_in("one").stand_in("two").stand_in("three")
        folder = tmp_path / "net.d"
        folder.mkdir()
        (folder / "10-one.conf").write_text(
            '{"cniVersion": "0.4.0", "name": "one-net",\n# people explain\n"type": "one"}'
        )
        (folder / "20-two.conflist").write_text(
            '{"cniVersion": "1.0.0", "name": "two-net", "plugins": [{"type": "two"}]}'
        )
        return folder

    def add(self, multus: Multus, conf_dir: Any, **keys: Any) -> list[str]:
        conf = multus.conf(delegates=None, confDir=str(conf_dir), **keys)
        multus.add(conf, Container(NETNS)).require()
        return multus.bin.commands()

    def test_by_name(self, multus: Multus, conf_dir: Any) -> None:
        keys = {"clusterNetwork": "two-net", "defaultNetworks": ["one-net"]}
        assert self.add(multus, conf_dir, **keys) == ["ADD two eth0", "ADD one net1"]
        assert multus.bin.calls[1].conf["cniVersion"] == "0.4.0"
        assert multus.bin.calls[1].conf["name"] == "one-net"

    def test_by_folder_its_first_file(self, multus: Multus, conf_dir: Any, tmp_path: Any) -> None:
        folder = tmp_path / "cluster"
        folder.mkdir()
        (folder / "99-last.conf").write_text('{"name": "last", "type": "two"}')
        (folder / "00-first.conf").write_text('{"name": "first", "type": "three"}')
        (folder / "00-a-note.txt").write_text("not a configuration")
        assert self.add(multus, conf_dir, clusterNetwork=str(folder)) == ["ADD three eth0"]

    def test_by_path(self, multus: Multus, conf_dir: Any) -> None:
        path = str(conf_dir / "20-two.conflist")
        assert self.add(multus, conf_dir, clusterNetwork=path) == ["ADD two eth0"]

    @pytest.mark.parametrize("name", ["nobody", "/nowhere/at/all"])
    def test_one_that_is_not_there_is_named(self, multus: Multus, conf_dir: Any, name: str) -> None:
        conf = multus.conf(delegates=None, confDir=str(conf_dir), clusterNetwork=name)
        answer = multus.add(conf, Container(NETNS))
        assert refused(answer, answer.error["code"], name)["code"] in (5, 7)

    def test_one_that_is_broken_is_named_with_its_file(self, multus: Multus, conf_dir: Any) -> None:
        path = conf_dir / "00-broken.conf"
        path.write_text('{"name": "broken-net", "type":')
        # By its path, and by a name that nobody else has.
        for name in (str(path), "broken-net"):
            conf = multus.conf(delegates=None, confDir=str(conf_dir), clusterNetwork=name)
            refused(multus.add(conf, Container(NETNS)), 6, str(path))


def test_a_readiness_file_that_is_missing_means_try_again(multus: Multus, tmp_path: Any) -> None:
    multus.bin.stand_in("fake")
    path = tmp_path / "ready"
    conf = multus.conf({"type": "fake"}, readinessindicatorfile=str(path))
    path.write_text("")
    container = Container(NETNS)
    result = multus.add(conf, container).result
    path.unlink()
    # On DEL a missing file is no reason to keep a container's networks.
    multus.delete(conf, container, result).require()
    assert multus.bin.commands() == ["ADD fake eth0", "DEL fake eth0"]
