from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kernel import require_nftables
from waiting import PATIENCE, becomes

from integration.cli.conftest import MadeUpNode, Pods, of
from multus import __version__
from multus.api.kubernetes import ApiUse
from multus.api.result import IP, Result
from multus.cli.commands import doctor
from multus.cli.commands.doctor import examine
from multus.cli.commands.doctor.api import _review
from multus.cni import shim
from multus.daemon import wire
from multus.kube.leases import LEASES
from multus.netlink import masquerade
from multus.testing.apiserver import ApiServer
from multus.testing.apiserver.store import (
    ADDRESS_KINDS,
    CORE_KINDS,
    DEVICE_KINDS,
    NETWORK_KINDS,
    Kind,
)
from multus.testing.invocation import Caller
from multus.testing.netns import Netns, inside


def test_a_healthy_node_has_no_error(made_up: MadeUpNode, cni_pod: Netns) -> None:
    conf = made_up.healthy()
    made_up.attach(conf, cni_pod)
    status, findings = made_up.doctor()
    assert [each for each in findings if each["severity"] in ("error", "warning")] == []
    assert status == 0
    said = {each["subject"]: each["reason"] for each in findings}
    assert "answers, CNI up to 1.1.0" in said["program"]
    assert said["journal"].startswith("1 valid record(s)")


# --- Configuration --------------------------------------------------------------------------------


def test_another_plugins_file_before_ours_is_an_error(made_up: MadeUpNode) -> None:
    made_up.healthy()
    made_up.write("net.d/00-flannel.conflist", {"name": "f", "plugins": [{"type": "flannel"}]})
    status, findings = made_up.doctor()
    (finding,) = of(findings, "configuration order")
    assert status == 1
    assert finding["file"].endswith("00-flannel.conflist")
    assert "(type flannel) comes before 00-multus.conf" in finding["reason"]


def test_an_empty_file_before_ours_is_an_error(made_up: MadeUpNode) -> None:
    made_up.healthy()
    made_up.write("net.d/00-broken.conf", "")
    (finding,) = of(made_up.doctor()[1], "configuration order")
    assert finding["severity"] == "error"
    assert "empty" in finding["reason"]


def test_a_cluster_network_that_is_multus_itself_is_named_with_its_file(
    made_up: MadeUpNode,
) -> None:
    path = str(made_up.folder / "net.d" / "00-multus.conf")
    made_up.healthy(clusterNetwork=path, delegates=[])
    status, findings = made_up.doctor()
    (finding,) = of(findings, "networks")
    assert (status, finding["severity"]) == (1, "error")
    assert "Multus would call itself" in finding["reason"]
    assert path in finding["reason"]


def test_a_second_configuration_of_multus_is_a_warning(made_up: MadeUpNode) -> None:
    made_up.healthy()
    made_up.write("net.d/10-multus.conf", made_up.conf())
    status, findings = made_up.doctor()
    (finding,) = of(findings, "configuration order")
    assert (status, finding["severity"]) == (0, "warning")


def test_without_a_configuration_install_is_the_remedy(made_up: MadeUpNode) -> None:
    made_up.write("net.d/10-flannel.conf", {"name": "f", "type": "flannel"})
    status, findings = made_up.doctor()
    (finding,) = of(findings, "configuration order")
    assert status == 1
    assert finding["fix"] == "run 'multus install'"
    assert "takes 10-flannel.conf" in finding["reason"]


def test_a_configuration_that_others_may_change_is_an_error(made_up: MadeUpNode) -> None:
    made_up.healthy()
    os.chmod(made_up.folder / "net.d" / "00-multus.conf", 0o666)
    (finding,) = of(made_up.doctor()[1], "configuration files")
    assert finding["severity"] == "error"


def test_a_wrong_key_is_told_with_its_line(made_up: MadeUpNode) -> None:
    made_up.healthy(naming="other")
    (finding,) = of(made_up.doctor()[1], "naming")
    assert (finding["line"], finding["code"]) == (1, 7)


# --- Programs -------------------------------------------------------------------------------------


def test_a_delegates_missing_binary_is_an_error(made_up: MadeUpNode) -> None:
    made_up.healthy(delegates=[{"name": "x", "type": "nobody-has-this"}])
    status, findings = made_up.doctor()
    (finding,) = of(findings, "delegates")
    assert status == 1
    assert "'nobody-has-this' is not found" in finding["reason"]


