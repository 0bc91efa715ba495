"""The API in a daemon: answers from caches, else from the server."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import eventually

from integration.kube.claims import DRIVER, slice_of, vf
from multus.api.conf import Conf
from multus.api.kubernetes import Deadline, NotFound, ObjectRef, Resource, view_of
from multus.api.request import Request
from multus.kube.kept import Kept
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.nodeapi import NodeApi
from multus.testing.apiserver import ApiServer
from multus.testing.session import new_session

DEFINITIONS = Resource("k8s.cni.cncf.io", "v1", "network-attachment-definitions")
NETWORKS = Resource("kubernetes-network.cni.cncf.io", "v1", "networks")
CACHED = {DEFINITIONS: ["spec"], NETWORKS: ["plugin", "args"]}


def wanted(name: str) -> ObjectRef:
    return DEFINITIONS.object("default", name)


def nad(name: str) -> dict[str, object]:
    return {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"config": "{}"},
    }


@pytest.fixture
def node(api: ApiServer, tmp_path: Path) -> Iterator[NodeApi]:
    found = NodeApi(load_kubeconfig(api.write_kubeconfig(tmp_path)), "n1", CACHED)
    yield found
    found.close()


def synced(node: NodeApi) -> bool:
    return all(state.synced for state in node.states())


def gets(api: ApiServer, part: str) -> int:
    return sum(n for (method, path), n in api.requests.items() if method == "GET" and part in path)


def test_what_is_known_is_not_asked_again(api: ApiServer, node: NodeApi, soon: Deadline) -> None:
    api.create_pod("web", {"networks": "[]"}, uid="u-1")
    api.create(nad("a"))
    node.start()
    eventually(lambda: synced(node))
    assert node.pod("default", "web", soon, "u-1")["annotations"] == {"networks": "[]"}
    assert node.get(wanted("a"), soon)["spec"] == {"config": "{}"}
    assert [type(each) for each in node.get_each([wanted("a"), wanted("a")], soon)] == [dict, dict]
    assert gets(api, "/web") == 0
    assert gets(api, "definitions/a") == 0
    assert {state.objects for state in node.states()} == {0, 1}


def test_an_object_that_is_not_cached_is_read_from_the_server(
    api: ApiServer, node: NodeApi, soon: Deadline
) -> None:
    api.create_pod("web", uid="u-2")
    api.create(nad("a"))
    assert node.pod("default", "web", soon)["uid"] == "u-2"
    assert node.get(wanted("a"), soon)["metadata"]["name"] == "a"
    node.start()
    eventually(lambda: synced(node))
    assert node.pod("default", "web", soon, "u-1")["uid"] == "u-2"
    assert gets(api, "/web") == 2
    found = node.get_each([wanted("a"), wanted("b")], soon)
    assert isinstance(found[0], dict)
    assert isinstance(found[1], NotFound)
    assert gets(api, "definitions/b") == 1


def test_without_a_uid_the_server_is_asked_and_once(api: ApiServer, node: NodeApi) -> None:
    """The cached pod may be a predecessor of the same name."""
    api.create_pod("web", {"networks": "new"}, uid="u-2")
    node.start()
    eventually(lambda: synced(node))
    predecessor = {"uid": "u-1", "annotations": {"networks": "old"}}
    node.pods.follower._objects.put(("default", "web"), predecessor)
    assert node.pods.get("default", "web") == predecessor
    conf = Conf.from_wire({"name": "n", "kubeconfig": "/nowhere"})
    args = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": "default"}
    view = view_of(Request("ADD", args=args), conf, new_session(api=node))
    assert view is not None
    assert [view.annotation("networks"), view.annotation("networks")] == ["new", "new"]
    assert gets(api, "/web") == 1


def test_what_is_too_large_to_keep_is_asked_for(
    api: ApiServer, node: NodeApi, soon: Deadline
) -> None:
    api.create({**nad("large"), "spec": {"config": "x" * 300_000}})
    api.create(nad("a"))
    node.start()
    eventually(lambda: synced(node))
    assert len(node.get(wanted("large"), soon)["spec"]["config"]) == 300_000
    node.get(wanted("a"), soon)
    assert (gets(api, "definitions/large"), gets(api, "definitions/a")) == (1, 0)
    (state,) = [each for each in node.states() if each.objects]
    assert (state.objects, state.marked, state.stale) == (2, 1, False)
    assert 0 < state.bytes < 2000


def test_what_is_stale_is_asked_for(
    api: ApiServer, node: NodeApi, soon: Deadline, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.bookmark_seconds = 60
    api.create(nad("a"))
    api.create_pod("web", uid="u-1")
    node.start()
    eventually(lambda: synced(node))
    monkeypatch.setattr("multus.kube.follower._STALE", 0.0)
    node.get(wanted("a"), soon)
    node.pod("default", "web", soon, "u-1")
    assert (gets(api, "definitions/a"), gets(api, "/web")) == (1, 1)
    assert [(each.stale, each.synced) for each in node.states()] == [(True, False)] * 3


def test_a_change_is_seen(api: ApiServer, node: NodeApi, soon: Deadline) -> None:
    api.create(nad("a"))
    node.start()
    eventually(lambda: synced(node))
    kind = api.store.kind_of(nad("a"))
    api.store.change(kind, "default", "a", lambda stored: stored["spec"].update(config="new"))
    eventually(lambda: node.get(wanted("a"), soon)["spec"]["config"] == "new")


def test_two_thousand_pods_and_definitions_cost_little(
    api: ApiServer, node: NodeApi, soon: Deadline
) -> None:
    for number in range(2000):
        copy = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 2000}
        api.create_pod(f"p{number}", {"networks": "[]", **copy})
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    node.start()
    eventually(lambda: synced(node))
    assert len(node.pods.follower) == 2000
    # KiB; the stand-in in this same process takes its part of it.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024


SLICES = Resource("resource.k8s.io", "v1", "resourceslices", node_field="spec.nodeName")
OF_NODE = {"spec.nodeName": "n1", "spec.driver": DRIVER}
PARTS: dict[Resource, list[str | tuple[str, ...]]] = {
    SLICES: [("spec", "driver"), ("spec", "devices", "name")]
}


class TestSelect:
    """Objects by their fields: from the cache of this node's, else from the server."""

    @pytest.fixture
    def slices(self, api: ApiServer, tmp_path: Path) -> Iterator[NodeApi]:
        """The API of node n1, which follows its slices."""
        found = NodeApi(load_kubeconfig(api.write_kubeconfig(tmp_path)), "n1", PARTS)
        found.start()
        yield found
        found.close()

    @pytest.fixture(autouse=True)
    def published(self, api: ApiServer) -> None:
        slice_of(api, vf(0))
        slice_of(api, vf(1), name="other", driver="other.example.org")
        slice_of(api, vf(2), name="n2-card", node="n2")

    def test_this_nodes_come_from_the_cache_with_the_parts_that_are_kept(
        self, api: ApiServer, slices: NodeApi, soon: Deadline
    ) -> None:
        eventually(lambda: synced(slices))
        before = gets(api, "")
        (found,) = slices.select(SLICES, OF_NODE, soon)
        assert found["metadata"]["name"] == "n1-card"
        assert found["spec"] == {"driver": DRIVER, "devices": [{"name": "vf-0"}]}
        assert gets(api, "") == before
        assert {state.what: state.objects for state in slices.states()} == {
            "pods of node n1": 0,
            "resourceslices.resource.k8s.io of node n1": 2,
        }

    def test_what_only_this_nodes_list_lacks_may_exist(self, slices: NodeApi) -> None:
        eventually(lambda: synced(slices))
        cache = slices.caches[SLICES]
        assert cache.get("", "n2-card") is None
        assert not cache.lacks("", "n2-card")

    @pytest.mark.parametrize(
        ("fields", "names"),
        [
            ({"spec.nodeName": "n2"}, ["n2-card"]),
            ({}, ["n1-card", "n2-card", "other"]),
            ({"spec.driver": DRIVER}, ["n1-card", "n2-card"]),
            ({**OF_NODE, "spec.pool.name": "n1"}, ["n1-card"]),
        ],
        ids=["another-node", "all", "any-node", "a-field-that-is-not-kept"],
    )
    def test_the_server_is_asked_for_what_the_cache_may_not_have(
        self,
        api: ApiServer,
        slices: NodeApi,
        soon: Deadline,
        fields: dict[str, str],
        names: list[str],
    ) -> None:
        eventually(lambda: synced(slices))
        found = slices.select(SLICES, fields, soon)
        assert sorted(each["metadata"]["name"] for each in found) == names
        assert all("pool" in each["spec"] for each in found), "a cached one has no pool"

    def test_a_fresh_answer_comes_from_the_server(self, slices: NodeApi, soon: Deadline) -> None:
        eventually(lambda: synced(slices))
        (found,) = slices.select(SLICES, OF_NODE, soon, fresh=True)
        assert found["spec"]["devices"] == [vf(0)]


def test_a_cache_without_room_for_all_does_not_answer_with_all() -> None:
    kept = Kept(700)
    for number in range(3):
        kept.put(("", f"s{number}"), {"spec": {"text": "x" * 100}})
    assert (kept.all(), kept.full) == (None, True)
    small = Kept(10_000)
    small.put(("", "s"), {"spec": 1})
    assert small.all() == [{"spec": 1}]
    small.put(("", "t"), None)
    assert small.all() is None
