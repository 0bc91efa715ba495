from __future__ import annotations

import gzip
import json
import os
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from descriptors import copies
from waiting import eventually

from multus.api import keys
from multus.api.reader import Reader
from multus.api.where import dotted
from multus.log import Log, Sink
from multus.log import _files as logfiles


def file_log(path: Path, **conf: Any) -> Log:
    return Log.from_conf({"logFile": str(path), "logToStderr": False, **conf})


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_line_is_one_json_object_with_its_fields(tmp_path: Path) -> None:
    log = file_log(tmp_path / "log", logLevel="verbose").bind(pod="ns/pod")
    log.verbose("attached", network="a\nb", duration=0.00123456789)
    (line,) = lines(tmp_path / "log")
    assert line["level"] == "verbose"
    assert line["msg"] == "attached"
    assert (line["pod"], line["network"], line["duration"]) == ("ns/pod", "a\nb", 0.001235)
    assert line["time"].endswith("Z")


def test_levels_above_the_configured_one_are_not_written(tmp_path: Path) -> None:
    for level in ("panic", "error", "verbose", "debug"):
        log = file_log(tmp_path / level, logLevel=level)
        for name in ("panic", "error", "verbose", "debug"):
            getattr(log, name)(name)
    written = [len(lines(tmp_path / level)) for level in ("panic", "error", "verbose", "debug")]
    assert written == [1, 2, 3, 4]


