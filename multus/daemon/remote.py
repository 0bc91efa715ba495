"""A worker's client of the daemon's API process.

There are many workers, and each lives for a few calls, so one process holds the caches and the
queued writes (``multus.daemon.agent``).  A worker keeps a connection to it:  one packet with the
request, one with the response.  A worker writes a pod's status itself, since the container's answer
waits for it.
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
from multus.daemon.channel import Channel, Closed, TooLarge

if TYPE_CHECKING:
    from multus.api.kubernetes import Annotate, Deadline, Edit, ObjectRef, Resource, Write
    from multus.daemon.board import Board
    from multus.kube.client import KubeClient

#: Pause between retries while the API process restarts, in seconds.
_PAUSE = 0.02
#: Time that the API process may take beyond its deadline, in seconds.
_GRACE = 1.0
#: Deadline for a pod that is requested in advance, in seconds.
_EXPECTED = 15.0
#: Types of an error's attributes that are sent; a cause, for example, is not.
_PLAIN = (str, int, float, bool, type(None))


class RemoteApi:
    """One API server, for one worker; see ``multus.api.kubernetes.Api``.

    *path* is the socket of the API process, *kubeconfig* names the API server, *own* is the
    daemon's own kubeconfig, which has precedence; *node* is this node's name in events; *cni_dir*
    is where edits are kept.
    """

    def __init__(
        self, path: str, kubeconfig: str, node: str, own: str, board: Board, cni_dir: str
    ) -> None:
        self._cni_dir = cni_dir
        self.node = node
        self._path = path
        self._kubeconfig = kubeconfig
        self._own = own
        self._board = board
        self._channel: Channel | None = None
        self._client: KubeClient | None = None
        self._expected: tuple[str, str, str] | None = None
        #: How many annotations were to be written.
        self.annotated = 0

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

    def select(
        self,
        resource: Resource,
        fields: Mapping[str, str],
        deadline: Deadline,
        *,
        fresh: bool = False,
    ) -> list[dict[str, Any]]:
        kind = ref_to_wire(resource.object("", ""))["kind"]
        asked = {"kind": kind, "fields": dict(fields), "fresh": fresh}
        found: list[dict[str, Any]] = self._ask("select", deadline.remaining(), asked)
        return found

    def lacking(self, wanted: Sequence[ObjectRef], deadline: Deadline) -> list[ObjectRef]:
        asked = {"wanted": [ref_to_wire(each) for each in wanted]}
        lacking: list[bool] = self._ask("lacking", deadline.remaining(), asked)
        return [each for each, lacks in zip(wanted, lacking, strict=True) if lacks]

    def pod(self, namespace: str, name: str, deadline: Deadline, uid: str = "") -> dict[str, Any]:
        sent = self._expected == (namespace, name, uid)
        if sent:
            self._expected = None
        asked = {"namespace": namespace, "name": name, "uid": uid}
        found: dict[str, Any] = self._ask("pod", deadline.remaining(), asked, sent=sent)
        return found

    def expect(self, namespace: str, name: str, uid: str) -> None:
        """Request the pod of this call in advance: the API process looks it up meanwhile."""
        if self._expected is not None:
            self.close()  # the last call did not read its response
        with contextlib.suppress(OSError, Closed):
            asked = {"namespace": namespace, "name": name, "uid": uid}
            head = {"do": "pod", "kubeconfig": self._kubeconfig, "seconds": _EXPECTED}
            self._connected(_GRACE).send(head, json.dumps(asked).encode())
            self._expected = (namespace, name, uid)

    def edit(self, edit: Edit, deadline: Deadline) -> Any:
        # The API process makes what is kept of the same object before.
        asked = {"edit": edit.to_wire(), "cniDir": self._cni_dir}
        return self._ask("edit", deadline.remaining(), asked)

    def keep(self, edits: Sequence[Edit]) -> None:
        from multus.kube.keptedits import KeptEdits

        # The API process may be away: the worker writes the file itself.
        KeptEdits(self._cni_dir).put(self._kubeconfig, edits)

    def write(self, writes: Sequence[Write], seconds: float) -> None:
        from multus.api.kubernetes import Annotate, Deadline
        from multus.kube.writequeue import to_wire

        queued: list[Write] = []
        problem: CNIError | None = None
        deadline = Deadline.after(seconds)
        for each in writes:
            if isinstance(each, Annotate):
                self.annotated += 1
                try:
                    if self._make_way(each, deadline):
                        with step("the API server", seconds + 5.0, waits=True):
                            self._own_client().carry_out(each, deadline)
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

    def _make_way(self, write: Annotate, deadline: Deadline) -> bool:
        """Have dropped what is queued and *write* replaces; False when it has to be queued too."""
        from multus.kube.writequeue import to_wire

        if not self._board.is_queued(str(write.pod)):
            return True
        made: bool = self._ask("make_way", deadline.remaining(), to_wire(write))
        return made

    def _own_client(self) -> KubeClient:
        """This worker's own API client: it writes a status without the API process."""
        if self._client is None:
            from multus.daemon.apis import access_of
            from multus.kube.client import KubeClient

            access = access_of(self._own, self._kubeconfig, os.environ)
            self._client = KubeClient(access, self.node)
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
        """Send the request, unless it was *sent* in advance, and wait for the response."""
        if self._expected is not None:
            self.close()  # the response of the advance request would be taken for this one's
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
                            f"the daemon's API process does not answer ({error})",
                            fix="see the daemon's log, then try again",
                        ) from error
                    time.sleep(_PAUSE)

    def _tell(self, verb: str, said: Mapping[str, Any]) -> None:
        """Send a request without a response; events are lost when the API process is down, or
        when they are too many for a packet.
        """
        head = {"do": verb, "kubeconfig": self._kubeconfig, "seconds": 0.0}
        if self._expected is not None:
            self.close()
        with contextlib.suppress(OSError, Closed, TooLarge):
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
                self.close()  # a late response would be taken for another request's
        if "error" in answer.head:
            raise error_from_wire(answer.head["error"])
        return json.loads(answer.body)

    def _connected(self, patience: float) -> Channel:
        if self._channel is None:
            peer = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            # When the API process hangs and its backlog is full, connect() blocks.
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
    """The inverse of ``ref_to_wire``."""
    from multus.api.kubernetes import Resource

    return Resource(*wire["kind"]).object(*wire["object"])


def _object_or_error(wire: Mapping[str, Any]) -> dict[str, Any] | CNIError:
    if "error" in wire:
        return error_from_wire(wire["error"])
    found: dict[str, Any] = wire["object"]
    return found


# --- Errors between processes --------------------------------------------------------------------


def error_to_wire(error: CNIError) -> dict[str, Any]:
    """An error as JSON: the names of its class and base classes, and its attributes."""
    names = [each.__name__ for each in type(error).__mro__ if issubclass(each, CNIError)]
    values = {key: value for key, value in vars(error).items() if isinstance(value, _PLAIN)}
    return {"class": names, **values, "key": list(error.key), "path": list(error.path)}


def error_from_wire(wire: Mapping[str, Any]) -> CNIError:
    """The inverse of ``error_to_wire``, with the first of the classes that is known here."""
    from multus.api import errors, kubernetes

    known = {**vars(errors), **vars(kubernetes)}
    found = (known.get(name) for name in wire["class"])
    kind = next(each for each in found if isinstance(each, type) and issubclass(each, CNIError))
    error: CNIError = kind.__new__(kind, wire["reason"])
    for key, value in wire.items():
        if key != "class":
            setattr(error, key, tuple(value) if isinstance(value, list) else value)
    return error
