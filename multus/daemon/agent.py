"""The API process of the daemon: it watches the API servers and answers the workers.

It holds the caches of pods and definitions, and the queued writes.  They outlive a worker that
hangs, dies or is replaced.  When an API object crashes this process, the supervisor restarts it;
calls that need no API continue meanwhile.
"""

from __future__ import annotations

import json
import os
import select
import socket
import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError, IOFailure
from multus.daemon.apis import Apis
from multus.daemon.channel import Channel, Closed, TooLarge
from multus.daemon.later import Later
from multus.daemon.listening import may_connect
from multus.daemon.looked import Looked
from multus.daemon.looks import Looks
from multus.daemon.podrecords import PodRecords
from multus.daemon.reconciling import Reconciling
from multus.daemon.remote import error_to_wire, ref_from_wire
from multus.daemon.spool import remembered
from multus.daemon.upkeep import Upkeep

if TYPE_CHECKING:
    from multus.api.kubernetes import Deadline, Edit, Resource
    from multus.certificate.renewal import Renewal
    from multus.daemon.board import Board
    from multus.daemon.settings import Settings
    from multus.kube.nodeapi import NodeApi
    from multus.log import Log
    from multus.registry.hooks import Hooks

#: How often the state is reported to the supervisor: after a change, and without one; seconds.
_LOOK, _TELL = 0.2, 1.0
#: Time to write queued statuses and events when the daemon stops, in seconds.
_LAST_WRITES = 4.0


