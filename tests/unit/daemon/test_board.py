"""The board: a worker writes its slot, the supervisor reads it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator

import pytest
from work import calls

from multus.api.progress import Task, step
from multus.daemon.board import Board, Sight, Slot


@pytest.fixture
def board() -> Iterator[Board]:
    made = Board.create(3)
    yield made
    made.close()


class Shown:
    """A worker's slot; its memory is released before the board is closed."""

    def __init__(self, board: Board, number: int) -> None:
        self.slot = Slot(board, number, 10.0)

    def __enter__(self) -> Slot:
        return self.slot

    def __exit__(self, *_: object) -> None:
        self.slot._view.release()


def a_step(what: str, *, waits: bool = False, task: Task | None = None) -> step:
    made = step(what, 5.0, waits=waits, task=task)
    made.began, made.until = 1.5, 6.5
    return made


@pytest.mark.parametrize("waits", [False, True])
def test_a_step_is_read_as_it_was_written(board: Board, waits: bool) -> None:
    with Shown(board, 1) as slot:
        slot.show(a_step("plugin 'x', hook 'multus_select'", waits=waits))
        assert board.look(1) == Sight(1, 1.5, 6.5, waits, False, "plugin 'x', hook 'multus_select'")
        slot.show(None)
        assert board.look(1) == Sight(2)
        slot.answering()
        assert board.look(1) == Sight(3, answering=True)
        assert board.changes(1) == 3
    assert [board.look(each) for each in (0, 2)] == [Sight(), Sight()]


@pytest.mark.parametrize(
    ("shown", "seen"),
    [
        ("", ""),
        ("é" * 300, "é" * 177),
        ("x" + "é" * 300, "x" + "é" * 176 + "\N{REPLACEMENT CHARACTER}"),
        ("\udcff\ud800", "??"),
        ("a\0b\nc", "a\0b\nc"),
        ("\N{CRAB}" * 1000, "\N{CRAB}" * 88 + "\N{REPLACEMENT CHARACTER}"),
    ],
)
def test_any_text_fits(board: Board, shown: str, seen: str) -> None:
    with Shown(board, 1) as slot:
        slot.show(a_step(shown))
        assert board.look(1).what == seen
    board.write(2, Sight(what=shown))
    assert board.look(2).what == seen
    assert board.look(0) == Sight()


def test_a_shorter_text_replaces_a_longer_one(board: Board) -> None:
    with Shown(board, 0) as slot:
        slot.show(a_step("the long name of a plugin"))
        slot.show(a_step("short"))
        assert board.look(0).what == "short"


def test_the_plugin_and_the_task_are_read(board: Board) -> None:
    with Shown(board, 1) as slot:
        slot.show(a_step("a hook", task=Task("source-x", "multus_select")))
        seen = board.look(1)
        assert (seen.what, seen.plugin, seen.task) == ("a hook", "source-x", "multus_select")
        slot.show(a_step("x" * 900, task=Task("p" * 900, "h" * 900)))
        assert board.look(1).plugin == "p" * 64
        assert board.look(1).task == "h" * 64
        assert board.look(2) == Sight(), "nothing is written beyond the slot"
        slot.show(a_step("the engine"))
        assert (board.look(1).plugin, board.look(1).task) == ("", "")


def test_the_next_worker_of_a_slot_starts_with_an_empty_slot(board: Board) -> None:
    with Shown(board, 0) as slot:
        slot.show(a_step("something"))
    board.clear(0)
    assert board.look(0) == Sight()


def test_other_processes_see_the_same(board: Board) -> None:
    import os

    pid = os.fork()
    if pid == 0:
        Slot(board, 2, 1.0).show(a_step("in another process"))
        os._exit(board.calls)
    assert os.waitpid(pid, 0)[1] == 0
    assert board.look(2).what == "in another process"
    board.publish(7, (), adds_wait=False)
    pid = os.fork()
    if pid == 0:
        os._exit(board.calls)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


def test_showing_a_step_is_cheap(board: Board) -> None:
    """An ADD has about a hundred steps."""
    with Shown(board, 0) as slot:
        made = a_step("plugin 'some-plugin', hook 'multus_runtime_config'")
        slot.show(made)
        assert calls(lambda: slot.show(made)) < 15


def test_a_call_may_start_unless_its_container_has_a_call_under_way(board: Board) -> None:
    board.publish(2, ("c1", "\ud800"), adds_wait=False)
    assert board.may_begin("ADD", "c2")
    assert board.may_begin("STATUS", "")
    assert not board.may_begin("DEL", "c1")
    assert not board.may_begin("ADD", "\ud800")
    board.publish(2, (), adds_wait=True)
    assert board.may_begin("DEL", "c1")
    assert not board.may_begin("ADD", "c2")


def test_a_queued_annotation_is_reported(board: Board) -> None:
    assert not board.is_queued("default/web")
    board.publish_queued(["default/web"])
    assert board.is_queued("default/web")
    assert not board.is_queued("default/db")
    board.publish_queued([f"default/p{number}" for number in range(5000)])
    assert board.is_queued("default/db"), "too many to name them"
    board.publish_queued([])
    assert not board.is_queued("default/web")


def test_a_slot_that_is_being_written_is_read_as_a_whole() -> None:
    """A step's start and deadline belong together, however often a worker writes them."""
    board = Board.create(1)
    pid = os.fork()
    if pid == 0:
        at = 1000.0
        while True:
            at += 1
            board.write(0, Sight(int(at), began=at, until=at + 10, what="a step"))
            board.write(0, Sight(int(at)))
    try:
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            sight = board.look(0)
            assert sight.until in (0.0, sight.began + 10), sight
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        board.close()
