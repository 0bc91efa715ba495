from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.cli import seed
from unit.cli.conftest import Command
from waiting import PATIENCE

from multus.testing.delegates import BinDir

File = Callable[[str, "str | dict[str, Any]"], Path]


@pytest.fixture
def bin_dir(tmp_path: Path) -> str:
    folder = BinDir(str(tmp_path / "bin"))
    for name in ("flannel", "sriov", "ptp", "bridge", "host-local", "tuning"):
        folder.stand_in(name)
    return folder.path


@pytest.fixture
def node(file: File, bin_dir: str) -> Path:
    """A configuration that looks pods up."""
    return file(
        "node.conf",
        {
            "name": "node-cni-network",
            "type": "multus",
            "cniVersion": "1.0.0",
            "kubeconfig": "/nowhere/kubeconfig",
            "binDir": bin_dir,
            "invokers": dict.fromkeys(("ptp", "sriov", "flannel"), "exec"),
        },
    )


def test_the_first_documentations_pod_gets_its_three_networks(
    multus: Command, file: File, node: Path
) -> None:
    said = multus(
        "explain",
        "--json",
        "--conf",
        node,
        "-f",
        file("networks.yaml", seed.NETWORKS),
        "-f",
        file("pod.yaml", seed.POD),
    )
    assert (said.status, said.json["refused"]) == (0, [])
    assert said.json["pod"] == "default/multus-multi-net-poc"
    assert (said.json["naming"], said.json["defaultRoute"]) == ("seed", "primary")
    networks = said.json["networks"]
    assert [(each["interface"], each["network"], each["primary"]) for each in networks] == [
        ("eth0", "default/flannel-conf", True),
        ("net0", "default/sriov-conf", False),
        ("net1", "default/sriov-vlanid-l2enable-conf", False),
    ]
    assert networks[2]["plugins"][0]["config"] == {
        "type": "sriov",
        "if0": "enp2s0",
        "vlan": 210,
        "if0name": "north",
        "l2enable": True,
        "name": "sriov-vlanid-l2enable-conf",
        "cniVersion": "1.0.0",
    }
    assert "annotation 'networks'" in networks[0]["origin"]
    assert networks[0]["plugins"][0]["binary"].endswith("/bin/flannel")


def test_the_conf_file_example_is_explained_in_its_order(
    multus: Command, file: File, bin_dir: str
) -> None:
    text = seed.CONF_FILE.replace("#part of sriov plugin conf", f'"binDir": "{bin_dir}",')
    text = text.replace('"delegates"', f'"binDir": "{bin_dir}", "delegates"')
    said = multus("explain", "--json", "--conf", file("multus.conf", text))
    assert said.json["pod"] is None
    assert [
        (each["interface"], each["plugins"][0]["type"], each["origin"][-12:])
        for each in said.json["networks"]
    ] == [
        ("eth0", "flannel", "delegates[2]"),
        ("net0", "sriov", "delegates[0]"),
        ("net1", "ptp", "delegates[1]"),
    ]
    routes = said.json["routes"]
    assert [each["interface"] for each in routes if "note" not in each] == ["eth0"]
    assert "eth0 has the default route" in routes[1]["note"]
    assert "flannel" in said.json["routesKnownLater"]["eth0"]


def test_it_says_which_binary_is_needed_and_why(
    multus: Command, file: File, tmp_path: Path
) -> None:
    bins = BinDir(str(tmp_path / "some"))
    bins.stand_in("dhcp")
    delegates = [
        {"name": "a", "type": "ptp", "ipam": {"type": "dhcp"}},
        {"name": "b", "type": "macvlan", "acme": 1, "ipam": {"type": "static"}},
        {"name": "c", "type": "ptp", "ipam": {"type": "host-local", "acme": 1}},
    ]
    conf = {"name": "n", "type": "multus", "cniVersion": "1.0.0", "binDir": bins.path}
    path = file("multus.conf", {**conf, "delegates": delegates})
    said = multus("explain", "--json", "--conf", path, "--cni-path", bins.path)
    steps = {each["name"]: each["plugins"][0] for each in said.json["networks"]}
    assert steps["a"]["invoker"] == "ptp" and steps["a"]["ipamBinary"] == f"{bins.path}/dhcp"
    assert steps["b"]["invoker"] == "exec" and "'acme'" in steps["b"]["declined"]["macvlan"]
    missing = [each for each in said.json["refused"] if each["code"] == 106]
    needed = {each["msg"].split("'")[3]: each.get("details", "") for each in missing}
    assert sorted(needed) == ["host-local", "macvlan", "static"]
    assert "key 'acme' is not one that the in-process macvlan knows" in needed["macvlan"]
    assert "key 'acme' of 'ipam'" in needed["host-local"]


