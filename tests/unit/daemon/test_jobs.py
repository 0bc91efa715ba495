"""The order of the queue."""

from __future__ import annotations

from multus.daemon import wire
from multus.daemon.jobs import Job, Queue
from multus.daemon.wire import Message, Received


def call(command: str, container: str = "", deadline: float = 100.0) -> Job:
    return Job("call", command, container, deadline)


def behind(kind: str, container: str) -> Job:
    return Job(kind, "DEL", container, 100.0)


def queue(*jobs: Job) -> Queue:
    made = Queue()
    for job in jobs:
        made.put(job)
    return made


def order(made: Queue, busy: set[str] | None = None, **room: int) -> list[str]:
    """The jobs taken until none may start, as ``command container``."""
    found = []
    while job := made.take(busy or set(), **{"room": 9, "adds": 9, "behind": 9, **room}):
        found.append(f"{job.command} {job.container}".strip())
    return found


def test_status_and_version_come_first_then_calls_in_order_then_background_jobs() -> None:
    made = queue(
        behind("replay", "r"), call("ADD", "a"), call("DEL", "b"), call("STATUS"), call("VERSION")
    )
    assert order(made) == ["STATUS", "VERSION", "ADD a", "DEL b", "DEL r"]


def test_quick_calls_need_no_room() -> None:
    made = queue(call("DEL", "a"), call("STATUS"), behind("recover", "b"))
    assert order(made, room=0) == ["STATUS"]
    assert (len(made), made.behind) == (1, 1)


def test_a_busy_container_is_skipped_and_keeps_its_place() -> None:
    made = queue(call("ADD", "a"), call("DEL", "a"), call("ADD", "b"), behind("replay", "a"))
    assert order(made, busy={"a"}) == ["ADD b"]
    assert order(made) == ["ADD a", "DEL a", "DEL a"]


def test_adds_beyond_their_share_let_others_pass() -> None:
    made = queue(call("ADD", "a"), call("CHECK", "b"), call("GC"), call("DEL", "c"))
    assert order(made, adds=0) == ["CHECK b", "GC", "DEL c"]
    assert order(made, adds=1) == ["ADD a"]


def test_background_jobs_wait_for_room_and_for_their_own_share() -> None:
    made = queue(behind("replay", "a"), behind("recover", "b"))
    assert order(made, behind=0) == []
    assert order(made, room=0) == []
    assert order(made) == ["DEL a", "DEL b"]


def test_a_job_that_is_put_back_is_the_next_of_its_kind() -> None:
    made = queue(call("ADD", "a"), call("STATUS"), behind("replay", "r"))
    for job in (call("DEL", "b"), call("VERSION"), behind("recover", "s")):
        made.put_back(job)
    assert order(made) == ["VERSION", "STATUS", "DEL b", "ADD a", "DEL s", "DEL r"]


def test_only_calls_expire() -> None:
    late = [call("ADD", "a", 5.0), call("STATUS", deadline=5.0)]
    made = queue(*late, call("DEL", "b", 6.0), Job("replay", "DEL", "c", 1.0))
    assert made.expired(4.9) == []
    assert sorted(job.command for job in made.expired(5.0)) == ["ADD", "STATUS"]
    assert order(made) == ["DEL b", "DEL c"]


def test_draining_takes_everything() -> None:
    made = queue(call("STATUS"), call("ADD", "a"), behind("replay", "b"))
    assert len(made.drain()) == 3
    assert (len(made), made.behind, order(made)) == (0, 0, [])


def test_a_replay_of_a_status_is_not_quick_and_the_payload_is_the_configuration() -> None:
    assert not Job("replay", "STATUS", "", 1.0).quick
    message = Received(Message(wire.CNI, b"{}", {"CNI_COMMAND": "ADD"}).encode())
    assert Job("call", "ADD", "a", 1.0, message).payload == b"{}"
    assert call("ADD").payload == b""
