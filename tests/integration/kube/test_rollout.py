"""Waiting for the pods of a DaemonSet, by the API server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE

from multus.api.errors import InvalidConfig, TryAgainLater
from multus.cli import rollout
from multus.kube.client import KubeClient
from multus.kube.kubeconfig import load_kubeconfig
from multus.testing.apiserver import ApiServer
from multus.testing.apiserver.store import Kind

NAME = ("kube-system", "uninstall")
KIND = Kind("apps", "v1", "daemonsets", "DaemonSet")


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer((KIND,)) as server:
        yield server


@pytest.fixture
def client(api: ApiServer, tmp_path: Path) -> Iterator[KubeClient]:
    made = KubeClient(load_kubeconfig(api.write_kubeconfig(tmp_path)))
    yield made
    made.close()


def daemonset(**status: Any) -> dict[str, Any]:
    meta = {"namespace": NAME[0], "name": NAME[1], "generation": 2}
    return {"apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": meta, "status": status}


READY = {
    "observedGeneration": 2,
    "desiredNumberScheduled": 3,
    "numberReady": 3,
    "updatedNumberScheduled": 3,
}


def test_it_waits_until_every_node_is_ready(
    api: ApiServer, client: KubeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.create(daemonset())
    told: list[str] = []

    def tell(line: str) -> None:
        told.append(line)
        status = {**READY, "numberReady": 1} if len(told) == 1 else READY
        api.store.change(KIND, *NAME, lambda wire: wire.update(status=status))

    monkeypatch.setattr(rollout, "_LOOK_EVERY", 0.01)
    assert rollout.wait(client, NAME, PATIENCE, tell).nodes == 3
    assert told == ["it has no pods yet", "1 of 3 node(s) are ready"]


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ({**READY, "numberReady": 2}, "2 of 3 node"),
        # Two pods are still those of an earlier form of the DaemonSet.
        ({**READY, "updatedNumberScheduled": 1}, "1 of 3 node"),
        # Numbers of the object of before.
        ({**READY, "observedGeneration": 1}, "no pods yet"),
    ],
    ids=str,
)
def test_what_is_missing_is_said_at_the_end(
    api: ApiServer, client: KubeClient, status: dict[str, Any], words: str
) -> None:
    api.create(daemonset(**status))
    with pytest.raises(TryAgainLater, match=words) as caught:
        rollout.wait(client, NAME, 0.0, lambda _: None)
    assert "kubectl -n kube-system get pods" in caught.value.fix


def test_a_cluster_without_nodes_is_done(api: ApiServer, client: KubeClient) -> None:
    api.create(daemonset(observedGeneration=2, desiredNumberScheduled=0))
    assert rollout.wait(client, NAME, 0.0, lambda _: None).nodes == 0


def test_an_api_server_that_has_none_is_asked_until_the_end(client: KubeClient) -> None:
    with pytest.raises(TryAgainLater, match="kube-system/uninstall"):
        rollout.wait(client, NAME, 0.0, lambda _: None)


@pytest.mark.parametrize("text", ["uninstall", "/x", "a/", "a/b/c"])
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(InvalidConfig, match="NAMESPACE/NAME"):
        rollout.named(text)


def test_outside_of_a_pod_the_command_says_so() -> None:
    argv = [sys.executable, "-m", "multus", "uninstall", "--wait-for", "a/b"]
    done = subprocess.run(argv, env={}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "this is not a pod" in done.stderr
