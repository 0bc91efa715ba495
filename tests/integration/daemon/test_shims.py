"""Both shims with real sockets and files: what they send, print, keep and refuse."""

from __future__ import annotations

import json
import os
import socket
import stat
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from waiting import PATIENCE, eventually

from multus.cni import shim as shim_module
from multus.cni import skel
from multus.cni.shim import CONTROL_S
from multus.daemon import wire

from .conftest import Running, Shim

Serve = Callable[..., Running]

DEL = {"CNI_CONTAINERID": "c1", "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin"}


def error(answer: tuple[int, bytes]) -> dict[str, Any]:
    status, stdout = answer
    assert status == 1
    found = json.loads(stdout)
    assert set(found) == {"cniVersion", "code", "msg", "details"}
    return dict(found)


# --- With a daemon -------------------------------------------------------------------------------


def test_stdin_environment_and_deadline_arrive_and_the_answer_is_printed(
    run: Shim, serve: Serve
) -> None:
    daemon = serve()
    began = time.monotonic()
    odd = {"CNI_ARGS": "A=B;C=D", "TRACEPARENT": "00-x", "ODD": "a=b=\n"}
    answer = run("ADD", b'{"a": 1}\x00\xff', DO="text:printed ", **odd)
    assert answer == (0, b'printed {"a": 1}\x00\xff')
    ((_, environ, stdin),) = daemon.asked
    assert stdin == b'{"a": 1}\x00\xff'
    assert (environ["CNI_COMMAND"], environ["CNI_ARGS"]) == ("ADD", "A=B;C=D")
    assert (environ["TRACEPARENT"], environ["ODD"]) == ("00-x", "a=b=\n")
    assert 200 < daemon.deadlines[0] - began < 300


def test_the_exit_status_comes_from_the_answer(run: Shim, serve: Serve) -> None:
    serve()
    assert run("ADD", DO='fail:{"code": 7}') == (1, b'{"code": 7}')


def test_bytes_that_are_not_utf8_in_the_environment_arrive_unchanged(
    run: Shim, serve: Serve
) -> None:
    daemon = serve()
    assert run("ADD", CNI_ARGS=os.fsdecode(b"A=\xff\xfe"))[0] == 0
    assert os.fsencode(daemon.asked[0][1]["CNI_ARGS"]) == b"A=\xff\xfe"


@pytest.mark.parametrize("size", [0, 1, 65536, 4 << 20, 8 << 20])
def test_configurations_of_every_size_arrive_whole(run: Shim, serve: Serve, size: int) -> None:
    daemon = serve()
    text = os.urandom(size)
    assert run("ADD", text, DO="length") == (0, b"%d" % size)
    assert daemon.asked[0][2] == text


def test_a_call_by_a_plugin_that_multus_started_does_not_wait_for_the_daemon(
    run: Shim, serve: Serve
) -> None:
    daemon = serve()
    for command in ("ADD", "CHECK", "STATUS"):
        found = error(run(command, MULTUS_WITHIN="c1"))
        assert (found["code"], "Multus would call itself" in found["msg"]) == (7, True)
    for command in ("DEL", "GC"):
        assert run(command, MULTUS_WITHIN="c1") == (0, b"")
    assert daemon.asked == []
    assert run("VERSION", MULTUS_WITHIN="c1")[0] == 0


def test_a_configuration_beyond_the_limit_is_refused(run: Shim, serve: Serve) -> None:
    daemon = serve()
    assert error(run("ADD", b" " * ((8 << 20) + 1)))["code"] == 6
    assert daemon.asked == []


def test_a_large_answer_is_printed_whole(run: Shim, serve: Serve) -> None:
    text = os.urandom(2 << 20)
    serve()
    assert run("ADD", text, DO="repeat:3") == (0, 3 * text)


def test_stdin_that_comes_in_pieces_is_read_to_its_end(run: Shim, serve: Serve) -> None:
    serve()
    process = run.start("ADD")
    assert process.stdin is not None and process.stdout is not None
    for piece in (b'{"cni', b'Version"', b': "1.0.0"}'):
        os.write(process.stdin.fileno(), piece)
        time.sleep(0.05)
    process.stdin.close()
    assert process.stdout.read() == b'{"cniVersion": "1.0.0"}'
    assert process.wait() == 0


def test_a_closed_stdin_is_an_empty_configuration(run: Shim, serve: Serve) -> None:
    serve()
    assert run("ADD", b"", DO="length") == (0, b"0")


