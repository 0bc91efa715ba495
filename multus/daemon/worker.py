"""A worker: a process that carries out one call at a time.

It runs the code of plugins, so whatever happens to this process must not affect another call: the
supervisor can kill it at any time, and the journal undoes its call.  The worker answers the client
itself, then reports to the supervisor.
"""

from __future__ import annotations

import gc
import json
import os
import random
import signal
import socket
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import frozen

from multus.api import progress
from multus.api._limits import limit_data
from multus.cni.shim import Answer, error_answer
from multus.daemon import spooled, wire
from multus.daemon.becoming import be_killed_first
from multus.daemon.channel import Channel, Closed, Packet
from multus.daemon.connection import Connection, plain
from multus.daemon.front import Front
from multus.daemon.memory import limit_of, of_a_program
from multus.daemon.spool import Listing, container_of
from multus.daemon.spooled import Replayed
from multus.state import lock

if TYPE_CHECKING:
    from multus.daemon.board import Slot
    from multus.daemon.service import Service, Way

#: Time that a call may spend in the engine, without plugins and waits, in seconds.
_ENGINE = 30.0
#: Longest reason for the failure of a spooled DEL in the log, in characters.
_LONGEST_REASON = 2000
#: Number of new objects after which garbage is collected.
_GARBAGE = 20_000
#: Growth of resident memory after which a worker is replaced, in bytes.
_FAT = 48 << 20
#: Descriptors that may stay open after a call: logs, and the connection to the API process.
_SPARE_DESCRIPTORS = 24


#: The codes of calls that need no repetition: success, and requests that are wrong themselves.
_FINAL = frozenset(("0", "1", "2", "4", "6", "7"))


@frozen
class Footprint:
    """The state of the process that a call must not change."""

    children: tuple[int, ...]
    threads: int
    descriptors: int
    namespace: int
    folder: str
    umask: int
    environ: Mapping[str, str]
    streams: tuple[int, ...]
    signals: tuple[object, ...]
    resident: int

    @classmethod
    def now(cls) -> Footprint:
        umask = os.umask(0)
        os.umask(umask)
        with open("/proc/self/statm", "rb") as statm:
            pages = int(statm.read().split()[1])
        return cls(
            children=_children(),
            threads=os.stat("/proc/self/task").st_nlink - 2,
            # Since Linux 6.2 the folder's size is the number of descriptors.
            descriptors=os.stat("/proc/self/fd").st_size or len(os.listdir("/proc/self/fd")),
            namespace=os.stat("/proc/self/ns/net").st_ino,
            folder=os.getcwd(),
            umask=umask,
            environ=dict(os.environ),
            streams=tuple(map(_inode, range(3))),
            signals=(signal.getitimer(signal.ITIMER_REAL)[0], *map(signal.getsignal, _SIGNALS)),
            resident=pages * os.sysconf("SC_PAGESIZE"),
        )

    def difference(self, now: Footprint) -> str:
        """What a call has changed; empty when the worker may take the next call."""
        if now.children:
            return f"child processes: {', '.join(map(str, now.children))}"
        if now.threads > self.threads:
            return f"{now.threads - self.threads} more threads"
        if now.descriptors > self.descriptors + _SPARE_DESCRIPTORS:
            return f"{now.descriptors - self.descriptors} more descriptors"
        if now.resident > self.resident + _FAT:
            return f"{(now.resident - self.resident) >> 20} MiB more memory"
        for name in ("namespace", "folder", "umask", "environ", "streams", "signals"):
            if getattr(self, name) != getattr(now, name):
                return f"changed {name}"
        return ""


_SIGNALS = tuple(sorted(signal.valid_signals()))


def _inode(descriptor: int) -> int:
    """The inode of a standard stream; 0 when it is closed."""
    try:
        return os.fstat(descriptor).st_ino
    except OSError:
        return 0


