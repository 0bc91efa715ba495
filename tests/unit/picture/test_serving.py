"""The server of a page: who may ask what, and that slow clients hold nothing."""

from __future__ import annotations

import http.client
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing

import pytest
from attrs import define, field
from waiting import PATIENCE

from multus.api.errors import InvalidConfig, IOFailure
from multus.picture import frame
from multus.picture.page import Answer
from multus.picture.serving import Server, is_by_address, listening, url
from multus.serving.address import is_loopback, parsed


@define
class Site:
    """A server with answers of its own."""

    port: int = 0
    body: bytes = b"page"
    asked: list[tuple[str, Mapping[str, str]]] = field(factory=list)

    def answer(self, path: str, query: Mapping[str, str]) -> Answer:
        self.asked.append((path, query))
        if path == "/raises":
            raise RuntimeError("out of paper")
        if path == "/wrong":
            raise ValueError("not a defect of the client")
        return Answer(200, "text/plain", self.body, '"1"')

    def get(self, path: str = "/", method: str = "GET", **headers: str) -> http.client.HTTPResponse:
        peer = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with closing(peer):
            peer.request(method, path, headers=headers)
            answer = peer.getresponse()
            self.read = answer.read()
            return answer

    read: bytes = b""


@pytest.fixture
def site() -> Iterator[Site]:
    found = Site()
    listener = listening("127.0.0.1:0")
    found.port = listener.getsockname()[1]
    server = Server(listener, found.answer)
    thread = threading.Thread(target=server.run)
    thread.start()
    yield found
    server.stop()
    thread.join(PATIENCE)
    assert not thread.is_alive()


def test_a_page_is_answered_with_the_headers_that_keep_it_harmless(site: Site) -> None:
    answer = site.get("/parts?pod=a%20b&width=390")
    assert (answer.status, site.read) == (200, b"page")
    assert site.asked == [("/parts", {"pod": "a b", "width": "390"})]
    for name, value in frame.headers():
        assert answer.getheader(name) == value
    assert answer.getheader("Access-Control-Allow-Origin") is None
    assert site.get(method="HEAD").status == 200
    assert site.read == b""


def test_what_the_client_has_is_not_sent_again(site: Site) -> None:
    answer = site.get(**{"If-None-Match": '"1"'})
    assert (answer.status, site.read) == (304, b"")
    assert site.get(**{"If-None-Match": '"2"'}).status == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8470", "127.0.0.1.evil.example", ""]
)
def test_another_site_s_name_that_leads_here_is_refused(site: Site, host: str) -> None:
    assert site.get(Host=host).status == 421
    assert site.asked == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_written(site: Site, method: str) -> None:
    answer = site.get(method=method)
    assert (answer.status, answer.getheader("Allow")) == (405, "GET, HEAD")
    assert site.asked == []


def test_an_error_is_one_of_that_request_alone(site: Site) -> None:
    assert site.get("/wrong").status == 500
    assert site.get("/raises").status == 500
    assert b"out of paper" in site.read
    assert site.get().status == 200


def test_too_many_fields_are_refused(site: Site) -> None:
    assert site.get("/?" + "&".join(f"k{n}=1" for n in range(17))).status == 400


def test_clients_that_read_or_write_nothing_hold_nobody(site: Site) -> None:
    site.body = b"x" * (8 << 20)
    silent = [socket.create_connection(("127.0.0.1", site.port), PATIENCE) for _ in range(40)]
    for each in silent[::2]:
        each.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert site.get().status == 200
    assert len(site.read) == 8 << 20
    for each in silent:
        each.close()


@pytest.mark.parametrize(
    "said", [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"]
)
def test_what_is_no_request_for_a_page_gets_none(site: Site, said: bytes) -> None:
    with closing(socket.create_connection(("127.0.0.1", site.port), PATIENCE)) as peer:
        peer.sendall(said)
        assert b" 200 " not in peer.recv(4096)
    assert site.get().status == 200


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        *(("127.0.0.1:8470", True), ("localhost", True), ("LOCALHOST:1", True), ("[::1]:9", True)),
        *(("192.0.2.1", True), ("example.com", False), ("a@127.0.0.1", False), ("1", False)),
        *(("[evil]", False), ("localhost.evil", False), ("127.0.0.1/", False), ("", False)),
    ],
)
def test_a_host_is_an_address_or_localhost(host: str, allowed: bool) -> None:
    assert is_by_address(host) is allowed


def test_addresses_are_parsed_and_shown() -> None:
    assert parsed("[::1]:80") == ("::1", 80)
    with closing(listening("[::1]:0")) as six, closing(listening("127.0.0.1:0")) as four:
        assert url(six) == f"http://[::1]:{six.getsockname()[1]}/"
        assert url(four) == f"http://127.0.0.1:{four.getsockname()[1]}/"
    assert (is_loopback("127.0.0.1:1"), is_loopback("0.0.0.0:1")) == (True, False)


@pytest.mark.parametrize("text", ["", "8470", "host:80", "127.0.0.1", "127.0.0.1:x", "::1:99999"])
def test_an_address_that_cannot_be_parsed_is_refused(text: str) -> None:
    with pytest.raises(InvalidConfig, match=r"127\.0\.0\.1:8470"):
        parsed(text)


def test_a_port_that_is_taken_is_told() -> None:
    with closing(listening("127.0.0.1:0")) as taken, pytest.raises(IOFailure, match="in use"):
        listening(f"127.0.0.1:{taken.getsockname()[1]}")