@pytest.mark.parametrize(
    ("word", "expected"),
    [("health", (0, b"ok\n")), ("ready", (0, b"ok\n")), ("reload", (0, b"ok\n"))],
)
def test_control_requests_are_answered(
    run: Shim, serve: Serve, word: str, expected: tuple[int, bytes]
) -> None:
    serve()
    assert run(None, b"", word) == expected
    assert run(None, b"", "nonsense")[0] == 1


def test_metrics_are_printed(run: Shim, serve: Serve) -> None:
    serve()
    run("ADD")
    status, text = run(None, b"", "metrics")
    assert status == 0
    wanted = b'multus_server_request_total{code="0",handler="/cni",method="ADD"} 1.0'
    assert wanted in text


def test_without_a_command_and_a_word_the_environment_is_refused(run: Shim) -> None:
    found = error(run(None, b""))
    assert (found["code"], found["msg"]) == (4, "required env variables [CNI_COMMAND] missing")


def test_an_unknown_command_is_refused_before_stdin_ends(run: Shim) -> None:
    process = run.start("FOO")
    process.wait(PATIENCE)  # its stdin is still open
    out, _ = process.communicate()
    found = error((process.returncode, out))
    assert found["code"] == 4
    assert found["msg"] == ("unknown CNI_COMMAND: use one of ADD, CHECK, DEL, GC, STATUS, VERSION")


# --- A daemon that misbehaves ---------------------------------------------------------------------


class Peer:
    """Accepts one connection instead of the daemon, and calls *act* with it."""

    def __init__(self, path: Path, act: Callable[[socket.socket], None]) -> None:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(f"{path}.new")
        self.listener.listen()
        os.rename(f"{path}.new", path)
        self.thread = threading.Thread(target=self._serve, args=(act,), daemon=True)
        self.thread.start()

    def _serve(self, act: Callable[[socket.socket], None]) -> None:
        connection, _ = self.listener.accept()
        with connection:
            act(connection)

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.join(PATIENCE)
        self.listener.close()


def read_message(peer: socket.socket) -> wire.Message:
    data = b""
    while len(data) < wire.HEADER or len(data) < wire.length_of(data):
        data += peer.recv(65536)
    return wire.decode(data)


def test_a_daemon_that_hangs_is_not_healthy(run: Shim) -> None:
    ended = threading.Event()

    def act(_peer: socket.socket) -> None:
        ended.wait(600)

    with Peer(run.socket, act):
        began = time.monotonic()
        found = error(run(None, b"", "health"))
        ended.set()
    assert time.monotonic() - began < CONTROL_S + PATIENCE
    assert (found["code"], found["details"]) == (11, "no answer in time")


ANSWER = wire.Message(wire.ANSWER, b'{"ips": []}').encode()


def test_an_answer_that_comes_byte_by_byte_is_read_whole(run: Shim) -> None:
    def act(peer: socket.socket) -> None:
        read_message(peer)
        for at in range(len(ANSWER)):
            peer.send(ANSWER[at : at + 1])
            time.sleep(0.002)

    with Peer(run.socket, act):
        assert run("ADD") == (0, b'{"ips": []}')


def test_an_answer_sent_before_the_message_is_read_is_printed(run: Shim) -> None:
    def act(peer: socket.socket) -> None:
        peer.sendall(wire.Message(wire.ANSWER, b"refused", status=1).encode())

    with Peer(run.socket, act):
        assert run("ADD", b" " * (4 << 20)) == (1, b"refused")


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        ANSWER[:7],
        ANSWER[:-1],
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        b"MULT\x02" + ANSWER[5:],
        b"MULT\x01\x01" + ANSWER[6:],
        ANSWER[:12] + b"\xff\xff\xff\xff" + ANSWER[16:],
    ],
)
def test_a_malformed_answer_is_code_11(run: Shim, sent: bytes) -> None:
    def act(peer: socket.socket) -> None:
        read_message(peer)
        peer.sendall(sent)

    with Peer(run.socket, act):
        found = error(run("ADD", b'{"cniVersion": "0.4.0"}'))
    assert (found["code"], found["cniVersion"]) == (11, "0.4.0")


def test_a_del_whose_daemon_dies_is_kept(run: Shim, tmp_path: Path) -> None:
    conf = json.dumps({"cniDir": str(tmp_path / "state")}).encode()
    with Peer(run.socket, lambda peer: None):
        assert run("DEL", conf, **DEL) == (0, b"")
    (kept,) = (tmp_path / "state" / ".spool").iterdir()
    assert wire.decode(kept.read_bytes()).payload == conf


