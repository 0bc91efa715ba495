"""The executor, on real programs."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from descriptors import all_closed
from waiting import PATIENCE, eventually

from multus.api.errors import CNIError, DelegateFailed, InvalidConfig, NotStarted, TryAgainLater
from multus.api.execute import Executor
from multus.api.jsontext import LARGEST

ENVIRON = {"PATH": "/usr/bin:/bin"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


def script(folder: Path, text: str, name: str = "fake", mode: int = 0o755) -> None:
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(mode)


def call(folder: Path, stdin: bytes = b"{}", timeout: float = 60.0) -> object:
    return Executor((str(folder),)).call("fake", stdin, ENVIRON, timeout)


def ended(pid: int) -> bool:
    """Whether a process has ended, waited for by its parent or not."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


class TestFinding:
    def test_the_first_folder_that_has_it_wins(self, folder: Path) -> None:
        for name in ("one", "two"):
            (folder / name).mkdir()
        script(folder / "two", "", "late")
        script(folder / "one", "", "both")
        script(folder / "two", "", "both")
        executor = Executor((str(folder / "one"), str(folder / "two"), "/nowhere"))
        assert executor.find("late") == str(folder / "two" / "late")
        assert executor.find("both") == str(folder / "one" / "both")

    @pytest.mark.parametrize("kind", ["", ".", "..", "a/b", "/bin/sh", "../sh", "a\0"])
    def test_a_path_is_not_a_plugin(self, kind: str) -> None:
        with pytest.raises(InvalidConfig, match="bare name"):
            Executor(("/bin",)).find(kind)

    def test_one_that_is_not_there_is_named_with_the_folders(self) -> None:
        with pytest.raises(NotStarted, match=r"'gone' is not found in /a, /b: install"):
            Executor(("/a", "/b")).find("gone")

    def test_one_that_may_not_be_executed_is_named(self, folder: Path) -> None:
        script(folder, "", mode=0o644)
        with pytest.raises(NotStarted, match="not executable: chmod"):
            Executor((str(folder),)).find("fake")

    def test_a_folder_is_not_a_plugin(self, folder: Path) -> None:
        (folder / "fake").mkdir()
        with pytest.raises(NotStarted):
            Executor((str(folder),)).find("fake")

    def test_another_root_is_looked_into(self, folder: Path) -> None:
        (folder / "opt").mkdir()
        script(folder / "opt", "")
        assert Executor(("/opt",), chroot=str(folder)).find("fake") == "/opt/fake"


class TestRunning:
    def test_gets_its_input_and_exactly_its_environment(self, folder: Path) -> None:
        script(folder, 'read x; printf \'{"x": %s, "env": "%s"}\' "$x" "$A,$HOME"')
        executor = Executor((str(folder),))
        value, stderr = executor.call("fake", b"[1]\n", {**ENVIRON, "A": "b"}, 20)
        assert (value, stderr) == ({"x": [1], "env": "b,"}, "")

    def test_a_large_input_that_is_not_read_is_not_an_error(self, folder: Path) -> None:
        script(folder, "echo {}")
        assert call(folder, b" " * 2_000_000) == ({}, "")

    def test_a_large_input_is_read_to_its_end(self, folder: Path) -> None:
        script(folder, "wc -c")
        assert call(folder, b" " * 2_000_000) == (2_000_000, "")

    def test_a_large_output_is_read_to_its_end(self, folder: Path) -> None:
        script(folder, "printf '\"'; head -c 1000000 /dev/zero | tr '\\0' x; printf '\"'")
        assert call(folder) == ("x" * 1_000_000, "")

    @pytest.mark.parametrize("nothing", ["true", "echo", "printf ' \\n\\t'"])
    def test_nothing_printed_is_nothing(self, folder: Path, nothing: str) -> None:
        script(folder, nothing)
        assert call(folder) == (None, "")

    def test_what_it_says_on_stderr_is_returned(self, folder: Path) -> None:
        script(folder, "echo warm >&2; echo null")
        assert call(folder) == (None, "warm")

    def test_of_a_long_stderr_the_end_is_kept(self, folder: Path) -> None:
        script(folder, "head -c 300000 /dev/zero | tr '\\0' x >&2; echo end >&2; echo {}")
        _, stderr = Executor((str(folder),)).call("fake", b"", ENVIRON, 60)
        assert stderr.endswith("xend") and len(stderr) <= 8 * 1024

    def test_a_child_that_keeps_the_output_open_is_not_waited_for(self, folder: Path) -> None:
        script(folder, f"sleep 600 & echo $! >{folder}/child; echo {{}}")
        started = time.monotonic()
        assert call(folder) == ({}, "")
        assert time.monotonic() - started < PATIENCE
        os.kill(int((folder / "child").read_text()), signal.SIGKILL)

    def test_output_closed_early_is_not_its_end(self, folder: Path) -> None:
        script(folder, f"echo {{}}; exec >&- 2>&-; sleep 0.3; touch {folder}/done")
        assert call(folder) == ({}, "")
        assert (folder / "done").exists()

    def test_a_descriptor_that_is_to_be_kept_is_kept(self, folder: Path) -> None:
        script(folder, "readlink /proc/self/fd/200 | sed 's/.*/\"&\"/'")
        with open(folder / "lock", "w") as lock:
            executor = Executor((str(folder),), inherited=(lock.fileno(),))
            assert executor.call("fake", b"", ENVIRON, 60) == (str(folder / "lock"), "")

    def test_no_other_descriptor_of_ours_reaches_it(self, folder: Path) -> None:
        script(folder, "readlink /proc/$$/fd/* | grep -c secret || true")
        with open(folder / "secret", "w"):
            assert call(folder) == (0, "")


