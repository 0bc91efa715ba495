"""The server under clients of every kind."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from multus.daemon import wire
from multus.daemon.calls import Limits
from multus.daemon.listening import listening
from multus.daemon.systemd import Notifier
from multus.errors import IOFailure

from .conftest import Running, answer_of, descriptors, message, wait_for

Serve = Callable[..., Running]


class Gate:
    """A service's answer that waits until the test lets it go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(
        self, environ: Mapping[str, str], stdin: bytes, deadline: float
    ) -> tuple[int, bytes]:
        assert self.go.wait(30)
        return 0, stdin


def code(answer: tuple[int, bytes]) -> int:
    status, stdout = answer
    assert status == 1
    return int(json.loads(stdout)["code"])


# --- Who may connect ------------------------------------------------------------------------------


def test_the_socket_and_its_folder_are_private(serve: Serve) -> None:
    daemon = serve()
    assert stat.S_IMODE(daemon.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(daemon.path.parent.stat().st_mode) == 0o700
    assert stat.S_IMODE((daemon.path.parent / "multus.sock.lock").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_refused_even_if_the_socket_lets_him(serve: Serve, tmp_path: Path) -> None:
    daemon = serve()
    for folder in (daemon.path.parent, *daemon.path.parent.parents):
        if str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    daemon.path.chmod(0o666)
    program = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "sys.stdout.buffer.write(s.recv(65536))"
    )
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-c", program, str(daemon.path)],
        capture_output=True,
        user=65534,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answer = wire.decode(done.stdout)
    assert code((answer.status, answer.payload)) == 5
    assert daemon.service.asked == []


def test_a_second_daemon_refuses_and_names_the_first(serve: Serve) -> None:
    daemon = serve()
    with pytest.raises(IOFailure, match=f"process {os.getpid()}"):
        with listening(str(daemon.path)):
            pass
    assert daemon.call("ADD") == (0, b"{}")


def test_a_socket_left_by_a_dead_daemon_is_taken_over(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "run" / "multus.sock"))
    dead.close()
    assert serve().call("ADD") == (0, b"{}")


def test_a_file_in_the_sockets_place_is_not_removed(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    path = tmp_path / "run" / "multus.sock"
    path.write_text("precious")
    with pytest.raises(IOFailure):
        with listening(str(path)):
            pass
    assert path.read_text() == "precious"


def test_a_folder_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o777)
    with pytest.raises(IOFailure, match="0700"):
        with listening(str(tmp_path / "run" / "multus.sock")):
            pass


def test_a_path_too_long_for_a_socket_is_an_error_that_says_so(tmp_path: Path) -> None:
    with pytest.raises(IOFailure, match="too long"):
        with listening(str(tmp_path / ("x" * 100) / "multus.sock")):
            pass


# --- Clients that behave badly --------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"MULT\x02" + b"\0" * 15,
        b"MULT\x01\x07" + b"\0" * 14,
        b"MULT\x01\x01\0\0" + b"\xff" * 12,
        b"MULT\x01\x01\0\0" + (3).to_bytes(4, "big") + b"\0" * 8 + b"A=B",
        os.urandom(4096),
    ],
)
def test_garbage_is_answered_and_harms_nobody(serve: Serve, sent: bytes) -> None:
    daemon = serve()
    with daemon.connect() as peer:
        peer.sendall(sent)
        assert code(answer_of(peer)) == 6
    assert daemon.call("ADD") == (0, b"{}")
    assert len(daemon.service.asked) == 1


def test_a_slow_client_is_hung_up_on_and_delays_nobody(serve: Serve) -> None:
    daemon = serve(limits=Limits(workers=1, message_seconds=1.0))
    with daemon.connect() as slow:
        slow.sendall(message("ADD")[:10])
        began = time.monotonic()
        assert daemon.call("ADD") == (0, b"{}")
        assert time.monotonic() - began < 0.9
        assert code(answer_of(slow)) == 11
    assert len(daemon.service.asked) == 1


def test_a_client_that_sends_byte_by_byte_is_served(serve: Serve) -> None:
    daemon = serve()
    with daemon.connect() as peer:
        for byte in message("ADD", b'{"x": 1}'):
            peer.send(bytes((byte,)))
        assert answer_of(peer) == (0, b'{"x": 1}')