def test_a_closed_stdout_does_not_hang(run: Shim, serve: Serve) -> None:
    serve()
    process = run.start("ADD", DO="repeat:1048576")
    assert process.stdout is not None and process.stdin is not None
    process.stdout.close()
    process.stdin.write(b"x")
    process.stdin.close()
    assert process.wait(PATIENCE) != 0


# --- Without a daemon -----------------------------------------------------------------------------


def test_add_and_check_wait_and_then_ask_to_try_again(run: Shim) -> None:
    for command in ("ADD", "CHECK", "GC"):
        began = time.monotonic()
        found = error(run(command, b'{"cniVersion": "1.0.0"}', MULTUS_WAIT="0.3"))
        assert (found["code"], found["cniVersion"]) == (11, "1.0.0")
        assert 0.25 < time.monotonic() - began < PATIENCE


def test_a_wait_that_is_not_a_number_is_zero(run: Shim) -> None:
    began = time.monotonic()
    assert error(run("ADD", MULTUS_WAIT="soon"))["code"] == 11
    assert time.monotonic() - began < PATIENCE


def test_status_says_not_available(run: Shim) -> None:
    assert error(run("STATUS", b'{"cniVersion": "1.1.0"}'))["code"] == 50


def test_a_daemon_that_starts_while_the_shim_waits_serves_it(run: Shim, serve: Serve) -> None:
    process = run.start("ADD", MULTUS_WAIT="20", DO="text:at last")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()
    time.sleep(0.2)
    serve()
    assert process.stdout.read() == b"at last"
    assert process.wait(PATIENCE) == 0


def test_version_needs_no_daemon_and_is_the_engines_answer(run: Shim) -> None:
    for stdin in (b"", b" \n", b'{"cniVersion":"0.4.0"}', b'{ "cniVersion" : "1.1.0" }\n'):

        def engine_for(conf: Any, deadline: Any) -> Any:
            raise AssertionError(conf)

        assert run("VERSION", stdin) == skel.answer({"CNI_COMMAND": "VERSION"}, stdin, engine_for)


@pytest.mark.parametrize(
    "stdin",
    [
        b'{"cniVersion":"1.1"}',
        b'{"cniVersion":"9.9.9"}',
        b'{"cniVersion":1.1}',
        b'{"cniVersion":"1.1.0}',
        b'{"cniVersion":1.1.0}',
        b'{"cniVersion":"1.1.0"',
        b'{"cniVersion":"1.1.0"} x',
        b'{"cniVersion":"1.1.0"}\x00',
        b'{"cniVersion":"1.1.0","name":"x"}',
        b'{"cniVersion":""}',
        b"nonsense",
        b"[]",
    ],
)
def test_a_version_call_in_another_form_goes_to_the_daemon(
    run: Shim, serve: Serve, stdin: bytes
) -> None:
    serve()
    assert run("VERSION", stdin, DO="text:asked ") == (0, b"asked " + stdin)


def test_a_del_is_kept_whole_private_and_in_order(run: Shim, tmp_path: Path) -> None:
    conf = json.dumps({"cniDir": str(tmp_path / "a" / "b"), "name": "n"}).encode()
    for container in ("first", "second"):
        assert run("DEL", conf, **{**DEL, "CNI_CONTAINERID": container}) == (0, b"")
    spool = tmp_path / "a" / "b" / ".spool"
    assert stat.S_IMODE(spool.stat().st_mode) == 0o700
    kept = sorted(spool.iterdir())
    assert [each.name.partition(".")[2] for each in kept] == ["first", "second"]
    for each, container in zip(kept, ("first", "second"), strict=True):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
        message = wire.decode(each.read_bytes())
        assert (message.kind, message.payload) == (wire.CNI, conf)
        assert message.environ["CNI_CONTAINERID"] == container
        assert message.environ["CNI_COMMAND"] == "DEL"


@pytest.mark.parametrize(
    ("environ", "stdin", "code"),
    [
        ({"CNI_CONTAINERID": ""}, b"{}", 4),
        ({"CNI_CONTAINERID": "../../etc/passwd"}, b"{}", 4),
        ({"CNI_CONTAINERID": "a/b"}, b"{}", 4),
        ({"CNI_CONTAINERID": ".hidden"}, b"{}", 4),
        ({"CNI_CONTAINERID": "x" * 201}, b"{}", 4),
        ({"CNI_IFNAME": ""}, b"{}", 4),
        ({}, b"", 6),
        ({}, b"[]", 6),
    ],
)
def test_a_malformed_del_is_not_kept(
    run: Shim, environ: Mapping[str, str], stdin: bytes, code: int
) -> None:
    assert error(run("DEL", stdin, **{**DEL, **environ}))["code"] == code