def test_a_program_that_cannot_run_is_an_error(made_up: MadeUpNode) -> None:
    made_up.healthy()
    made_up.bin.file("multus", b"#!/no/such/interpreter\n")
    (finding,) = of(made_up.doctor()[1], "program")
    assert "does not work" in finding["reason"]


def test_another_program_of_that_name_is_an_error(made_up: MadeUpNode) -> None:
    made_up.healthy()
    answer = b'#!/bin/sh\necho \'{"cniVersion": "0.4.0", "supportedVersions": ["0.4.0"]}\'\n'
    made_up.bin.file("multus", answer)
    (finding,) = of(made_up.doctor()[1], "program")
    assert "supports CNI 0.4.0" in finding["reason"]


def test_a_readiness_file_that_is_missing_is_told_as_status_would(made_up: MadeUpNode) -> None:
    path = str(made_up.folder / "ready")
    made_up.healthy(readinessindicatorfile=path)
    (finding,) = of(made_up.doctor()[1], "readiness")
    assert finding["code"] == 50
    assert path in finding["reason"]


@pytest.fixture
def answering(made_up: MadeUpNode) -> Iterator[list[bytes]]:
    """Something that speaks the daemon's protocol and says that it is not ready."""
    heard: list[bytes] = []
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(made_up.folder / "multus.sock"))
    os.chmod(made_up.folder / "multus.sock", 0o600)
    listener.listen()

    def serve() -> None:
        peer, _ = listener.accept()
        with peer:
            heard.append(wire.decode(peer.recv(4096)).payload)
            answer = wire.Message(wire.ANSWER, b"the API server was not heard of yet\n", status=1)
            peer.sendall(answer.encode())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield heard
    listener.close()
    thread.join(PATIENCE)


def test_a_daemon_that_is_not_ready_is_told_with_its_reason(
    made_up: MadeUpNode, answering: list[bytes]
) -> None:
    made_up.healthy()
    (finding,) = of(made_up.doctor()[1], "daemon")
    assert answering == [b"ready"]
    assert "the API server was not heard of yet" in finding["reason"]


@contextmanager
def serving(made_up: MadeUpNode) -> Iterator[None]:
    """A real daemon of this node."""
    path = made_up.folder / "multus.sock"
    settings = made_up.write("daemon.json", {"cniDir": str(made_up.folder / "state")})
    argv = [*made_up.program, "daemon", "--config", str(settings)]
    daemon = subprocess.Popen(
        made_up.host.command(argv),
        env={**os.environ, "MULTUS_SOCKET": str(path)},
        stderr=subprocess.DEVNULL,
    )
    try:
        becomes(lambda: shim.control({b"MULTUS_SOCKET": os.fsencode(path)}, b"ready"), (0, b"ok\n"))
        yield
    finally:
        daemon.terminate()
        daemon.wait(2 * PATIENCE)


def test_a_real_daemon_is_well(made_up: MadeUpNode) -> None:
    made_up.healthy()
    with serving(made_up):
        status, findings = made_up.doctor()
    assert of(findings, "daemon") == [] and status == 0, findings


def test_a_socket_that_nobody_serves_is_an_error(made_up: MadeUpNode) -> None:
    made_up.healthy()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(made_up.folder / "multus.sock"))
    os.chmod(made_up.folder / "multus.sock", 0o600)
    listener.close()
    (finding,) = of(made_up.doctor()[1], "daemon")
    assert "does not answer" in finding["reason"]
    assert "waits for it, at most a second" in finding["fix"]
    made_up.healthy(standalone=False)
    (finding,) = of(made_up.doctor()[1], "daemon")
    assert "ADD waits and DEL is queued" in finding["fix"]


def test_no_daemon_is_an_error_only_where_one_is_needed(made_up: MadeUpNode) -> None:
    made_up.healthy()
    assert of(made_up.doctor()[1], "daemon")[0]["severity"] == "note"
    made_up.healthy(standalone=False)
    (finding,) = of(made_up.doctor()[1], "daemon")
    assert (finding["severity"], '"standalone": false' in finding["reason"]) == ("error", True)


def test_where_the_engine_is_not_beside_the_shim_a_daemon_is_needed(made_up: MadeUpNode) -> None:
    made_up.healthy()
    shim = Path(made_up.bin.path) / "multus"
    shim.write_bytes(b"\x7fELF")
    (finding,) = of(made_up.doctor()[1], "daemon")
    assert finding["severity"] == "error"
    assert f"the engine's program is not in {made_up.bin.path}" in finding["reason"]
    made_up.bin.file("multus-standalone", b"#!/bin/sh\n")
    assert of(made_up.doctor()[1], "daemon")[0]["severity"] == "note"


