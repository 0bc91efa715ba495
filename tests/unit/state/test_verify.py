"""What the kernel has, compared with what a delegate's plugin reported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from contract.given import Recorder, at_work, merger, source
from unit.state.given import attachment
from unit.values import conf_of, delegate_of, request_of

from multus.api.errors import CNIError
from multus.api.result import IP, Interface, Result, Route
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.state.liveness import netns_identity
from multus.state.record import Planned, Record, Step, restored
from multus.state.verify import problems
from multus.testing.netns import Netns

OWN_NETNS = f"/proc/{os.getpid()}/ns/net"

ODD = {
    "a name with a zero byte": Result((Interface("a\0b", sandbox=OWN_NETNS),)),
    "a name that is not Unicode": Result((Interface("\ud800", sandbox=OWN_NETNS),)),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_result_that_cannot_be_compared_hides_nothing_of_the_others(
    tmp_path: Path, odd: Result
) -> None:
    recorder = Recorder()
    recorder.results = {"a": odd, "b": Result((Interface("gone0", sandbox=OWN_NETNS),))}
    conf = conf_of(cniDir=str(tmp_path / "state"))
    engine = Engine(
        at_work(source("a", "b"), recorder.plugin(), merger()),
        Log.from_conf({"logLevel": "panic"}),
    )
    engine.add(request_of(netns=OWN_NETNS), conf)
    with pytest.raises(CNIError) as caught:
        engine.check(request_of("CHECK", netns=OWN_NETNS), conf)
    said = str(caught.value)
    assert "network 'a-net', interface eth0" in said
    assert "network 'b-net', interface net0: interface gone0 is gone" in said


MAC = "02:00:00:00:00:07"


@pytest.fixture
def pod() -> Iterator[Netns]:
    """A container with an interface, two addresses and a route, as ``WHOLE`` reports them."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root")
    made = Netns.create("pod")
    try:
        made.ip("link", "add", "eth0", "address", MAC, "type", "veth", "peer", "name", "peer0")
        for end in ("eth0", "peer0"):
            made.ip("link", "set", end, "up")
        made.ip("address", "add", "10.1.0.2/24", "dev", "eth0")
        made.ip("address", "add", "fd00::2/64", "dev", "eth0", "nodad")
        made.ip("route", "add", "default", "via", "10.1.0.1")
        yield made
    finally:
        made.remove()


def whole(pod: Netns) -> Result:
    return Result(
        interfaces=(Interface("eth0", MAC.upper(), pod.path),),
        ips=(IP("10.1.0.2/24", "10.1.0.1", 0), IP("FD00:0::2/64", interface=0)),
        routes=(Route("0.0.0.0/0", "10.1.0.1"),),
    )


def record_of(pod: Netns, result: Result, **keys: bool) -> Record:
    config = {"type": "fake", "cniVersion": "1.0.0"}
    delegate = delegate_of("net", ifname="eth0", **keys)
    planned = Planned(delegate, (Step(delegate.plugins[0], config, "recorder"),))
    return Record(
        "/nowhere",
        restored(request_of("DEL"), pod.path, (), ""),
        planned={0: planned},
        expected=1,
        netns_identity=netns_identity(pod.path),
        done={0: attachment(planned, result)},
        result=result,
    )


def found(pod: Netns, result: Result, **keys: bool) -> list[str]:
    return [each.msg for each in problems(record_of(pod, result, **keys), pod.path)]


class TestDifferences:
    def test_there_is_none_while_all_is_as_reported(self, pod: Netns) -> None:
        assert found(pod, whole(pod)) == []

    @pytest.mark.parametrize(
        ("command", "said"),
        [
            ("link delete eth0", "interface eth0 is gone from the container's namespace"),
            ("link set eth0 address 02:00:00:00:00:08", f"the record says {MAC}"),
            ("address delete 10.1.0.2/24 dev eth0", "eth0 has no address 10.1.0.2/24"),
            ("address delete fd00::2/64 dev eth0", "eth0 has no address FD00:0::2/64"),
            ("route delete default", "the route to 0.0.0.0/0 via 10.1.0.1 is gone"),
        ],
    )
    def test_each_is_said_with_the_network(self, pod: Netns, command: str, said: str) -> None:
        pod.ip(*command.split())
        messages = found(pod, whole(pod))
        assert any(said in each for each in messages), messages
        assert all(each.startswith("network 'net', interface eth0: ") for each in messages)

    def test_a_delegate_whose_check_is_disabled_is_not_compared(self, pod: Netns) -> None:
        pod.ip("link", "delete", "eth0")
        assert found(pod, whole(pod), disable_check=True) == []

    def test_an_address_that_an_earlier_release_recorded_without_its_length_is_compared_without(
        self, pod: Netns
    ) -> None:
        old = evolve(whole(pod), routes=(Route("default", "10.1.0.1"),))
        there, gone = IP("10.1.0.2", interface=0), IP("10.1.0.9", interface=0)
        assert found(pod, evolve(old, ips=(there, IP("nowhere\0/8", interface=0)))) == []
        (said,) = found(pod, evolve(old, ips=(there, gone)))
        assert "network 'net', interface eth0: eth0 has no address 10.1.0.9" in said

    def test_an_interface_of_the_host_is_looked_for_there(self, pod: Netns) -> None:
        there = Result(interfaces=(Interface("lo"), Interface("nosuch0")))
        assert found(pod, there) == [
            "network 'net', interface eth0: interface nosuch0 is gone from the host"
        ]

    def test_an_interface_in_a_machine_of_its_own_is_left_out(self, pod: Netns) -> None:
        inside = Result(interfaces=(Interface("eth7", sandbox="qemu:vm1"),))
        assert found(pod, inside) == []

    def test_a_device_without_an_interface_is_left_to_its_plugin(self, pod: Netns) -> None:
        device = Interface("eth9", sandbox=pod.path, pci_id="0000:3b:02.1")
        assert found(pod, Result(interfaces=(device,))) == []

    def test_a_route_in_another_table_than_reported_is_another_one(self, pod: Netns) -> None:
        result = whole(pod)
        moved = evolve(result, routes=(evolve(result.routes[0], table=100),))
        assert [each.partition(": ")[2] for each in found(pod, moved)] == [
            "the route to 0.0.0.0/0 via 10.1.0.1 in table 100 is gone"
        ]

    def test_another_namespace_at_the_path_is_said_alone(self, pod: Netns) -> None:
        record = evolve(record_of(pod, whole(pod)), netns_identity="1:2")
        (problem,) = problems(record, pod.path)
        assert "is another network namespace" in problem.msg

    def test_a_namespace_that_is_gone_is_said(self, pod: Netns) -> None:
        record = record_of(pod, whole(pod))
        (problem,) = problems(record, "/run/netns/gone")
        assert "no network namespace at /run/netns/gone" in problem.msg
