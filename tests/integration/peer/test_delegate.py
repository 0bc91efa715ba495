"""The networks of running pods, as the controller of dynamic networks asks for them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from waiting import becomes, eventually

from integration.peer.attached import Network, attach
from integration.peer.served import NONE_VALID, Served
from multus.testing.delegates import Reply
from multus.testing.netns import Netns


def test_a_network_is_attached_to_a_running_pod_and_detached(
    served: Served, cni_pod: Netns
) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    conf = served.bridge("hot", "10.5.0")
    result = served.go.delegate("ADD", conf, container, "net7").result
    assert set(cni_pod.links()) == {"eth0", "net7"}
    assert result["ips"][0]["address"].startswith("10.5.0.")
    assert served.go.delegate("CHECK", conf, container, "net7").status == 200
    events = "AddedInterface"
    eventually(
        lambda: any("net7" in text for _, kind, text in served.cluster.events() if kind == events)
    )
    assert [each["interface"] for each in served.cluster.status()] == ["eth0"]  # the client's part
    found = served.go.delegate("DEL", conf, container, "net7")
    assert (found.status, found.body) == (200, b"")
    assert set(cni_pod.links()) == {"eth0"}
    assert served.go.delegate("DEL", conf, container, "net7").status == 200
    assert served.go.delegate("CHECK", conf, container, "net7").status == 400
    served.go.cni("CHECK", served.conf, container, served.cluster.bin.path)
    served.delete(container)
    assert served.records() == []


def test_what_is_left_at_the_pods_del_goes_with_it(served: Served, cni_pod: Netns) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    for number in (1, 2):
        conf = served.bridge(f"hot{number}", f"10.{number}.0")
        served.go.delegate("ADD", conf, container, f"net{number}").result  # noqa: B018
    assert set(cni_pod.links()) == {"eth0", "net1", "net2"}
    served.delete(container)
    assert cni_pod.links() == {}
    assert not any(Path(served.cluster.folder, "ipam", "hot1").glob("10.*"))


def test_check_and_gc_of_the_pod_know_it(served: Served, cni_pod: Netns) -> None:
    served.conf["cniVersion"] = "1.1.0"
    container = served.cluster.pod(cni_pod)
    result = served.add(container)
    served.go.delegate("ADD", served.bridge("hot", "10.5.0"), container, "net1").result  # noqa: B018
    conf = {**served.conf, "prevResult": result}
    assert served.go.cni("CHECK", conf, container, served.cluster.bin.path).status == 200
    cni_pod.run("ip", "link", "del", "net1")
    found = served.go.cni("CHECK", conf, container, served.cluster.bin.path)
    assert found.status == 400
    assert "net1" in found.json["msg"]
    conf = {**served.conf, **NONE_VALID}
    assert served.go.cni("GC", conf, None, served.cluster.bin.path).status == 200
    assert not any(Path(served.cluster.folder, "ipam", "hot").glob("10.*"))


def test_mac_and_addresses_of_the_attributes_are_requested(served: Served, cni_pod: Netns) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    able = {"capabilities": {"mac": True, "ips": True}, "ipam": {"type": "static"}}
    conf = served.bridge("hot", "10.5.0", **able)
    mac, ips = "02:00:00:00:00:07", ["10.5.0.7/24"]
    found = served.go.delegate("ADD", conf, container, "net1", mac=mac, ips=ips)
    assert found.result["ips"][0]["address"] == "10.5.0.7/24"
    assert cni_pod.links()["net1"].mac == "02:00:00:00:00:07"


def test_cni_args_of_the_attributes_are_in_every_plugins_configuration(
    served: Served, cni_pod: Netns
) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    for name in ("one", "two"):
        served.cluster.bin.stand_in(name)
    plugins = [{"type": "one", "args": {"cni": {"mine": "kept"}}}, {"type": "two"}]
    conf = {"cniVersion": "1.0.0", "name": "hot", "plugins": plugins}
    served.go.delegate("ADD", conf, container, "net1", cni_args={"vlan": 7}).result  # noqa: B018
    given = [call.conf["args"]["cni"] for call in served.cluster.bin.calls]
    assert given == [{"mine": "kept", "vlan": 7}, {"vlan": 7}]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"mac": 5}, "'mac' must be a string, not a whole number"),
        ({"ips": [5]}, "'ips[0]' must be a string, not a whole number"),
        ({"ips": "10.5.0.7/24"}, "'ips' must be a list, not a string"),
        ({"MAC": 5}, "'mac' must be a string, not a whole number"),
        ({"cni_args": []}, "'cni-args' must be an object, not a list"),
    ],
)
def test_attributes_of_another_type_are_refused(
    served: Served, cni_pod: Netns, attributes: dict[str, Any], reason: str
) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    conf = served.bridge("hot", "10.5.0")
    found = served.go.delegate("ADD", conf, container, "net1", **attributes)
    assert (found.status, found.json["code"]) == (400, 7)
    assert f"interfaceAttributes: {reason}" in found.json["msg"]
    assert set(cni_pod.links()) == {"eth0"}


def test_a_network_that_fails_leaves_the_pod_as_it_was(served: Served, cni_pod: Netns) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    served.cluster.bin.stand_in("broken", ADD=Reply.error(100, "not today"))
    conf = {"cniVersion": "1.0.0", "name": "hot", "type": "broken"}
    found = served.go.delegate("ADD", conf, container, "net1")
    assert (found.status, found.json["code"]) == (400, 101)
    assert "not today" in found.json["msg"]
    assert served.cluster.bin.commands() == ["ADD broken net1", "DEL broken net1"]
    assert set(cni_pod.links()) == {"eth0"}
    served.delete(container)
    assert served.cluster.bin.commands() == ["ADD broken net1", "DEL broken net1"]


def test_an_interface_that_exists_and_the_primary_are_refused(
    served: Served, cni_pod: Netns
) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    conf = served.bridge("hot", "10.5.0")
    found = served.go.delegate("ADD", conf, container, "eth0")
    assert found.status == 400
    assert "eth0" in found.json["msg"]
    assert served.go.delegate("DEL", conf, container, "eth0").status == 400
    assert set(cni_pod.links()) == {"eth0"}


def test_a_pod_that_is_not_attached_gets_no_network(served: Served, cni_pod: Netns) -> None:
    container = served.cluster.pod(cni_pod)
    found = served.go.delegate("ADD", served.bridge("hot", "10.5.0"), container, "net1")
    assert (found.status, found.json["code"]) == (400, 3)
    assert cni_pod.links() == {}


def test_a_network_that_the_go_multus_attached_is_detached(served: Served, cni_pod: Netns) -> None:
    container, cluster = served.cluster.pod(cni_pod), served.cluster
    conf = served.bridge("hot", "10.5.0")
    other = evolve(container, ifname="net1")
    environ = {**cluster.runtime.environ, "CNI_COMMAND": "ADD", "CNI_PATH": cluster.bin.path}
    bridge = [f"{cluster.bin.path}/bridge"]
    subprocess.run(
        cluster.node.command(bridge),
        env={**environ, **other.environ()},
        input=json.dumps(conf).encode(),
        check=True,
        capture_output=True,
    )
    assert set(cni_pod.links()) == {"net1"}
    found = served.go.delegate("DEL", conf, container, "net1", path=cluster.bin.path)
    assert found.status == 200, found.body
    assert cni_pod.links() == {}


def test_it_survives_a_daemon_that_is_killed(served: Served, cni_pod: Netns) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    conf = served.bridge("hot", "10.5.0")
    served.go.delegate("ADD", conf, container, "net1").result  # noqa: B018
    served.daemon.kill()
    served.daemon.start()
    assert served.go.delegate("CHECK", conf, container, "net1").status == 200
    assert served.go.delegate("DEL", conf, container, "net1").status == 200
    assert set(cni_pod.links()) == {"eth0"}


def test_what_a_killed_worker_began_is_undone_and_the_pod_stays(
    served: Served, cni_pod: Netns, tmp_path: Path
) -> None:
    container = served.cluster.pod(cni_pod)
    served.add(container)
    calls = tmp_path / "calls"
    script = f"echo $CNI_COMMAND >>{calls}\n[ $CNI_COMMAND != ADD ] || kill -9 $PPID\n"
    served.cluster.bin.file("killer", f"#!/bin/sh\n{script}".encode())
    conf = {"cniVersion": "1.0.0", "name": "hot", "type": "killer"}
    found = served.go.delegate("ADD", conf, container, "net1")
    assert (found.status, found.json["code"]) == (400, 11)
    eventually(lambda: calls.read_text().split() == ["ADD", "DEL"])
    assert set(cni_pod.links()) == {"eth0"}
    assert served.records() == ["eth0"]
    conf = served.bridge("hot", "10.5.0")
    assert served.go.delegate("ADD", conf, container, "net1").status == 200
    served.delete(container)
    assert calls.read_text().split() == ["ADD", "DEL"]


def test_a_pod_of_the_go_multus_stays_when_the_worker_of_one_network_is_lost(
    served: Served, cni_pod: Netns
) -> None:
    container, cluster = served.cluster.pod(cni_pod), served.cluster
    one, two = served.bridge("one", "10.6.0"), served.bridge("two", "10.7.0")
    attach(cluster, container, Network("one", [one]), Network("two", [two], "net1"))
    becomes(lambda: served.go.state("/readyz"), 200)
    conf = served.bridge("hot", "10.5.0")
    assert served.go.delegate("DEL", two, container, "net1", path=cluster.bin.path).status == 200
    assert served.go.delegate("ADD", conf, container, "net7").status == 200
    cluster.bin.file("killer", b"#!/bin/sh\n[ $CNI_COMMAND != ADD ] || kill -9 $PPID\n")
    killer = {"cniVersion": "1.0.0", "name": "lost", "type": "killer"}
    assert served.go.delegate("ADD", killer, container, "net8").status == 400
    served.daemon.kill()
    served.daemon.start()
    assert served.go.delegate("CHECK", conf, container, "net7").status == 200
    assert set(cni_pod.links()) == {"eth0", "net7"}
    served.delete(container)
    assert cni_pod.links() == {}