def test_the_socket_is_the_one_that_the_shims_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MULTUS_SOCKET", "/elsewhere/multus.sock")
    parser = argparse.ArgumentParser()
    doctor.configure(parser)
    assert parser.parse_args([]).socket == "/elsewhere/multus.sock"
    assert parser.parse_args(["--socket", "/here"]).socket == "/here"


# --- Kept DELs ----------------------------------------------------------------------------------


def kept(folder: Path, container: str, age: float = 0.0, *, pod: str = "") -> None:
    """A DEL as a shim keeps it under a ``cniDir``."""
    spool = folder / ".spool"
    spool.mkdir(mode=0o700, parents=True, exist_ok=True)
    moment = time.time() - age
    path = spool / f"{int(moment * 1e9):020d}.{container}"
    args = f"K8S_POD_NAMESPACE=shop;K8S_POD_NAME={pod}" if pod else ""
    environ = {"CNI_COMMAND": "DEL", "CNI_CONTAINERID": container, "CNI_ARGS": args}
    path.write_bytes(wire.Message(wire.CNI, b"{}", environ).encode())
    path.chmod(0o600)
    os.utime(path, (moment, moment))


def test_a_del_that_no_daemon_looks_for_is_an_error(made_up: MadeUpNode) -> None:
    made_up.healthy()
    other = made_up.folder / "other"
    made_up.write("net.d/20-second.conf", made_up.conf(cniDir=str(other)))
    made_up.write("daemon.json", {"cniDir": str(made_up.folder / "state")})
    assert of(made_up.doctor()[1], "kept DELs") == []
    kept(other, "young", 60)
    kept(other, "old", 3 * 3600, pod="web")
    status, findings = made_up.doctor()
    (finding,) = of(findings, "kept DELs")
    assert (status, finding["severity"], finding["file"]) == (1, "error", str(other / ".spool"))
    assert "2 DEL(s) wait" in finding["reason"]
    assert "3 hour(s) old, is of container old of pod shop/web" in finding["reason"]
    assert "no daemon reads it" in finding["reason"]
    assert f"set 'cniDir' to {other}" in finding["fix"]


def test_a_del_that_waits_for_the_daemon_is_a_warning(made_up: MadeUpNode) -> None:
    made_up.healthy()
    made_up.write("daemon.json", {"cniDir": str(made_up.folder / "state")})
    kept(made_up.folder / "state", "c1")
    (finding,) = of(made_up.doctor()[1], "kept DELs")
    assert finding["severity"] == "warning"
    assert "of container c1: the daemon does not answer" in finding["reason"]
    assert "start 'multus daemon'" in finding["fix"]


def test_a_damaged_del_is_told_until_it_is_deleted(made_up: MadeUpNode) -> None:
    made_up.healthy()
    made_up.write("daemon.json", {"cniDir": str(made_up.folder / "state")})
    kept(made_up.folder / "state", "c1")
    (path,) = (made_up.folder / "state" / ".spool").iterdir()
    path.rename(path.with_name(f".damaged-{path.name}"))
    (finding,) = of(made_up.doctor()[1], "kept DELs")
    assert "1 damaged DEL(s)" in finding["reason"] and "of containers c1" in finding["reason"]
    assert "'multus gc'" in finding["fix"]


def test_a_del_that_the_daemon_failed_to_carry_out_is_a_warning(made_up: MadeUpNode) -> None:
    made_up.healthy()
    made_up.write("daemon.json", {"cniDir": str(made_up.folder / "state")})
    kept(made_up.folder / "state", "c1", 60)
    with serving(made_up):
        # Not a request that succeeds: it has no CNI_IFNAME.
        (finding,) = of(made_up.doctor()[1], "kept DELs")
    assert finding["severity"] == "warning"
    assert "they failed, and the daemon retries" in finding["reason"]


def test_daemon_settings_that_cannot_be_read_are_an_error(made_up: MadeUpNode) -> None:
    made_up.healthy()
    made_up.write("daemon.json", {"cniDirectory": "/x"})
    status, findings = made_up.doctor()
    (finding,) = of(findings, "daemon settings")
    assert (status, finding["code"]) == (1, 7)


