"""When a part of healing is due, and how what it came to is counted."""

from __future__ import annotations

import time

from multus.daemon.healing import Healing
from multus.daemon.said import Healed
from multus.daemon.settings import Settings
from multus.log import Log

SETTINGS = Settings.of({"healMinutes": 2, "healGraceSeconds": 7}, "daemon.json", {})
FOLDERS = ("/state",)
LATER = 3600.0


def healing() -> Healing:
    return Healing(Log.from_conf({"logToStderr": False}))


def healed(found: int, removed: int, failed: int = 0, *, more: bool = False) -> Healed:
    skipped = tuple(f"record c{number}" for number in range(failed))
    return Healed({"record": found}, {"record": removed}, {"record": failed}, skipped, more)


def test_the_first_part_is_due_soon_after_the_start_and_one_runs_at_a_time() -> None:
    made, now = healing(), time.monotonic()
    assert made.job(now, SETTINGS, FOLDERS) is None
    job = made.job(now + 10, SETTINGS, FOLDERS)
    assert job is not None and (job.kind, job.command, job.container) == ("heal", "GC", "")
    assert job.head == {"folders": ["/state"], "grace": 7.0, "skip": []}
    assert made.job(now + LATER, SETTINGS, FOLDERS) is None


def test_without_minutes_nothing_is_ever_due() -> None:
    never = Settings.of({"healMinutes": 0}, "daemon.json", {})
    assert healing().job(time.monotonic() + LATER, never, FOLDERS) is None


def test_a_round_goes_on_without_what_failed_and_counts_what_it_found_once() -> None:
    made, now = healing(), time.monotonic()
    made.job(now + 10, SETTINGS, FOLDERS)
    made.ended(healed(30, 19, 1, more=True), SETTINGS)
    job = made.job(time.monotonic() + 10, SETTINGS, FOLDERS)
    assert job is not None and job.head["skip"] == ["record c0"]
    made.ended(healed(10, 10), SETTINGS)
    assert (made.found["record"], made.removed["record"], made.failed["record"]) == (30, 29, 1)
    assert made.rounds == 1
    assert made.job(time.monotonic() + 90, SETTINGS, FOLDERS) is None, "two minutes, a fifth less"
    job = made.job(time.monotonic() + 150, SETTINGS, FOLDERS)
    assert job is not None and job.head["skip"] == []


def test_the_runtimes_socket_is_looked_for_under_the_nodes_root() -> None:
    keys = {"criSocket": "/run/cri.sock"}
    assert Settings.of(keys, "daemon.json", {}).runtime_socket == "/run/cri.sock"
    there = Settings.of({**keys, "chrootDir": "/host"}, "daemon.json", {})
    assert there.runtime_socket == "/host/run/cri.sock"
    assert Settings.of({"chrootDir": "/host"}, "daemon.json", {}).runtime_socket == ""


def test_a_lost_worker_ends_the_round() -> None:
    made = healing()
    made.job(time.monotonic() + 10, SETTINGS, FOLDERS)
    made.lost(SETTINGS, "process ended")
    assert made.job(time.monotonic() + 10, SETTINGS, FOLDERS) is None
    assert made.job(time.monotonic() + 150, SETTINGS, FOLDERS) is not None
