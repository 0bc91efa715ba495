"""When the supervisor interrupts a worker, and when it kills it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from multus.daemon.board import Board, Sight
from multus.daemon.channel import Channel
from multus.daemon.generation import Generation
from multus.daemon.handle import BEYOND_DEADLINE, INTERRUPT, STUCK, Worker
from multus.daemon.jobs import Job
from multus.daemon.settings import Settings
from multus.log import Log

DEADLINE = 1000.0


@pytest.fixture
def worker(tmp_path: os.PathLike[str]) -> Iterator[Worker]:
    """A worker that carries out a call; its template is a real process."""
    settings = Settings.of({"socketDir": os.fspath(tmp_path)}, "here", {})
    board = Board.create(1)
    generation = Generation(settings, board, 0, Log.from_conf({}), "multus.daemon.service:Service")
    mine, theirs = Channel.pair()
    worker = Worker(mine, 0, 0, generation)
    worker.job = Job("call", "ADD", "c1", DEADLINE)
    yield worker
    mine.close()
    theirs.close()
    generation.close()
    board.close()


def test_a_step_within_its_time_goes_on(worker: Worker) -> None:
    assert worker.assess(Sight(1, began=10, until=20, what="a hook"), 14) == ""
    assert not worker.stuck


def test_a_worker_counts_as_stuck_before_it_is_interrupted(worker: Worker) -> None:
    assert worker.assess(Sight(1, began=10, until=20), 16) == ""
    assert worker.stuck


def test_a_step_that_waits_for_something_outside_is_not_stuck(worker: Worker) -> None:
    assert worker.assess(Sight(1, began=10, until=60, waits=True), 50) == ""
    assert not worker.stuck


def test_a_step_beyond_its_time_is_interrupted_at_the_second_look(worker: Worker) -> None:
    late = Sight(1, began=10, until=20)
    assert worker.assess(late, 20.5) == ""
    assert worker.assess(late, 20.6) == INTERRUPT
    assert worker.assess(late, 21.0) == "", "it has two seconds to react"
    assert worker.assess(late, 22.7) == STUCK


def test_an_interrupted_step_that_ends_is_forgotten(worker: Worker) -> None:
    late = Sight(1, began=10, until=20)
    worker.assess(late, 20.5)
    assert worker.assess(late, 20.6) == INTERRUPT
    assert worker.assess(Sight(2, began=21, until=31), 22.0) == ""
    assert worker.assess(Sight(2, began=21, until=31), 30.0) == ""


def test_a_call_far_beyond_its_deadline_is_ended_whatever_it_shows(worker: Worker) -> None:
    assert worker.assess(Sight(1, until=DEADLINE + 99, waits=True), DEADLINE + 29) == ""
    assert worker.assess(Sight(2, until=DEADLINE + 99, waits=True), DEADLINE + 31) == (
        BEYOND_DEADLINE
    )


def test_it_is_described_in_one_printable_line(worker: Worker) -> None:
    worker.pid = 7
    sight = Sight(
        1, began=10, until=20, what="plugin 'x',\nhook 'y'", plugin="x", task="multus_select"
    )
    worker.assess(sight, 16)
    assert worker.described(16.04) == (
        "7 stuck: ADD of container c1: 6.0 s in plugin 'x',\\nhook 'y'"
    )
    assert worker.doing(16)["plugin"] == "x"
    worker.job = None
    assert worker.described(16) == "7 starting"
    worker.said_ready = True
    assert worker.described(16) == "7 starting", "it cannot be killed yet"
    worker.begun(7, os.pidfd_open(os.getpid()))
    assert worker.described(16) == "7 idle"
    os.close(worker.handle)