# --- API ------------------------------------------------------------------------------------------


def test_rights_that_are_missing_are_told_one_by_one(made_up: MadeUpNode, api: ApiServer) -> None:
    made_up.healthy(kubeconfig=api.write_kubeconfig(made_up.folder))
    status, findings = made_up.doctor(online=True)
    assert of(findings, "API rights") == [] and status == 0, findings
    api.forbidden |= {("get", "pods"), ("create", "events")}
    status, findings = made_up.doctor(online=True)
    told = {each["reason"].split(":")[0]: each["severity"] for each in of(findings, "API rights")}
    assert told["this account may not get pods"] == "error"
    assert status == 1


def test_rights_on_a_kind_that_the_server_does_not_have_are_not_missed(made_up: MadeUpNode) -> None:
    served = CORE_KINDS + DEVICE_KINDS + NETWORK_KINDS + ADDRESS_KINDS

    def warnings(kinds: tuple[Kind, ...]) -> list[str]:
        with ApiServer(kinds=kinds) as api:
            made_up.healthy(kubeconfig=api.write_kubeconfig(made_up.folder))
            api.forbidden |= {("get", "ipamclaims"), ("patch", "ipamclaims/status")}
            status, findings = made_up.doctor(online=True)
        assert status == 0
        return [each["reason"] for each in of(findings, "API rights")]

    assert [each.split(":")[0] for each in warnings(served)] == [
        "this account may not get ipamclaims.k8s.cni.cncf.io",
        "this account may not patch ipamclaims/status.k8s.cni.cncf.io",
    ]
    assert warnings(tuple(kind for kind in served if kind.plural != "ipamclaims")) == []


def test_a_right_on_one_object_is_asked_for_as_such() -> None:
    lease = LEASES.object("kube-system", "l")
    asked = _review(ApiUse("get", LEASES, "x", only=lease))["spec"]["resourceAttributes"]
    assert (asked["namespace"], asked["name"]) == ("kube-system", "l")
    assert set(_review(ApiUse("get", LEASES, "x"))["spec"]["resourceAttributes"]) == {
        "verb",
        "resource",
        "group",
    }


def test_a_server_that_does_not_answer_is_an_error(made_up: MadeUpNode, api: ApiServer) -> None:
    path = api.write_kubeconfig(made_up.folder, server="https://127.0.0.1:1")
    made_up.healthy(kubeconfig=path)
    status, findings = made_up.doctor(online=True)
    (finding,) = of(findings, "API server")
    assert (status, finding["code"]) == (1, 11)


def test_a_kubeconfig_that_is_missing_is_an_error(made_up: MadeUpNode) -> None:
    made_up.healthy(kubeconfig=str(made_up.folder / "none"))
    (finding,) = of(made_up.doctor()[1], "kubeconfig")
    assert finding["severity"] == "error"


def test_a_kubeconfig_that_others_can_read_is_a_warning(
    made_up: MadeUpNode, api: ApiServer
) -> None:
    path = api.write_kubeconfig(made_up.folder)
    os.chmod(path, 0o644)
    made_up.healthy(kubeconfig=path)
    (finding,) = of(made_up.doctor(online=True)[1], "kubeconfig")
    assert (finding["severity"], finding["fix"]) == ("warning", f"chmod 0600 {path}")


# --- State and leaks ------------------------------------------------------------------------------


def test_a_container_whose_namespace_is_gone_is_a_stale_record_and_a_leak(
    made_up: MadeUpNode, cni_pods: Pods
) -> None:
    conf = made_up.healthy()
    gone, alive = cni_pods(), cni_pods()
    container = made_up.attach(conf, gone)
    made_up.attach(conf, alive)
    gone.remove()
    _, findings = made_up.doctor()
    (stale,) = of(findings, "journal")
    assert container.id in stale["reason"]
    assert "'multus gc'" in stale["fix"]
    (leak,) = of(findings, "leaked addresses")
    assert leak["severity"] == "warning"
    assert "1 address(es)" in leak["reason"]
    assert container.id[:13] in leak["reason"]


