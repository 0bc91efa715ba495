"""The devices that the kubelet assigned to a pod: its socket, its checkpoint, and errors."""

from __future__ import annotations

import json
import os
from concurrent import futures
from pathlib import Path
from typing import Any

import pytest
from multus_source_nad.checkpoint import containers_of_uid
from multus_source_nad.devices import joined
from multus_source_nad.podresources import containers_of
from waiting import PATIENCE

from integration.kube.kubelet import Kubelet, listed
from multus.api.errors import TryAgainLater
from multus.api.kubernetes import Deadline

PODS = {
    "default/other": {"intel.com/vf": ["0000:03:02.7"]},
    "other/web": {"intel.com/vf": ["0000:03:02.6"]},
    "default/web": {
        "intel.com/vf": ["0000:03:02.0", "0000:03:02.1"],
        "example.org/fpga": ["f0"],
    },
}


def devices_of(path: str, namespace: str, name: str, deadline: Deadline) -> dict[str, list[str]]:
    return joined(containers_of(path, namespace, name, deadline))


def devices_of_uid(path: str, uid: str, pod: str) -> dict[str, list[str]]:
    return joined(containers_of_uid(path, uid, pod))


@pytest.fixture
def soon() -> Deadline:
    return Deadline.after(PATIENCE)


def test_the_pods_devices_are_listed_by_resource(tmp_path: Path, soon: Deadline) -> None:
    with Kubelet(str(tmp_path), PODS) as kubelet:
        assert devices_of(kubelet.path, "default", "web", soon) == PODS["default/web"]
        assert devices_of(kubelet.path, "default", "nobody", soon) == {}


def test_an_answer_larger_than_a_window_is_read(tmp_path: Path, soon: Deadline) -> None:
    many = {
        f"default/p{n}": {"intel.com/vf": [f"0000:{n:02x}:02.{v}" for v in range(8)]}
        for n in range(3000)
    }
    assert len(listed(many)) > 300_000
    with Kubelet(str(tmp_path), {**many, **PODS}) as kubelet:
        deadline = Deadline.after(PATIENCE)
        assert devices_of(kubelet.path, "default", "web", deadline) == PODS["default/web"]


def test_grpcs_own_server_is_understood(tmp_path: Path, soon: Deadline) -> None:
    grpc = pytest.importorskip("grpc")

    method = grpc.unary_unary_rpc_method_handler(lambda request, context: listed(PODS))
    lister = grpc.method_handlers_generic_handler("v1.PodResourcesLister", {"List": method})
    server = grpc.server(futures.ThreadPoolExecutor(1), handlers=[lister])
    server.add_insecure_port(f"unix://{tmp_path}/kubelet.sock")
    server.start()
    try:
        found = devices_of(f"{tmp_path}/kubelet.sock", "default", "web", Deadline.after(PATIENCE))
    finally:
        server.stop(None).wait()
    assert found == PODS["default/web"]


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("status", "gRPC status 12 unknown service"),
        ("cut", "cannot be read"),
        ("garbage", "cannot be read"),
        ("reset", "the call was reset"),
        ("slow", "timed out"),
    ],
)
def test_a_kubelet_that_fails_is_named(
    tmp_path: Path, soon: Deadline, fault: str, words: str
) -> None:
    soon = Deadline.after(1.0) if fault == "slow" else soon
    with Kubelet(str(tmp_path), PODS, fault) as kubelet:
        with pytest.raises(TryAgainLater) as caught:
            devices_of(kubelet.path, "default", "web", soon)
        assert caught.value.number == 11
        for part in (words, "default/web", kubelet.path, "check that the kubelet runs"):
            assert part in caught.value.msg


def test_a_socket_without_kubelet_is_named(tmp_path: Path, soon: Deadline) -> None:
    with pytest.raises(TryAgainLater, match="No such file"):
        devices_of(str(tmp_path / "none"), "default", "web", soon)


