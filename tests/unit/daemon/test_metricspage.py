"""The metrics' port, with good and bad clients."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from attrs import define
from waiting import PATIENCE, eventually

from multus.daemon import metricspage
from multus.daemon.metricspage import MetricsPage
from multus.log import Log, Sink


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
def log(tmp_path: Path) -> Log:
    return Log(Sink(path=str(tmp_path / "log"), stderr=False))


@pytest.fixture
def serve(shown: Shown, log: Log) -> Iterator[Callable[..., MetricsPage]]:
    """A page at an address; any free port, since one chosen earlier may be taken by now."""
    with ExitStack() as stack:

        def begin(address: str = "127.0.0.1", port: int = 0) -> MetricsPage:
            made = MetricsPage(address, port, shown, log)
            stack.callback(made.close)
            made.start()
            return made

        yield begin


@pytest.fixture
def port(serve: Callable[..., MetricsPage]) -> int:
    made = serve()
    return eventually(lambda: made.bound)


def scrape(port: int, method: str = "GET", at: str = "127.0.0.1") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection(at, port, timeout=PATIENCE)) as client:
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
    monkeypatch.setattr(metricspage, "_FRESH", 0.0)
    shown.error = RuntimeError("dictionary changed size during iteration")
    status, text = scrape(port)
    assert (status, b"dictionary changed size" in text) == (500, True)
    shown.error = None
    assert scrape(port) == (200, b"x" * 10)


def test_a_client_that_does_not_read_delays_no_other(
    port: int, shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metricspage, "_SECONDS", 600.0)
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
    monkeypatch.setattr(metricspage, "_SECONDS", 0.1)
    with closing(sending(port, b"G")) as peer:
        assert peer.recv(1) == b""


@pytest.mark.parametrize(
    ("address", "reached"),
    [("::1", ["::1"]), ("0.0.0.0", ["127.0.0.1"]), ("::", ["::1", "127.0.0.1"])],
)
def test_it_is_shown_at_the_address_that_is_asked_for(
    serve: Callable[..., MetricsPage], address: str, reached: list[str]
) -> None:
    made = serve(address)
    port = eventually(lambda: made.bound)
    for each in reached:
        assert scrape(port, at=each) == (200, b"x" * 10)


def test_it_is_shown_at_no_other_address(serve: Callable[..., MetricsPage]) -> None:
    made = serve("127.0.0.2")
    port = eventually(lambda: made.bound)
    with pytest.raises(ConnectionRefusedError):
        scrape(port)


def test_an_address_that_is_taken_is_logged_once_and_served_when_it_is_free(
    serve: Callable[..., MetricsPage],
    port: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metricspage, "_AGAIN", 0.01)
    first = serve()
    taken = eventually(lambda: first.bound)
    second = serve(port=taken)
    (said,) = eventually(lambda: written(tmp_path))
    assert f"127.0.0.1:{taken}: Address already in use" in said["msg"]
    assert "'metricsAddress'" in said["fix"]
    first.close()
    eventually(lambda: second.bound)
    assert scrape(taken) == (200, b"x" * 10)
    assert written(tmp_path) == [said]


def written(folder: Path) -> list[dict[str, str]]:
    """The lines of the log."""
    path = folder / "log"
    lines = path.read_text().splitlines() if path.exists() else []
    return [json.loads(line) for line in lines]