@pytest.mark.usefixtures("every_process")
@pytest.mark.parametrize("cache", ["results", "state/results"], ids=["runtime", "Go Multus"])
def test_an_address_of_nobody_is_a_leak_and_one_in_a_cache_is_not(
    made_up: MadeUpNode, cni_pod: Netns, cache: str
) -> None:
    made_up.healthy()
    made_up.write("networks/lan/10.77.0.9", "dead-container\r\neth0")
    made_up.write("networks/lan/10.77.0.10", "known-container\r\neth0")
    made_up.write("networks/other/10.9.0.9", "not-ours\r\neth0")
    for path in (made_up.folder / "networks").glob("*/*"):
        os.utime(path, (0, 0))  # one that was reserved just now may have its container soon
    cached = {"kind": "cniCacheV1", "containerId": "known-container", "netns": cni_pod.path}
    made_up.write(f"{cache}/lan-known-container-eth0", cached)
    leaks = of(made_up.doctor()[1], "leaked addresses")
    assert [(each["severity"], each["reason"][:35]) for each in leaks] == [
        ("warning", "network 'lan': 1 address(es) of con"),
        ("note", "network 'other': 1 address(es) of c"),
    ]
    assert "10.77.0.9 by dead-contain" in leaks[0]["reason"]


def test_a_pipe_in_the_store_of_addresses_is_not_waited_for(made_up: MadeUpNode) -> None:
    made_up.healthy()
    (made_up.folder / "networks" / "lan").mkdir(parents=True)
    os.mkfifo(made_up.folder / "networks" / "lan" / "10.77.0.9")
    assert of(made_up.doctor()[1], "leaked addresses") == []


def test_a_pool_that_is_nearly_full_is_a_warning(made_up: MadeUpNode) -> None:
    store = str(made_up.folder / "networks")
    pool = {"type": "host-local", "subnet": "10.77.0.0/28", "dataDir": store}
    made_up.healthy(delegates=[{"name": "lan", "type": "ptp", "ipam": pool}])
    for last in (*range(2, 13), 200):
        made_up.write(f"networks/lan/10.77.0.{last}", "c1\r\neth0")
    made_up.write("networks/lan/last_reserved_ip.0", "10.77.0.12")
    assert [each["severity"] for each in of(made_up.doctor()[1], "pools")] == ["note"]
    made_up.write("networks/lan/10.77.0.13", "c1\r\neth0")
    full, outside = of(made_up.doctor()[1], "pools")
    assert (full["severity"], outside["severity"]) == ("warning", "note")
    assert "12 of 13 addresses are in use" in full["reason"]
    assert "1 address(es) outside its ranges: 10.77.0.200/32" in outside["reason"]
    made_up.write("networks/lan/10.77.0.14", "c1\r\neth0")
    status, findings = made_up.doctor()
    assert (status, of(findings, "pools")[0]["severity"]) == (1, "error")


@pytest.mark.parametrize("command", ["doctor", "status"])
def test_a_full_range_of_the_default_network_is_told(made_up: MadeUpNode, command: str) -> None:
    """Its configuration is in a file of its own, as ``multus install`` leaves it."""
    store = str(made_up.folder / "networks")
    pool = {"type": "host-local", "subnet": "10.77.0.0/30", "dataDir": store}
    lan = {"cniVersion": "1.0.0", "name": "lan", "plugins": [{"type": "ptp", "ipam": pool}]}
    path = made_up.write("net.d/10-lan.conflist", lan)
    made_up.healthy(delegates=None, clusterNetwork=str(path))
    made_up.write("networks/lan/10.77.0.2", "c1\r\neth0")
    places = ("--net-d", made_up.folder / "net.d", "--bin-dir", made_up.bin.path)
    done = made_up.run(command, "--json", *places, "--socket", made_up.folder / "none")
    said = [each["reason"] for each in json.loads(done.stdout)["findings"]]
    assert done.returncode == 1
    assert "network 'lan': 1 of 1 addresses are in use" in said


def test_a_pair_that_never_left_the_host_is_a_leak(made_up: MadeUpNode) -> None:
    made_up.healthy()
    made_up.host.ip("link", "add", "veth0123abcd", "type", "veth", "peer", "name", "tmp0")
    (leak,) = of(made_up.doctor()[1], "leaked interfaces")
    assert leak["reason"].startswith("veth0123abcd belongs to no container")


