"""The Kubernetes API as a worker has it: asked of the daemon's one process that follows it.

A worker lives for a few calls and is one of many; caches and queued writes are kept in one place,
``multus.daemon.agent``.  Between the two: a packet with what is asked, a packet with the answer, on
a connection that a worker keeps.  A pod's status, for which its container's answer waits, a worker
writes itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError, TryAgainLater
from multus.api.progress import step
from multus.daemon.channel import Channel, Closed

if TYPE_CHECKING:
    from multus.api.kubernetes import Deadline, ObjectRef, Write
    from multus.daemon.board import Board
    from multus.kube.client import KubeClient

#: The process that follows the API may be starting anew: how often a worker tries again.
_PAUSE = 0.02
#: What the other process may take beyond the deadline that it was given.
_GRACE = 1.0
#: How long the other process may look for a pod that is only expected to be asked for.
_EXPECTED = 15.0
#: The attributes of an error that are sent; a cause, for instance, is not.
_PLAIN = (str, int, float, bool, type(None))


class RemoteApi:
    """One API server, for one worker; see ``multus.api.kubernetes.Api``.

    *path* is the socket of the process that follows it, *kubeconfig* names the API server, *own*
    is the daemon's own kubeconfig, which comes before it; *node* is this node's name in events.
    """

    def __init__(self, path: str, kubeconfig: str, node: str, own: str, board: Board) -> None:
        self._node = node
        self._path = path
        self._kubeconfig = kubeconfig
        self._own = own
        self._board = board
        self._channel: Channel | None = None
        self._client: KubeClient | None = None
        self._expected: tuple[str, str, str] | None = None

    def get(self, wanted: ObjectRef, deadline: Deadline) -> dict[str, Any]:
        found: dict[str, Any] = self._ask("get", deadline.remaining(), ref_to_wire(wanted))
        return found

    def get_each(
        self, wanted: Sequence[ObjectRef], deadline: Deadline
    ) -> list[dict[str, Any] | CNIError]:
        if not wanted:
            return []
        asked = {"wanted": [ref_to_wire(each) for each in wanted]}
        answers = self._ask("get_each", deadline.remaining(), asked)
        return [_object_or_error(each) for each in answers]

    def pod(self, namespace: str, name: str, deadline: Deadline, uid: str = "") -> dict[str, Any]:
        sent = self._expected == (namespace, name, uid)
        if sent:
            self._expected = None
        asked = {"namespace": namespace, "name": name, "uid": uid}
        found: dict[str, Any] = self._ask("pod", deadline.remaining(), asked, sent=sent)
        return found

    def expect(self, namespace: str, name: str, uid: str) -> None:
        """Ask for the pod of this call: it is looked up while the call begins."""
        if self._expected is not None:
            self.close()  # the last call did not take its answer
        with contextlib.suppress(OSError, Closed):
            asked = {"namespace": namespace, "name": name, "uid": uid}
            head = {"do": "pod", "kubeconfig": self._kubeconfig, "seconds": _EXPECTED}
            self._connected(_GRACE).send(head, json.dumps(asked).encode())
            self._expected = (namespace, name, uid)

    def write(self, writes: Sequence[Write], seconds: float) -> None:
        from multus.api.kubernetes import Annotate, Deadline
        from multus.kube.writequeue import to_wire

        queued: list[Write] = []
        problem: CNIError | None = None
        for each in writes:
            if isinstance(each, Annotate) and not self._board.is_queued(str(each.pod)):
                try:
                    with step("the API server", seconds + 5.0, waits=True):
                        self._own_client().carry_out(each, Deadline.after(seconds))
                    continue
                except CNIError as error:
                    problem = error
            queued.append(each)
        asked = {"writes": [to_wire(each) for each in queued]}
        if any(isinstance(each, Annotate) for each in queued):
            self._ask("queue", seconds, asked)
        elif queued:
            self._tell("events", asked)
        if problem is not None:
            raise problem

    def _own_client(self) -> KubeClient:
        """A client of this worker's own: a status needs no third process on its way."""
        if self._client is None:
            from multus.daemon.apis import access_of
            from multus.kube.client import KubeClient

            access = access_of(self._own, self._kubeconfig, os.environ)
            self._client = KubeClient(access, self._node)
        return self._client

    def close(self) -> None:
        """Close the connection; the next request makes another one."""
        self._expected = None
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _ask(
        self, verb: str, seconds: float, asked: Mapping[str, Any], *, sent: bool = False
    ) -> Any:
        """Ask, unless that was *sent* already, and wait for the answer."""
        if self._expected is not None:
            self.close()  # its answer would be taken for another one's
        until = time.monotonic() + seconds
        head = {"do": verb, "kubeconfig": self._kubeconfig}
        body = json.dumps(asked).encode()
        with step("the API server", seconds + 5.0, waits=True):
            while True:
                left = until - time.monotonic()
                try:
                    asking = None if sent else {**head, "seconds": max(0.0, left)}
                    return self._exchange(asking, body, left)
                except (OSError, Closed) as error:
                    self.close()
                    sent = False
                    if left <= _PAUSE or isinstance(error, TimeoutError):
                        raise TryAgainLater(
                            f"the daemon's process for the API server does not answer ({error})",
                            fix="see the daemon's log; the call can be repeated",
                        ) from error
                    time.sleep(_PAUSE)

    def _tell(self, verb: str, said: Mapping[str, Any]) -> None:
        """Send what needs no answer; where the process is not there, events are lost."""
        head = {"do": verb, "kubeconfig": self._kubeconfig, "seconds": 0.0}
        if self._expected is not None:
            self.close()
        with contextlib.suppress(OSError, Closed):
            self._connected(_GRACE).send(head, json.dumps(said).encode())

    def _exchange(self, head: Mapping[str, Any] | None, body: bytes, left: float) -> Any:
        patience = max(0.0, left) + _GRACE
        channel, whole = self._connected(patience), False
        try:
            channel.socket.settimeout(patience)
            if head is not None:
                channel.send(head, body)
            answer = channel.receive()
            whole = True
        finally:
            if not whole:
                self.close()  # what comes later would be taken for another request's answer
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


# --- Objects between processes -------------------------------------------------------------------


def ref_to_wire(wanted: ObjectRef) -> dict[str, Any]:
    """An object's reference as JSON."""
    kind = wanted.resource
    return {
        "kind": [kind.group, kind.version, kind.plural, kind.noun, kind.title],
        "object": [wanted.namespace, wanted.name],
    }


def ref_from_wire(wire: Mapping[str, Any]) -> ObjectRef:
    """The reference that ``ref_to_wire`` made JSON of."""
    from multus.api.kubernetes import Resource

    return Resource(*wire["kind"]).object(*wire["object"])


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
    return {"class": names, **values, "key": list(error.key), "path": list(error.path)}


def error_from_wire(wire: Mapping[str, Any]) -> CNIError:
    """The same error, of the first of its classes that is known here."""
    from multus.api import errors, kubernetes

    known = {**vars(errors), **vars(kubernetes)}
    found = (known.get(name) for name in wire["class"])
    kind = next(each for each in found if isinstance(each, type) and issubclass(each, CNIError))
    error: CNIError = kind.__new__(kind, wire["reason"])
    for key, value in wire.items():
        if key != "class":
            setattr(error, key, tuple(value) if isinstance(value, list) else value)
    return error
