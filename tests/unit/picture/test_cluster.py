"""A cluster read from its pods' annotations, through a client and the stand-in."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from multus.api.errors import CNIError
from multus.kube.client import KubeClient, ListPage
from multus.picture.cluster import reading
from multus.picture.cluster.model import Holder, rows, summary
from multus.picture.cluster.reading import ASKED, STATUS, Row, open_client, read
from multus.testing.apiserver import ApiServer, Fault

PODS = "/api/v1/pods"


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def client(api: ApiServer, tmp_path: Path) -> Iterator[KubeClient]:
    client = open_client(api.write_kubeconfig(tmp_path))
    yield client
    client.close()


def status(*entries: tuple[str, str, str]) -> dict[str, str]:
    """The annotation with (network, interface, address) of each entry."""
    wire = [{"name": name, "interface": nic, "ips": [ip]} for name, nic, ip in entries]
    return {STATUS: json.dumps(wire)}


def test_nodes_networks_and_addresses_are_those_of_the_annotations(
    api: ApiServer, client: KubeClient
) -> None:
    both = status(("lan", "eth0", "10.1.0.9"), ("shop/storage", "net1", "fd00::2"))
    api.create_pod("web", both, namespace="shop", node="a")
    api.create_pod("db", status(("lan", "eth0", "10.1.0.10")), node="b")
    api.create_pod("host", node="b")
    found = read(client)
    assert found.counts == {"a": {"lan": 1, "shop/storage": 1}, "b": {"lan": 1}}
    assert found.networks == ("lan", "shop/storage")
    assert [(address, each.holder.pod) for address, each in rows(found.attached)] == [
        *(("10.1.0.9", "shop/web"), ("10.1.0.10", "default/db"), ("fd00::2", "shop/web"))
    ]
    assert summary(found) == "2 nodes, 2 networks, 2 pods, 3 attachments"
    assert found.is_right


def test_no_specification_leaves_the_server(
    api: ApiServer, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.create_pod("web", status(("lan", "eth0", "10.1.0.2")), node="a")
    seen, told = [], reading.rows_of

    def watched(page: ListPage) -> Iterator[Row]:
        seen.append(page)
        yield from told(page)

    monkeypatch.setattr(reading, "rows_of", watched)
    assert read(client).nodes == ("a",)
    assert "pod-secret" not in str(seen)
    assert "network-status" in str(seen)


class TestDuplicates:
    def test_one_address_of_two_pods_is_one(self, api: ApiServer, client: KubeClient) -> None:
        api.create_pod("a", status(("lan", "eth0", "fd00::0:2")), node="n1")
        api.create_pod("b", status(("lan", "net1", "fd00::2/64")), node="n2")
        (found,) = read(client).duplicates
        assert (found.network, found.address) == ("lan", "fd00::2")
        assert found.holders == (
            Holder("default/a", "eth0", "n1"),
            Holder("default/b", "net1", "n2"),
        )

    def test_other_networks_and_the_same_pod_are_none(
        self, api: ApiServer, client: KubeClient
    ) -> None:
        api.create_pod("a", status(("lan", "eth0", "10.1.0.2"), ("lan", "net1", "10.1.0.2")))
        api.create_pod("b", status(("other", "eth0", "10.1.0.2")))
        assert read(client).duplicates == ()

    def test_a_pod_that_has_ended_holds_nothing(self, api: ApiServer, client: KubeClient) -> None:
        api.create_pod("a", status(("lan", "eth0", "10.1.0.2")))
        metadata = {"name": "job", "annotations": status(("lan", "eth0", "10.1.0.2"))}
        job = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
        api.create({**job, "status": {"phase": "Succeeded"}})
        found = read(client)
        assert (found.pods, found.duplicates) == (1, ())


def test_pods_on_a_node_that_have_no_status_are_named(api: ApiServer, client: KubeClient) -> None:
    api.create_pod("waits", {ASKED: "storage,\n  backup"}, node="a")
    api.create_pod("has-no-node", {ASKED: "storage"}, node="")
    api.create_pod("asks-nothing", {ASKED: " "}, node="a")
    (found,) = read(client).waiting
    assert (found.holder, found.asked) == (Holder("default/waits", node="a"), "storage, backup")
    assert found.created.endswith("Z")


@pytest.mark.parametrize(
    "text", ["{", '"lan"', "[1]", "[" * 5000, json.dumps([{}] * 100)], ids=lambda text: text[:6]
)
def test_an_odd_annotation_is_a_note_and_hides_no_other(
    api: ApiServer, client: KubeClient, text: str
) -> None:
    api.create_pod("odd", {STATUS: text}, node="a")
    api.create_pod("web", status(("lan", "eth0", "10.1.0.2")), node="a")
    found = read(client)
    assert found.counts["a"]["lan"] == 1
    (note,) = found.notes
    assert note.startswith("pod default/odd: ")


def test_a_value_of_any_type_is_text(api: ApiServer, client: KubeClient) -> None:
    entry: dict[str, Any] = {"name": ["x"], "interface": 7, "ips": [{"a": 1}, None], "mac": {}}
    api.create_pod("odd", {STATUS: json.dumps([entry, {"ips": "10.1.0.2"}])}, node="a")
    assert len(read(client).attached) == 2


def test_a_large_cluster_is_read_in_pages_and_in_bounds(
    api: ApiServer, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "MOST", 100)
    for number in range(600):
        api.create_pod(f"p{number}", status(("lan", "eth0", "10.1.0.2")), node="a")
    found = read(client)
    assert api.requests["GET", PODS] == 3
    assert found.counts == {"a": {"lan": 600}}
    assert (len(found.attached), found.unlisted) == (100, 500)
    assert "500 attachments are counted and not listed" in found.notes[-1]


def test_a_list_that_expires_is_read_again_once(api: ApiServer, client: KubeClient) -> None:
    api.create_pod("web", status(("lan", "eth0", "10.1.0.2")))
    api.faults.add(Fault("status", path=PODS, code=410, reason="Expired"))
    assert read(client).pods == 1


def test_a_server_without_tables_sends_objects(
    api: ApiServer, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multus.kube.client.TABLE", {"Accept": "application/json"})
    api.create_pod("web", status(("lan", "eth0", "10.1.0.2")), node="a")
    assert read(client).nodes == ("a",)


def test_missing_rights_are_an_error(api: ApiServer, client: KubeClient) -> None:
    api.forbidden.add(("list", "pods"))
    with pytest.raises(CNIError, match="cannot list pods"):
        read(client)
