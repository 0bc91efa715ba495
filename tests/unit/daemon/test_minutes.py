"""The lines of the log that tell what the daemon has done."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from multus.daemon.minutes import Minutes
from multus.log import Log, Sink


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(Sink(path=str(tmp_path / "log"), stderr=False))


@pytest.fixture
def minutes(log: Log) -> Minutes:
    return Minutes(log, 0.0)


def said(folder: Path) -> list[dict[str, Any]]:
    path = folder / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [{**json.loads(line), "time": ""} for line in lines]


def test_a_minute_in_which_calls_came_has_one_line(minutes: Minutes, tmp_path: Path) -> None:
    for _ in range(3):
        minutes.answered("ADD", "0", 0.0154)
    minutes.answered("ADD", "7", 0.2)
    minutes.answered("STATUS", "0", 3.0)
    assert not minutes.due(59.0)
    assert minutes.due(60.0)
    minutes.tell(60.0, {"waiting": 0, "keptDels": 2, "unhealthy": ""})
    assert said(tmp_path) == [
        {
            "time": "",
            "level": "notice",
            "msg": "the last minute",
            "calls": {"ADD": 4, "STATUS": 1},
            "failed": {"ADD": 1},
            "slowestSeconds": 0.2,
            "keptDels": 2,
        }
    ]
    assert not minutes.due(119.0)
    minutes.tell(120.0, {})
    assert len(said(tmp_path)) == 1


def test_what_runtimes_repeat_has_no_line_as_long_as_it_goes_well(
    minutes: Minutes, tmp_path: Path
) -> None:
    minutes.answered("STATUS", "0", 0.1)
    minutes.answered("VERSION", "0", 0.1)
    minutes.tell(60.0, {})
    assert said(tmp_path) == []
    minutes.answered("STATUS", "50", 0.1)
    minutes.tell(120.0, {})
    assert said(tmp_path)[0]["failed"] == {"STATUS": 1}


def test_an_idle_daemon_has_a_line_each_hour(minutes: Minutes, tmp_path: Path) -> None:
    for minute in range(1, 121):
        minutes.tell(60.0 * minute, {})
    assert [each["msg"] for each in said(tmp_path)] == ["alive, no calls in the last minute"] * 2


def test_refused_calls_are_logged_a_flood_of_them_is_counted(
    minutes: Minutes, tmp_path: Path
) -> None:
    for number in range(500):
        minutes.refused("ADD", f"c{number}", "the limit is reached")
        minutes.answered("ADD", "11", 0.0)
    minutes.tell(60.0, {})
    *refused, minute = said(tmp_path)
    assert len(refused) == 20
    assert (refused[0]["level"], refused[0]["container"]) == ("error", "c0")
    assert (minute["refused"], minute["failed"]) == (500, {"ADD": 500})


def test_a_word_of_a_client_is_not_a_key(minutes: Minutes, tmp_path: Path) -> None:
    for number in range(100):
        minutes.answered(f"X{number}", "4", 0.0)
    minutes.tell(60.0, {})
    assert said(tmp_path)[0]["calls"] == {"other": 100}


def test_a_panicking_log_has_none(tmp_path: Path) -> None:
    quiet = Minutes(Log(Sink(path=str(tmp_path / "log"), stderr=False), "panic"), 0.0)
    quiet.answered("ADD", "0", 0.1)
    quiet.tell(60.0, {})
    assert said(tmp_path) == []