@pytest.mark.parametrize("blocked", ["file", "writable", "full"])
def test_a_del_that_cannot_be_kept_fails(run: Shim, tmp_path: Path, blocked: str) -> None:
    state = tmp_path / "state"
    if blocked == "file":
        state.write_text("in the way")
    elif blocked == "writable":
        (state / ".spool").mkdir(parents=True)
        (state / ".spool").chmod(0o777)
    else:
        state = Path("/dev/full")
    found = error(run("DEL", json.dumps({"cniDir": str(state)}).encode(), **DEL))
    assert found["code"] == 11
    assert "this DEL cannot be kept" in found["msg"]
    assert found["details"]


def in_place(shim: Shim, answer: tuple[int, bytes], command: str, conf: bytes) -> None:
    """Assert that the engine in the shim's own process answered *command*."""
    if b"engine" in answer[1]:
        assert answer == (3, b"engine: 1 %s\n" % command.encode() + conf)
        return
    # The real engine: it refuses what is missing.
    found = error(answer)
    assert found["msg"].startswith("required env variables [CNI_"), found


def conf_of(tmp_path: Path, **keys: Any) -> bytes:
    raw = {"cniVersion": "1.0.0", "name": "n", "type": "multus", "cniDir": str(tmp_path / "state")}
    return json.dumps({**raw, **keys}).encode()


@pytest.mark.parametrize("keys", [{}, {"standalone": True}, {"standalone": "true"}])
def test_with_the_engine_beside_the_shim_each_call_is_carried_out_in_place(
    installed: Shim, tmp_path: Path, keys: Mapping[str, Any]
) -> None:
    conf = conf_of(tmp_path, **keys)
    for command in ("ADD", "CHECK", "DEL", "GC", "STATUS"):
        in_place(installed, installed(command, conf, MULTUS_WAIT="60"), command, conf)
    assert not (tmp_path / "state").exists()


def test_standalone_false_waits_for_the_daemon_also_with_the_engine_beside(
    installed: Shim, tmp_path: Path
) -> None:
    conf = conf_of(tmp_path, standalone=False)
    assert error(installed("ADD", conf))["code"] == 11
    assert installed("DEL", conf, **DEL) == (0, b"")
    assert len(list((tmp_path / "state" / ".spool").iterdir())) == 1


def test_the_mark_of_an_older_daemon_is_not_read(installed: Shim, tmp_path: Path) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / ".daemon").touch()
    conf = conf_of(tmp_path)
    in_place(installed, installed("ADD", conf, MULTUS_WAIT="60"), "ADD", conf)


def left_behind(path: Path) -> None:
    """The socket of a daemon that was killed."""
    path.parent.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))


def test_a_daemon_that_restarts_within_a_second_serves_the_call(
    installed: Shim, tmp_path: Path
) -> None:
    left_behind(installed.socket)
    process = installed.start("ADD", MULTUS_WAIT="60")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.close()

    def act(peer: socket.socket) -> None:
        read_message(peer)
        peer.sendall(ANSWER)

    with Peer(installed.socket, act):
        assert process.stdout.read() == wire.decode(ANSWER).payload
        assert process.wait(PATIENCE) == 0


def test_a_daemon_that_does_not_return_costs_at_most_a_second(
    installed: Shim, tmp_path: Path
) -> None:
    left_behind(installed.socket)
    conf = conf_of(tmp_path)
    began = time.monotonic()
    in_place(installed, installed("ADD", conf, MULTUS_WAIT="200"), "ADD", conf)
    assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize("command", ["ADD", "DEL"])
def test_a_call_whose_daemon_dies_is_carried_out_in_place(
    installed: Shim, tmp_path: Path, command: str
) -> None:
    conf = conf_of(tmp_path)
    with Peer(installed.socket, lambda peer: None):
        in_place(installed, installed(command, conf), command, conf)