def test_pairs_whose_owner_may_be_unknown_are_one_finding(made_up: MadeUpNode) -> None:
    made_up.healthy()
    for index in range(5):
        name, peer = f"veth0123abc{index}", f"tmp{index}"
        made_up.host.ip("link", "add", name, "type", "veth", "peer", "name", peer)
    (made_up.folder / "state").chmod(0o777)
    (doubt,) = of(made_up.doctor()[1], "leaked interfaces")
    assert doubt["severity"] == "unchecked"
    assert "veth0123abc0 belongs" in doubt["reason"] and "and 2 more" in doubt["reason"]
    assert doubt["reason"].count("may be unknown") == 1


def test_a_pair_of_a_container_whose_result_names_no_interface_is_no_leak(
    made_up: MadeUpNode, cni_pod: Netns
) -> None:
    pool = {"type": "host-local", "subnet": "10.78.0.0/28", "dataDir": str(made_up.folder / "ip")}
    old = {"name": "old", "cniVersion": "0.2.0", "type": "ptp", "ipam": pool}
    conf = made_up.healthy(delegates=[old], invokers={"ptp": "exec"})
    made_up.attach(conf, cni_pod)
    assert of(made_up.doctor()[1], "leaked interfaces") == []


def test_a_host_end_without_a_record_is_a_leak(made_up: MadeUpNode, cni_pod: Netns) -> None:
    conf = made_up.healthy()
    made_up.attach(conf, cni_pod)
    assert of(made_up.doctor()[1], "leaked interfaces") == []
    for path in (made_up.folder / "state").glob("*:*"):
        path.unlink()
    (leak,) = of(made_up.doctor()[1], "leaked interfaces")
    assert "no record names it" in leak["reason"]


@pytest.mark.usefixtures("every_process")
@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_masquerade_rules_of_a_container_that_is_gone_are_a_leak(
    made_up: MadeUpNode, cni_pod: Netns, backend: str
) -> None:
    if backend == "nftables":
        require_nftables()
    made_up.healthy()
    with inside(made_up.host):
        for container in ("known-container", "dead-container"):
            owner = masquerade.Owner("lan", container, "eth0")
            masquerade.add(owner, ["10.77.0.9/24", "fd77::9/64"], backend)
    cached = {"kind": "cniCacheV1", "containerId": "known-container", "netns": cni_pod.path}
    made_up.write("results/lan-known-container-eth0", cached)
    (leak,) = of(made_up.doctor()[1], "leaked rules")
    assert leak["severity"] == "warning"
    assert leak["reason"].startswith("network 'lan': ")
    assert "dead-contain" in leak["reason"]


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_rules_for_a_port_of_a_container_that_is_gone_are_a_leak(
    made_up: MadeUpNode, cni_pod: Netns, backend: str
) -> None:
    if backend == "nftables":
        require_nftables()
    portmap = pytest.importorskip("multus_invoker_portmap.invoker").Portmap()
    made_up.healthy()
    ports = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
    config = {"type": "portmap", "backend": backend, "runtimeConfig": {"portMappings": ports}}
    with inside(made_up.host):
        for container in ("known-container", "dead-container"):
            caller = Caller(container, cni_pod.path)
            portmap.add(caller.invocation("ADD", config, Result(ips=(IP("10.77.0.9/24"),))))
        macs = "nft add rule bridge nat PREROUTING return comment macspoofchk"
        made_up.host.run("nft", "add table bridge nat; add chain bridge nat PREROUTING")
        made_up.host.run(*f"{macs}-known-container-eth-0".split())
    cached = {"kind": "cniCacheV1", "containerId": "known-container", "netns": cni_pod.path}
    made_up.write("results/net1-known-container-eth0", cached)
    (leak,) = of(made_up.doctor()[1], "leaked rules")
    assert "rule(s) of dead-contain" in leak["reason"]


def test_a_virtual_function_of_a_dead_namespace_is_a_leak(
    made_up: MadeUpNode, cni_pod: Netns
) -> None:
    made_up.healthy()
    made_up.write("sriov/pci/0000:3b:02.1", "/run/netns/gone-for-good")
    made_up.write("sriov/pci/0000:3b:02.2", cni_pod.path)
    (leak,) = of(made_up.doctor()[1], "leaked virtual functions")
    assert "0000:3b:02.1" in leak["reason"]


def test_a_damaged_record_is_told_with_its_file(made_up: MadeUpNode, cni_pod: Netns) -> None:
    conf = made_up.healthy()
    made_up.attach(conf, cni_pod)
    (path,) = (made_up.folder / "state").glob("*:*")
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    findings = of(made_up.doctor()[1], "journal")
    assert [each["file"] for each in findings] == [str(path)]
    assert findings[0]["code"] == 105


