"""The server with good and bad clients that speak HTTP."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from waiting import becomes, eventually

from integration.peer.goclient import GoClient, Response, body, head, response_of
from multus.daemon import channel, overhttp
from multus.daemon.handle import Worker
from multus.daemon.jobs import Job
from multus.daemon.settings import Limits

from .conftest import Running

Serve = Callable[..., Running]

#: The service answers with the configuration.
RESULT = {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1/24"}]}


def call(command: str = "ADD", conf: object = RESULT, **environ: str) -> bytes:
    return body({"CNI_COMMAND": command, **environ}, conf)


def chunked(data: bytes, size: int) -> Iterator[bytes]:
    yield head("POST", "/cni", Transfer_Encoding="chunked")
    for at in range(0, len(data), size):
        part = data[at : at + size]
        yield b"%x\r\n%s\r\n" % (len(part), part)
    yield b"0\r\n\r\n"


@pytest.fixture
def daemon(serve: Serve) -> Running:
    return serve()


@pytest.fixture
def go(daemon: Running) -> GoClient:
    return GoClient(daemon.path)


def add(go: GoClient) -> Response:
    return go.post("/cni", call())


def test_a_call_is_answered_with_the_result(daemon: Running, go: GoClient) -> None:
    found = add(go)
    assert found.status == 200
    assert found.headers["content-type"] == "application/json"
    assert found.headers["connection"] == "close"
    assert found.result["ips"] == [{"address": "10.0.0.1/24"}]
    command, environ, stdin = daemon.asked[-1]
    assert (command, json.loads(stdin)) == ("ADD", RESULT)
    assert (environ["CNI_IFNAME"], environ["CNI_PATH"]) == ("eth0", "/opt/cni/bin")


def test_a_failure_is_the_error_object(go: GoClient) -> None:
    error = '{"cniVersion": "1.0.0", "code": 7, "msg": "no"}'
    found = go.post("/cni", call(DO=f"fail:{error}"))
    assert (found.status, found.json["code"], found.json["msg"]) == (400, 7, "no")


@pytest.mark.parametrize("size", [1, 100, 1 << 20])
def test_chunks_of_any_size_are_read(go: GoClient, size: int) -> None:
    assert go.send(b"".join(chunked(call(), size))).result["ips"]


def test_a_request_in_many_parts_is_read(go: GoClient) -> None:
    data = call()
    whole = head("POST", "/cni", len(data)) + data
    assert go.send(*(whole[at : at + 1] for at in range(len(whole)))).result["ips"]


def test_a_large_configuration_is_read(go: GoClient) -> None:
    assert go.post("/cni", call(conf={**RESULT, "x": "x" * (5 << 20)})).result["ips"]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"[]", "object"),
        (b"{", "JSON"),
        (b'{"env": []}', "env"),
        (b'{"env": {"CNI_COMMAND": 7}}', "CNI_COMMAND"),
        (b'{"env": {"A=B": "x"}}', "A=B"),
        (b'{"env": {"A": "x\\u0000y"}}', "env"),
        (b'{"env": {"A": "\\ud800"}}', "env, 'A': it has half of a surrogate pair"),
        (b'{"env": {"\\ud800": "x"}}', "surrogate"),
        (b'{"env": {}, "config": "\\ud800"}', "base64"),
        (b'{"env": {}, "config": {}}', "config"),
        (b'{"env": {}, "config": "%%%"}', "base64"),
        (b'{"env": {}, "interfaceAttributes": []}', "interfaceAttributes"),
        (
            b'{"env": {}, "interfaceAttributes": {"cni-args": "' + b"\xc3\xa9" * 11_000 + b'"}}',
            "shorten 'cni-args'",
        ),
        (b'{"env": ' + b"[" * 19_000 + b"]" * 19_000 + b"}", "JSON"),
        (b'{"env": [' + b"0," * 20_000 + b"0]}", "values"),
    ],
)
def test_a_body_that_is_not_a_request_is_refused(go: GoClient, data: bytes, reason: str) -> None:
    found = go.post("/cni", data)
    assert found.status == 400
    assert reason in found.body.decode()
    assert add(go).status == 200


def test_a_call_that_no_worker_can_receive_is_answered(
    daemon: Running, go: GoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(channel, "_LARGEST_FILE", 32 << 10)
        found = go.post("/cni", call(conf={**RESULT, "x": "x" * (40 << 10)}))
    assert (found.status, found.json["code"]) == (400, 11)
    assert "make the request smaller" in found.json["msg"]
    assert add(go).status == 200


def test_a_call_that_ends_each_worker_is_answered(
    daemon: Running, go: GoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def garbled(worker: Worker, job: Job) -> None:
        given.append(job)
        worker.channel.socket.send(b"x")

    with monkeypatch.context() as patched:
        patched.setattr(Worker, "send", garbled)
        found = go.post("/cni", call("CHECK"))
    assert (found.status, found.json["code"]) == (400, 11)
    assert len(given) == 3
    assert add(go).status == 200


def test_a_body_that_is_too_large_is_refused_before_it_is_read(go: GoClient) -> None:
    found = go.send(head("POST", "/cni", overhttp.LARGEST + 1))
    assert (found.status, b"bytes" in found.body) == (400, True)
    with go.connect() as peer:
        peer.sendall(head("POST", "/cni", Transfer_Encoding="chunked"))
        size = 1 << 20
        with pytest.raises(OSError):
            for _ in range(2 * overhttp.LARGEST // size):
                peer.sendall(b"%x\r\n%s\r\n" % (size, b" " * size))
        assert response_of(peer).status == 400
    assert add(go).status == 200


@pytest.mark.parametrize(
    "data",
    [
        b"GET nothing\r\n\r\n",
        b"POST /cni HTTP/1.1\r\nHost: dummy\r\nContent-Length: -1\r\n\r\n",
        b"POST /cni HTTP/1.1\r\n\x00: x\r\n\r\n",
        b"POST /cni HTTP/1.1\r\nHost: dummy\r\nX: " + b"x" * (1 << 17),
    ],
)
def test_what_is_not_http_is_refused(go: GoClient, data: bytes) -> None:
    assert go.send(data).status == 400
    assert add(go).status == 200


def test_a_request_that_fails_as_it_is_read_is_answered(
    daemon: Running, go: GoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(body: bytes) -> overhttp.Asked:
        raise ValueError(f"{len(body)} bytes")

    with monkeypatch.context() as patched:
        patched.setattr(overhttp, "decode", fails)
        found = go.post("/cni", b"{}")
    assert (found.status, found.body) == (400, b"the request cannot be read: 2 bytes\n")
    assert "internal error" not in daemon.log
    assert add(go).status == 200


def test_other_paths_and_methods_are_refused_as_the_go_multus_does(
    daemon: Running, go: GoClient
) -> None:
    assert (go.get("/").status, go.get("/").body) == (404, b"")
    assert (go.get("/cni").status, go.get("/cni").body) == (405, b"Method not allowed\n")
    assert go.send(head("DELETE", "/healthz")).status == 405
    assert not daemon.asked


def test_slow_clients_are_disconnected_and_hurt_nobody(serve: Serve) -> None:
    daemon = serve(limits=Limits(message_seconds=0.5))
    go = GoClient(daemon.path)
    slow = [go.connect() for _ in range(50)]
    for number, peer in enumerate(slow):
        data = head("POST", "/cni", 1000) + b"x" * number
        peer.sendall(data[: 4 + 3 * number])
    assert add(go).status == 200
    for peer in slow:
        assert response_of(peer).status == 400
        peer.close()
    becomes(lambda: daemon.server.sending, 0)


def test_a_client_that_goes_away_leaves_nothing(daemon: Running, go: GoClient) -> None:
    for data in (b"POST", head("POST", "/cni", 10), head("POST", "/cni", 10) + b"{"):
        with go.connect() as peer:
            peer.sendall(data)
            eventually(lambda: daemon.server.sending == 1)
        becomes(lambda: daemon.server.sending, 0)
    assert add(go).status == 200


def test_a_client_that_waits_to_be_told_to_send_is_told(go: GoClient) -> None:
    data = call()
    with go.connect() as peer:
        peer.sendall(head("POST", "/cni", len(data), Expect="100-continue"))
        assert peer.recv(4096).startswith(b"HTTP/1.1 100 ")
        peer.sendall(data)
        assert response_of(peer).status == 200


def test_shims_of_ours_are_served_beside_it(daemon: Running, go: GoClient) -> None:
    for _ in range(3):
        assert add(go).status == 200
        assert daemon.call("ADD", b"{}") == (0, b"{}")


def test_only_such_a_client_makes_the_parser_of_requests_load(tmp_path: Path) -> None:
    """A worker never imports it: it answers without a parser."""
    import subprocess
    import sys

    program = (
        "import sys, multus.daemon.worker, multus.daemon.overhttp; print('h11' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout == b"False\n"