def test_a_device_of_two_numa_nodes_is_one_device(tmp_path: Path, soon: Deadline) -> None:
    twice = {"default/web": {"intel.com/vf": ["0000:03:02.1", "0000:03:02.0", "0000:03:02.1"]}}
    with Kubelet(str(tmp_path), twice) as kubelet:
        found = devices_of(kubelet.path, "default", "web", soon)
    assert found == {"intel.com/vf": ["0000:03:02.0", "0000:03:02.1"]}


def checkpoint(path: Path, ids: Any) -> str:
    entries = [
        {"PodUID": "u-1", "ContainerName": "c", "ResourceName": "intel.com/vf", "DeviceIDs": ids},
        {"PodUID": "u-2", "ContainerName": "c", "ResourceName": "intel.com/vf", "DeviceIDs": ["x"]},
    ]
    data = {"PodDeviceEntries": entries, "RegisteredDevices": {"intel.com/vf": ["a", "b", "x"]}}
    path.write_text(json.dumps({"Data": data, "Checksum": 1}))
    return str(path)


def test_a_checkpoint_that_is_not_a_regular_file_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    os.mkfifo(path)
    with pytest.raises(TryAgainLater, match="it is a FIFO, not a regular file"):
        devices_of_uid(str(path), "u-1", "default/web")


@pytest.mark.parametrize(
    "ids",
    [["a", "b"], {"-1": ["a"], "0": ["b"]}, {"0": ["a", "b"], "1": ["a", "b"]}, ["a", "b", "a"]],
    ids=["list", "by-numa-node", "of-two-numa-nodes", "twice"],
)
def test_both_forms_of_the_checkpoint_are_read(tmp_path: Path, ids: Any) -> None:
    path = checkpoint(tmp_path / "checkpoint", ids)
    assert devices_of_uid(path, "u-1", "default/web") == {"intel.com/vf": ["a", "b"]}
    assert devices_of_uid(path, "u-9", "default/web") == {}


@pytest.mark.parametrize("text", ["{", "[]", '{"Data": 7}', '{"Data": {"PodDeviceEntries": [7]}}'])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "checkpoint"
    path.write_text(text)
    with pytest.raises(TryAgainLater, match="restart the kubelet"):
        devices_of_uid(str(path), "u-1", "default/web")


def test_without_kubelet_the_message_says_what_to_set(tmp_path: Path) -> None:
    with pytest.raises(TryAgainLater, match="set 'kubeletDir'"):
        devices_of_uid(str(tmp_path / "none"), "u-1", "default/web")


def test_devices_are_sorted_in_each_container_and_containers_keep_their_order(
    tmp_path: Path, soon: Deadline
) -> None:
    containers = [
        {"intel.com/vf": ["0000:03:02.7", "0000:03:02.6"]},
        {"intel.com/vf": ["0000:03:02.3", "0000:03:02.1"], "example.org/fpga": ["f0"]},
    ]
    with Kubelet(str(tmp_path), {"default/web": containers}) as kubelet:
        found = devices_of(kubelet.path, "default", "web", soon)
    wanted = [f"0000:03:02.{number}" for number in (6, 7, 1, 3)]
    assert found == {"intel.com/vf": wanted, "example.org/fpga": ["f0"]}


def test_a_container_that_lists_a_resource_twice_has_one_sorted_list(
    tmp_path: Path, soon: Deadline
) -> None:
    entries = [
        {"PodUID": "u-1", "ContainerName": c, "ResourceName": "intel.com/vf", "DeviceIDs": ids}
        for c, ids in (("one", {"0": ["c"]}), ("two", {"1": ["b"]}), ("one", {"1": ["a", "c"]}))
    ]
    path = tmp_path / "checkpoint"
    path.write_text(json.dumps({"Data": {"PodDeviceEntries": entries}}))
    assert devices_of_uid(str(path), "u-1", "default/web") == {"intel.com/vf": ["a", "c", "b"]}