class Agent:
    """Serves workers; *control* is the channel to the supervisor.

    *cached* maps each kind of object to watch to the parts of an object to keep; *hooks* are asked
    for the addresses of the cluster.
    """

    def __init__(
        self,
        settings: Settings,
        environ: Mapping[str, str],
        control: Channel,
        board: Board,
        log: Log,
        cached: Mapping[Resource, Sequence[str | tuple[str, ...]]],
        hooks: Hooks,
    ) -> None:
        self._control = control
        self._board = board
        self._log = log
        busy = lambda: board.calls > 0  # noqa: E731
        folders = lambda: (settings.cni_dir, *remembered(settings.cni_dir))  # noqa: E731
        self._looks = Looks(PodRecords(folders), self._pod, follows=settings.follows_pods)
        access = (settings.kubeconfig, settings.node, environ)
        self._apis = Apis(*access, log, busy, cached, self._looks.noticed)
        self._renewal: Renewal | None = None
        if settings.certificate is not None:
            from multus.certificate.renewal import Renewal

            self._renewal = Renewal(settings.certificate, log)
        self._later = Later(folders, self._apis.of, log)
        self._reconciling = Reconciling(settings, hooks, self._apis.first, log)
        self._upkeep = Upkeep(settings, hooks, folders, self._apis.by_kubeconfig, log)
        self._publishing = threading.Lock()
        self._told: dict[str, Any] = {}
        self._told_at = 0.0

    def run(self, path: str) -> None:
        """Serve until the supervisor closes its end or sends stop; then flush the write queue."""
        listener = _listening(path)
        self._control.send({"ready": True})
        if self._renewal is not None:
            self._renewal.start()
        self._later.start()
        self._reconciling.start()
        self._upkeep.start()
        while True:
            listened: list[Any] = [listener, self._control]
            ready, _, _ = select.select(listened, [], [], _LOOK)
            if listener in ready:
                self._accept(listener)
            try:
                if self._control in ready and self._is_told_to_stop():
                    break
                for look in self._looks.due(time.monotonic()):
                    self._control.send({"look": look.to_wire()})
                self._apis.forget_unused(time.monotonic())
                self._tell()
            except Closed:
                break
        listener.close()
        self._later.close()
        self._reconciling.close()
        self._upkeep.close()
        if self._renewal is not None:
            self._renewal.close()
        self._apis.close(_LAST_WRITES)

    def _is_told_to_stop(self) -> bool:
        """Receive a message: to stop, or how a look ended."""
        head = self._control.receive().head
        if "looked" in head:
            outcome, told, wrote = head["looked"]
            looked = Looked(outcome, tuple(told), wrote)
            self._looks.ended(head["container"], looked, time.monotonic())
        return "stop" in head

    def _pod(self, namespace: str, name: str) -> Mapping[str, Any] | None:
        return self._apis.pod(namespace, name)

    def _accept(self, listener: socket.socket) -> None:
        try:
            peer, _address = listener.accept()
        except OSError as error:
            self._log.error("cannot accept a worker's connection", error=error)
            time.sleep(_LOOK)  # a descriptor may be free then
            return
        self._begin(peer)

    def _begin(self, peer: socket.socket) -> None:
        allowed, uid = may_connect(peer)
        if not allowed:
            self._log.error("refused a connection to the API process", uid=uid)
            peer.close()
            return
        try:
            threading.Thread(target=self._serve, args=(Channel(peer),), daemon=True).start()
        except RuntimeError as error:  # no more threads: the worker retries
            self._log.error("cannot serve a worker", error=error)
            peer.close()

    def _tell(self) -> None:
        """Report the state of the caches to the supervisor, on a change and every ``_TELL``."""
        self._publish_queued()
        now = time.monotonic()
        queued = sum(len(api.queue) for api in self._apis)
        known = [state for api in self._apis for state in api.states()]
        states = [
            {
                "cache": state.what,
                "synced": float(state.synced),
                "stale": float(state.stale),
                "objects": state.objects,
                "bytes": state.bytes,
                "marked": state.marked,
            }
            for state in known
        ]
        ages = {state.what: now - state.age for state in known}
        found = {"states": states, "queuedWrites": queued, "notSynced": self._apis.not_synced()}
        if found == self._told and now - self._told_at < _TELL:
            return
        self._told, self._told_at = found, now
        heard = {what: at for what, at in ages.items() if at > float("-inf")}
        self._control.send({**found, "heard": heard})

    # --- One thread per worker -------------------------------------------------------------------

    def _serve(self, channel: Channel) -> None:
        try:
            while True:
                packet = channel.receive()
                head, body = self._answer(packet.head, packet.body)
                if packet.head["do"] == "events":
                    continue  # events get no answer
                try:
                    channel.send(head, body)
                except TooLarge as error:
                    channel.send({"error": error_to_wire(error)})
        except Closed:
            return
        finally:
            channel.close()

    def _answer(self, head: Mapping[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            return {}, json.dumps(self._carry_out(head, json.loads(body))).encode()
        except CNIError as error:
            return {"error": error_to_wire(error)}, b""
        except Exception as error:  # noqa: BLE001  the worker needs an answer
            self._log.error("internal error in the API process", error=error)
            text = f"internal error: {type(error).__name__}: {error}: report it, with the log"
            return {"error": error_to_wire(CNIError(text))}, b""

    def _carry_out(self, head: Mapping[str, Any], asked: Mapping[str, Any]) -> Any:
        from multus.api.kubernetes import Deadline, Edit, Resource
        from multus.kube.writequeue import annotation_from_wire, from_wire

        api, deadline = self._apis.of(head["kubeconfig"]), Deadline.after(head["seconds"])
        verb = head["do"]
        if verb == "pod":
            return api.pod(asked["namespace"], asked["name"], deadline, asked["uid"])
        if verb == "get":
            return api.get(ref_from_wire(asked), deadline)
        if verb == "edit":
            return self._edit(api, Edit.from_wire(asked["edit"]), asked["cniDir"], deadline)
        if verb == "select":
            kind, fields = Resource(*asked["kind"]), asked["fields"]
            return api.select(kind, fields, deadline, fresh=asked["fresh"])
        if verb == "get_each":
            each = [ref_from_wire(wire) for wire in asked["wanted"]]
            return [_object_or_error(found) for found in api.get_each(each, deadline)]
        if verb == "lacking":
            each = [ref_from_wire(wire) for wire in asked["wanted"]]
            found = set(api.lacking(each, deadline))
            return [one in found for one in each]
        if verb == "make_way":
            made = api.queue.make_way(annotation_from_wire(asked), deadline.remaining())
            self._publish_queued()
            return made
        for wire in asked["writes"]:
            api.queue.put(from_wire(wire))
        self._publish_queued()
        return None

    def _edit(self, api: NodeApi, edit: Edit, cni_dir: str, deadline: Deadline) -> Any:
        """Make an edit after those that are kept under *cni_dir* and are of the same object."""
        from multus.kube.keptedits import KeptEdits

        KeptEdits(cni_dir).make_before(
            edit.object,
            lambda kubeconfig, edits: self._apis.of(kubeconfig).edit_each(edits, deadline),
            deadline,
        )
        return api.edit(edit, deadline)

    def _publish_queued(self) -> None:
        """Publish the pods with a queued annotation: it would overwrite a worker's later one."""
        with self._publishing:
            queued = [str(pod) for api in self._apis for pod in api.queue.annotated()]
            self._board.publish_queued(queued)


def _object_or_error(found: dict[str, Any] | CNIError) -> dict[str, Any]:
    return {"error": error_to_wire(found)} if isinstance(found, CNIError) else {"object": found}


def _listening(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.umask(0o177)
    try:
        listener.bind(path)
    except OSError as error:
        # For a path that is too long, Python raises an OSError without errno.
        reason = error.strerror or f"{error}: give the daemon a shorter 'socketDir'"
        raise IOFailure(f"cannot listen at {path}: {reason}") from error
    finally:
        os.umask(before)
    listener.listen(128)
    return listener
