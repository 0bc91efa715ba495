"""The template: a process that has loaded all plugins, and forks the workers.

Each reload of the settings starts a new template, so that a reload finds plugins that were
installed since.  It only forks:  a forked worker is ready in milliseconds and shares its memory.
It forks the API process too.

The supervisor sends it packets (``multus.daemon.channel``)::

    {"settings": …, "where": …}                  → {"doing": …} for each plugin's import, then
                                                   {"version": …, "broken": …} or {"error": …}
    {"fork": "worker", "slot": 3, "serial": 8}   → {"forked": 8} + pidfd, or with an error
        + channel, listener
    {"fork": "agent", "path": …} + channel       → {"forked": -1} + pidfd, or with an error
"""

from __future__ import annotations

import gc
import os
import signal
import socket
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from multus import __version__
from multus.api import progress
from multus.api.errors import CNIError
from multus.daemon import worker
from multus.daemon.becoming import become
from multus.daemon.board import Board, Slot
from multus.daemon.channel import Channel, Closed, Packet
from multus.daemon.front import Front
from multus.daemon.settings import Settings
from multus.log import Log


def main(control: int, board: int, slots: int) -> None:
    """Run the template; *control* and *board* are inherited descriptors."""
    become("multus-template", os.getppid())
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A service manager may send these signals to every process of the service.
        signal.signal(number, signal.SIG_IGN)
    for descriptor in (control, board):
        os.set_inheritable(descriptor, False)
    channel = Channel(socket.socket(fileno=control))
    try:
        _Template(channel, Board(board, slots), channel.receive().head).serve()
    except Closed:
        return


class _Telling:
    """A ``progress.Watch`` that tells the supervisor which plugin is being imported.

    An import may hang, or end the process.
    """

    patience = float("inf")

    def __init__(self, control: Channel) -> None:
        self._control = control

    def show(self, current: progress.step | None) -> None:
        try:
            self._control.send({"doing": current.what if current is not None else ""})
        except Closed:
            os._exit(0)  # the supervisor has ended; the plugin is not at fault


class _Template:
    def __init__(self, control: Channel, board: Board, start: Mapping[str, Any]) -> None:
        self._pid = os.getpid()
        self._control = control
        self._board = board
        try:
            self._settings = Settings.of(start["settings"], start["where"], os.environ)
            self._log = Log.from_conf(self._settings.log)
            make = _target(start["target"])
            progress.watched_by(_Telling(control))
            self._target = make(self._settings, self._log, start["apiPath"], board)
            progress.watched_by(None)
        except CNIError as error:
            control.send({"error": str(error)})
            raise Closed from error
        # All objects so far are permanent.  Frozen, the garbage collector does not touch them, so
        # their pages stay shared with the workers.
        gc.collect()
        gc.freeze()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps ended children
        control.send({"version": __version__, "broken": self._target.broken})

    def serve(self) -> None:
        while True:
            packet = self._control.receive()
            serial = int(packet.head.get("serial", -1))
            work = self._agent if packet.head["fork"] == "agent" else self._worker
            try:
                pid = os.fork()
            except OSError as error:
                self._control.send({"forked": serial, "error": str(error)})
            else:
                if pid == 0:
                    self._be(work, packet)
                self._report(serial, pid)
            for descriptor in packet.fds:
                os.close(descriptor)

    def _report(self, serial: int, pid: int) -> None:
        try:
            handle = os.pidfd_open(pid)
        except OSError as error:
            self._control.send({"forked": serial, "error": str(error)})
            return
        self._control.send({"forked": serial, "pid": pid}, fds=[handle])
        os.close(handle)

    def _be(self, work: Callable[[Packet], None], packet: Packet) -> NoReturn:
        """In the forked process: do *work*, then end."""
        status = 1
        try:
            self._control.close()
            work(packet)
            status = 0
        except BaseException as error:  # noqa: BLE001  the child must not continue as a template
            self._log.error("a process of the daemon ended", error=error)
        finally:
            os._exit(status)

    def _worker(self, packet: Packet) -> None:
        become("multus-worker", self._pid)
        settings = self._settings
        slot = Slot(self._board, int(packet.head["slot"]), settings.stuck_seconds)
        ends = [socket.socket(fileno=each) for each in packet.fds]
        front = Front(Channel(ends[0]), ends[1], self._board)
        worker.run(front, slot, self._target, settings.worker_memory)

    def _agent(self, packet: Packet) -> None:
        from multus.daemon.agent import Agent

        become("multus-api", self._pid)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        channel = Channel(socket.socket(fileno=packet.fds[0]))
        try:
            cached, hooks = self._target.cached, self._target.hooks
            shared = (channel, self._board, self._log)
            agent = Agent(self._settings, os.environ, *shared, cached, hooks)
            agent.run(str(packet.head["path"]))
        except CNIError as error:
            channel.send({"error": str(error)})


def _target(name: str) -> Callable[[Settings, Log, str, Board], Any]:
    """The function that makes the workers' service, named ``module:function``."""
    from importlib import import_module

    module, _, function = name.partition(":")
    made: Callable[[Settings, Log, str, Board], Any] = getattr(import_module(module), function)
    return made
