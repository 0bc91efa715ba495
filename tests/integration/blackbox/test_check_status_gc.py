"""CHECK, STATUS and GC (CNI 1.1, section 3)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from integration.blackbox.program import Multus, refused
from multus.testing.delegates import Reply
from multus.testing.netns import Netns
from multus.testing.runtime import Container

NETNS = "/run/netns/none"


def _domain(domain: str) -> Reply:
    """An ADD that reports no interface, which a stand-in makes none of, but something to know."""
    return Reply.json({"cniVersion": "1.0.0", "dns": {"domain": domain}})


class TestCheck:
    @pytest.mark.parametrize("version", ["0.1.0", "0.2.0", "0.3.0", "0.3.1"])
    def test_is_of_0_4_0(self, multus: Multus, version: str) -> None:
        multus.bin.stand_in("fake")
        conf = multus.conf({"type": "fake"}, cniVersion=version)
        refused(multus.runtime.check(conf, Container(NETNS), None), 1, version)

    @pytest.mark.parametrize("version", ["0.4.0", "1.0.0", "1.1.0"])
    def test_asks_every_delegate_with_its_own_result(
        self, multus: Multus, cni_container: Container, version: str
    ) -> None:
        multus.bin.stand_in("a", ADD=_domain("a")).stand_in("b", ADD=_domain("b"))
        conf = multus.conf({"type": "a"}, {"type": "b"}, cniVersion=version)
        result = multus.add(conf, cni_container).result
        answer = multus.runtime.check(conf, cni_container, result)
        assert (answer.status, answer.stdout) == (0, b"")
        assert multus.bin.commands("CHECK") == ["CHECK a eth0", "CHECK b net0"]
        for call in multus.bin.calls[-2:]:
            assert call.conf["prevResult"]["dns"] == {"domain": call.name}

    def test_a_delegate_that_finds_something_wrong_fails_it(
        self, multus: Multus, cni_container: Container
    ) -> None:
        wrong = Reply.error(120, "the route is gone")
        multus.bin.stand_in("a", ADD=_domain("a")).stand_in("b", ADD=_domain("b"), CHECK=wrong)
        conf = multus.conf({"type": "a"}, {"type": "b"})
        result = multus.add(conf, cni_container).result
        answer = multus.runtime.check(conf, cni_container, result)
        refused(answer, 120, "the route is gone", "net0")

    def test_disable_check_skips(self, multus: Multus, cni_container: Container) -> None:
        wrong = Reply.error(120, "the route is gone")
        multus.bin.stand_in("a", ADD=_domain("a")).stand_in("b", CHECK=wrong)
        chain = {"name": "b", "disableCheck": True, "plugins": [{"type": "b"}]}
        conf = multus.conf({"type": "a"}, chain)
        result = multus.add(conf, cni_container).result
        multus.runtime.check(conf, cni_container, result).require()
        assert multus.bin.commands("CHECK") == ["CHECK a eth0"]

    def test_real_interfaces(self, multus: Multus, cni_pod: Netns) -> None:
        multus.bin.real("ptp", "host-local")
        delegates = [
            {
                "type": "ptp",
                "name": f"p{number}",
                "ipam": {
                    "type": "host-local",
                    "subnet": f"10.{number}.0.0/24",
                    "dataDir": multus.ipam_dir,
                },
            }
            for number in (1, 2)
        ]
        conf = multus.conf(*delegates)
        container = Container(cni_pod.path)
        result = multus.add(conf, container).result
        answer = multus.runtime.check(conf, container, result).require()
        assert answer.stdout == b""
        cni_pod.ip("link", "del", "net0")
        answer = multus.runtime.check(conf, container, result)
        refused(answer, answer.error["code"], "net0")
        multus.delete(conf, container, result).require()

    def test_of_a_container_that_never_was_fails(self, multus: Multus) -> None:
        multus.bin.stand_in("fake")
        answer = multus.runtime.check(multus.conf({"type": "fake"}), Container(NETNS), None)
        assert answer.status == 1 and answer.error["code"]


class TestStatus:
    @pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
    def test_is_of_1_1_0(self, multus: Multus, version: str) -> None:
        conf = multus.conf({"type": "fake"}, cniVersion=version)
        refused(multus.runtime.status(conf), 1, version)

    def test_is_silent_when_all_is_well(self, multus: Multus) -> None:
        multus.bin.stand_in("fake")
        answer = multus.runtime.status(multus.conf({"type": "fake"}, cniVersion="1.1.0"))
        assert (answer.status, answer.stdout) == (0, b"")

    def test_delegates_older_than_the_command_are_not_asked(self, multus: Multus) -> None:
        # The reference plugins of Debian 12 know nothing newer than 1.0.0.
        multus.bin.real("ptp", "host-local")
        ipam = {"type": "host-local", "subnet": "10.1.0.0/24", "dataDir": multus.ipam_dir}
        conf = multus.conf({"type": "ptp", "ipam": ipam}, cniVersion="1.1.0")
        multus.runtime.status(conf).require()

    def test_passes_a_delegates_error_on(self, multus: Multus) -> None:
        multus.bin.stand_in("a").stand_in("b", STATUS=Reply.error(51, "no daemon", version="1.1.0"))
        conf = multus.conf({"type": "a"}, {"type": "b"}, cniVersion="1.1.0")
        refused(multus.runtime.status(conf), 51, "no daemon")

    def test_a_missing_readiness_file_means_not_available(
        self, multus: Multus, tmp_path: Any
    ) -> None:
        multus.bin.stand_in("fake")
        path = tmp_path / "ready"
        conf = multus.conf({"type": "fake"}, cniVersion="1.1.0", readinessindicatorfile=str(path))
        refused(multus.runtime.status(conf), 50, str(path))
        path.write_text("")
        multus.runtime.status(conf).require()

    def test_a_wrong_configuration_is_said(self, multus: Multus) -> None:
        conf = multus.conf({"type": "fake", "masterplugin": 5}, cniVersion="1.1.0")
        refused(multus.runtime.status(conf), 7, "masterplugin")


class TestGC:
    @pytest.mark.parametrize("version", ["0.4.0", "1.0.0"])
    def test_is_of_1_1_0(self, multus: Multus, version: str) -> None:
        conf = multus.conf({"type": "fake"}, cniVersion=version)
        refused(multus.runtime.gc(conf), 1, version)

    def test_removes_what_is_not_valid_and_nothing_else(self, multus: Multus) -> None:
        multus.bin.stand_in("a").stand_in("b")
        conf = multus.conf({"type": "a"}, {"type": "b"}, cniVersion="1.1.0")
        live, dead = Container(NETNS, id="live"), Container(NETNS, id="dead")
        for container in (live, dead):
            multus.add(conf, container).require()
        answer = multus.runtime.gc(conf, [live]).require()
        assert answer.stdout == b""
        deleted = [call for call in multus.bin.calls if call.command == "DEL"]
        assert [str(call) for call in deleted] == ["DEL b net0", "DEL a eth0"]
        assert {call.environ["CNI_CONTAINERID"] for call in deleted} == {"dead"}
        multus.delete(conf, live).require()
        assert multus.records() == []

    def test_frees_real_addresses(self, multus: Multus, cni_pods: Callable[[], Netns]) -> None:
        multus.bin.real("ptp", "host-local")
        ipam = {"type": "host-local", "subnet": "10.1.0.0/24", "dataDir": multus.ipam_dir}
        conf = multus.conf({"type": "ptp", "ipam": ipam}, cniVersion="1.1.0")
        live, dead = cni_pods(), cni_pods()
        kept = Container(live.path)
        multus.add(conf, kept).require()
        before = multus.node.state(multus.ipam_dir, multus.cni_dir)
        multus.add(conf, Container(dead.path)).require()
        dead.remove()
        multus.runtime.gc(conf, [kept]).require()
        assert before.difference(multus.node.state(multus.ipam_dir, multus.cni_dir)) == []
        assert live.addresses("eth0") == ["10.1.0.2/24"]
        multus.delete(conf, kept).require()

    def test_goes_on_past_errors_and_joins_them(self, multus: Multus) -> None:
        multus.bin.stand_in("a").stand_in("b")
        conf = multus.conf({"type": "a"}, {"type": "b"}, cniVersion="1.1.0")
        multus.add(conf, Container(NETNS, id="dead")).require()
        multus.bin.stand_in("a", DEL=Reply.error(5, "a is stuck"))
        multus.bin.stand_in("b", DEL=Reply.error(5, "b is stuck"))
        refused(multus.runtime.gc(conf), 5, "a is stuck", "b is stuck")
        assert multus.records() != []
