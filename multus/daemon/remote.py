"""The Kubernetes API as a worker has it: asked of the daemon's one process that follows it.

A worker lives for a few calls and is one of many; caches, connections and queued writes are kept in
one place, ``multus.daemon.agent``.  Between the two: a packet with what is asked, a packet with the
answer, on a connection that a worker keeps.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from multus.daemon.channel import Channel, Closed
from multus.errors import CNIError, TryAgainLater
from multus.progress import step

if TYPE_CHECKING:
    from multus.kube.client import Wanted
    from multus.kube.deadline import Deadline
    from multus.kube.outbox import Letter

#: The process that follows the API may be starting anew: how often a worker tries again.
_PAUSE = 0.02
#: What the other process may take beyond the deadline that it was given.
_GRACE = 1.0
#: The attributes of an error that are sent; a cause, for instance, is not.
_PLAIN = (str, int, float, bool, type(None))


class RemoteApi:
    """One API server, for one worker; see ``multus.model.request.Api``.

    *path* is the socket of the process that follows it, *kubeconfig* names the API server.
    """

    def __init__(self, path: str, kubeconfig: str, node: str) -> None:
        self.node = node
        self._path = path
        self._kubeconfig = kubeconfig
        self._channel: Channel | None = None

    def get(
        self, wanted: Wanted, deadline: Deadline, headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        asked = {"path": wanted.path, "what": wanted.what, "headers": dict(headers or {})}
        found: dict[str, Any] = self._ask("get", deadline.remaining(), asked)
        return found

    def get_each(
        self, wanted: Sequence[Wanted], deadline: Deadline
    ) -> list[dict[str, Any] | CNIError]:
        if not wanted:
            return []
        asked = {"wanted": [[each.path, each.what] for each in wanted]}
        answers = self._ask("get_each", deadline.remaining(), asked)
        return [_object_or_error(each) for each in answers]

    def pod(self, namespace: str, name: str, deadline: Deadline, uid: str = "") -> dict[str, Any]:
        asked = {"namespace": namespace, "name": name, "uid": uid}
        found: dict[str, Any] = self._ask("pod", deadline.remaining(), asked)
        return found

    def deliver(self, letters: Sequence[Letter], seconds: float) -> None:
        """Have statuses and events written, see ``multus.kube.node.NodeApi.deliver``."""
        from multus.kube.outbox import to_wire

        self._ask("deliver", seconds, {"letters": [to_wire(each) for each in letters]})

    def close(self) -> None:
        """Give the connection up; the next request makes another one."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _ask(self, verb: str, seconds: float, asked: Mapping[str, Any]) -> Any:
        until = time.monotonic() + seconds
        head = {"do": verb, "kubeconfig": self._kubeconfig}
        body = json.dumps(asked).encode()
        with step("the API server", seconds + 5.0, waits=True):
            while True:
                left = until - time.monotonic()
                try:
                    return self._exchange({**head, "seconds": max(0.0, left)}, body, left)
                except (OSError, Closed) as error:
                    self.close()
                    if left <= _PAUSE or isinstance(error, TimeoutError):
                        raise TryAgainLater(
                            "the daemon's process for the API server does not answer"
                            f" ({error}): see the daemon's log; the call can be repeated"
                        ) from error
                    time.sleep(_PAUSE)

    def _exchange(self, head: Mapping[str, Any], body: bytes, left: float) -> Any:
        patience = max(0.0, left) + _GRACE
        channel = self._connected(patience)
        channel.socket.settimeout(patience)
        channel.send(head, body)
        answer = channel.receive()
        if "error" in answer.head:
            raise error_from_wire(answer.head["error"])
        return json.loads(answer.body)

    def _connected(self, patience: float) -> Channel:
        if self._channel is None:
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            # A process that hangs accepts no more connections once enough of them wait.
            peer.settimeout(patience)
            try:
                peer.connect(self._path)
            except OSError:
                peer.close()
                raise
            self._channel = Channel(peer)
        return self._channel


def _object_or_error(wire: Mapping[str, Any]) -> dict[str, Any] | CNIError:
    if "error" in wire:
        return error_from_wire(wire["error"])
    found: dict[str, Any] = wire["object"]
    return found


# --- Errors between processes --------------------------------------------------------------------


def error_to_wire(error: CNIError) -> dict[str, Any]:
    """An error as the names of its class and their bases, and its attributes."""
    names = [each.__name__ for each in type(error).__mro__ if issubclass(each, CNIError)]
    values = {key: value for key, value in vars(error).items() if isinstance(value, _PLAIN)}
    return {"class": names, **values}


def error_from_wire(wire: Mapping[str, Any]) -> CNIError:
    """The same error, of the first of its classes that is known here."""
    from multus import errors
    from multus.kube import failures

    known = {**vars(errors), **vars(failures)}
    found = (known.get(name) for name in wire["class"])
    kind = next(each for each in found if isinstance(each, type) and issubclass(each, CNIError))
    error: CNIError = kind.__new__(kind, wire["msg"])
    for key, value in wire.items():
        if key != "class":
            setattr(error, key, value)
    return error
