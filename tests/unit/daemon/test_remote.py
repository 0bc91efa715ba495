"""A worker's client of the API process: errors on the wire, and a process that does not answer."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import PATIENCE

from multus.api import errors, kubernetes
from multus.api.errors import CNIError, IOFailure, TryAgainLater
from multus.api.kubernetes import PODS, Deadline, Resource
from multus.daemon.board import Board
from multus.daemon.channel import Channel, Closed
from multus.daemon.remote import (
    RemoteApi,
    error_from_wire,
    error_to_wire,
    ref_from_wire,
    ref_to_wire,
)

_SPECIAL: dict[str, CNIError] = {
    "ApiFailure": kubernetes.ApiFailure("m", 503, "ServiceUnavailable"),
    "NotFound": kubernetes.NotFound("m", kind_known=False),
    "VersionExpired": kubernetes.VersionExpired("m", 410, "Expired"),
}
_CLASSES = sorted(
    {
        each
        for module in (errors, kubernetes)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, CNIError)
    },
    key=lambda each: each.__name__,
)


def through(error: CNIError) -> CNIError:
    return error_from_wire(json.loads(json.dumps(error_to_wire(error))))


@pytest.mark.parametrize("kind", _CLASSES, ids=lambda each: each.__name__)
def test_every_error_is_the_same_at_the_other_end(kind: type[CNIError]) -> None:
    made = _SPECIAL.get(kind.__name__) or kind("a message", "details")
    found = through(made)
    assert type(found) is kind
    assert vars(found) == vars(made)
    assert (str(found), found.args) == (str(made), made.args)
    assert found.to_wire("1.0.0") == made.to_wire("1.0.0")


def test_a_reference_is_the_same_at_the_other_end() -> None:
    title = "{noun} {name} of {group}"
    for kind in (PODS, Resource("g", "v2", "ps", "p"), Resource("g", "v1", "ps", title=title)):
        wanted = kind.object("team", "a")
        found = ref_from_wire(json.loads(json.dumps(ref_to_wire(wanted))))
        assert (found, str(found)) == (wanted, str(wanted))


def test_an_error_with_a_code_of_its_own_keeps_it() -> None:
    assert through(CNIError("m", code=117)).number == 117


def test_an_error_of_an_unknown_class_arrives_as_its_base_class() -> None:
    class Unlockable(IOFailure):
        pass

    found = through(Unlockable("m", "d"))
    assert type(found) is IOFailure
    assert (found.msg, found.details, found.number) == ("m", "d", IOFailure.code)


def test_attributes_that_cannot_be_sent_are_left_out() -> None:
    error = TryAgainLater("m")
    error.cause = object()  # type: ignore[attr-defined]
    assert (through(error).msg, through(error).number) == ("m", 11)


def test_a_name_that_is_not_an_error_class_is_ignored() -> None:
    wire = {"class": ["decode", "Any", "CNIError"], "reason": "m"}
    assert type(error_from_wire(wire)) is CNIError


# --- No answer -----------------------------------------------------------------------------------


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "api")


@pytest.fixture
def silent(path: str) -> Iterator[None]:
    """A process that hangs: it does not accept, and its backlog holds one connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
        listener.bind(path)
        listener.listen(0)
        yield


def remote(path: str) -> RemoteApi:
    return RemoteApi(path, "/kubeconfig", "n1", "", Board.create(1), "/none")


def took(path: str, seconds: float) -> float:
    began = time.monotonic()
    with pytest.raises(TryAgainLater, match="does not answer"):
        remote(path).pod("default", "web", Deadline.after(seconds))
    return time.monotonic() - began


def test_a_missing_process_is_retried_until_the_deadline(path: str) -> None:
    assert 0.08 < took(path, 0.1) < PATIENCE


def test_a_silent_process_times_out_soon_after_the_deadline(path: str, silent: None) -> None:
    assert 0.1 <= took(path, 0.1) < PATIENCE


def test_a_process_with_a_full_backlog_times_out_too(path: str, silent: None) -> None:
    taken = []
    for _ in range(2):
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        peer.settimeout(0.05)
        try:
            peer.connect(path)
        except OSError:
            peer.close()
            break
        taken.append(peer)
    assert took(path, 0.1) < PATIENCE
    for peer in taken:
        peer.close()


class Answering:
    """A process that echoes every request, until its socket is closed."""

    def __init__(self, path: str) -> None:
        self.asked: list[tuple[str, object]] = []
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._listener.bind(path)
        self._listener.listen(8)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(
                    target=self._answer, args=(Channel(self._listener.accept()[0]),), daemon=True
                ).start()

    def _answer(self, channel: Channel) -> None:
        with contextlib.suppress(Closed):
            while True:
                packet = channel.receive()
                self.asked.append((packet.head["do"], json.loads(packet.body)))
                channel.send({}, packet.body)

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def answering(path: str) -> Iterator[Answering]:
    made = Answering(path)
    yield made
    made.close()


def test_a_pod_requested_in_advance_is_requested_once(path: str, answering: Answering) -> None:
    api = remote(path)
    api.expect("default", "web", "u1")
    found = api.pod("default", "web", Deadline.after(PATIENCE), "u1")
    assert found == {"namespace": "default", "name": "web", "uid": "u1"}
    assert len(answering.asked) == 1


def test_an_unread_response_is_not_taken_for_another_requests(
    path: str, answering: Answering
) -> None:
    """A call that ended before it read its pod, and the next calls of the same worker."""
    api = remote(path)
    for name in ("a", "b", "c"):
        api.expect("default", name, "u1")
    assert api.pod("default", "web", Deadline.after(PATIENCE), "u2")["name"] == "web"
    api.expect("default", "d", "u1")
    wanted = Resource("x", "v1", "networks", "network").object("default", "n")
    assert ref_from_wire(api.get(wanted, Deadline.after(PATIENCE))) == wanted
    assert api.pod("default", "d", Deadline.after(PATIENCE), "u1")["name"] == "d"