def test_clients_that_vanish_leave_nothing_behind(serve: Serve) -> None:
    daemon = serve()
    daemon.call("ADD")
    before = descriptors()
    for cut in (0, 5, 20, 25):
        for _ in range(10):
            with daemon.connect() as peer:
                peer.sendall(message("ADD")[:cut])
    wait_for(lambda: descriptors() == before)
    assert len(daemon.service.asked) == 1


def test_an_add_whose_client_vanished_while_it_waited_is_dropped_a_del_is_not(
    serve: Serve,
) -> None:
    gate = Gate()
    daemon = serve(gate, limits=Limits(workers=1))
    with daemon.connect() as first:
        first.sendall(message("ADD", b"first"))
        wait_for(lambda: daemon.service.asked)
        for command in ("ADD", "DEL"):
            with daemon.connect() as peer:
                peer.sendall(message(command, b"gone"))
        wait_for(lambda: daemon.metric("multus_server_calls") == 3)
        gate.go.set()
        assert answer_of(first) == (0, b"first")
    wait_for(lambda: daemon.metric("multus_server_calls") == 0)
    assert [asked[0]["CNI_COMMAND"] for asked in daemon.service.asked] == ["ADD", "DEL"]


def test_a_client_that_does_not_take_its_answer_is_logged(serve: Serve, tmp_path: Path) -> None:
    gate = Gate()
    daemon = serve(gate)
    with daemon.connect() as peer:
        peer.sendall(message("ADD", b"x", CNI_CONTAINERID="c1"))
        wait_for(lambda: daemon.service.asked)
    gate.go.set()
    log = tmp_path / "daemon.log"
    wait_for(lambda: log.exists() and "nobody took the answer" in log.read_text())
    assert json.loads(log.read_text())["container"] == "c1"


def test_a_service_that_fails_is_an_internal_error(serve: Serve) -> None:
    def answer(environ: Mapping[str, str], stdin: bytes, deadline: float) -> tuple[int, bytes]:
        raise RuntimeError("no")

    daemon = serve(answer)
    assert code(daemon.call("ADD")) == 999
    assert code(daemon.call("ADD")) == 999


# --- Many -----------------------------------------------------------------------------------------


def test_500_connections_are_all_answered(serve: Serve) -> None:
    def answer(environ: Mapping[str, str], stdin: bytes, deadline: float) -> tuple[int, bytes]:
        time.sleep(0.01)
        return 0, stdin

    daemon = serve(answer)
    before = descriptors()
    peers = [daemon.connect() for _ in range(500)]
    for number, peer in enumerate(peers):
        peer.sendall(message("ADD", b"%d" % number))
    for number, peer in enumerate(peers):
        with peer:
            assert answer_of(peer) == (0, b"%d" % number)
    wait_for(lambda: descriptors() <= before + 2)
    assert daemon.metric("multus_server_request_total") == 500


def test_beyond_the_bound_calls_are_refused_at_once_and_status_is_not(serve: Serve) -> None:
    gate = Gate()

    def answer(environ: Mapping[str, str], stdin: bytes, deadline: float) -> tuple[int, bytes]:
        return (0, b"") if environ["CNI_COMMAND"] == "STATUS" else gate(environ, stdin, deadline)

    daemon = serve(answer, limits=Limits(workers=2, admitted=5))
    peers = [daemon.connect() for _ in range(4)]
    for peer in peers:
        peer.sendall(message("ADD"))
    wait_for(lambda: daemon.metric("multus_server_calls") == 4)
    wait_for(lambda: daemon.metric("multus_server_queue") == 2)
    assert daemon.call("STATUS") == (0, b"")
    wait_for(lambda: daemon.metric("multus_server_calls") == 4)
    fifth = daemon.connect()
    fifth.sendall(message("ADD"))
    wait_for(lambda: daemon.metric("multus_server_calls") == 5)
    assert code(daemon.call("ADD", b'{"cniVersion": "1.0.0"}')) == 11
    assert daemon.control("health") == (0, "ok\n")
    gate.go.set()
    for peer in (*peers, fifth):
        with peer:
            assert answer_of(peer) == (0, b"{}")
    assert daemon.metric('multus_server_request_total{code="11"') == 1


def test_a_call_that_waited_beyond_its_deadline_is_not_begun(serve: Serve) -> None:
    gate = Gate()
    daemon = serve(gate, limits=Limits(workers=1))
    with daemon.connect() as first, daemon.connect() as second:
        first.sendall(message("ADD"))
        wait_for(lambda: daemon.service.asked)
        environ = {"CNI_COMMAND": "ADD"}
        second.sendall(wire.Message(wire.CNI, b"{}", environ, seconds=0.05).encode())
        time.sleep(0.1)
        gate.go.set()
        assert answer_of(first)[0] == 0
        assert code(answer_of(second)) == 11
    assert len(daemon.service.asked) == 1