def nad(name: str, config: str) -> str:
    return f"""\
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {{name: {name}}}
spec: {{config: '{config}'}}
---
"""


def pod(annotation: str) -> str:
    return f"""\
apiVersion: v1
kind: Pod
metadata:
  name: web
  annotations:
    k8s.v1.cni.cncf.io/networks: '{annotation}'
"""


LAN = nad("lan", '{"cniVersion": "1.0.0", "type": "bridge"}')


def test_a_requested_default_route_is_the_one_that_counts(
    multus: Command, file: File, node: Path
) -> None:
    with_route = nad(
        "wan",
        '{"cniVersion": "1.0.0", "type": "bridge", "ipam": {"type": "host-local",'
        ' "subnet": "10.1.0.0/24", "routes": [{"dst": "0.0.0.0/0"}], "gateway": "10.1.0.1"}}',
    )
    objects = (
        with_route
        + LAN
        + pod('["x"]').replace(
            '["x"]', '[{"name": "wan"}, {"name": "lan", "default-route": ["10.2.0.1"]}]'
        )
    )
    said = multus("explain", "--json", "--conf", node, "-f", file("all.yaml", objects))
    assert said.json["defaultRoute"] == "last"
    routes = {each["interface"]: each for each in said.json["routes"]}
    assert routes["net1"]["gw"] == "10.2.0.1"
    assert routes["net1"]["note"] == "requested"
    assert "net1 has the default route" in routes["eth0"]["note"]


MAC_AND_PORT = (
    '[{"name": "lan", "mac": "02:00:00:00:00:07",'
    ' "portMappings": [{"hostPort": 1, "containerPort": 1}]}]'
)


def test_a_request_without_a_capability_is_told_and_the_arguments_are_shown(
    multus: Command, file: File, node: Path
) -> None:
    objects = file("all.yaml", LAN + pod(MAC_AND_PORT))
    said = multus("explain", "--json", "--conf", node, "-f", objects)
    (network,) = said.json["networks"]
    assert (said.status, said.json["refused"]) == (0, [])
    assert network["args"] == {"MAC": "02:00:00:00:00:07"}
    assert [each.partition(" is ")[0] for each in network["undeclared"]] == [
        "'mac'",
        "'portMappings'",
    ]
    shown = " ".join(multus("explain", "--conf", node, "-f", objects).out.split())
    assert "eth0: CNI_ARGS has MAC=02:00:00:00:00:07 too" in shown
    assert "none of its plugins (bridge) declares that capability; ADD compares" in shown


def test_it_is_refused_where_that_is_configured(multus: Command, file: File, node: Path) -> None:
    strict = file("strict.conf", {**json.loads(node.read_text()), "unservedRequests": "refuse"})
    objects = file("all.yaml", LAN + pod(MAC_AND_PORT))
    said = multus("explain", "--json", "--conf", strict, "-f", objects)
    (refusal,) = said.json["refused"]
    assert (said.status, refusal["code"]) == (1, 7)
    assert "'portMappings' is requested" in refusal["msg"]


def test_every_refusal_is_told_with_its_code_not_only_the_first(
    multus: Command, file: File, node: Path
) -> None:
    broken = nad("broken", '{"cniVersion": "1.0.0", "type": 5}')
    objects = LAN + broken + pod("gone,lan,broken")
    said = multus("explain", "--json", "--conf", node, "-f", file("all.yaml", objects))
    assert said.status == 1
    refused = said.json["refused"]
    (missing,) = said.json["missing"]
    assert "default/gone is not in the given files" in missing
    assert [each["stage"] for each in refused] == ["resolve"]
    assert refused[0]["code"] == 7
    assert "must be a string" in refused[0]["msg"]


