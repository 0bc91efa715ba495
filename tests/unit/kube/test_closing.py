"""A stop interrupts every wait: pauses, silent servers, handshakes, credential plugins."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from descriptors import connections_to
from waiting import PATIENCE, becomes, eventually

from multus.api.conf import Conf
from multus.api.errors import CNIError, TryAgainLater
from multus.api.kubernetes import Annotate, Deadline, PodRef, Resource, Unreachable, view_of
from multus.api.request import Request
from multus.kube.client import KubeClient
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.nodeapi import NodeApi
from multus.testing.apiserver import ApiServer, Fault
from multus.testing.session import new_session

Threads = Callable[[], list[str]]

#: Seconds that a test does not last: what waits for so long makes it fail.
LONG = 600.0


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        yield listener.getsockname()[1]


def took(act: Callable[[], None]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


DEFINITIONS = Resource("k8s.cni.cncf.io", "v1", "network-attachment-definitions")
CACHED = {DEFINITIONS: ["spec"]}


def started(path: str) -> NodeApi:
    """A node's API that is busy: lists are running, and a status write is queued."""
    api = NodeApi(load_kubeconfig(path), "n1", CACHED)
    api.start()
    api.queue.put(Annotate(PodRef("default", "web", "u-1"), {"k": "1"}))
    time.sleep(0.6)
    return api


@pytest.mark.parametrize("code", [503, 429, 403])
def test_with_a_server_that_refuses_everything(
    api: ApiServer, tmp_path: Path, threads: Threads, code: int
) -> None:
    retry = "600" if code == 429 else ""
    api.faults.add(Fault("status", code=code, times=0, retry_after=retry))
    node = started(api.write_kubeconfig(tmp_path))
    assert took(node.close) < PATIENCE
    becomes(threads, [])


@pytest.mark.parametrize("scheme", ["https", "http"], ids=["handshake", "request"])
def test_with_a_server_that_says_nothing(
    api: ApiServer, tmp_path: Path, threads: Threads, silent: int, scheme: str
) -> None:
    server = f"{scheme}://127.0.0.1:{silent}"
    node = started(api.write_kubeconfig(tmp_path, server=server))
    assert took(node.close) < PATIENCE
    becomes(threads, [])


def test_with_a_server_that_answers_too_late(
    api: ApiServer, tmp_path: Path, threads: Threads
) -> None:
    api.faults.add(Fault("slow", times=0, seconds=LONG))
    node = started(api.write_kubeconfig(tmp_path))
    assert took(node.close) < PATIENCE
    becomes(threads, [])


def test_in_the_middle_of_silent_watches(api: ApiServer, tmp_path: Path, threads: Threads) -> None:
    api.bookmark_seconds = LONG
    node = NodeApi(load_kubeconfig(api.write_kubeconfig(tmp_path)), "n1", CACHED)
    node.start()
    eventually(lambda: all(state.synced for state in node.states()))
    assert took(node.close) < PATIENCE
    becomes(threads, [])


def test_twice_and_by_several_threads_at_a_time(
    api: ApiServer, tmp_path: Path, threads: Threads
) -> None:
    api.faults.add(Fault("status", code=503, times=0))
    node = started(api.write_kubeconfig(tmp_path))

    def all_of_them() -> None:
        with ThreadPoolExecutor(4) as threads:
            list(threads.map(lambda _: node.close(), range(4)))

    assert took(all_of_them) < PATIENCE
    assert took(node.close) < PATIENCE
    becomes(threads, [])


def test_before_it_was_started(api: ApiServer, tmp_path: Path) -> None:
    NodeApi(load_kubeconfig(api.write_kubeconfig(tmp_path)), "n1", CACHED).close()


def test_what_waits_is_written_before(api: ApiServer, tmp_path: Path) -> None:
    node = NodeApi(load_kubeconfig(api.write_kubeconfig(tmp_path)), "n1", CACHED)
    node.start()
    wanted = []
    for number in range(20):
        pod = api.create_pod(f"p{number}")
        wanted.append(pod)
        written = PodRef("default", f"p{number}", pod["metadata"]["uid"])
        node.queue.put(Annotate(written, {"k": "1"}))
    node.close(PATIENCE)
    assert [api.get(each)["metadata"]["annotations"].get("k") for each in wanted] == ["1"] * 20


