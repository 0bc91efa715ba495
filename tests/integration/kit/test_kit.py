"""The kit's own promises: it sees every leak, and records every call, or tests prove nothing."""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path

import pytest
from attrs import evolve

from multus.testing.delegates import BinDir, Reply
from multus.testing.netns import Netns, Node
from multus.testing.runtime import CallFailed, Container, Runtime


class TestHostState:
    def test_is_equal_to_itself(self, cni_node: Node, tmp_path: Path) -> None:
        state = cni_node.state(str(tmp_path))
        assert state.difference(cni_node.state(str(tmp_path))) == []

    def test_sees_a_link_and_its_address(self, cni_node: Node) -> None:
        before = cni_node.state()
        cni_node.ip("link", "add", "left", "type", "veth", "peer", "name", "right")
        cni_node.ip("address", "add", "198.51.100.1/24", "dev", "left")
        more = before.difference(cni_node.state())
        assert [fact.split()[:3] for fact in more] == [
            ["+", "address", "left"],
            ["+", "link", "left"],
            ["+", "link", "right"],
        ]

    def test_sees_a_link_that_is_gone(self, cni_node: Node) -> None:
        before = cni_node.state()
        cni_node.ip("link", "del", "uplink")
        gone = before.difference(cni_node.state())
        assert len(gone) == 2 and all(fact.startswith("- link") for fact in gone)

    def test_sees_a_route_and_a_rule(self, cni_node: Node) -> None:
        before = cni_node.state()
        cni_node.ip("route", "add", "203.0.113.0/24", "dev", "uplink")
        cni_node.ip("rule", "add", "from", "203.0.113.9", "table", "100")
        more = before.difference(cni_node.state())
        assert [fact.split()[1] for fact in more] == ["route", "rule"]

    def test_sees_a_firewall_rule_however_it_was_made(self, cni_node: Node) -> None:
        before = cni_node.state()
        cni_node.run("iptables", "-w", "-t", "nat", "-N", "CNI-LEFT")
        middle = cni_node.state()
        assert any("CNI-LEFT" in fact for fact in before.difference(middle))
        cni_node.run("nft", "add", "table", "bridge", "left")
        assert any("bridge left" in fact for fact in middle.difference(cni_node.state()))

    def test_sees_a_file_but_not_what_ipam_keeps_by_design(
        self, cni_node: Node, tmp_path: Path
    ) -> None:
        before = cni_node.state(str(tmp_path))
        for name in ("10.1.2.3", "last_reserved_ip.0", "lock"):
            (tmp_path / name).write_text("")
        assert before.difference(cni_node.state(str(tmp_path))) == [f"+ file {tmp_path}/10.1.2.3"]


class TestNetns:
    def test_is_its_own(self, cni_pod: Netns) -> None:
        assert os.path.exists(cni_pod.path)
        assert cni_pod.links() == {}

    def test_may_be_removed_twice(self, cni_pod: Netns) -> None:
        cni_pod.remove()
        cni_pod.remove()
        assert not os.path.exists(cni_pod.path)


class TestStandIn:
    @pytest.fixture
    def call(self, cni_bin: BinDir) -> Runtime:
        return Runtime((f"{cni_bin.path}/fake",), cni_bin.path)

    def test_records_what_it_got_and_answers_as_told(self, cni_bin: BinDir, call: Runtime) -> None:
        cni_bin.stand_in("fake")
        container = Container("/run/netns/none", id="c1", ifname="net3")
        result = call.add({"name": "n", "x": "\u00e9\n"}, container).result
        assert result["interfaces"][0] == {
            "name": "net3",
            "mac": "02:00:00:00:00:10",
            "sandbox": "/run/netns/none",
        }
        (seen,) = cni_bin.calls
        assert str(seen) == "ADD fake net3"
        assert seen.conf == {"name": "n", "x": "\u00e9\n"}
        assert seen.environ["CNI_CONTAINERID"] == "c1"

    def test_keeps_the_order_of_calls(self, cni_bin: BinDir, call: Runtime) -> None:
        cni_bin.stand_in("fake")
        container = Container("/run/netns/none")
        for command in (call.add, call.delete, call.add):
            command({}, container)
        assert cni_bin.commands() == ["ADD fake eth0", "DEL fake eth0", "ADD fake eth0"]

    def test_fails_as_told(self, cni_bin: BinDir, call: Runtime) -> None:
        cni_bin.stand_in("fake", ADD=Reply.error(7, "no", "because"))
        answer = call.add({}, Container("/run/netns/none"))
        assert (answer.error["code"], answer.error["details"]) == (7, "because")
        with pytest.raises(CallFailed):
            answer.require()

    def test_dies_as_told(self, cni_bin: BinDir, call: Runtime) -> None:
        cni_bin.stand_in("fake", ADD=Reply(signal=signal.SIGKILL))
        assert call.add({}, Container("/run/netns/none")).status == -signal.SIGKILL


def test_the_program_of_cni_runtime_asks_no_daemon(cni_runtime: Runtime, tmp_path: Path) -> None:
    path = str(tmp_path / "sock")
    runtime = evolve(cni_runtime, environ={**cni_runtime.environ, "MULTUS_SOCKET": path})
    with socket.socket(socket.AF_UNIX) as daemon:
        daemon.bind(path)
        daemon.listen()
        daemon.setblocking(False)
        runtime.status({"cniVersion": "1.1.0", "name": "node", "type": "multus"})
        with pytest.raises(BlockingIOError):
            daemon.accept()


def test_the_environment_is_exactly_what_the_runtime_gives() -> None:
    echo = "import os,json; print(json.dumps(sorted(k for k in os.environ if 'CNI' in k)))"
    runtime = Runtime((sys.executable, "-I", "-c", echo), "/nowhere")
    assert runtime.call("DEL", {}, {"CNI_PATH": None, "CNI_IFNAME": "x"}).json == [
        "CNI_COMMAND",
        "CNI_IFNAME",
    ]