def test_a_missing_binary_is_refused_before_anything_is_started(
    multus: Command, file: File, node: Path
) -> None:
    objects = nad("x", '{"cniVersion": "1.0.0", "type": "nobody-has-this"}') + pod("x")
    call = ("explain", "--json", "--conf", node, "-f", file("all.yaml", objects))
    (refusal,) = multus(*call, "--cni-path", "/opt/cni/bin").json["refused"]
    assert (refusal["stage"], refusal["code"]) == ("invoke", 106)
    assert "'nobody-has-this' is not found" in refusal["msg"]


def test_off_the_node_binaries_devices_and_files_are_not_checked(
    multus: Command, file: File, bin_dir: str
) -> None:
    resource = {"k8s.v1.cni.cncf.io/resourceName": "example.com/vf"}
    definitions = [
        {
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {"name": "fast", "namespace": "default", "annotations": resource},
            "spec": {"config": '{"cniVersion": "1.0.0", "type": "nobody-has-this"}'},
        }
    ]
    objects = json.dumps({"kind": "List", "items": definitions})
    conf = {
        "name": "n",
        "type": "multus",
        "cniVersion": "1.0.0",
        "kubeconfig": "/k",
        "binDir": bin_dir,
        "readinessindicatorfile": "/not/on/this/machine",
        "delegates": [{"type": "ptp", "ipam": {"type": "static"}}],
    }
    files = ("-f", file("l.json", objects), "-f", file("p.yaml", pod("fast,fast")))
    call = ("explain", "--conf", file("m.conf", conf), *files)
    said = multus(*call, "--json")
    device, other, *rest = said.json["notChecked"]
    assert (said.status, said.json["refused"], said.json["notReady"]) == (0, [], [])
    assert "which device of example.com/vf network 'default/fast' gets" in (device, other)
    assert ["nobody-has-this" in each for each in rest] == [True, True, False]
    assert "/not/on/this/machine" in rest[-1]
    text = multus(*call).out
    assert text.count("not checked here: ") == len(said.json["notChecked"])
    assert "the ADD would succeed, if its node has the 5 above" in text


def test_an_invoker_that_declines_says_why(multus: Command, file: File, bin_dir: str) -> None:
    conf = {
        "name": "n",
        "type": "multus",
        "cniVersion": "1.0.0",
        "binDir": bin_dir,
        "delegates": [{"type": "ptp", "unheardOf": 1, "ipam": {"type": "host-local"}}],
    }
    said = multus("explain", "--json", "--conf", file("m.conf", conf))
    (plugin,) = said.json["networks"][0]["plugins"]
    assert plugin["invoker"] == "exec"
    assert "unheardOf" in plugin["declined"]["ptp"]


