"""The server with good and bad clients."""

from __future__ import annotations

import json
import os
import select
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from descriptors import held
from waiting import PATIENCE, becomes, eventually

from multus.api.errors import IOFailure
from multus.cni.shim import LEFT
from multus.daemon import wire
from multus.daemon.listening import listening
from multus.daemon.settings import Limits
from multus.daemon.systemd import Notifier

from .conftest import Running, Shim, answer_of, message

Serve = Callable[..., Running]


class Gate:
    """A file that calls wait for."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "gate"
        self.do = f"gate:{self.path}"

    def open(self) -> None:
        self.path.touch()


@pytest.fixture
def gate(tmp_path: Path) -> Gate:
    return Gate(tmp_path)


def children() -> set[int]:
    """The child processes of the test: templates."""
    text = Path(f"/proc/self/task/{os.getpid()}/children").read_text()
    for task in os.listdir("/proc/self/task"):
        text += " " + Path(f"/proc/self/task/{task}/children").read_text()
    return {int(each) for each in text.split()}


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
def test_another_user_is_refused_even_if_the_socket_allows_it(serve: Serve, tmp_path: Path) -> None:
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
    assert daemon.asked == []


def test_a_second_daemon_refuses_and_names_the_first(serve: Serve) -> None:
    daemon = serve()
    with pytest.raises(IOFailure, match=f"process {os.getpid()}"):
        with listening(str(daemon.path)):
            pass
    assert daemon.call("ADD") == (0, b"{}")


def test_a_stale_socket_of_a_dead_daemon_is_replaced(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    dead = socket.socket(socket.AF_UNIX)
    dead.bind(str(tmp_path / "run" / "multus.sock"))
    dead.close()
    assert serve().call("ADD") == (0, b"{}")


@pytest.mark.parametrize("left", ["nothing", "a socket"])
def test_a_link_of_earlier_settings_at_the_sockets_path_is_replaced(
    serve: Serve, tmp_path: Path, left: str
) -> None:
    path, earlier = tmp_path / "run" / "multus.sock", tmp_path / "earlier.sock"
    path.parent.mkdir(mode=0o700)
    path.symlink_to(earlier)
    if left == "a socket":
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(earlier))
    assert serve().call("ADD") == (0, b"{}")
    assert not path.is_symlink()


def test_a_link_to_the_socket_is_made_whatever_a_killed_daemon_left(tmp_path: Path) -> None:
    path, link = tmp_path / "run" / "multus.sock", tmp_path / "link" / "multus.sock"
    link.parent.mkdir(mode=0o700)
    for _ in range(2):
        for name in ("new", str(os.getpid())):
            Path(f"{link}.{name}").symlink_to("nowhere")
        with listening(str(path), link=str(link)):
            assert (link.is_symlink(), link.resolve()) == (True, path)
        link.unlink()
        Path(f"{link}.{os.getpid()}").unlink()
    assert list(link.parent.iterdir()) == []


def test_a_daemon_that_has_not_the_lock_makes_no_link(tmp_path: Path) -> None:
    path, link = tmp_path / "run" / "multus.sock", tmp_path / "link" / "multus.sock"
    with listening(str(path)):
        with pytest.raises(IOFailure, match="another daemon"):
            with listening(str(path), link=str(link)):
                pass
    assert not link.parent.exists()


def test_a_file_at_the_sockets_path_is_not_removed(tmp_path: Path) -> None:
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


def test_a_path_too_long_for_a_socket_is_reported(tmp_path: Path) -> None:
    with pytest.raises(IOFailure, match="too long"):
        with listening(str(tmp_path / ("x" * 100) / "multus.sock")):
            pass


# --- Clients that behave badly --------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nHost: x\r\n\r\n",
        b"MULT\x02" + b"\0" * 15,
        b"MULT\x01\x07" + b"\0" * 14,
        b"MULT\x01\x01\0\0" + b"\xff" * 12,
        b"MULT\x01\x01\0\0" + (3).to_bytes(4, "big") + b"\0" * 8 + b"A=B",
        os.urandom(4096),
    ],
)
def test_garbage_is_answered_and_others_are_served(serve: Serve, sent: bytes) -> None:
    daemon = serve()
    with daemon.connect() as peer:
        peer.sendall(sent)
        assert code(answer_of(peer)) == 6
    assert daemon.call("ADD") == (0, b"{}")
    assert len(daemon.asked) == 1


def test_a_slow_client_is_disconnected_and_delays_no_other(serve: Serve) -> None:
    daemon = serve(limits=Limits(workers=1, message_seconds=3.0))
    assert daemon.call("ADD") == (0, b"{}")  # now there is a worker
    with daemon.connect() as slow:
        slow.sendall(message("ADD")[:10])
        assert daemon.call("ADD") == (0, b"{}")
        assert select.select([slow], [], [], 0)[0] == []
        assert code(answer_of(slow)) == 11
    assert len(daemon.asked) == 2


def test_a_client_that_sends_byte_by_byte_is_served(serve: Serve) -> None:
    daemon = serve()
    with daemon.connect() as peer:
        for byte in message("ADD", b'{"x": 1}'):
            peer.send(bytes((byte,)))
        assert answer_of(peer) == (0, b'{"x": 1}')


def test_clients_that_disconnect_leave_nothing_behind(serve: Serve) -> None:
    # One worker: another one would be forked, and have descriptors, while this one is busy.
    daemon = serve(limits=Limits(workers=1))
    daemon.call("ADD")
    before = held()
    for cut in (0, 5, 20, 25):
        for _ in range(10):
            with daemon.connect() as peer:
                peer.sendall(message("ADD")[:cut])
    becomes(lambda: held() - before, set())
    assert len(daemon.asked) == 1


def test_a_queued_add_whose_client_disconnected_is_dropped_a_del_is_not(
    serve: Serve, gate: Gate
) -> None:
    daemon = serve(limits=Limits(workers=1))
    with daemon.connect() as first:
        first.sendall(message("ADD", b"first", DO=gate.do))
        eventually(lambda: daemon.asked)
        for command in ("ADD", "DEL"):
            with daemon.connect() as peer:
                peer.sendall(message(command, b"gone"))
        eventually(lambda: daemon.metric("multus_server_calls") == 3)
        gate.open()
        assert answer_of(first) == (0, b"first")
    eventually(lambda: daemon.metric("multus_server_calls") == 0)
    assert [command for command, _, _ in daemon.asked] == ["ADD", "DEL"]


def test_a_client_that_does_not_take_its_answer_is_logged(serve: Serve, gate: Gate) -> None:
    daemon = serve()
    with daemon.connect() as peer:
        peer.sendall(message("ADD", b"x", CNI_CONTAINERID="c1", DO=gate.do))
        eventually(lambda: daemon.asked)
    gate.open()
    eventually(lambda: "did not take the answer" in daemon.log)
    (line,) = [each for each in daemon.log.splitlines() if "did not take the answer" in each]
    assert json.loads(line)["container"] == "c1"


def test_a_service_that_fails_is_an_internal_error(serve: Serve) -> None:
    daemon = serve()
    assert code(daemon.call("ADD", DO="raise")) == 999
    assert code(daemon.call("ADD", DO="raise")) == 999


# --- Load -----------------------------------------------------------------------------------------


def test_500_connections_are_all_answered(serve: Serve) -> None:
    daemon = serve()
    before = held()
    peers = [daemon.connect() for _ in range(500)]
    for number, peer in enumerate(peers):
        peer.sendall(message("ADD", b"%d" % number, DO="sleep:0.002"))
    for number, peer in enumerate(peers):
        with peer:
            assert answer_of(peer) == (0, b"%d" % number)
    # Two for each new worker: its channel and its pidfd.
    eventually(lambda: len(held() - before) <= 2 * 32)
    becomes(lambda: daemon.metric("multus_server_request_total"), 500)


def test_beyond_the_limit_calls_are_refused_at_once_but_not_status(
    serve: Serve, gate: Gate
) -> None:
    daemon = serve(limits=Limits(workers=2, admitted=5))
    peers = [daemon.connect() for _ in range(4)]
    for peer in peers:
        peer.sendall(message("DEL", DO=gate.do))
    eventually(lambda: daemon.metric("multus_server_calls") == 4)
    eventually(lambda: daemon.metric("multus_server_queue") == 2)
    assert daemon.call("STATUS", b"") == (0, b"")
    eventually(lambda: daemon.metric("multus_server_calls") == 4)
    fifth = daemon.connect()
    fifth.sendall(message("DEL", DO=gate.do))
    eventually(lambda: daemon.metric("multus_server_calls") == 5)
    assert code(daemon.call("ADD", b'{"cniVersion": "1.0.0"}')) == 11
    assert daemon.control("health") == (0, "ok\n")
    gate.open()
    for peer in (*peers, fifth):
        with peer:
            assert answer_of(peer) == (0, b"{}")
    becomes(lambda: daemon.metric('multus_server_request_total{code="11"'), 1)


def test_a_call_that_waited_past_its_deadline_is_not_started(serve: Serve, gate: Gate) -> None:
    daemon = serve(limits=Limits(workers=1))
    with daemon.connect() as first, daemon.connect() as second:
        first.sendall(message("ADD", DO=gate.do))
        eventually(lambda: daemon.asked)
        environ = {"CNI_COMMAND": "ADD"}
        second.sendall(wire.Message(wire.CNI, b"{}", environ, seconds=0.05).encode())
        # It is refused while the first is still running.
        assert code(answer_of(second)) == 11
        gate.open()
        assert answer_of(first)[0] == 0
    assert len(daemon.asked) == 1


# --- Order of the queue ---------------------------------------------------------------------------


def test_calls_of_one_container_use_one_worker(serve: Serve, gate: Gate) -> None:
    daemon = serve(limits=Limits(workers=4))
    peers = [daemon.connect() for _ in range(10)]
    for peer in peers:
        peer.sendall(message("ADD", b"same", CNI_CONTAINERID="c1", DO=gate.do))
    eventually(lambda: daemon.metric("multus_server_calls") == 10)
    assert daemon.call("ADD", b"other", CNI_CONTAINERID="c2") == (0, b"other")
    eventually(lambda: len(daemon.asked) == 2)
    gate.open()
    for peer in peers:
        with peer:
            assert answer_of(peer) == (0, b"same")


def test_adds_leave_workers_to_dels(serve: Serve, gate: Gate) -> None:
    daemon = serve(limits=Limits(workers=4))
    peers = [daemon.connect() for _ in range(8)]
    for number, peer in enumerate(peers):
        peer.sendall(message("ADD", b"add", CNI_CONTAINERID=f"c{number}", DO=gate.do))
    eventually(lambda: len(daemon.asked) == 3)
    assert daemon.call("DEL", b"del", CNI_CONTAINERID="other") == (0, b"del")
    gate.open()
    for peer in peers:
        with peer:
            assert answer_of(peer) == (0, b"add")


# --- Stop, reload, systemd ------------------------------------------------------------------------


def test_stopping_finishes_running_calls_and_leaves_others(serve: Serve, gate: Gate) -> None:
    daemon = serve(limits=Limits(workers=1))
    with daemon.connect() as running, daemon.connect() as waiting:
        running.sendall(message("ADD", b"running", DO=gate.do))
        eventually(lambda: daemon.asked)
        waiting.sendall(message("ADD", b"{}"))
        eventually(lambda: daemon.metric("multus_server_calls") == 2)
        daemon.server.stop()
        assert daemon.control("ready")[0] == 1
        assert daemon.call("ADD") == answer_of(waiting) == (LEFT, b"")
        gate.open()
        assert answer_of(running) == (0, b"running")
    daemon.thread.join(PATIENCE)
    assert not daemon.thread.is_alive()
    assert not daemon.path.exists()


def test_a_call_that_comes_while_a_daemon_stops_is_the_next_ones(
    serve: Serve, gate: Gate, run: Shim
) -> None:
    first = serve(limits=Limits(workers=1))
    with first.connect() as running:
        running.sendall(message("ADD", b"running", DO=gate.do))
        eventually(lambda: first.asked)
        first.server.stop()
        eventually(lambda: first.control("ready")[0] == 1)
        left = 'multus_server_request_total{code="left"'
        with run.start("ADD", MULTUS_WAIT="60") as late:
            late.stdin.write(b"{}")  # type: ignore[union-attr]
            late.stdin.close()  # type: ignore[union-attr]
            eventually(lambda: first.metric(left) >= 2)  # it is sent again and again
            gate.open()
            assert answer_of(running) == (0, b"running")
            first.thread.join(PATIENCE)
            second = serve()
            assert late.stdout is not None
            assert (late.stdout.read(), late.wait(PATIENCE)) == (b"{}", 0)
    assert [stdin for _, _, stdin in second.asked] == [b"running", b"{}"]


def test_stopping_does_not_wait_for_ever(serve: Serve, gate: Gate) -> None:
    daemon = serve(limits=Limits(stop_seconds=0.2))
    with daemon.connect() as peer:
        peer.sendall(message("ADD", DO=gate.do))
        eventually(lambda: daemon.asked)
        daemon.stop()
        assert code(answer_of(peer)) == 11


def test_after_a_failed_reload_the_old_settings_serve(serve: Serve, tmp_path: Path) -> None:
    daemon = serve()
    assert daemon.control("ready") == (0, "ok\n")
    (tmp_path / "daemon.json").write_text('{"typo": 1}')
    status, text = daemon.control("reload")
    assert status == 1 and "typo" in text
    assert daemon.call("ADD") == (0, b"{}")


def test_concurrent_reloads_are_all_answered_and_leave_one_template(serve: Serve) -> None:
    daemon = serve()
    before = children()
    peers = [daemon.connect() for _ in range(3)]
    for peer in peers:
        peer.sendall(wire.Message(wire.CONTROL, b"reload").encode())
    for peer in peers:
        with peer:
            assert answer_of(peer) == (0, b"ok\n")
    assert daemon.call("ADD") == (0, b"{}")
    eventually(lambda: len(children()) == len(before))
    assert children() != before


def test_a_call_that_runs_during_a_reload_is_finished(serve: Serve, gate: Gate) -> None:
    daemon = serve()
    with daemon.connect() as running:
        running.sendall(message("ADD", b"running", DO=gate.do))
        eventually(lambda: daemon.asked)
        assert daemon.control("reload") == (0, "ok\n")
        assert daemon.call("ADD", b"new") == (0, b"new")
        gate.open()
        assert answer_of(running) == (0, b"running")


def test_the_service_manager_is_notified(serve: Serve, tmp_path: Path) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(PATIENCE)
    environ = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "1000000"}
    daemon = serve(notifier=Notifier.from_environ(environ))
    assert environ == {}
    assert manager.recv(100) == b"READY=1"
    assert manager.recv(100) == b"WATCHDOG=1"
    daemon.control("reload")
    heard = [manager.recv(100)]
    while heard[-1] != b"READY=1":
        heard.append(manager.recv(100))
    told = [each for each in heard if each != b"WATCHDOG=1"]
    assert told[0].startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    assert told[1:] == [b"READY=1"]
    daemon.stop()
    eventually(lambda: manager.recv(100).startswith(b"STOPPING=1"))
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
    # As systemd does: descriptor 3, in the process that LISTEN_PID names.
    child = subprocess.Popen(
        [sys.executable, "-c", program, str(path)],
        env={**os.environ, "LISTEN_FDS": "1"},
        preexec_fn=lambda: os.dup2(manager.fileno(), 3),
        pass_fds=[3],
    )
    with socket.socket(socket.AF_UNIX) as peer:
        peer.settimeout(PATIENCE)
        peer.connect(str(path))
        assert peer.recv(10) == b"hello"
    assert child.wait(PATIENCE) == 0
    assert path.exists()
    manager.close()


def test_clients_of_a_shared_socket_wait_for_the_next_daemon_during_a_stop(
    serve: Serve, tmp_path: Path, gate: Gate
) -> None:
    (tmp_path / "run").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as manager:
        manager.bind(str(tmp_path / "run" / "multus.sock"))
        manager.listen()
        daemon = serve(inherited=manager.dup())
        with daemon.connect() as running:
            running.sendall(message("ADD", b"running", DO=gate.do))
            eventually(lambda: daemon.asked)
            daemon.server.stop()
            becomes(lambda: daemon.server._is_listening, False)
            with daemon.connect() as late:
                late.sendall(message("ADD", b"late"))
                gate.open()
                assert answer_of(running) == (0, b"running")
                daemon.thread.join(PATIENCE)
                serve(inherited=manager.dup())
                assert answer_of(late) == (0, b"late")