def test_a_state_folder_that_others_may_change_is_an_error(
    made_up: MadeUpNode, cni_pod: Netns
) -> None:
    made_up.attach(made_up.healthy(), cni_pod)
    os.chmod(made_up.folder / "state", 0o777)
    (finding,) = of(made_up.doctor()[1], "journal")
    assert (finding["severity"], finding["code"]) == ("error", 105)


def test_a_clock_behind_what_was_written_is_an_error(made_up: MadeUpNode) -> None:
    made_up.healthy()
    later = time.time() + 86400
    os.utime(made_up.folder / "net.d" / "00-multus.conf", (later, later))
    (finding,) = of(made_up.doctor()[1], "clock")
    assert finding["severity"] == "error"


def test_a_node_mounted_elsewhere_is_looked_at_there(made_up: MadeUpNode, tmp_path: Path) -> None:
    root = tmp_path / "host"
    for folder in ("etc/cni/net.d", "opt/cni/bin", "var/lib/cni"):
        (root / folder).mkdir(parents=True)
    served = {"type": "ptp", "ipam": {"type": "static"}}
    conf = {"name": "n", "type": "multus", "delegates": [{"type": "acme"}, served]}
    (root / "etc/cni/net.d/00-multus.conf").write_text(json.dumps(conf))
    os.chmod(root / "etc/cni/net.d/00-multus.conf", 0o600)
    done = made_up.run("doctor", "--json", "--root", str(root))
    findings = json.loads(done.stdout)["findings"]
    assert "/opt/cni/bin/multus is missing" in of(findings, "program")[0]["reason"]
    assert "'acme' is not found" in of(findings, "delegates")[0]["reason"]
    (root / "opt/cni/bin/multus").write_bytes(b"")
    for name in ("multus", "multus-standalone", "acme"):
        (root / "opt/cni/bin" / name).write_bytes(b"")
        os.chmod(root / "opt/cni/bin" / name, 0o755)
    done = made_up.run("doctor", "--json", "--root", str(root))
    findings = json.loads(done.stdout)["findings"]
    assert [each for each in findings if each["severity"] == "error"] == []
    assert "acme (a program), ptp (in-process)" in done.stdout


def test_the_text_for_people_groups_findings_and_needs_no_terminal(made_up: MadeUpNode) -> None:
    made_up.healthy(naming="other")
    done = made_up.run("doctor", "--net-d", made_up.folder / "net.d", environ={"NO_COLOR": "1"})
    lines = done.stdout.splitlines()
    assert [line for line in lines if line in ("Configuration", "Programs", "State", "Leaks")] == [
        "Configuration",
        "Programs",
        "State",
        "Leaks",
    ]
    assert "\x1b" not in done.stdout


# --- What cannot be looked at ---------------------------------------------------------------------


def test_a_configuration_that_is_named_and_cannot_be_read_is_an_error(
    made_up: MadeUpNode, tmp_path: Path
) -> None:
    made_up.healthy()
    other = made_up.write("hosts", "127.0.0.1 localhost\n")
    for path, said in ((tmp_path / "nope", "No such file"), (other, "is not JSON")):
        status, findings = made_up.doctor("-c", path)
        (finding,) = of(findings, "configuration")
        assert (status, finding["severity"], finding["file"]) == (1, "error", str(path))
        assert said in finding["reason"]
        depending = [*of(findings, "delegates"), *of(findings, "pools"), *of(findings, "leaks")]
        assert [each["severity"] for each in depending] == ["unchecked"] * 3


def test_a_broken_file_of_ours_is_named_and_install_is_no_remedy(made_up: MadeUpNode) -> None:
    made_up.healthy()
    path = made_up.write("net.d/00-multus.conf", '{"type": "multus",\n')
    status, findings = made_up.doctor()
    (finding,) = of(findings, "configuration order")
    assert (status, finding["file"]) == (1, str(path))
    assert "is not JSON: line 2" in finding["reason"]
    assert "multus install" not in json.dumps(findings)
    assert f"multus validate -f {path}" in finding["fix"]


