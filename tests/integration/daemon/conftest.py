from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from attrs import define, evolve, field, frozen
from waiting import eventually

from multus.cni import shim
from multus.daemon import wire
from multus.daemon.board import Board
from multus.daemon.calls import Calls
from multus.daemon.generations import Generations
from multus.daemon.listening import listening
from multus.daemon.loop import Loop
from multus.daemon.metrics import Metrics
from multus.daemon.server import Server
from multus.daemon.settings import Limits, Settings
from multus.daemon.spool import Spool
from multus.daemon.state import State
from multus.daemon.systemd import Notifier
from multus.log import Log

from .either import either
from .place import more_settings, place

SOURCE = Path(__file__).parents[3] / "shim" / "multus-shim.c"
SHIMS = ("c", "python")


@pytest.fixture(scope="session")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    """The shims by kind, none with the engine's program beside it, as on a node of the DaemonSet.

    The C one has the address and undefined-behaviour sanitizers, where both can run.
    """
    folder = tmp_path_factory.mktemp("shims")
    alone = folder / "multus" / "cni" / "shim.py"
    alone.parent.mkdir(parents=True)
    shutil.copy(shim.__file__, alone)
    found = {"python": _python_shim(folder, str(alone))}
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler:
        found["c"] = str(folder / "multus-shim")
        _compile(compiler, found["c"], "address,undefined")
        if not subprocess.run([found["c"]], capture_output=True, env={}, check=False).stdout:
            # It did not reach its first line: user-mode Linux has no room for the sanitizer's map.
            _compile(compiler, found["c"], "undefined")
    return found


def _compile(compiler: str, program: str, sanitizers: str) -> None:
    checks = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-g"]
    command = [compiler, "-O1", "-Wall", "-Wextra", "-Werror", *checks]
    subprocess.run([*command, "-o", program, str(SOURCE)], check=True)


def _python_shim(folder: Path, module: str) -> str:
    python = folder / "python-shim"
    python.write_text(shim.launcher(module))
    python.chmod(0o755)
    return str(python)


