"""The metrics' port, with good and bad clients."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from attrs import define
from waiting import PATIENCE

from multus.api.errors import IOFailure
from multus.daemon import page
from multus.daemon.page import MetricsPage


@define
class Shown:
    """The text of the page: some bytes, or an error."""

    size: int = 10
    error: Exception | None = None

    def __call__(self) -> bytes:
        if self.error is not None:
            raise self.error
        return b"x" * self.size


@pytest.fixture
def shown() -> Shown:
    return Shown()


@pytest.fixture
def port(shown: Shown) -> Iterator[int]:
    made = MetricsPage(0, shown)  # any free port: a port chosen earlier may be taken by now
    made.start()
    yield int(made._listener.getsockname()[1])
    made.close()


def scrape(port: int, method: str = "GET") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)) as client:
        client.request(method, "/metrics")
        answer = client.getresponse()
        return answer.status, answer.read()


def sending(port: int, data: bytes) -> socket.socket:
    peer = socket.socket()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    peer.settimeout(PATIENCE)
    peer.connect(("127.0.0.1", port))
    peer.sendall(data)
    return peer


def test_a_get_is_answered_and_a_head_has_no_body(port: int) -> None:
    assert scrape(port) == (200, b"x" * 10)
    assert scrape(port, "HEAD") == (200, b"")
    assert scrape(port) == (200, b"x" * 10)


def test_an_exception_is_an_error_of_that_scrape_only(
    port: int, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_FRESH", 0.0)
    shown.error = RuntimeError("dictionary changed size during iteration")
    status, text = scrape(port)
    assert (status, b"dictionary changed size" in text) == (500, True)
    shown.error = None
    assert scrape(port) == (200, b"x" * 10)


def test_a_client_that_does_not_read_delays_no_other(
    port: int, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "_SECONDS", 600.0)
    shown.size = 8 << 20
    slow = [sending(port, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n") for _ in range(3)]
    assert scrape(port) == (200, b"x" * shown.size)
    for each in slow:
        each.close()


@pytest.mark.parametrize(
    "sent",
    [b"", b"G", b"\0\xff\r\n\r\n", b"GET / HTTP/9\r\n\r\n", b"x" * 4096, b"GET / HTTP/1.1\r\n\r\n"],
)
def test_a_malformed_request_is_dropped_and_others_are_served(port: int, sent: bytes) -> None:
    peers = [sending(port, sent) for _ in range(5)]
    assert scrape(port) == (200, b"x" * 10)
    for each in peers:
        each.close()
    assert scrape(port) == (200, b"x" * 10)


def test_a_silent_client_is_disconnected(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page, "_SECONDS", 0.1)
    with closing(sending(port, b"G")) as peer:
        assert peer.recv(1) == b""


def test_a_port_that_is_taken_is_named(port: int, shown: Callable[[], bytes]) -> None:
    with pytest.raises(IOFailure, match=f"127.0.0.1:{port}.*metricsPort"):
        MetricsPage(port, shown)
