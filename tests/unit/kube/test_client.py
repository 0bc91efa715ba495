"""The client with valid and invalid answers of the stand-in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from email.utils import formatdate
from typing import ClassVar

import pytest
from waiting import PATIENCE

from multus.api.errors import CNIError, TryAgainLater
from multus.api.kubernetes import (
    PODS,
    Annotate,
    ApiFailure,
    Deadline,
    NotFound,
    ObjectRef,
    PodEvent,
    PodRef,
    Resource,
    Unreachable,
    VersionExpired,
)
from multus.kube.client import KubeClient
from multus.testing.apiserver import ApiServer, Fault

Connect = Callable[..., KubeClient]
POD = "/api/v1/namespaces/default/pods/web"


def network(name: str, plugin: str = "flannel") -> dict[str, object]:
    return {
        "apiVersion": "kubernetes-network.cni.cncf.io/v1",
        "kind": "Network",
        "metadata": {"name": name, "namespace": "default"},
        "plugin": plugin,
        "args": "[{}]",
    }


WEB = PodRef("default", "web", "u-1")
NETWORKS = Resource("kubernetes-network.cni.cncf.io", "v1", "networks", "network")


def wanted(name: str) -> ObjectRef:
    return NETWORKS.object("default", name)


def test_only_a_pods_metadata_leaves_the_server(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    api.create_pod("web", {"networks": "[]"}, uid="u-1")
    metadata = connect().pod("default", "web", soon)
    assert metadata["uid"] == "u-1"
    assert metadata["annotations"] == {"networks": "[]"}
    assert "PartialObjectMetadata" in api.last_headers["Accept"]


def test_names_cannot_leave_their_place_in_the_path(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    with pytest.raises(NotFound):
        connect().pod("default", "../../secrets/s?x=1", soon)
    assert [path for _, path in api.requests] == [
        "/api/v1/namespaces/default/pods/..%2F..%2Fsecrets%2Fs%3Fx%3D1"
    ]


def test_a_missing_object_and_a_missing_kind_are_distinguished(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    client = connect()
    with pytest.raises(NotFound, match="create it, or correct the name") as caught:
        client.get(wanted("a"), soon)
    assert caught.value.kind_known
    assert caught.value.number == 11
    with pytest.raises(NotFound, match="create its CustomResourceDefinition") as caught:
        client.get(
            Resource("example.org", "v1", "networks", "network").object("default", "a"), soon
        )
    assert not caught.value.kind_known


def test_forbidden_names_the_object_the_status_and_the_fix(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    api.create_pod("web")
    api.forbidden.add(("get", "pods"))
    with pytest.raises(ApiFailure) as caught:
        connect().pod("default", "web", soon)
    assert caught.value.number == 11
    for part in ("pod default/web", "HTTP 403 Forbidden", "grant it", api.url):
        assert part in caught.value.msg
    assert api.requests["GET", POD] == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault("status", code=500),
        Fault("status", code=503, reason="ServiceUnavailable", times=2),
        Fault("status", code=429, reason="TooManyRequests"),
        Fault("reset", times=2),
        Fault("truncate"),
    ],
    ids=lambda fault: f"{fault.kind}-{fault.code}",
)
def test_what_passes_is_tried_again(
    api: ApiServer, connect: Connect, soon: Deadline, fault: Fault
) -> None:
    api.create_pod("web")
    api.faults.add(fault)
    assert connect().pod("default", "web", soon)["name"] == "web"
    assert api.requests["GET", POD] == fault.times + 1


def test_retry_after_is_waited_for(api: ApiServer, connect: Connect, soon: Deadline) -> None:
    api.create_pod("web")
    api.faults.add(Fault("status", code=429, retry_after="1"))
    began = time.monotonic()
    connect().pod("default", "web", soon)
    assert time.monotonic() - began >= 1.0


@pytest.mark.parametrize("form", ["60", "date"])
def test_a_retry_after_beyond_the_deadline_fails_at_once(
    api: ApiServer, connect: Connect, soon: Deadline, form: str
) -> None:
    asked = formatdate(time.time() + 600, usegmt=True) if form == "date" else form
    api.create_pod("web")
    api.faults.add(Fault("status", code=429, reason="TooManyRequests", retry_after=asked))
    with pytest.raises(ApiFailure, match="HTTP 429 TooManyRequests"):
        connect().pod("default", "web", soon)
    assert soon.remaining() > PATIENCE / 2


@pytest.mark.parametrize("kind", ["reset", "status", "truncate"])
def test_what_lasts_fails_within_the_deadline(api: ApiServer, connect: Connect, kind: str) -> None:
    api.create_pod("web")
    api.faults.add(Fault(kind, times=0))
    began = time.monotonic()
    with pytest.raises(TryAgainLater, match="pod default/web"):
        connect().pod("default", "web", Deadline.after(0.6))
    assert 0.1 < time.monotonic() - began < PATIENCE


class Running(Deadline):
    """Passes at the second check."""

    looks: ClassVar[list[float]] = []

    def remaining(self) -> float:
        return self.looks.pop()


def test_a_deadline_that_passes_while_a_request_is_prepared_is_an_error(
    api: ApiServer, connect: Connect
) -> None:
    Running.looks = [0.0, 1.0]
    with pytest.raises(Unreachable, match="get pod default/web: no time is left"):
        connect().pod("default", "web", Running(0.0))
    assert Running.looks == []


@pytest.mark.parametrize(
    "fault", [Fault("slow", seconds=600), Fault("drip", seconds=1)], ids=["slow", "drip"]
)
def test_a_slow_answer_cannot_outlast_the_deadline(
    api: ApiServer, connect: Connect, fault: Fault
) -> None:
    api.create_pod("web")
    api.faults.add(fault)
    began = time.monotonic()
    with pytest.raises(Unreachable) as caught:
        connect().pod("default", "web", Deadline.after(0.6))
    assert time.monotonic() - began < PATIENCE
    assert caught.value.number == 11


def test_a_page_that_is_not_json_is_explained(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    api.faults.add(Fault("garbage"))
    with pytest.raises(Unreachable, match="not a JSON object"):
        connect().pod("default", "web", soon)


def test_a_server_that_is_not_there_is_explained(connect: Connect) -> None:
    client = connect(server="https://127.0.0.1:1")
    with pytest.raises(Unreachable) as caught:
        client.pod("default", "web", Deadline.after(1.0))
    assert "pod default/web" in caught.value.msg
    assert "Connection refused" in caught.value.msg
    assert "object at 0x" not in str(caught.value)


def test_several_definitions_are_read_at_the_same_time_over_one_pool(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    for name in "abcd":
        api.create(network(name))
    api.faults.add(Fault("slow", times=0, seconds=0.5))
    found = connect().get_each([wanted(name) for name in "abcdx"], soon)
    assert [each["metadata"]["name"] for each in found[:4] if isinstance(each, dict)] == list(
        "abcd"
    )
    assert isinstance(found[4], NotFound)
    assert 1 < api.connections <= 4, "one at a time needs one connection"
    assert all(count == 1 for count in api.requests.values())


def test_one_connection_serves_many_requests(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    api.create_pod("web")
    client = connect()
    for _ in range(5):
        client.pod("default", "web", soon)
    assert api.connections == 1


def test_a_list_comes_in_pages(api: ApiServer, connect: Connect) -> None:
    for number in range(600):
        api.create_pod(f"p{number}")
    pages = list(connect().pages(PODS, "pods", PATIENCE, metadata_only=True))
    assert [len(page.items) for page in pages] == [250, 250, 100]
    assert "spec" not in pages[0].items[0]


def test_a_list_whose_pages_were_forgotten_is_gone(api: ApiServer, connect: Connect) -> None:
    for number in range(300):
        api.create_pod(f"p{number}")
    pages = connect().pages(PODS, "pods", PATIENCE)
    next(pages)
    api.store.compact()
    with pytest.raises(VersionExpired):
        next(pages)


def test_annotations_are_merged_and_removed_through_status(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    pod = api.create_pod("web", {"keep": "1", "drop": "2"}, uid="u-1")
    connect().carry_out(Annotate(WEB, {"new": "3", "drop": None}), soon)
    assert api.get(pod)["metadata"]["annotations"] == {"keep": "1", "new": "3"}
    assert api.requests["PATCH", f"{POD}/status"] == 1


def test_a_pod_that_came_later_is_not_annotated(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    pod = api.create_pod("web", uid="u-2")
    with pytest.raises(ApiFailure) as caught:
        connect().carry_out(Annotate(WEB, {"new": "3"}), soon)
    assert caught.value.status == 409
    assert api.get(pod)["metadata"]["annotations"] == {}


def event(client: KubeClient, deadline: Deadline) -> None:
    message = "Add eth0 [10.0.0.2/24] from default/a"
    client.carry_out(PodEvent(WEB, "Normal", "AddedInterface", message), deadline)


def test_an_event_is_created_once_though_its_answer_was_lost(
    api: ApiServer, connect: Connect, soon: Deadline
) -> None:
    api.faults.add(Fault("truncate", method="POST"))
    event(connect(), soon)
    kind = api.store.kind("", "v1", "events")
    assert kind is not None
    (stored,) = api.store.objects(kind, "default", ())
    assert stored["involvedObject"]["uid"] == "u-1"
    assert stored["reason"] == "AddedInterface"
    assert stored["source"] == {"component": "multus", "host": os.uname().nodename}
    assert api.requests["POST", "/api/v1/namespaces/default/events"] == 2


def test_a_refused_event_is_an_error(api: ApiServer, connect: Connect, soon: Deadline) -> None:
    api.forbidden.add(("create", "events"))
    with pytest.raises(ApiFailure, match="create an event on pod default/web"):
        event(connect(), soon)


def test_no_message_holds_a_secret(api: ApiServer, connect: Connect) -> None:
    said: list[str] = []
    for fault in ("reset", "truncate", "garbage", "slow", "status"):
        api.faults.add(Fault(fault, seconds=1, times=0))
        try:
            connect().pod("default", "web", Deadline.after(0.2))
        except CNIError as error:
            said.append(json.dumps(error.to_wire("1.0.0")) + repr(error))
        api.faults.clear()
    assert len(said) == 5
    assert not any(api.access.token in text or "pod-secret" in text for text in said)


def test_the_package_costs_nothing_until_it_is_used() -> None:
    code = "import multus.kube, sys; print({'ssl', 'urllib3', 'yaml', 'socket'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
