"""Which IPAM serves which configuration, and what STATUS, GC and foreign types do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from multus import ipam
from multus.api.errors import CheckFailed, CNIError, IncompatibleVersion, InvalidConfig
from multus.api.ipam import Ipam
from multus.api.network import Invocation
from multus.api.result import Result
from multus.testing.delegates import BinDir, Reply, interface_result
from multus.testing.invocation import Caller


def _pool(config: dict[str, Any], verb: str = "ADD", caller: Caller | None = None) -> Ipam:
    pool = ipam.for_plugin((caller or Caller()).invocation(verb, {"type": "ptp", "ipam": config}))
    assert pool is not None
    return pool


@pytest.mark.parametrize("config", [{}, {"ipam": {}}, {"ipam": None}, {"ipam": {"type": ""}}])
def test_without_a_type_there_is_no_ipam(config: dict[str, Any]) -> None:
    assert ipam.for_plugin(Caller().invocation("ADD", {"type": "ptp", **config})) is None


@pytest.mark.parametrize("config", ["host-local", [], {"type": 1}])
def test_an_invalid_ipam_is_refused(config: object) -> None:
    with pytest.raises(InvalidConfig):
        ipam.for_plugin(Caller().invocation("ADD", {"type": "ptp", "ipam": config}))


@pytest.mark.parametrize("kind", ["host-local", "static"])
def test_a_key_that_is_not_known_hands_over_to_the_binary(kind: str) -> None:
    assert _pool({"type": kind}).name == kind
    pool = _pool({"type": kind, "flavour": "new"})
    assert pool.name == "exec"
    assert "'flavour'" in pool.reason


def test_another_type_is_run_with_the_whole_configuration(cni_bin: BinDir) -> None:
    answer = {**interface_result(["10.7.0.2/24"]), "interfaces": []}
    answer["ips"] = [{"address": "10.7.0.2/24", "gateway": "10.7.0.1"}]
    cni_bin.stand_in("whereabouts", ADD=Reply.json(answer))
    caller = Caller(path=[cni_bin.path], args="K8S_POD_NAME=a", ifname="net1")
    result = _pool({"type": "whereabouts", "range": "10.7.0.0/24"}, caller=caller).add()
    assert [ip.address for ip in result.ips] == ["10.7.0.2/24"]
    _pool({"type": "whereabouts"}, "DEL", caller).delete()
    _pool({"type": "whereabouts"}, "CHECK", caller).check()
    assert cni_bin.commands() == [
        "ADD whereabouts net1",
        "DEL whereabouts net1",
        "CHECK whereabouts net1",
    ]
    first = cni_bin.calls[0]
    assert first.conf["ipam"]["range"] == "10.7.0.0/24"
    assert first.conf["type"] == "ptp"
    assert first.environ["CNI_ARGS"] == "K8S_POD_NAME=a"
    assert first.environ["CNI_CONTAINERID"] == "c1"


def test_a_binary_that_fails_is_told_to_clean_up_and_keeps_its_code(cni_bin: BinDir) -> None:
    cni_bin.stand_in("dhcp", ADD=Reply.error(11, "no lease"), DEL=Reply.error(101, "no daemon"))
    with pytest.raises(CNIError) as caught:
        _pool({"type": "dhcp"}, caller=Caller(path=[cni_bin.path])).add()
    assert caught.value.number == 11
    assert caught.value.msg == "no lease"
    assert "no daemon" in caught.value.details
    assert cni_bin.commands() == ["ADD dhcp eth0", "DEL dhcp eth0"]


def test_a_binary_of_an_older_version_is_spoken_to_in_that(cni_bin: BinDir) -> None:
    old = {"cniVersion": "1.0.0", "supportedVersions": ["0.4.0", "1.0.0"]}
    cni_bin.stand_in("ipam", VERSION=Reply.json(old), ADD=Reply.error(1, "incompatible"))
    with pytest.raises(IncompatibleVersion):
        _pool({"type": "ipam"}, caller=Caller(path=[cni_bin.path])).add()
    spoken = [call.conf["cniVersion"] for call in cni_bin.calls if call.command == "ADD"]
    assert spoken == ["1.1.0", "1.0.0"]


def test_old_versions_of_a_binary_are_not_asked_for_what_they_do_not_know(cni_bin: BinDir) -> None:
    cni_bin.stand_in("dhcp")
    caller = Caller(path=[cni_bin.path])
    for version, verbs in (
        ("0.3.1", []),
        ("1.0.0", ["CHECK"]),
        ("1.1.0", ["CHECK", "STATUS", "GC"]),
    ):
        before = len(cni_bin.calls)
        config = {"cniVersion": version, "type": "ptp", "ipam": {"type": "dhcp"}}
        pool = ipam.for_plugin(caller.invocation("CHECK", config))
        assert pool is not None
        pool.check()
        pool.status()
        pool.gc()
        assert [call.command for call in cni_bin.calls[before:]] == verbs


def _hostlocal(tmp_path: Path, verb: str, caller: Caller, valid: list[Caller] | None = None) -> Any:
    config = {"type": "host-local", "subnet": "10.1.0.0/24", "dataDir": str(tmp_path)}
    return ipam.for_plugin(
        caller.invocation(verb, {"type": "ptp", "ipam": config}, valid=valid or [])
    )


def test_gc_frees_what_no_valid_attachment_holds(tmp_path: Path) -> None:
    kept, gone = Caller(container_id="kept"), Caller(container_id="gone")
    for caller in (kept, gone, Caller(container_id="kept", ifname="net1")):
        _hostlocal(tmp_path, "ADD", caller).add()
    _hostlocal(tmp_path, "GC", Caller(), [kept]).gc()
    holders = {path.name for path in (tmp_path / "net1").glob("10.*")}
    assert holders == {"10.1.0.2"}
    _hostlocal(tmp_path / "none", "GC", Caller(), [kept]).gc()
    assert not (tmp_path / "none").exists()


def test_check_fails_when_another_holds_the_reported_address(tmp_path: Path) -> None:
    caller = Caller()
    result = _hostlocal(tmp_path, "ADD", caller).add()
    path = tmp_path / "net1" / "10.1.0.2"
    path.rename(path.with_name("10.1.0.9"))
    config = {"type": "host-local", "subnet": "10.1.0.0/24", "dataDir": str(tmp_path)}
    invocation = caller.invocation("CHECK", {"type": "ptp", "ipam": config}, result)
    with pytest.raises(CheckFailed) as caught:
        _checked(invocation)
    assert "10.1.0.2" in caught.value.msg
    _checked(caller.invocation("CHECK", {"type": "ptp", "ipam": config}, Result()))


def _checked(invocation: Invocation) -> None:
    pool = ipam.for_plugin(invocation)
    assert pool is not None
    pool.check()


def test_status_says_what_is_wrong_with_the_configuration(tmp_path: Path) -> None:
    _hostlocal(tmp_path, "STATUS", Caller()).status()
    with pytest.raises(InvalidConfig):
        _pool({"type": "host-local"}, "STATUS").status()
    with pytest.raises(InvalidConfig):
        _pool({"type": "static", "addresses": [{"address": "x"}]}, "STATUS").status()


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    _hostlocal(tmp_path, "ADD", Caller()).add()
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "net1").iterdir()}
    assert modes == dict.fromkeys(("10.1.0.2", "last_reserved_ip.0", "lock"), 0o600)


def test_an_add_imports_nothing_that_costs(tmp_path: Path) -> None:
    script = (
        "import sys; from multus.testing.invocation import Caller; from multus import ipam\n"
        f"config = {{'type': 'host-local', 'dataDir': {str(tmp_path)!r}}}\n"
        "config['subnet'] = '10.1.0.0/24'\n"
        "invocation = Caller().invocation('ADD', {'type': 'ptp', 'ipam': config})\n"
        "before = set(sys.modules); ipam.for_plugin(invocation).add()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    added = {name for name in out.stdout.split() if not name.startswith("multus.")}
    assert added <= {"fcntl", "socket", "_socket", "select", "selectors", "math", "array"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, value) for key in ("mtu", "advmss", "priority", "table") for value in (-1, 2**32)),
        ("scope", 256),
        ("scope", -1),
    ],
)
@pytest.mark.parametrize("kind", ["host-local", "static"])
def test_a_number_of_a_route_that_the_kernel_cannot_take_is_named(
    kind: str, key: str, value: int, tmp_path: Path
) -> None:
    config: dict[str, Any] = {"type": kind, "routes": [{"dst": "0.0.0.0/0", key: value}]}
    if kind == "host-local":
        config |= {"subnet": "10.0.0.0/24", "dataDir": str(tmp_path)}
    with pytest.raises(
        InvalidConfig, match=rf"routes\[0\]: '{key}' is {value}: use a number from 0"
    ):
        _pool(config).add()