def test_the_error_names_the_socket_who_serves_it_and_the_command_that_shows_why(
    run: Shim, tmp_path: Path
) -> None:
    for command, code in (("ADD", 11), ("STATUS", 50), (None, 11)):
        found = error(run(command, conf_of(tmp_path), *(() if command else ("health",))))
        assert found["code"] == code
        assert f"no daemon answers at {run.socket}: " in found["msg"]
        assert "'multus daemon'" in found["msg"]
        assert "DaemonSet" in found["msg"] and "multus.service" in found["msg"]
        assert "'systemctl status multus'" in found["msg"]
        assert found["details"].startswith("No such file or directory")
    odd = error(run("ADD", conf_of(tmp_path), MULTUS_SOCKET='/odd"path'))
    assert "no daemon answers at the socket of MULTUS_SOCKET: " in odd["msg"]


def test_a_call_whose_answer_could_not_be_written_is_not_carried_out(run: Shim) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", 'exec "$0" >&-', run.program],
        input=b"{}",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env={"CNI_COMMAND": "ADD", "MULTUS_SOCKET": str(run.socket)},
        check=False,
    )
    assert (done.returncode, done.stderr.count(b"\n")) == (1, 1)
    assert b"standard output is closed" in done.stderr


def test_help_says_what_the_shim_is(run: Shim, installed: Shim) -> None:
    for shim in (run, installed):
        for option in ("--help", "-h"):
            status, said = shim(None, b"", option)
            assert status == 0
            assert b"multus-shim: a container runtime starts it" in said


def test_a_shim_that_lacks_its_engine_says_so(run: Shim, tmp_path: Path) -> None:
    conf = {"cniVersion": "1.0.0", "name": "n", "type": "multus", "cniDir": str(tmp_path)}
    lacking = "the engine's program is not beside this shim"
    for command in ("ADD", "STATUS"):
        details = error(run(command, json.dumps(conf).encode()))["details"]
        assert details.startswith("No such file or directory; ") and lacking in details
    relying = json.dumps({**conf, "standalone": False}).encode()
    assert error(run("ADD", relying))["details"] == "No such file or directory"


def test_a_shim_never_execs_itself_in_a_loop(run: Shim) -> None:
    found = error(run("ADD", b'{"standalone": true}', MULTUS_STANDALONE="1"))
    assert found["code"] == 100


def test_without_an_engine_beside_it_the_shim_waits_for_the_daemon(run: Shim) -> None:
    environ = {"MULTUS_SOCKET": "/nowhere/multus.sock", "MULTUS_WAIT": "0"}
    assert error(run("ADD", b"{}", **environ))["code"] == 11


# --- Both shims behave the same -------------------------------------------------------------------

_KEYS = st.sampled_from(["standalone", "cniVersion", "cniDir", "x", "standalone\\", 'a"b'])
_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.sampled_from([True, False, None, 1, "true", "false", "1.0.0", "/nowhere", "a b", '"', "\\"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)
_TEXTS = st.dictionaries(_KEYS, _VALUES, max_size=4).map(
    lambda conf: json.dumps({**conf, "cniDir": "/dev/null"}).encode()
)
_CUT = st.tuples(_TEXTS, st.integers(0, 200)).map(lambda pair: pair[0][: pair[1]])


@settings(max_examples=25, suppress_health_check=list(HealthCheck))
@given(
    stdin=_TEXTS | _CUT | st.binary(max_size=60),
    command=st.sampled_from(["ADD", "DEL", "STATUS", "VERSION", "", "nonsense"]),
)
def test_both_shims_answer_the_same_without_a_daemon(
    both: list[Shim], stdin: bytes, command: str
) -> None:
    # Where the text names no folder, a DEL is kept in the default folder of this machine.
    folder = shim_module.text_of(stdin, b"cniDir", b"/_.-", shim_module.CNI_DIR)
    assume(command != "DEL" or folder != shim_module.CNI_DIR)
    answers = [
        # The loop guard makes standalone visible without a program to exec.
        shim(command, stdin, MULTUS_WAIT="0", MULTUS_STANDALONE="1", **DEL)
        for shim in both
    ]
    assert answers[0] == answers[1]


def test_a_shim_that_is_stopped_and_continued_finishes(
    run: Shim, serve: Serve, tmp_path: Path
) -> None:
    daemon = serve()
    process = run.start("ADD", DO=f"gate:{tmp_path / 'go'}")
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"done")
    process.stdin.close()
    eventually(lambda: daemon.asked)
    for number in (19, 18, 19, 18):
        process.send_signal(number)
        time.sleep(0.02)
    (tmp_path / "go").touch()
    assert process.stdout.read() == b"done"
    assert process.wait(PATIENCE) == 0
