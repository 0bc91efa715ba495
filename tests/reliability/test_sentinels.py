"""Configurations that point to files of the host and special files: no change, and no hang."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve, frozen
from reliability.sentinels import ODD, Sentinels
from waiting import PATIENCE

from multus.api.conf import Conf
from multus.api.errors import CNIError
from multus.api.network import Provenance
from multus.api.request import Request, parse_args
from multus.engine.pipeline import Engine
from multus.ipam import _store as store
from multus.log import Log
from multus.netlink import Namespace
from multus.registry.index import discover
from multus.registry.loading import load
from multus.testing.netns import Netns, Node

NODE, TENANT = Provenance.NODE, Provenance.TENANT
ARGS = "IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME=web"
FOLDERS = ("pam.d", *ODD, *(f"{kind}-inside" for kind in ODD), *(f"as-{kind}" for kind in ODD))

#: The timeout of each verb, in seconds.
LONG = 600.0


@frozen
class Definitions:
    """A stand-in for the API: one pod that requests one network, with this definition."""

    config: Mapping[str, Any]

    def get(self, wanted: Any, deadline: object) -> Any:
        return {"spec": {"config": json.dumps(self.config)}}

    def get_each(self, wanted: Sequence[Any], deadline: object) -> list[Any]:
        return [self.get(each, deadline) for each in wanted]

    def select(self, *_: Any, **__: Any) -> list[dict[str, Any]]:
        return []

    def pod(self, namespace: str, name: str, deadline: object, uid: str = "") -> Any:
        return {"annotations": {"k8s.v1.cni.cncf.io/networks": "net"}}

    def write(self, writes: Sequence[Any], seconds: float) -> None:
        """Accept every write."""


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


class Life:
    """ADD, CHECK, DEL and GC of one network, written by the node's owner or by a tenant."""

    def __init__(self, pod: Netns, folder: Path, config: Any, provenance: Provenance) -> None:
        raw = {"cniVersion": "1.1.0", "name": "node", "type": "multus", "logToStderr": False}
        raw |= {"cniDir": str(folder / "multus"), "binDir": str(folder / "none")}
        raw |= {"delegates": [config]} if provenance is NODE else {"kubeconfig": "/none"}
        api = Definitions(config) if provenance is TENANT else None
        self.pod, self.raw = pod, raw
        self.engine = Engine(load(discover()), Log.from_conf(raw), api=api)

    def request(self, verb: str) -> Request:
        self.engine.deadline = time.monotonic() + LONG
        request = Request(verb, args=parse_args(ARGS))
        if verb != "GC":
            request = evolve(request, container_id="c1", netns=self.pod.path, ifname="eth0")
        return request

    def outcomes(self) -> dict[str, CNIError | None]:
        """The result of each verb; DEL is retried, as runtimes do."""
        conf = Conf.from_wire(self.raw)
        gc = Conf.from_wire({**self.raw, "cni.dev/valid-attachments": []})
        verbs: dict[str, Callable[[], object]] = {
            "ADD": lambda: self.engine.add(self.request("ADD"), conf),
            "CHECK": lambda: self.engine.check(self.request("CHECK"), conf),
            "DEL": lambda: self.engine.delete(self.request("DEL"), conf),
            "DEL again": lambda: self.engine.delete(self.request("DEL"), conf),
            "GC": lambda: self.engine.collect_garbage(self.request("GC"), gc),
        }
        found: dict[str, CNIError | None] = {}
        for verb, carry_out in verbs.items():
            try:
                carry_out()
            except CNIError as error:
                found[verb] = error
            else:
                found[verb] = None
        return found


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