class TestFailing:
    def test_its_own_error_keeps_its_code(self, folder: Path) -> None:
        script(folder, 'echo \'{"code": 11, "msg": "later", "details": "d"}\'; echo e >&2; exit 1')
        with pytest.raises(TryAgainLater) as caught:
            call(folder)
        assert (caught.value.number, caught.value.msg) == (11, "later")
        assert caught.value.details == "d; e"

    def test_a_code_of_its_own_is_kept_too(self, folder: Path) -> None:
        script(folder, 'echo \'{"code": 117, "msg": "odd"}\'; exit 3')
        with pytest.raises(CNIError) as caught:
            call(folder)
        assert (type(caught.value), caught.value.number) == (CNIError, 117)

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("exit 3", "status 3"),
            ("echo segfault; exit 1", "segfault"),
            ('echo \'{"msg": "x"}\'; exit 1', "no CNI error"),
            ('echo \'{"code": "7"}\'; exit 1', "no CNI error"),
            ("echo '{\"code\": true}'; exit 1", "no CNI error"),
            ("echo '[]'; exit 1", "no CNI error"),
            ("echo boom >&2; exit 1", "boom"),
            ("kill -9 $$", "signal 9"),
            ("kill -SEGV $$", "signal 11"),
            ("echo fine", "no JSON"),
            ("echo '{}{}'", "no JSON"),
        ],
    )
    def test_output_that_is_not_a_cni_error_is_reported_unchanged(
        self, folder: Path, text: str, said: str
    ) -> None:
        script(folder, text)
        with pytest.raises(DelegateFailed) as caught:
            call(folder)
        assert said in str(caught.value) and "'fake'" in caught.value.msg

    @pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x00\x01", b"#!/no/such/program\n"])
    def test_a_file_that_is_not_a_program_is_not_started(
        self, folder: Path, content: bytes
    ) -> None:
        path = folder / "fake"
        path.write_bytes(content)
        path.chmod(0o755)
        with pytest.raises(NotStarted, match="cannot be started"):
            call(folder)

    def test_one_that_hangs_is_killed_with_its_children(self, folder: Path) -> None:
        script(folder, f"sleep 100 & echo $! >{folder}/child; echo $$ >{folder}/own; wait")
        with pytest.raises(DelegateFailed, match="did not end in time"):
            call(folder, timeout=3.0)
        pid = int((folder / "own").read_text())
        eventually(lambda: ended(pid))
        pid = int((folder / "child").read_text())
        eventually(lambda: ended(pid))

    def test_one_that_talks_for_ever_is_killed_in_time(self, folder: Path) -> None:
        script(folder, "while :; do echo again >&2; done")
        started = time.monotonic()
        with pytest.raises(DelegateFailed, match="did not end in time"):
            call(folder, timeout=0.7)
        assert time.monotonic() - started < PATIENCE

    def test_one_that_prints_without_end_is_killed(self, folder: Path) -> None:
        script(folder, f"echo $$ >{folder}/own; exec cat /dev/zero")
        with pytest.raises(DelegateFailed, match=str(LARGEST)):
            call(folder)
        pid = int((folder / "own").read_text())
        eventually(lambda: ended(pid))

    def test_signals_that_we_ignore_it_does_not(self, folder: Path) -> None:
        before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
        try:
            script(folder, "kill -TERM $$; sleep 1; echo {}")
            with pytest.raises(DelegateFailed, match="signal 15"):
                call(folder)
        finally:
            signal.signal(signal.SIGTERM, before)


def test_no_descriptor_stays_open(folder: Path) -> None:
    script(folder, "echo {}")
    script(folder, "exit 1", "failing")
    executor = Executor((str(folder),))
    with all_closed():
        executor.call("fake", b"", ENVIRON, 60)
        for kind, timeout in (("failing", 60.0), ("gone", 60.0), ("fake", 0.0)):
            with pytest.raises(CNIError):
                executor.call(kind, b"", ENVIRON, timeout)


def test_threads_do_not_close_each_others_descriptors(folder: Path) -> None:
    script(folder, "cat")
    failures: list[BaseException] = []

    def many(number: int) -> None:
        try:
            for _ in range(15):
                text = b'"%d"' % number
                assert Executor((str(folder),)).call("fake", text, ENVIRON, 60)[0] == str(number)
        except BaseException as error:  # noqa: BLE001  told to the test, whatever it is
            failures.append(error)

    threads = [threading.Thread(target=many, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


_WITH_LIMIT = """
import os, resource, sys
from multus.api.execute import Executor
limit = int(sys.argv[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
lock, other = os.open("/dev/null", os.O_RDONLY), os.open("/etc/passwd", os.O_RDONLY)
ended = Executor((), inherited=(lock, other)).run(
    ["/bin/sh", "-c", "readlink /proc/$$/fd/*; true"], b"", {"PATH": "/usr/bin:/bin"}, 20
)
sys.stdout.buffer.write(ended.stdout)
sys.exit(ended.status)
"""


@pytest.mark.parametrize("limit", [16, 64, 200, 201, 1024])
def test_with_few_descriptors_allowed_a_plugin_starts_and_keeps_what_it_inherits(
    limit: int,
) -> None:
    command = [sys.executable, "-c", _WITH_LIMIT, str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert {"/dev/null", "/etc/passwd"} <= set(done.stdout.split())


def test_without_a_descriptor_for_a_pipe_it_is_said(folder: Path) -> None:
    script(folder, "true")
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.open("/dev/null", os.O_RDONLY)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        with pytest.raises(NotStarted, match="raise the limit of open files"):
            call(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