# --- A client -------------------------------------------------------------------------------------


def under_way(client: KubeClient) -> tuple[threading.Thread, list[CNIError]]:
    """A request that another thread waits for."""
    found: list[CNIError] = []

    def ask() -> None:
        try:
            client.pod("default", "web", Deadline.after(LONG))
        except CNIError as error:
            found.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    time.sleep(0.3)
    assert thread.is_alive()
    return thread, found


@pytest.mark.parametrize(
    "fault",
    [Fault("status", code=503, times=0), Fault("slow", seconds=LONG), Fault("drip", seconds=1)],
    ids=["pause", "silence", "drip"],
)
def test_a_request_under_way_ends_with_its_client(
    api: ApiServer, tmp_path: Path, fault: Fault
) -> None:
    api.create_pod("web")
    api.faults.add(fault)
    client = KubeClient(load_kubeconfig(api.write_kubeconfig(tmp_path)))
    thread, found = under_way(client)
    client.close()
    thread.join(PATIENCE)
    assert not thread.is_alive()
    (error,) = found
    assert isinstance(error, Unreachable)
    assert "was closed" in error.msg
    with pytest.raises(Unreachable, match="was closed"):
        client.pod("default", "web", Deadline.after(5))


def test_a_credential_plugin_ends_with_its_client(api: ApiServer, tmp_path: Path) -> None:
    path = api.write_kubeconfig(tmp_path, "exec")
    script = tmp_path / "credential"
    script.write_text("#!/bin/sh\necho $$ > $(dirname $0)/pid\nexec sleep 6000\n")
    client = KubeClient(load_kubeconfig(path))
    thread, found = under_way(client)
    eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    assert took(client.close) < PATIENCE
    thread.join(PATIENCE)
    assert not thread.is_alive()
    assert isinstance(found[0], TryAgainLater)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_waiting_for_another_threads_credential_plugin_has_its_own_deadline(
    api: ApiServer, tmp_path: Path
) -> None:
    path = api.write_kubeconfig(tmp_path, "exec")
    (tmp_path / "credential").write_text("#!/bin/sh\nexec sleep 600\n")
    client = KubeClient(load_kubeconfig(path))
    thread, _ = under_way(client)
    began = time.monotonic()
    with pytest.raises(TryAgainLater, match="credential plugin"):
        client.pod("default", "web", Deadline.after(0.2))
    assert time.monotonic() - began < PATIENCE
    client.close()
    thread.join(PATIENCE)


def test_a_requests_own_client_is_closed_with_the_request(api: ApiServer, tmp_path: Path) -> None:
    pod = api.create_pod("web", {"a": "b"})
    conf = Conf.from_wire({"name": "net", "kubeconfig": api.write_kubeconfig(tmp_path)})
    args = {
        "K8S_POD_NAME": "web",
        "K8S_POD_NAMESPACE": "default",
        "K8S_POD_UID": pod["metadata"]["uid"],
    }
    for _ in range(3):
        with new_session() as session:
            view = view_of(Request("ADD", args=args), conf, session)
            assert view is not None
            assert view.annotation("a") == "b"
            assert connections_to(api.port) == 1
        assert connections_to(api.port) == 0


def test_the_daemons_own_client_is_not(api: ApiServer, tmp_path: Path, soon: Deadline) -> None:
    api.create_pod("web", {"a": "b"})
    path = api.write_kubeconfig(tmp_path)
    client = KubeClient(load_kubeconfig(path))
    conf = Conf.from_wire({"name": "net", "kubeconfig": path})
    args = {"K8S_POD_NAME": "web", "K8S_POD_NAMESPACE": "default"}
    with new_session(api=client) as session:
        view = view_of(Request("ADD", args=args), conf, session)
        assert view is not None
        view.annotation("a")
    assert json.dumps(client.pod("default", "web", soon)["annotations"]) == '{"a": "b"}'
    client.close()
