"""Queued writes: in order, until they are written or the pod is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from waiting import PATIENCE, becomes, eventually

from multus.api.errors import CNIError
from multus.api.kubernetes import Annotate, PodEvent, PodRef
from multus.kube.client import KubeClient
from multus.kube.writequeue import WriteQueue
from multus.testing.apiserver import ApiServer, Fault

Connect = Callable[..., KubeClient]
Threads = Callable[[], list[str]]

#: Seconds that a test does not last: what waits for so long makes it fail.
LONG = 600.0


@pytest.fixture
def problems() -> list[CNIError]:
    return []


@pytest.fixture
def queue(connect: Connect, problems: list[CNIError]) -> Iterator[WriteQueue]:
    queue = WriteQueue(connect(), on_problem=problems.append)
    queue.start()
    yield queue
    queue.close(0)


def pod_of(api: ApiServer, name: str) -> PodRef:
    pod = api.create_pod(name)
    return PodRef("default", name, pod["metadata"]["uid"])


def value(api: ApiServer, name: str) -> str | None:
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}}
    found: str | None = api.get(pod)["metadata"]["annotations"].get("k")
    return found


def test_an_api_that_comes_back_gets_what_waited_in_order(
    api: ApiServer, queue: WriteQueue, problems: list[CNIError]
) -> None:
    web = pod_of(api, "web")
    api.faults.add(Fault("status", method="PATCH", code=403, reason="Forbidden", times=2))
    queue.put(Annotate(web, {"k": "1"}))
    assert queue.annotated() == [web]
    queue.put(Annotate(web, {"k": "2"}))
    queue.put(PodEvent(web, "Normal", "AddedInterface", "Add eth0 [] from a"))
    eventually(lambda: len(queue) == 0)
    assert value(api, "web") == "2"
    assert api.requests["PATCH", "/api/v1/namespaces/default/pods/web/status"] == 4
    assert [each.number for each in problems] == [11, 11]
    assert len(queue) == 0


def test_a_pod_that_is_stuck_does_not_hold_up_another(api: ApiServer, queue: WriteQueue) -> None:
    stuck, free = pod_of(api, "stuck"), pod_of(api, "free")
    api.faults.add(Fault("status", path="*/stuck/status", code=403, times=0))
    queue.put(Annotate(stuck, {"k": "1"}))
    eventually(lambda: api.requests["PATCH", "/api/v1/namespaces/default/pods/stuck/status"])
    queue.put(Annotate(free, {"k": "1"}))
    eventually(lambda: value(api, "free") == "1")
    assert stuck in queue.annotated()


@pytest.mark.parametrize("uid", ["gone", "successor"])
def test_what_is_for_a_pod_that_is_gone_is_dropped(
    api: ApiServer, queue: WriteQueue, uid: str
) -> None:
    if uid == "successor":
        api.create_pod("web", uid=uid)
    web = PodRef("default", "web", "u-1")
    queue.put(Annotate(web, {"k": "1"}))
    queue.put(Annotate(web, {"k": "2"}))
    eventually(lambda: len(queue) == 0)
    assert sum(n for (method, _), n in api.requests.items() if method == "PATCH") == 1


def refusing_events(api: ApiServer, code: int) -> None:
    api.faults.add(Fault("status", path="*/events", method="POST", code=code, times=0))


def test_a_status_does_not_wait_behind_an_event(api: ApiServer, queue: WriteQueue) -> None:
    web = pod_of(api, "web")
    refusing_events(api, 500)
    queue.put(PodEvent(web, "Normal", "AddedInterface", "Add eth0 [] from a"))
    eventually(lambda: api.requests["POST", "/api/v1/namespaces/default/events"])
    queue.put(Annotate(web, {"k": "1"}))
    eventually(lambda: value(api, "web") == "1")
    becomes(lambda: (len(queue), queue.annotated()), (1, []))
    api.faults.clear()
    eventually(lambda: len(queue) == 0)


def test_an_event_that_is_forbidden_is_dropped_and_said_once(
    api: ApiServer, queue: WriteQueue, problems: list[CNIError]
) -> None:
    refusing_events(api, 403)
    pods = [pod_of(api, f"p{number}") for number in range(3)]
    for pod in pods:
        queue.put(PodEvent(pod, "Normal", "AddedInterface", "Add eth0 [] from a"))
    eventually(lambda: len(queue) == 0)
    assert (queue.dropped, queue.bytes) == (3, 0)
    (said,) = problems
    assert "create an event on pod default/p0" in said.msg
    api.faults.clear()
    queue.put(PodEvent(pods[0], "Normal", "AddedInterface", "Add eth0 [] from b"))
    eventually(lambda: len(queue) == 0)
    refusing_events(api, 403)
    queue.put(PodEvent(pods[0], "Normal", "AddedInterface", "Add eth0 [] from c"))
    becomes(lambda: len(problems), 2)


def test_what_is_refused_is_dropped_once_the_pod_is_known_to_be_gone(
    api: ApiServer, connect: Connect
) -> None:
    """The server looks at rights first: for a pod that does not exist it answers 403 too."""
    gone: set[PodRef] = set()
    queue = WriteQueue(connect(), gone=gone.__contains__)
    queue.start()
    api.faults.add(Fault("status", method="PATCH", code=403, times=0))
    dead, alive = pod_of(api, "dead"), pod_of(api, "alive")
    for pod in (dead, alive):
        queue.put(Annotate(pod, {"k": "1"}))
        queue.put(PodEvent(pod, "Normal", "AddedInterface", "Add eth0 [] from a"))
    gone.add(dead)
    eventually(lambda: dead not in queue.annotated())
    assert (queue.annotated(), len(queue)) == ([alive], 2)
    queue.close(0)


class TestMakingWay:
    """A pod that is added again: its status is written at once, and no older one after it."""

    NEW = {"k": "new"}

    def test_drops_what_it_replaces_and_nothing_else(
        self, api: ApiServer, connect: Connect
    ) -> None:
        queue = WriteQueue(connect())
        web, other = pod_of(api, "web"), pod_of(api, "other")
        before = PodRef("default", "web", "an earlier one")
        for pod in (web, other, before):
            queue.put(Annotate(pod, {"k": "old"}))
        queue.put(Annotate(web, {"k": "old", "kept": "1"}))
        event = PodEvent(web, "Normal", "AddedInterface", "Add eth0 [] from a")
        queue.put(event)
        assert queue.make_way(Annotate(web, self.NEW), 0)
        assert queue.annotated() == [web, other]
        assert len(queue) == 3
        size = Annotate(web, {"kept": "1"}).size + Annotate(other, {"k": "old"}).size
        assert queue.bytes == size + event.size

    def test_waits_for_one_that_is_under_way(self, api: ApiServer, connect: Connect) -> None:
        queue = WriteQueue(connect())
        queue.start()
        api.faults.add(Fault("slow", method="PATCH", seconds=0.5))
        web = pod_of(api, "web")
        queue.put(Annotate(web, {"k": "old"}))
        eventually(lambda: api.requests["PATCH", "/api/v1/namespaces/default/pods/web/status"])
        assert queue.make_way(Annotate(web, self.NEW), PATIENCE)
        assert (value(api, "web"), len(queue)) == ("old", 0)
        queue.close(0)

    def test_does_not_wait_longer_than_it_may(self, api: ApiServer, connect: Connect) -> None:
        queue = WriteQueue(connect())
        queue.start()
        api.faults.add(Fault("slow", method="PATCH", seconds=LONG))
        web = pod_of(api, "web")
        queue.put(Annotate(web, {"k": "old"}))
        eventually(lambda: api.requests["PATCH", "/api/v1/namespaces/default/pods/web/status"])
        assert not queue.make_way(Annotate(web, self.NEW), 0.1)
        assert queue.annotated() == [web]
        queue.close(0)


def test_beyond_its_bound_the_oldest_is_dropped(api: ApiServer, connect: Connect) -> None:
    queue = WriteQueue(connect(), most=2)
    web = pod_of(api, "web")
    for number in range(5):
        queue.put(Annotate(web, {"k": str(number)}))
    assert (len(queue), queue.dropped) == (2, 3)
    queue.start()
    eventually(lambda: value(api, "web") == "4")
    queue.close()


def test_close_writes_what_waits_and_ends_the_thread(
    api: ApiServer, connect: Connect, threads: Threads
) -> None:
    queue = WriteQueue(connect())
    queue.start()
    names = [f"p{number}" for number in range(10)]
    for name in names:
        queue.put(Annotate(pod_of(api, name), {"k": "1"}))
    queue.close(PATIENCE)
    assert [value(api, name) for name in names] == ["1"] * 10
    becomes(threads, [])


def test_what_waits_lets_busy_moments_pass(
    api: ApiServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multus.kube.writequeue._LONGEST_DELAY", LONG)
    busy = True
    queue = WriteQueue(connect(), busy=lambda: busy)
    queue.start()
    queue.put(Annotate(pod_of(api, "web"), {"k": "1"}))
    time.sleep(0.5)
    assert value(api, "web") is None
    busy = False
    eventually(lambda: value(api, "web") == "1")
    queue.close()


def test_what_waits_does_not_wait_for_ever(
    api: ApiServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multus.kube.writequeue._LONGEST_DELAY", 0.3)
    queue = WriteQueue(connect(), busy=lambda: True)
    queue.start()
    queue.put(Annotate(pod_of(api, "web"), {"k": "1"}))
    eventually(lambda: value(api, "web") == "1")
    queue.close()


def test_close_does_not_wait_for_an_api_that_is_away(api: ApiServer, connect: Connect) -> None:
    queue = WriteQueue(connect())
    queue.start()
    api.faults.add(Fault("status", code=403, times=0))
    queue.put(Annotate(pod_of(api, "web"), {"k": "1"}))
    began = time.monotonic()
    queue.close(0.3)
    assert time.monotonic() - began < PATIENCE


def test_close_takes_no_longer_than_its_limit(
    api: ApiServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multus.kube.writequeue._EACH", LONG)
    queue = WriteQueue(connect())
    queue.start()
    api.faults.add(Fault("slow", times=0, seconds=LONG))
    queue.put(Annotate(pod_of(api, "web"), {"k": "1"}))
    eventually(lambda: api.requests["PATCH", "/api/v1/namespaces/default/pods/web/status"])
    began = time.monotonic()
    queue.close(0.3)
    assert time.monotonic() - began < PATIENCE


def test_close_does_not_wait_for_a_moment_that_is_not_busy(
    api: ApiServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("multus.kube.writequeue._LONGEST_DELAY", LONG)
    queue = WriteQueue(connect(), busy=lambda: True)
    queue.start()
    queue.put(Annotate(pod_of(api, "web"), {"k": "1"}))
    queue.close(PATIENCE)
    assert value(api, "web") == "1"


class Odd:
    """A write that fails with an unexpected exception."""

    size = 1

    def __init__(self, pod: PodRef, error: Exception) -> None:
        self.pod, self._error = pod, error

    @property
    def reason(self) -> str:
        raise self._error


@pytest.mark.parametrize("error", [RecursionError("deep"), KeyError("k"), MemoryError()])
def test_an_exception_ends_neither_the_thread_nor_the_pods_other_writes(
    api: ApiServer, queue: WriteQueue, problems: list[CNIError], error: Exception
) -> None:
    web = pod_of(api, "web")
    queue.put(Odd(web, error))  # type: ignore[arg-type]
    queue.put(Annotate(web, {"k": "1"}))
    eventually(lambda: value(api, "web") == "1")
    eventually(lambda: problems)
    assert type(error).__name__ in problems[0].msg
    assert queue.dropped == 1


def test_callbacks_that_raise_end_nothing(api: ApiServer, connect: Connect) -> None:
    looks = []

    def busy() -> bool:
        looks.append(1)
        if len(looks) < 3:
            raise OSError("busy cannot say")
        return False

    def refuse(error: CNIError) -> None:
        raise OSError("the disk of the log is full")

    queue = WriteQueue(connect(), busy=busy, on_problem=refuse)
    queue.start()
    api.faults.add(Fault("status", method="PATCH", code=403, reason="Forbidden"))
    queue.put(Annotate(pod_of(api, "web"), {"k": "1"}))
    eventually(lambda: value(api, "web") == "1")
    queue.close()


@pytest.mark.parametrize("code", [400, 413, 422])
def test_what_the_server_refuses_for_good_is_not_tried_again(
    api: ApiServer, queue: WriteQueue, problems: list[CNIError], code: int
) -> None:
    web = pod_of(api, "web")
    api.faults.add(Fault("status", method="PATCH", code=code, reason="Invalid"))
    queue.put(Annotate(web, {"k": "refused"}))
    queue.put(Annotate(web, {"k": "1"}))
    eventually(lambda: value(api, "web") == "1")
    becomes(lambda: (len(problems), queue.dropped, queue.bytes), (1, 1, 0))


def test_what_waits_is_bounded_in_bytes(api: ApiServer, connect: Connect) -> None:
    queue = WriteQueue(connect(), budget=10_000)
    web = pod_of(api, "web")
    for number in range(20):
        queue.put(Annotate(web, {"k": f"{number}" + "x" * 1000}))
    assert queue.bytes <= 10_000
    assert len(queue) + queue.dropped == 20
    queue.put(Annotate(web, {"k": "x" * 1_000_000}))
    assert len(queue) + queue.dropped == 21
    assert len(queue) == 9


def test_a_failing_write_is_not_repeated_in_a_tight_loop(api: ApiServer, queue: WriteQueue) -> None:
    api.faults.add(Fault("status", method="PATCH", code=403, times=0))
    queue.put(Annotate(pod_of(api, "web"), {"k": "1"}))
    began = time.monotonic()
    eventually(lambda: api.requests["PATCH", "/api/v1/namespaces/default/pods/web/status"] == 3)
    # The second comes after 0.4 seconds at the earliest, the third 0.8 seconds later.
    assert time.monotonic() - began >= 1.0