@pytest.fixture(scope="session")
def beside(
    programs: Mapping[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Mapping[str, str]:
    """The shims by kind with the engine's program beside them; the C shim's only says "engine"."""
    folder = tmp_path_factory.mktemp("installed")
    found = {"python": _python_shim(folder, shim.__file__)}
    if "c" in programs:
        found["c"] = shutil.copy(programs["c"], str(folder / "multus"))
        engine = folder / "multus-standalone"
        engine.write_text(
            '#!/bin/sh\necho "engine: $MULTUS_STANDALONE $CNI_COMMAND" "$@"\ncat\nexit 3\n'
        )
        engine.chmod(0o755)
    return found


@frozen
class Shim:
    """Starts one of the shims with exactly the given environment."""

    program: str
    socket: Path

    def start(
        self, command: str | None, *arguments: str, **environ: str
    ) -> subprocess.Popen[bytes]:
        given = {
            "MULTUS_SOCKET": str(self.socket),
            "MULTUS_WAIT": "0.2",
            "ASAN_OPTIONS": "detect_leaks=0",
            **environ,
        }
        if command is not None:
            given["CNI_COMMAND"] = command
        return subprocess.Popen(
            [self.program, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={name: value for name, value in given.items() if value},
        )

    def __call__(
        self, command: str | None, stdin: bytes = b"{}", *arguments: str, **environ: str
    ) -> tuple[int, bytes]:
        process = self.start(command, *arguments, **environ)
        stdout, stderr = process.communicate(stdin, timeout=60)
        for line in stderr.splitlines():  # the log of a call in place says what the answer says
            assert json.loads(line)["error"] == json.loads(stdout)["msg"], stderr.decode()
        return process.returncode, stdout


@pytest.fixture(params=SHIMS)
def run(request: pytest.FixtureRequest, programs: Mapping[str, str], tmp_path: Path) -> Shim:
    """One of the two shims; a test that takes it is run with both."""
    if request.param not in programs:
        pytest.skip("no C compiler")
    return Shim(programs[request.param], tmp_path / "run" / "multus.sock")


@pytest.fixture(params=SHIMS)
def installed(request: pytest.FixtureRequest, beside: Mapping[str, str], tmp_path: Path) -> Shim:
    """One of the two shims, with the engine's program beside it."""
    if request.param not in beside:
        pytest.skip("no C compiler")
    return Shim(beside[request.param], tmp_path / "run" / "multus.sock")


@pytest.fixture(params=["engine beside", "shim only"])
def both(
    request: pytest.FixtureRequest,
    programs: Mapping[str, str],
    beside: Mapping[str, str],
    tmp_path: Path,
) -> list[Shim]:
    if "c" not in programs:
        pytest.skip("no C compiler")
    found = beside if request.param == "engine beside" else programs
    return [Shim(found[kind], tmp_path / "run" / "multus.sock") for kind in SHIMS]


@define
class Running:
    """A server in a thread of the test; each call's environment tells its worker what to do."""

    path: Path
    folder: Path
    server: Server
    thread: threading.Thread
    deadlines: list[float] = field(factory=list)

    @property
    def asked(self) -> list[tuple[str, Mapping[str, str], bytes]]:
        """The calls of the workers so far: command, environment, stdin."""
        file = self.folder / "state" / "asked"
        lines = file.read_text().splitlines() if file.exists() else []
        entries = [json.loads(line) for line in lines]
        self.deadlines = [entry[3] for entry in entries]
        return [(command, env, stdin.encode("latin-1")) for command, env, stdin, _ in entries]

    @property
    def log(self) -> str:
        file = self.folder / "daemon.log"
        return file.read_text() if file.exists() else ""

    def stop(self) -> None:
        self.server.stop()
        self.thread.join(30)
        assert not self.thread.is_alive()

    def connect(self) -> socket.socket:
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(60)
        peer.connect(str(self.path))
        return peer

    def call(self, command: str, stdin: bytes = b"{}", **environ: str) -> tuple[int, bytes]:
        with self.connect() as peer:
            peer.sendall(message(command, stdin, **environ))
            return answer_of(peer)

    def control(self, word: str) -> tuple[int, str]:
        with self.connect() as peer:
            peer.sendall(wire.Message(wire.CONTROL, word.encode()).encode())
            status, text = answer_of(peer)
            return status, text.decode()

    def metric(self, line: str) -> float:
        found = [each for each in self.control("metrics")[1].splitlines() if each.startswith(line)]
        return sum(float(each.rpartition(" ")[2]) for each in found)


def message(command: str, stdin: bytes = b"{}", **environ: str) -> bytes:
    given = {"CNI_COMMAND": command, **environ}
    return wire.Message(wire.CNI, stdin, given, seconds=120).encode()


def answer_of(peer: socket.socket) -> tuple[int, bytes]:
    data = b""
    # A server that refuses closes with unread data: the client gets the answer, then a reset.
    with contextlib.suppress(ConnectionResetError):
        while chunk := peer.recv(65536):
            data += chunk
    answer = wire.decode(data)
    assert answer.kind == wire.ANSWER
    return answer.status, answer.payload


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """Starts servers, and stops them at the end of the test."""
    started: list[Running] = []

    def start(
        *,
        limits: Limits | None = None,
        notifier: Notifier | None = None,
        inherited: socket.socket | None = None,
        **keys: Any,
    ) -> Running:
        path = tmp_path / "run" / "multus.sock"
        state = tmp_path / "state"
        state.mkdir(exist_ok=True)
        log_keys = {"logToStderr": False, "logFile": str(tmp_path / "daemon.log")}
        raw = {"cniDir": str(state), "socketDir": str(path.parent), **log_keys, **keys}
        (tmp_path / "daemon.json").write_text(json.dumps(raw))
        settings = Settings.of(raw, str(tmp_path / "daemon.json"), {})
        settings = evolve(settings, limits=limits or settings.limits)
        up = threading.Event()
        made: list[Server] = []

        def work() -> None:
            with listening(str(path), inherited) as listener, ExitStack() as stack:
                made.append(assemble(stack, settings, listener, notifier, inherited is not None))
                up.set()
                made[-1].run()

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        eventually(lambda: up.is_set() or not thread.is_alive())
        assert up.is_set(), "it ended while it started"
        started.append(Running(path, tmp_path, made[-1], thread))
        return started[-1]

    yield start
    for each in started:
        each.stop()


def assemble(
    stack: ExitStack,
    settings: Settings,
    listener: socket.socket,
    notifier: Notifier | None,
    shared: bool,
) -> Server:
    """The supervisor, assembled as in ``multus.daemon.main``, with the tests' own service."""
    log, metrics = Log.from_conf(settings.log), Metrics()
    board, loop = Board.create(settings.limits.slots), Loop()
    stack.callback(board.close)
    stack.callback(loop.close)
    target = "integration.daemon.services:echo"
    generations = Generations(settings, {}, board, loop, log, target)
    stack.callback(generations.close)
    generations.start()
    spool = Spool(settings.cni_dir, log)
    calls = Calls(board, loop, listener, generations.current, spool, metrics, log, settings.limits)
    generations.calls = calls
    server = Server(
        listener,
        loop,
        calls,
        generations,
        metrics,
        log,
        limits=settings.limits,
        notifier=notifier,
        shared=shared,
    )
    metrics.registry.register(State(generations, calls, spool, lambda: server.sending))
    return server


__all__ = ["Running", "Shim", "answer_of", "either", "message", "more_settings", "place"]
