"""Caches against the stand-in: watching, recovery, stopping, memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from waiting import PATIENCE, becomes, eventually

from multus.api.errors import CNIError
from multus.api.kubernetes import ApiFailure, Resource
from multus.kube import follower as follower_module
from multus.kube.cache import DefinitionCache, PodCache
from multus.kube.client import KubeClient
from multus.kube.urls import list_path
from multus.testing.apiserver import ApiServer, Fault

DEFINITIONS = Resource("k8s.cni.cncf.io", "v1", "network-attachment-definitions")

Connect = Callable[..., KubeClient]


@pytest.fixture
def problems() -> list[CNIError]:
    return []


@pytest.fixture
def pods(connect: Connect, problems: list[CNIError]) -> Iterator[PodCache]:
    cache = PodCache(connect(), "n1", on_problem=problems.append)
    yield cache
    cache.close()


def bookmarked(pods: PodCache) -> None:
    """Wait until the watch is open and has reported a current version.

    The first bookmark may have been written before now; the second was written after the first.
    """
    for _ in range(2):
        now = time.monotonic()
        eventually(lambda: pods.age < time.monotonic() - now)  # noqa: B023  called at once


def test_pods_of_the_node_are_known_by_what_sources_read(api: ApiServer, pods: PodCache) -> None:
    copy = {"kubectl.kubernetes.io/last-applied-configuration": "x" * 1000}
    api.create_pod("web", {"networks": "[]", **copy}, uid="u-1")
    api.create_pod("elsewhere", node="n2")
    assert not pods.synced
    assert pods.age == float("inf")
    pods.start()
    assert pods.follower.wait(PATIENCE)
    assert pods.get("default", "web", "u-1") == {
        "namespace": "default",
        "name": "web",
        "uid": "u-1",
        "annotations": {"networks": "[]"},
    }
    assert pods.get("default", "elsewhere") is None
    assert pods.age < PATIENCE


def test_changes_arrive(api: ApiServer, pods: PodCache) -> None:
    pods.start()
    assert pods.follower.wait(PATIENCE)
    web = api.create_pod("web", {"networks": "a"})
    eventually(lambda: pods.get("default", "web"))
    api.delete(web)
    eventually(lambda: pods.get("default", "web") is None)
    assert pods.follower.lists == 1


def test_a_pod_with_another_uid_is_unknown_but_a_static_pod_is_known(
    api: ApiServer, pods: PodCache
) -> None:
    api.create_pod("web", uid="u-1")
    api.create_pod("etcd", {"kubernetes.io/config.mirror": "hash"}, uid="u-2")
    first = {"kubernetes.io/config.mirror": "mirror", "kubernetes.io/config.hash": "hash"}
    api.create_pod("scheduler", first, uid="u-3")
    api.create_pod("no-mirror", {"kubernetes.io/config.hash": "hash"}, uid="u-4")
    pods.start()
    assert pods.follower.wait(PATIENCE)
    assert pods.get("default", "web", "u-9") is None
    assert pods.get("default", "etcd", "hash") is not None
    assert pods.get("default", "etcd", "another") is None
    assert pods.get("default", "scheduler", "hash") is not None
    assert pods.get("default", "scheduler", "another") is None
    assert pods.get("default", "no-mirror", "hash") is None


@pytest.mark.parametrize("as_status", [True, False], ids=["http-410", "error-event"])
def test_a_version_that_is_gone_is_listed_anew(
    api: ApiServer, pods: PodCache, as_status: bool
) -> None:
    api.gone_as_status = as_status
    api.create_pod("web")
    pods.start()
    assert pods.follower.wait(PATIENCE)
    gone = api.create_pod("gone")
    eventually(lambda: pods.get("default", "gone"))
    api.store.compact()
    api.drop_watches()
    api.delete(gone)
    eventually(lambda: pods.get("default", "gone") is None)
    assert pods.get("default", "web")


def test_bookmarks_move_the_version_past_a_compaction(api: ApiServer, pods: PodCache) -> None:
    pods.start()
    assert pods.follower.wait(PATIENCE)
    other = api.create_pod("other", node="n2")
    bookmarked(pods)
    api.store.compact(int(other["metadata"]["resourceVersion"]))
    api.drop_watches()
    api.create_pod("web")
    eventually(lambda: pods.get("default", "web"))
    assert pods.follower.lists == 1


def test_a_cut_watch_goes_on_from_where_it_was(
    api: ApiServer, pods: PodCache, problems: list[CNIError]
) -> None:
    pods.start()
    assert pods.follower.wait(PATIENCE)
    bookmarked(pods)
    api.drop_watches()
    api.create_pod("web")
    eventually(lambda: pods.get("default", "web"))
    assert pods.follower.lists == 1
    assert [type(problem).__name__ for problem in problems] == ["Unreachable"]


def test_an_api_server_that_fails_is_reported_and_asked_again(
    api: ApiServer, pods: PodCache, problems: list[CNIError]
) -> None:
    api.forbidden.add(("list", "pods"))
    pods.start()
    eventually(lambda: problems)
    assert "HTTP 403" in problems[0].msg
    assert not pods.synced
    api.forbidden.clear()
    assert pods.follower.wait(PATIENCE)


@pytest.mark.parametrize("served", [True, False])
def test_a_kind_that_cannot_be_listed_is_reported_once_at_most(
    api: ApiServer,
    connect: Connect,
    problems: list[CNIError],
    monkeypatch: pytest.MonkeyPatch,
    served: bool,
) -> None:
    monkeypatch.setattr(follower_module, "_ABSENT", 0.02)
    kind = DEFINITIONS if served else Resource("none.example", "v1", "things")
    api.forbidden.add(("list", DEFINITIONS.plural))
    cache = DefinitionCache(connect(), kind, ["spec"], on_problem=problems.append)
    path = list_path(kind)
    try:
        cache.start()
        eventually(lambda: api.requests["GET", path] > 3)
        statuses = [each.status for each in problems if isinstance(each, ApiFailure)]
        # A cluster need not have every kind that some plugin reads.
        assert statuses == ([403] if served else [])
        api.forbidden.clear()
        assert not served or cache.follower.wait(PATIENCE)
    finally:
        cache.close()


def test_a_cache_that_is_not_synced_does_not_answer(api: ApiServer, pods: PodCache) -> None:
    api.create_pod("web")
    api.faults.add(Fault("status", code=403, reason="Forbidden", times=0))
    pods.start()
    eventually(lambda: api.requests)
    assert pods.get("default", "web") is None


def test_close_ends_a_silent_watch_at_once(
    api: ApiServer, pods: PodCache, threads: Callable[[], list[str]]
) -> None:
    api.bookmark_seconds = 600
    pods.start()
    assert pods.follower.wait(PATIENCE)
    eventually(lambda: api.requests["GET", "/api/v1/pods"] == 2)
    assert threads() == ["follow pods of node n1"]
    pods.close()
    becomes(threads, [])


def test_close_before_start_is_harmless(pods: PodCache) -> None:
    pods.close()


def test_definitions_keep_what_sources_read(api: ApiServer, connect: Connect) -> None:
    cache = DefinitionCache(connect(), DEFINITIONS, ["spec"])
    api.create(
        {
            "apiVersion": "k8s.cni.cncf.io/v1",
            "kind": "NetworkAttachmentDefinition",
            "metadata": {
                "name": "a",
                "namespace": "other",
                "uid": "d-1",
                "managedFields": [{"manager": "kubectl"}],
                "annotations": {
                    "k8s.v1.cni.cncf.io/resourceName": "intel.com/vf",
                    "kubectl.kubernetes.io/last-applied-configuration": "{}",
                },
            },
            "spec": {"config": "{}"},
            "status": {"conditions": []},
        }
    )
    cache.start()
    assert cache.follower.wait(PATIENCE)
    assert cache.get("other", "a") == {
        "apiVersion": "k8s.cni.cncf.io/v1",
        "kind": "NetworkAttachmentDefinition",
        "metadata": {
            "namespace": "other",
            "name": "a",
            "uid": "d-1",
            "annotations": {"k8s.v1.cni.cncf.io/resourceName": "intel.com/vf"},
        },
        "spec": {"config": "{}"},
    }
    cache.close()


def test_a_kind_that_is_not_served_yet_is_not_an_error(connect: Connect) -> None:
    problems: list[CNIError] = []
    missing = Resource("example.org", "v1", "networks")
    cache = DefinitionCache(connect(), missing, [], on_problem=problems.append)
    cache.start()
    time.sleep(0.3)
    assert not cache.synced
    assert problems == []
    cache.close()


def test_every_pod_that_is_new_changed_or_deleted_is_noticed_once(
    api: ApiServer, connect: Connect
) -> None:
    noticed: list[tuple[str, str]] = []
    api.create_pod("web", {"networks": "[]"})
    pods = PodCache(connect(), "n1", on_change=lambda *key: noticed.append(key))
    pods.start()
    try:
        becomes(lambda: noticed, [("default", "web")])
        api.annotate("web", {"networks": '["a"]'})
        becomes(lambda: len(noticed), 2)
        api.create_pod("other")
        becomes(lambda: noticed[2:], [("default", "other")])
        api.drop_watches()
        eventually(lambda: pods.follower.lists > 1 or pods.synced)
        api.delete({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "other"}})
        becomes(lambda: noticed[3:], [("default", "other")])
    finally:
        pods.close()