# --- Stop, reload, systemd ------------------------------------------------------------------------


def test_stopping_finishes_what_runs_and_refuses_the_rest(serve: Serve) -> None:
    gate = Gate()
    daemon = serve(gate, limits=Limits(workers=1))
    with daemon.connect() as running, daemon.connect() as waiting:
        running.sendall(message("ADD", b"running"))
        wait_for(lambda: daemon.service.asked)
        waiting.sendall(message("ADD", b"{}"))
        wait_for(lambda: daemon.metric("multus_server_calls") == 2)
        daemon.server.stop()
        assert daemon.control("ready")[0] == 1
        assert code(daemon.call("ADD")) == 11
        gate.go.set()
        assert answer_of(running) == (0, b"running")
        assert code(answer_of(waiting)) == 11
    daemon.thread.join(10)
    assert not daemon.thread.is_alive()
    assert not daemon.path.exists()


def test_stopping_does_not_wait_for_ever(serve: Serve) -> None:
    gate = Gate()
    daemon = serve(gate, limits=Limits(stop_seconds=0.2))
    with daemon.connect() as peer:
        peer.sendall(message("ADD"))
        wait_for(lambda: daemon.service.asked)
        daemon.stop()
        gate.go.set()


def test_reload_and_readiness_are_the_services(serve: Serve) -> None:
    daemon = serve()
    assert daemon.control("reload") == (0, "ok\n")
    assert daemon.service.reloads == 1
    daemon.server.reload()
    wait_for(lambda: daemon.service.reloads == 2)
    assert daemon.control("ready") == (0, "ok\n")
    daemon.service.reason = "the pod cache is not complete"
    assert daemon.control("ready") == (1, "the pod cache is not complete\n")


def test_the_service_manager_is_told(serve: Serve, tmp_path: Path) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(10)
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
    daemon = serve(notifier=Notifier.from_environ(environ))
    assert environ == {}
    assert manager.recv(100) == b"READY=1"
    assert manager.recv(100) == b"WATCHDOG=1"
    daemon.control("reload")
    heard = [manager.recv(100) for _ in range(2)]
    assert heard[0].startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert heard[1] == b"READY=1"
    daemon.stop()
    wait_for(lambda: manager.recv(100).startswith(b"STOPPING=1"))
    manager.close()


def test_a_socket_of_the_service_managers_is_used_and_left(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    path = tmp_path / "run" / "multus.sock"
    manager = socket.socket(socket.AF_UNIX)
    manager.bind(str(path))
    manager.listen()
    program = (
        "import os, sys\n"
        "from multus.daemon.systemd import inherited_socket\n"
        "from multus.daemon.listening import listening\n"
        "os.environ['LISTEN_PID'] = str(os.getpid())\n"
        "given = inherited_socket(os.environ)\n"
        "assert given is not None and 'LISTEN_FDS' not in os.environ\n"
        "with listening(sys.argv[1], given) as listener:\n"
        "    listener.setblocking(True)\n"
        "    listener.accept()[0].sendall(b'hello')\n"
    )
    # As systemd does it: descriptor 3, in the process that LISTEN_PID names.
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        env={**os.environ, "LISTEN_FDS": "1"},
        preexec_fn=lambda: os.dup2(manager.fileno(), 3),
        pass_fds=[3],
    )
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(10)
        peer.connect(str(path))
        assert peer.recv(10) == b"hello"
    assert child.wait(10) == 0
    assert path.exists()
    manager.close()


def test_who_comes_to_a_shared_socket_while_we_stop_waits_for_the_next(
    serve: Serve, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as manager:
        manager.bind(str(tmp_path / "run" / "multus.sock"))
        manager.listen()
        gate = Gate()
        daemon = serve(gate, inherited=manager.dup())
        with daemon.connect() as running:
            running.sendall(message("ADD", b"running"))
            wait_for(lambda: daemon.service.asked)
            daemon.server.stop()
            time.sleep(0.1)
            with daemon.connect() as late:
                late.sendall(message("ADD", b"late"))
                gate.go.set()
                assert answer_of(running) == (0, b"running")
                daemon.thread.join(10)
                serve(inherited=manager.dup())
                assert answer_of(late) == (0, b"late")