def test_a_readiness_file_that_is_missing_is_told_at_once(
    multus: Command, file: File, bin_dir: str, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    conf = {
        "name": "n",
        "type": "multus",
        "cniVersion": "1.0.0",
        "binDir": bin_dir,
        "delegates": [{"type": "bridge"}],
        "readinessindicatorfile": str(ready),
    }
    path = file("m.conf", conf)
    began = time.monotonic()
    said = multus("explain", "--json", "--conf", path)
    shown = multus("explain", "--conf", path)
    assert time.monotonic() - began < PATIENCE
    assert (said.status, said.json["refused"]) == (0, [])
    assert [each["interface"] for each in said.json["networks"]] == ["eth0"]
    (reason,) = said.json["notReady"]
    assert reason["code"] == 50
    assert str(ready) in reason["msg"]
    assert f"! not ready: 'readinessindicatorfile' names {ready}, which is missing" in shown.out
    assert "! answer: the ADD would succeed once the node is ready" in shown.out
    ready.touch()
    assert multus("explain", "--json", "--conf", path).json["notReady"] == []


def test_explaining_starts_nothing_and_writes_nothing(
    multus: Command, file: File, bin_dir: str, tmp_path: Path
) -> None:
    conf = {
        "name": "n",
        "type": "multus",
        "cniVersion": "1.0.0",
        "binDir": bin_dir,
        "cniDir": str(tmp_path / "state"),
        "delegates": [{"type": "bridge"}, {"type": "flannel"}],
    }
    path = file("m.conf", conf)
    before = sorted(str(each) for each in tmp_path.rglob("*"))
    assert multus("explain", "--conf", path).status == 0
    assert sorted(str(each) for each in tmp_path.rglob("*")) == before
    assert BinDir(bin_dir).calls == []


def test_the_text_for_people_tells_order_configuration_and_routes(
    multus: Command, file: File, node: Path
) -> None:
    said = multus("explain", "--conf", node, "-f", file("all.yaml", LAN + pod("lan,lan@data")))
    assert said.status == 0
    for words in (
        "ADD of pod default/web, interface eth0",
        "annotation 'k8s.v1.cni.cncf.io/networks' of pod default/web",
        "eth0 (primary)",
        "data: bridge, invoker bridge",
        '"type": "bridge"',
        "the ADD would succeed",
    ):
        assert words in said.out
    assert "\x1b" not in said.out


def test_a_pod_that_needs_an_api_and_has_none_is_told_what_to_do(
    multus: Command, file: File, bin_dir: str
) -> None:
    conf = {"name": "n", "type": "multus", "delegates": [{"type": "bridge"}], "binDir": bin_dir}
    said = multus("explain", "--conf", file("m.conf", conf), "--pod", "default/web")
    assert said.status == 1
    assert "(-f)" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize("wanted", ["a/b/", "/web"])
def test_a_pod_that_cannot_be_named_so_is_told(
    multus: Command, file: File, node: Path, wanted: str
) -> None:
    said = multus("explain", "--conf", node, "-f", file("p.yaml", pod("lan")), "--pod", wanted)
    assert said.status == 1
    assert "default/web" in said.err


def test_a_file_that_cannot_be_read_points_to_validate(
    multus: Command, file: File, node: Path
) -> None:
    said = multus("explain", "--conf", node, "-f", file("p.yaml", "a: [\n"))
    assert said.status == 1
    assert "multus validate -f" in said.err


def test_without_a_configuration_it_says_how_to_give_one(
    multus: Command, tmp_path: Path, file: File
) -> None:
    said = multus("explain", "--conf", file("x.conf", {"name": "n", "type": "bridge"}))
    assert said.status == 1
    assert "'multus'" in said.err


def test_programs_are_looked_up_in_the_nodes_own_files(
    multus: Command, file: File, tmp_path: Path
) -> None:
    conf = {"name": "n", "type": "multus", "cniVersion": "1.0.0", "binDir": "/cni"}
    path = file("m.conf", {**conf, "delegates": [{"type": "only-on-the-node"}]})
    assert multus("explain", "--conf", path).status == 1
    BinDir(str(tmp_path / "host" / "cni")).stand_in("only-on-the-node")
    said = multus("explain", "--json", "--conf", path, "--root", tmp_path / "host")
    assert said.status == 0
    assert said.json["networks"][0]["plugins"][0]["binary"] == "/cni/only-on-the-node"


def test_the_nodes_own_chain_is_shown_after_the_networks(
    multus: Command, file: File, bin_dir: str
) -> None:
    file("net.d/vendor/tuning.conf", {"type": "tuning"})
    lan = file("net.d/lan.conf", {"name": "lan", "type": "bridge"})
    conf = {"name": "n", "type": "multus", "binDir": bin_dir, "clusterNetwork": str(lan)}
    path = file("m.conf", {**conf, "auxiliaryCNIChainName": "vendor"})
    text = multus("explain", "--conf", path)
    assert text.status == 0 and "after all networks" in text.out
    found = multus("explain", "--json", "--conf", path).json["networks"]
    assert [(each["interface"], each["network"]) for each in found] == [
        ("eth0", "lan"),
        ("net1", "vendor"),
    ]


def test_annotations_that_are_not_read_are_told(multus: Command, file: File, bin_dir: str) -> None:
    conf = {"name": "n", "type": "multus", "binDir": bin_dir, "delegates": [{"type": "bridge"}]}
    path, objects = file("m.conf", conf), file("all.yaml", LAN + pod("lan"))
    said = multus("explain", "--json", "--conf", path, "-f", objects)
    assert [each["interface"] for each in said.json["networks"]] == ["eth0"]
    assert "has no 'kubeconfig'" in said.json["notes"][0]
    assert "has no 'kubeconfig'" in multus("explain", "--conf", path, "-f", objects).out


def test_an_empty_default_route_is_shown_with_the_gateway_that_the_ipam_returns(
    multus: Command, file: File, node: Path
) -> None:
    ipam = '"ipam": {"type": "host-local", "subnet": "10.%s.0.0/24"%s}'
    default = ', "routes": [{"dst": "0.0.0.0/0"}]'
    objects = "".join(
        nad(name, '{"cniVersion": "1.0.0", "type": "bridge", ' + ipam % (number, more) + "}")
        for name, number, more in (("wan", 1, default), ("lan", 2, ""))
    )
    objects += pod('[{"name": "wan"}, {"name": "lan", "default-route": []}]')
    said = multus("explain", "--json", "--conf", node, "-f", file("all.yaml", objects))
    assert said.json["routes"] == [
        {
            "interface": "eth0",
            "dst": "0.0.0.0/0",
            "gw": "10.1.0.1",
            "note": "not set: net1 has the default route",
        },
        {"interface": "net1", "dst": "0.0.0.0/0", "gw": "10.2.0.1", "note": "requested"},
    ]


@pytest.mark.parametrize(("policy", "winner", "loser"), [("primary", 0, 1), ("last", 1, 0)])
def test_it_says_whose_default_route_wins(
    multus: Command, file: File, bin_dir: str, policy: str, winner: int, loser: int
) -> None:
    ipam = {"type": "host-local", "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]}
    delegates = [
        {"type": "bridge", "name": f"n{n}", "ipam": {**ipam, "subnet": f"10.{n}.0.0/24"}}
        for n in (0, 1)
    ]
    conf = {"name": "n", "type": "multus", "binDir": bin_dir, "delegates": delegates}
    path = file("m.conf", {**conf, "defaultRoute": policy})
    said = multus("explain", "--json", "--conf", path)
    names = ("eth0", "net0")
    found = {each["interface"]: each for each in said.json["routes"] if each["dst"] == "0.0.0.0/0"}
    assert said.json["defaultRoute"] == policy
    assert "note" not in found[names[winner]]
    assert f"{names[winner]} has the default route" in found[names[loser]]["note"]
    text = " ".join(multus("explain", "--conf", path).out.split())
    assert f"IPv4: the default route is that of {names[winner]}, not" in text
    shared = "IPv6: eth0 and net0 share the default route" in text
    assert shared is (policy == "last")


def test_without_a_configuration_a_plain_one_is_assumed_and_said(
    multus: Command, file: File, tmp_path: Path
) -> None:
    config = '{"cniVersion": "1.0.0", "type": "macvlan", "master": "no-such-link"}'
    objects = file("all.yaml", nad("x", config) + pod("x"))
    call = ("explain", objects, "--root", tmp_path / "laptop")
    said = multus(*call, "--json")
    assert [each["network"] for each in said.json["networks"]] == ["default-network", "default/x"]
    assert "a plain one is assumed" in said.json["notes"][0]
    assert "a plain one is assumed" in " ".join(multus(*call).out.split())


def test_a_configuration_among_the_files_is_the_one_that_is_explained(
    multus: Command, file: File, node: Path
) -> None:
    said = multus("explain", "--json", node, file("all.yaml", LAN + pod("lan")))
    assert (said.status, said.json["file"]) == (0, str(node))
    assert [each["network"] for each in said.json["networks"]] == ["default/lan"]


def test_a_master_that_does_not_exist_is_refused_on_the_node_and_not_checked_elsewhere(
    multus: Command, file: File, bin_dir: str
) -> None:
    delegate = {"type": "macvlan", "name": "m", "master": "no-such-link"}
    path = file("m.conf", {"name": "n", "type": "multus", "delegates": [delegate]})
    here = multus("explain", "--json", "--conf", path)
    (refusal,) = here.json["refused"]
    assert (here.status, refusal["code"]) == (1, 7)
    assert "'master' is 'no-such-link', and the host has no interface" in refusal["msg"]
    away = multus("explain", "--json", path)
    assert (away.status, away.json["refused"]) == (0, [])
    assert "no-such-link" in away.json["notChecked"][0]
