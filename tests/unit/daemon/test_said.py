"""Decoding workers' packets: a plugin can write anything to its worker's channel."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest
from descriptors import copies

from multus.daemon import said, wire
from multus.daemon.channel import Packet

CALL = wire.Message(wire.CNI, b"{}", {"CNI_COMMAND": "ADD"}).encode()
REPORT = {"code": "0", "taken": True, "replayed": [], "stages": [], "journal_errors": 0}


@pytest.fixture
def file() -> Iterator[int]:
    """The descriptor of a file that nothing else has open."""
    with tempfile.TemporaryFile() as opened:
        yield opened.fileno()


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ({}, b""),
        ({"begin": True, "began": 0.0}, b"no message"),
        ({"begin": True}, CALL),
        ({"handOff": True, "began": float("nan")}, b""),
        ({"handOff": True, "began": "soon"}, b""),
        ({**REPORT, "code": 0}, b""),
        ({**REPORT, "journal_errors": 10**400}, b""),
        ({**REPORT, "journal_errors": []}, b""),
        ({**REPORT, "stages": [["ADD", "merge"]]}, b""),
        ({**REPORT, "stages": {"ADD": 1}}, b""),
        ({**REPORT, "delegates": [[[], {}, 1.0]]}, b""),
        ({**REPORT, "delegates": [["ADD", "ptp", float("inf")]]}, b""),
        ({**REPORT, "retire": 1}, b""),
        ({**REPORT, "cni_dir": ["/"]}, b""),
        ({**REPORT, "replayed": 5}, b""),
        ({**REPORT, "replayed": ["done"]}, b""),
        ({"replayed": [{"path": "/x", "outcome": "done"}]}, b""),
        ({"replayed": [{"path": "/x", "outcome": [], "reason": ""}]}, b""),
        ({"replayed": [{"path": "/x\0", "outcome": "malformed", "reason": ""}]}, b""),
    ],
)
def test_a_malformed_packet_raises_and_leaves_no_descriptor(
    file: int, head: dict[str, Any], body: bytes
) -> None:
    with pytest.raises(said.Malformed):
        said.read(Packet(head, body, (os.dup(file), os.dup(file))))
    assert copies(file) == 1


@pytest.mark.parametrize("kind", ["a file", "a datagram socket"])
def test_a_client_has_to_be_a_stream_socket(file: int, kind: str) -> None:
    one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with one, other:
        client = one.fileno() if kind != "a file" else file
        with pytest.raises(said.Malformed):
            said.read(Packet({"handOff": True, "began": 1.0}, b"", (os.dup(client),)))
        assert copies(client) == 1


def test_more_descriptors_than_the_clients_are_closed(file: int) -> None:
    one, other = socket.socketpair()
    with one, other:
        fds = (os.dup(one.fileno()), os.dup(file), os.dup(file))
        found = said.read(Packet({"begin": True, "began": 1.0}, CALL, fds))
        assert isinstance(found, said.Taken)
        assert found.connection is not None
        found.connection.close()
        assert copies(one.fileno()) == 1
    assert isinstance(said.read(Packet({"ready": True}, b"", (os.dup(file),))), said.Ready)
    assert isinstance(said.read(Packet(REPORT, b"", (os.dup(file),))), said.Report)
    assert copies(file) == 1


def test_a_call_counts_even_if_its_clients_descriptor_is_missing() -> None:
    found = said.read(Packet({"begin": True, "began": 1.0}, CALL))
    assert isinstance(found, said.Taken)
    assert found.connection is None
    assert found.message is not None


def test_a_report_is_bounded_and_can_be_encoded() -> None:
    times = [["ADD", "\ud800" * 9000, 0.5]] * 5000
    found = said.read(Packet({**REPORT, "delegates": times, "journal_errors": 10**15}))
    assert isinstance(found, said.Report)
    assert len(found.delegates) == found.journal_errors == 1024
    assert found.delegates[0][1].encode() == b"?" * 4096