def test_stdout_is_never_written(tmp_path: Path) -> None:
    program = (
        "from multus.log import Log\n"
        "Log.from_conf({'logFile': '/proc/nowhere/log'}).panic('x', token='abc')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b""
    first, second = done.stderr.splitlines()
    assert json.loads(first)["token"] == "[redacted]"
    assert b"cannot write logFile /proc/nowhere/log" in second


@pytest.mark.parametrize(
    "fields",
    [
        {"token": "hunter2"},
        {"conf": {"user": {"password": "hunter2"}}},
        {"headers": [{"Authorization": "hunter2"}]},
        {"text": "sent Authorization: Bearer hunter2"},
        {"url": "https://admin:hunter2@api:6443/"},
        {"client-key-data": b"hunter2"},
        {"error": ValueError("https://a:hunter2@h refused")},
    ],
)
def test_secrets_do_not_reach_the_log(tmp_path: Path, fields: dict[str, object]) -> None:
    file_log(tmp_path / "log", logLevel="debug").error("x", **fields)
    text = (tmp_path / "log").read_text()
    assert "hunter2" not in text
    assert "[redacted]" in text


def test_a_traceback_is_written_at_debug_only(tmp_path: Path) -> None:
    try:
        raise KeyError("here")
    except KeyError as err:
        file_log(tmp_path / "error").error("x", error=err)
        file_log(tmp_path / "debug", logLevel="debug").error("x", error=err)
    assert "traceback" not in lines(tmp_path / "error")[0]
    assert "test_log.py" in lines(tmp_path / "debug")[0]["traceback"]


def test_a_field_that_cannot_be_printed_does_not_raise(tmp_path: Path) -> None:
    class Broken:
        def __str__(self) -> str:
            raise RuntimeError("no")

    file_log(tmp_path / "log").error("x", field=Broken())
    assert "RuntimeError" in lines(tmp_path / "log")[0]["msg"]


def test_the_file_is_private_and_a_symlink_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file_log(tmp_path / "sub" / "log").error("x")
    assert stat.S_IMODE((tmp_path / "sub" / "log").stat().st_mode) == 0o600
    victim = tmp_path / "victim"
    (tmp_path / "link").symlink_to(victim)
    file_log(tmp_path / "link").error("x")
    assert not victim.exists()
    assert "cannot write logFile" in capfd.readouterr().err


def test_a_log_that_is_dropped_closes_its_file_and_a_bound_one_keeps_it(tmp_path: Path) -> None:
    with open(tmp_path / "log", "a", encoding="utf-8") as file:
        bound = file_log(tmp_path / "log").bind(pod="a")
        bound.error("first")
        assert copies(file.fileno()) == 2
        bound.error("second")
        for _ in range(50):
            file_log(tmp_path / "log").error("alone")
        assert copies(file.fileno()) == 2
        del bound
        assert copies(file.fileno()) == 1


def test_a_path_with_control_characters_forges_no_line_on_stderr(
    capfd: pytest.CaptureFixture[str],
) -> None:
    path = '/proc/none/\x1b[2J\n{"level":"panic"}'
    Log.from_conf({"logFile": path, "logToStderr": False}).error("x")
    (line,) = capfd.readouterr().err.splitlines()
    assert "/\\x1b[2J\\n{" in line


def test_a_renamed_file_is_opened_anew(tmp_path: Path) -> None:
    log = file_log(tmp_path / "log")
    log.error("first")
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.error("second")
    assert [line["msg"] for line in lines(tmp_path / "log")] == ["second"]


def test_threads_and_rotation_lose_no_line(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sinks = [
        Sink(path=str(path), stderr=False, max_bytes=20_000, max_backups=0, compress=False)
        for _ in range(2)
    ]

    def work(number: int) -> None:
        log = Log(sinks[number % 2])
        for count in range(100):
            log.error("x", id=number * 1000 + count, text="y" * 50)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    written = [line["id"] for file in tmp_path.iterdir() for line in lines(file)]
    assert sorted(written) == sorted(n * 1000 + c for n in range(8) for c in range(100))
    assert len(list(tmp_path.iterdir())) > 4


def test_a_full_file_is_rotated_and_compressed_by_a_process_apart(tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = Log(Sink(path=str(path), stderr=False, max_bytes=1000, max_backups=2))
    for count in range(30):
        log.error("x" * 200, id=count)
    eventually(lambda: len([p for p in tmp_path.iterdir() if p.suffix == ".gz"]) == 2)
    eventually(lambda: len(list(tmp_path.iterdir())) == 3)
    packed = sorted(tmp_path.glob("*.gz"))[-1]
    assert json.loads(gzip.decompress(packed.read_bytes()).splitlines()[0])["level"] == "error"


def test_old_backups_are_deleted_by_age(tmp_path: Path) -> None:
    now = time.time_ns()
    day = 86400 * 10**9
    for age in (0, 1, 3):
        (tmp_path / f"log.{now - age * day}").write_text("x")
    (tmp_path / "log.other").write_text("not ours")
    logfiles.tidy(str(tmp_path / "log"), 0, 2, compress=False)
    assert sorted(os.listdir(tmp_path)) == [f"log.{now - day}", f"log.{now}", "log.other"]


@pytest.mark.parametrize(
    ("conf", "path"),
    [
        ({"logLevel": 3}, "logLevel"),
        ({"logFile": 5}, "logFile"),
        ({"logToStderr": "yes"}, "logToStderr"),
        ({"logOptions": []}, "logOptions"),
        ({"logOptions": {"maxAge": "1"}}, "logOptions.maxAge"),
        ({"logOptions": {"maxSize": "1"}}, "logOptions.maxSize"),
        ({"logOptions": {"compress": 1}}, "logOptions.compress"),
    ],
)
def test_a_wrong_key_is_named_and_has_its_default(conf: dict[str, object], path: str) -> None:
    found = keys.problems(Reader(conf, "here"), keys.LOG)
    assert [dotted(problem.path) for problem in found] == [path]
    assert Log.from_conf(conf).level == "error"


def test_right_keys_are_no_problem() -> None:
    options = {"maxAge": 1, "maxSize": 2, "maxBackups": 3, "compress": False}
    conf = {"logToStderr": True, "logFile": "/x", "logLevel": "debug", "logOptions": options}
    assert keys.problems(Reader(conf, "here"), keys.LOG) == []


@pytest.mark.parametrize("value", [False, "false", "False"])
def test_a_boolean_may_be_written_as_text(value: object, capfd: pytest.CaptureFixture[str]) -> None:
    Log.from_conf({"logToStderr": value}).error("unheard")
    assert capfd.readouterr().err == ""


def test_importing_the_log_loads_nothing_heavy() -> None:
    root = str(Path(logfiles.__file__).parents[2])
    program = (
        f"import sys; sys.path.insert(0, {root!r}); import multus\n"
        "before = set(sys.modules); import multus.log; print(' '.join(set(sys.modules) - before))"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", program], capture_output=True, check=True, text=True
    )
    assert not {"json", "re", "logging", "threading", "traceback"} & set(done.stdout.split())