def _children() -> tuple[int, ...]:
    """The child processes that have not ended."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return ()
    found = []
    for task in os.listdir("/proc/self/task"):
        with open(f"/proc/self/task/{task}/children", "rb") as children:
            found += [int(each) for each in children.read().split()]
    return tuple(found)


class Worker:
    """Carries out the jobs from *front*, and sends reports to *channel*."""

    def __init__(self, channel: Channel, slot: Slot, service: Service, front: Front) -> None:
        self._channel = channel
        self._slot = slot
        self._service = service
        self._front = front
        self._client: Connection | None = None
        self._spools: dict[str, Listing] = {}
        self._before = Footprint.now()

    def run(self) -> None:
        """Serve until the supervisor closes its end, or until a call leaves something behind."""
        try:
            while True:
                packet = self._front.next()
                report = self._serve(packet)
                progress.watched_by(self._slot)
                if packet.head["kind"] != "call":
                    self._slot.show(None)  # after a call, the slot has to show the answer
                if gc.get_count()[0] > _GARBAGE:
                    gc.collect()
                now = Footprint.now()
                report["retire"] = self._before.difference(now)
                for child in now.children:
                    # A child holds the container's lock, and nothing will wait for it.
                    os.kill(child, signal.SIGKILL)
                self._channel.send(report)
                if report["retire"]:
                    return
        except Closed:
            return

    def leave_to_parent(self) -> None:
        """In a process that a plugin forked: close what would make other processes wait."""
        self._front.close()
        if self._client is not None:
            self._client.close()
        lock.leave_to_parent()
        progress.leave_to_parent()

    def _serve(self, packet: Packet) -> dict[str, Any]:
        head = packet.head
        self._slot.show(None)
        self._service.begin()
        try:
            found: Mapping[str, Any]
            if head["kind"] == "replay":
                found = {"replayed": [self._replay(head)]}
            elif head["kind"] == "heal":
                found = {"healed": self._heal(head)}
            elif head["kind"] == "look":
                with progress.step("the engine", _ENGINE):
                    found = {"looked": self._service.look(head["look"], head["deadline"])}
            else:
                found = self._call(head, wire.decode(packet.body), packet.fds)
        finally:
            for descriptor in packet.fds[1:]:
                os.close(descriptor)
        return {**found, **self._service.report.to_wire()}

    def _call(
        self, head: Mapping[str, Any], message: wire.Message, fds: tuple[int, ...]
    ) -> dict[str, Any]:
        environ, stdin, deadline = message.environ, message.payload, head["deadline"]
        way = _way(head)
        if head["kind"] == "recover":
            return {"answer": _shown(self._service.recover(environ, stdin, deadline, way))}
        peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM, 0, fds[0])
        self._client = connection = _connection(peer, head)
        if self._service.leaves(connection):
            connection.leave_to_client()
            return {"code": "0", "outdated": self._service.outdated}
        kept = self._kept(environ, stdin)
        replayed, refusal = spooled.carry_out_first(kept, environ, stdin, self._answer)
        answer = refusal or self._answer(environ, stdin, deadline, way)
        code = code_of(answer)
        if code not in _FINAL:
            connection.keep(environ.get("CNI_COMMAND", ""), message)
        self._slot.answering()
        taken = connection.answer(answer)
        return {"code": code, "taken": taken, "replayed": [_told(each) for each in replayed]}

    def _answer(
        self, environ: Mapping[str, str], stdin: bytes, deadline: float, way: Way | None = None
    ) -> Answer:
        try:
            with progress.step("the engine", _ENGINE):
                return self._service.answer(environ, stdin, deadline, way)
        except BaseException as error:  # noqa: BLE001  the client must get an answer
            self._service.log.error("internal error", error=error)
            where = f" in {progress.failed()}" if progress.failed() else ""
            text = f"internal error{where}: {type(error).__name__}: see the log, and report it"
            return error_answer(stdin, 999, plain(text))

    def _kept(self, environ: Mapping[str, str], stdin: bytes) -> list[str]:
        """The spooled DELs of this container: they have to come before a later call."""
        container = environ.get("CNI_CONTAINERID")
        if not container:
            return []
        folder = spooled.cni_dir_of(stdin)
        spool = self._spools.get(folder)
        if spool is None:
            self._spools.clear()
            spool = self._spools[folder] = Listing(folder)
        names = [name for name in spool.names() if container_of(name) == container]
        return [os.path.join(spool.folder, name) for name in names]

    def _replay(self, head: Mapping[str, Any]) -> dict[str, Any]:
        path = head["path"]
        return _told(Replayed(path, *spooled.carry_out(path, self._answer)))

    def _heal(self, head: Mapping[str, Any]) -> Mapping[str, Any]:
        try:
            with progress.step("healing", _ENGINE):
                return self._service.heal(head["folders"], head["grace"], head["skip"])
        except (Exception, progress.Overdue) as error:  # noqa: BLE001  the next round tries again
            self._service.log.error("internal error in healing", error=error)
            return {"found": {}, "removed": {}, "failed": {}, "skipped": [], "more": False}


def _told(replayed: Replayed) -> dict[str, str]:
    """What the daemon learns of a spooled DEL."""
    return {**replayed._asdict(), "reason": replayed.reason[:_LONGEST_REASON]}


def _way(head: Mapping[str, Any]) -> Way | None:
    """The way of a request over HTTP; None for a shim's."""
    return (head["http"], head["attributes"]) if "http" in head else None


def _connection(peer: socket.socket, head: Mapping[str, Any]) -> Connection:
    if "http" not in head:
        return Connection(peer, head["began"])
    from multus.daemon.overhttp import Answering

    return Answering(peer, head["began"])


def run(front: Front, slot: Slot, service: Service, memory: int) -> None:
    """Run a worker; called in the forked process."""
    channel = front.channel
    random.seed()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGUSR1, _interrupt)
    # The output of plugins goes to standard error.
    os.dup2(2, 1)
    # When memory runs out, losing one call is better than losing the daemon.
    be_killed_first()
    limit_data(memory, of_a_program(limit_of()))
    # Garbage is collected between calls, not during an ADD of many networks.
    gc.disable()
    progress.watched_by(slot)
    worker = Worker(channel, slot, service, front)
    os.register_at_fork(after_in_child=worker.leave_to_parent)
    channel.send({"ready": True})
    worker.run()


def _interrupt(_number: int, _frame: object) -> None:
    """Handle the supervisor's signal: the current step takes too long."""
    if threading.current_thread() is threading.main_thread():
        progress.raise_if_overdue()


def code_of(answer: Answer) -> str:
    """The CNI code in an answer, "0" for success."""
    status, stdout = answer
    if status == 0:
        return "0"
    try:
        return str(int(json.loads(stdout)["code"]))
    except (ValueError, KeyError, TypeError):
        return "999"


def _shown(answer: Answer) -> str:
    return "" if answer[0] == 0 else answer[1].decode(errors="replace").strip()