def test_without_rights_nothing_is_green_and_nothing_is_called_leaked(
    made_up: MadeUpNode, cni_pod: Netns
) -> None:
    conf = made_up.healthy()
    made_up.attach(conf, cni_pod)
    made_up.write("results/unreadable", "{}", 0)
    (record,) = (made_up.folder / "state").glob("*:*")
    record.chmod(0)
    status, findings = made_up.doctor(rights="-dac_override,-dac_read_search")
    severities = {each["subject"]: each["severity"] for each in findings}
    assert status == 3, findings
    assert (severities["journal"], severities["leaks"]) == ("unchecked", "unchecked")
    missed = [each for each in of(findings, "leaks") if str(record) in each["reason"]]
    assert missed and of(findings, "leaked addresses") == []


def test_what_a_torn_record_may_own_is_not_called_leaked(
    made_up: MadeUpNode, cni_pod: Netns
) -> None:
    conf = made_up.healthy()
    made_up.attach(conf, cni_pod)
    (path,) = (made_up.folder / "state").glob("*:*")
    path.write_bytes(path.read_bytes()[:40])  # not even its namespace can be read
    _, findings = made_up.doctor()
    (pair,) = of(findings, "leaked interfaces")
    assert pair["severity"] == "unchecked"
    assert str(path) in pair["reason"]
    assert of(findings, "leaked addresses") == []
    assert "delete" not in pair["fix"]


def test_the_sum_says_node_version_and_counts(made_up: MadeUpNode, cni_pod: Netns) -> None:
    made_up.attach(made_up.healthy(), cni_pod)
    done = made_up.run("doctor", "--root", made_up.folder / "nothing", environ={"NO_COLOR": "1"})
    last = done.stdout.splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith(f"✗ node {os.uname().nodename}, Multus {__version__}: ")
    assert "problem(s)" in last and "not checked" in last


def test_a_master_that_does_not_exist_is_an_error(made_up: MadeUpNode) -> None:
    made_up.healthy(delegates=[{"name": "m", "type": "macvlan", "master": "no-such-link"}])
    status, findings = made_up.doctor()
    (finding,) = of(findings, "delegates")
    assert (status, finding["severity"]) == (1, "error")
    assert "'master' is 'no-such-link', and the host has no interface" in finding["reason"]


def test_where_nothing_is_every_check_says_so_and_none_is_green(
    made_up: MadeUpNode, tmp_path: Path
) -> None:
    done = made_up.run("doctor", "--json", "--root", tmp_path / "nothing")
    findings = json.loads(done.stdout)["findings"]
    every = {each["examination"] for each in findings}
    assert every == {*examine.EXAMINATIONS}
    green = {each["subject"] for each in findings if each["severity"] == "ok"}
    # What is looked at here, not there; and that nothing waits in folders that do not exist.
    assert green <= {"plugins", "disk", "clock", "kept DELs"}


def test_a_bundle_has_what_a_report_needs_and_no_secret(
    made_up: MadeUpNode, cni_pods: Pods, tmp_path: Path
) -> None:
    conf = made_up.healthy()
    made_up.attach(conf, cni_pods(), args="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web")
    secret = {"type": "x", "name": "x", "apiToken": "hunter2", "url": "http://me:hunter3@server/"}
    made_up.write("net.d/99-other.conf", {**secret, "auth": "Bearer hunter4"})
    made_up.write("net.d/98-torn.conf", '{"password": "hunter5"')
    path = tmp_path / "bundle.tar.gz"
    places: list[str | Path] = [
        "--net-d",
        made_up.folder / "net.d",
        "--socket",
        made_up.folder / "none",
    ]
    done = made_up.run("doctor", "--json", "--bundle", path, *places)
    assert "without secrets" in done.stderr
    assert path.stat().st_mode & 0o777 == 0o600
    with tarfile.open(path) as archive:
        texts = {each.name: archive.extractfile(each).read().decode() for each in archive}  # type: ignore[union-attr]
    texts = {name.removeprefix("multus-bundle/"): text for name, text in texts.items()}
    assert "hunter" not in "".join(texts.values())
    assert json.loads(texts["doctor.json"]) == json.loads(done.stdout)
    (record,) = json.loads(texts["attachments.json"])["records"]
    assert record["pod"] == "shop/web"
    assert [each["command"] for each in json.loads(texts["trace.json"])] == ["ADD"]
    assert "lo" in [each["name"] for each in json.loads(texts["links.json"])]
    assert any(
        each.startswith("multus ") for each in json.loads(texts["versions.json"])["distributions"]
    )
    files = {name for name in texts if name.startswith("files/")}
    assert {name.rpartition("/")[2] for name in files} >= {"00-multus.conf", "99-other.conf"}
