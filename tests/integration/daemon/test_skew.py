"""A shim and a daemon of neighbouring releases: what one sent before, the other still reads."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import becomes

from multus.daemon import wire

from .conftest import Running, Shim
from .kept import ENVIRON, STDIN, VERSIONS, Asked, Kept, read

Serve = Callable[..., Running]

#: This release's version and the one before it.
_NUMBERS = [each for each in VERSIONS if each >= wire.VERSION - 1]
versions = pytest.mark.parametrize("kept", [VERSIONS[each] for each in _NUMBERS], ids=_NUMBERS)


def exchange(daemon: Running, request: bytes) -> bytes:
    with daemon.connect() as peer:
        peer.sendall(request)
        data = b""
        while chunk := peer.recv(65536):
            data += chunk
        return data


def test_this_releases_messages_are_kept() -> None:
    assert max(VERSIONS) == wire.VERSION


# --- A shim of before, a daemon of today --------------------------------------------------


@versions
def test_todays_daemon_answers_the_shim_of_before(serve: Serve, kept: Kept) -> None:
    daemon = serve()
    answer = kept.answer.replace(b"\x02\x00\x00\x00\x00{}", b"\x16\x00\x00\x00\x00" + STDIN)
    assert exchange(daemon, kept.request) == answer
    ((command, environ, stdin),) = daemon.asked
    assert (command, stdin) == ("ADD", STDIN)
    assert {name: environ[name] for name in ENVIRON} == ENVIRON


@versions
def test_todays_daemon_answers_its_control_requests(serve: Serve, kept: Kept) -> None:
    answer = exchange(serve(), kept.control)
    assert answer == kept.answer.replace(b"\x02\x00\x00\x00\x00{}", b"\x03\x00\x00\x00\x00ok\n")


@versions
def test_todays_daemon_carries_out_the_del_that_it_kept(
    serve: Serve, kept: Kept, tmp_path: Path
) -> None:
    spool = tmp_path / "state" / ".spool"
    spool.mkdir(parents=True, mode=0o700)
    (spool / "0000000000000000001.c1").write_bytes(kept.deletion)
    daemon = serve()
    becomes(lambda: list(spool.iterdir()), [])
    assert [(command, stdin) for command, _, stdin in daemon.asked] == [("DEL", STDIN)]


def test_a_version_that_the_daemon_does_not_know_is_refused_in_one_that_the_shim_knows(
    serve: Serve,
) -> None:
    newer = bytearray(VERSIONS[wire.VERSION].request)
    newer[4] = wire.VERSION + 1
    answer = exchange(serve(), bytes(newer))
    assert answer[:8] == VERSIONS[wire.VERSION].failure[:8]
    assert json.loads(answer[20:])["code"] == 6


# --- A shim of today, a daemon of before --------------------------------------------------


class Before:
    """A daemon of before: it reads one request, and answers with the bytes of then."""

    def __init__(self, path: Path, answer: bytes) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(os.fspath(path))
        self._listener.listen()
        self._answer = answer
        self._data = b""
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with self._listener, self._listener.accept()[0] as peer:
            peer.settimeout(60)
            while len(self._data) < 20 or len(self._data) < self._length():
                self._data += peer.recv(65536)
            peer.sendall(self._answer)

    def _length(self) -> int:
        parts = self._data[8:12], self._data[12:16]
        return 20 + sum(int.from_bytes(part, "big") for part in parts)

    def asked(self) -> Asked:
        self._thread.join(60)
        return read(self._data)


@pytest.fixture
def before(run: Shim) -> Iterator[Callable[[bytes], Before]]:
    yield lambda answer: Before(run.socket, answer)


@versions
def test_todays_shims_are_understood_by_the_daemon_of_before(
    run: Shim, kept: Kept, before: Callable[[bytes], Before]
) -> None:
    daemon = before(kept.answer)
    more = {name: text for name, text in ENVIRON.items() if name != "CNI_COMMAND"}
    assert run("ADD", STDIN, **more) == (0, b"{}")
    asked = daemon.asked()
    then = read(kept.request)
    assert asked[:2] == then[:2]
    assert (asked.payload, asked.milliseconds) == (then.payload, then.milliseconds)
    assert {name: asked.environ[name] for name in ENVIRON} == ENVIRON


@versions
def test_todays_shims_report_its_failures(
    run: Shim, kept: Kept, before: Callable[[bytes], Before]
) -> None:
    before(kept.failure)
    assert run("ADD", STDIN) == (1, b'{"code": 7}')


@versions
def test_todays_shims_send_its_control_requests(
    run: Shim, kept: Kept, before: Callable[[bytes], Before]
) -> None:
    daemon = before(kept.answer)
    assert run(None, b"", "health") == (0, b"{}")
    asked, then = daemon.asked(), read(kept.control)
    assert (asked.version, asked.kind, asked.payload) == (then.version, then.kind, then.payload)
