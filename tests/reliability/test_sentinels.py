"""Configurations that point to files of the host and special files: no change, and no hang."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reliability.life import LONG, NODE, TENANT, Life
from reliability.sentinels import ODD, Sentinels
from waiting import PATIENCE

from multus.api.conf import Conf
from multus.api.errors import CNIError
from multus.api.network import Provenance
from multus.ipam import store
from multus.netlink import Namespace
from multus.testing.netns import Netns, Node

FOLDERS = ("pam.d", *ODD, *(f"{kind}-inside" for kind in ODD), *(f"as-{kind}" for kind in ODD))


@pytest.fixture
def sentinels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sentinels:
    if os.geteuid() != 0:
        pytest.skip("only root can make devices")
    monkeypatch.setattr(store, "PATIENCE", LONG)
    return Sentinels.plant(str(tmp_path / "host"))


@pytest.fixture
def host(cni_node: Node) -> Iterator[Node]:
    with Namespace(cni_node.path) as namespace, namespace.entered():
        yield cni_node


def unchanged(sentinels: Sentinels, life: Life) -> dict[str, CNIError | None]:
    """The results of a life that changed nothing, did not hang, and ended."""
    before, began = sentinels.snapshot(), time.monotonic()
    outcomes = life.outcomes()
    assert time.monotonic() - began < PATIENCE
    assert sentinels.changed(before) == []
    for verb, error in outcomes.items():
        assert error is None or error.number != 999, (verb, error)
    for verb in ("DEL", "DEL again"):
        assert outcomes[verb] is None, outcomes
    return outcomes


def ptp(**ipam: Any) -> dict[str, Any]:
    pool = {"type": "host-local", "subnet": "10.1.0.0/24", **ipam}
    return {"cniVersion": "1.1.0", "name": "net", "type": "ptp", "ipam": pool}


@pytest.mark.parametrize("provenance", [NODE, TENANT], ids=lambda each: each.value)
class TestStores:
    @pytest.mark.parametrize("name", FOLDERS)
    def test_a_store_in_the_tree(
        self,
        sentinels: Sentinels,
        host: Node,
        cni_pod: Netns,
        tmp_path: Path,
        name: str,
        provenance: Provenance,
    ) -> None:
        config = {**ptp(dataDir=sentinels.root), "name": name}
        outcomes = unchanged(sentinels, Life(cni_pod, tmp_path, config, provenance))
        if provenance is TENANT:
            error = outcomes["ADD"]
            assert error is not None
            assert "host-local" in error.msg and "'dataDir'" in error.details
        elif name in ("pam.d", *(f"{kind}-inside" for kind in ODD)):
            # No file in this folder has the name of a store's file.
            assert outcomes["ADD"] is None, outcomes
        elif not name.startswith("as-"):
            assert f"{name}/lock cannot be locked: it is" in str(outcomes["ADD"])

    @pytest.mark.parametrize("data_dir", ["net", "./net", "/a\0b", "/\ud800", "/" + 300 * "x", 5])
    def test_a_store_at_an_impossible_path(
        self,
        sentinels: Sentinels,
        host: Node,
        cni_pod: Netns,
        tmp_path: Path,
        data_dir: Any,
        provenance: Provenance,
    ) -> None:
        config = ptp(dataDir=data_dir)
        outcomes = unchanged(sentinels, Life(cni_pod, tmp_path, config, provenance))
        assert outcomes["ADD"] is not None

    @pytest.mark.parametrize("kind", [*ODD, "missing", "large"])
    def test_a_resolv_conf_that_is_not_a_regular_file(
        self,
        sentinels: Sentinels,
        host: Node,
        cni_pod: Netns,
        tmp_path: Path,
        kind: str,
        provenance: Provenance,
    ) -> None:
        path = f"{sentinels.root}/as-{kind}"
        if kind == "large":
            with open(path, "wb") as file:
                file.truncate(1 << 33)
        config = ptp(resolvConf=path, dataDir=str(tmp_path / "ipam"))
        outcomes = unchanged(sentinels, Life(cni_pod, tmp_path, config, provenance))
        if kind == "link" and provenance is NODE:
            assert outcomes["ADD"] is None  # as /etc/resolv.conf often is
        else:
            assert "host-local" in str(outcomes["ADD"]) or "resolvConf" in str(outcomes["ADD"])

    @pytest.mark.parametrize("name", FOLDERS)
    def test_sriov_keeps_its_files_in_the_tree(
        self,
        sentinels: Sentinels,
        host: Node,
        cni_pod: Netns,
        tmp_path: Path,
        name: str,
        provenance: Provenance,
    ) -> None:
        config = {
            "cniVersion": "1.1.0",
            "name": "net",
            "type": "sriov",
            "deviceID": "0000:03:02.0",
            "cniDir": f"{sentinels.root}/{name}",
        }
        outcomes = unchanged(sentinels, Life(cni_pod, tmp_path, config, provenance))
        assert outcomes["ADD"] is not None  # there is no card


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pam.d", ""),
        *((kind, "c1_eth0.json cannot be written: it is") for kind in ODD),
        ("as-fifo", "cannot be written"),
        ("as-dangling", "cannot be written"),
    ],
)
def test_tuning_keeps_its_files_in_the_tree(
    sentinels: Sentinels, host: Node, cni_pod: Netns, tmp_path: Path, name: str, said: str
) -> None:
    folder = f"{sentinels.root}/{name}"
    error = unchanged(sentinels, Life(cni_pod, tmp_path, tuned(dataDir=folder), NODE))["ADD"]
    assert said in error.msg if error else not said


@pytest.mark.parametrize("folder", ["/etc", "/run/cni/tuning/..", "/var/lib/cni/networksx"])
def test_tuning_of_a_tenant_in_another_folder_is_left_to_the_binary(
    sentinels: Sentinels, host: Node, cni_pod: Netns, tmp_path: Path, folder: str
) -> None:
    error = unchanged(sentinels, Life(cni_pod, tmp_path, tuned(dataDir=folder), TENANT))["ADD"]
    assert error is not None and "'tuning' is not found" in error.msg
    assert f"the binary is needed: key 'dataDir' is {folder!r}, outside" in error.details


def tuned(**keys: Any) -> dict[str, Any]:
    static = {"type": "static", "addresses": [{"address": "10.1.0.7/24"}]}
    first = {"type": "macvlan", "master": "uplink", "ipam": static}
    tuning = {"type": "tuning", "mtu": 1400, **keys}
    return {"cniVersion": "1.1.0", "name": "net", "plugins": [first, tuning]}


def test_gc_frees_addresses_of_the_subnets_alone(
    sentinels: Sentinels, host: Node, cni_pod: Netns, tmp_path: Path
) -> None:
    store = Path(sentinels.root, "pam.d")
    (store / "10.1.0.77").write_text("gone\r\neth0")
    (store / "10.1.0.78").touch()
    (store / "10.2.0.77").write_text("of another range\r\neth0")
    before = sentinels.snapshot()
    config = {**ptp(dataDir=sentinels.root), "name": "pam.d"}
    life = Life(cni_pod, tmp_path, config, NODE)
    life.engine.collect_garbage(
        life.request("GC"), Conf.from_wire({**life.raw, "cni.dev/valid-attachments": []})
    )
    assert sentinels.changed(before) == [str(store / "10.1.0.77"), str(store / "10.1.0.78")]
