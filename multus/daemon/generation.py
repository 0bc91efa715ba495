"""A generation: a template and its API process.  Each reload of the settings starts a new one.

A generation is started, becomes ready (or fails, with a reason), forks workers, and is retired when
the next one is ready.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from multus import __version__
from multus.api.errors import IOFailure
from multus.daemon.channel import Channel, Closed, Packet
from multus.daemon.process import Process

if TYPE_CHECKING:
    import socket

    from multus.daemon.board import Board
    from multus.daemon.looked import Looked
    from multus.daemon.settings import Settings
    from multus.log import Log

#: Timeout for loading all plugins, in seconds.
_LOADING = 60.0
#: Time for the API process to flush its write queue when it stops, in seconds.
_LAST_WRITES = 6.0
#: Pauses before the API process is restarted, in seconds.
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from multus.daemon import template; template.main(*map(int, sys.argv[2:]))"
)


class Generation:
    """One template and, with *follow*, its API process; for the supervisor's only thread.

    Raises ``IOFailure`` when no template can be started.

    ``api_path`` is the API process's socket for the workers.  ``ready``: workers can be forked.
    ``failure``: why the start failed.  ``dead``: the template has ended.  ``broken``: plugins that
    are not loaded, by name, with the reason.  ``retired``: another generation has replaced this
    one.  ``loading``: the plugin that is being imported.
    """

    def __init__(
        self,
        settings: Settings,
        board: Board,
        number: int,
        log: Log,
        target: str,
        *,
        follow: bool = True,
    ) -> None:
        self.settings = settings
        self.api_path = f"{settings.socket}.api.{number}"
        self.ready = self.dead = self.retired = False
        self.failure = self.loading = ""
        self.broken: Mapping[str, str] = {}
        self.states: Mapping[str, Any] = {}
        self._log = log
        self._follow = follow
        self._until = time.monotonic() + _LOADING
        self._agent: Process | None = None
        self._agent_at, self._agent_pause = 0.0, _FIRST_PAUSE
        self._stopped_at = 0.0
        #: Called with a container that the API process wants to be looked at.
        self.look: Callable[[Mapping[str, Any]], None] = lambda _: None
        try:
            self.control, self._program = _start(board)
        except OSError as error:
            raise IOFailure(f"cannot start the template process: {error.strerror}") from error
        head = {
            "settings": dict(settings.raw),
            "where": settings.path,
            "apiPath": self.api_path,
            "target": target,
        }
        with contextlib.suppress(Closed):  # it has ended already: ``heard`` finds out
            self.control.send(head)

    @property
    def channels(self) -> list[Channel]:
        """The channels to listen to."""
        found = [] if self.dead else [self.control]
        return found + ([self._agent.channel] if self._agent is not None else [])

    def fork(self, slot: int, serial: int, channel: Channel, listener: socket.socket) -> None:
        """Request a worker with *channel* and *listener*; ``control`` answers with its *serial*."""
        fds = [channel.fileno(), listener.fileno()]
        self.control.send({"fork": "worker", "slot": slot, "serial": serial}, fds=fds)

    def heard(self, channel: Channel) -> Packet | None:
        """Handle a packet from one of ``channels``; returns it when it is about a worker.

        Raises ``Closed`` when the template has ended.
        """
        if channel is self.control:
            packet = channel.receive()
            if "doing" in packet.head:
                self.loading = str(packet.head["doing"])
            elif "forked" not in packet.head:
                self._loaded(packet.head)
            elif packet.head["forked"] < 0:
                self._agent_begun(packet)
            else:
                return packet
            return None
        try:
            self._agent_says(channel.receive().head)
        except Closed:
            self._agent_ended()
        return None

    def tick(self, now: float) -> None:
        """Check the loading timeout; restart the API process, or kill it after its last writes."""
        if not self.ready and not self.failure and now > self._until:
            where = self.loading or "an unknown step"
            self.failure = f"plugins were not loaded within {_LOADING:g} s: it hangs in {where}"
        wanted = self._follow and self.ready and not self._stopped_at
        if wanted and self._agent is None and now >= self._agent_at:
            self._start_agent()
        if self._stopped_at and self._agent and now > self._stopped_at + _LAST_WRITES:
            self._agent_ended()

    def stop(self) -> None:
        """Tell the API process to flush its write queue and end: it has no more workers."""
        if self._stopped_at:
            return
        self._stopped_at = time.monotonic()
        if self._agent is not None:
            with contextlib.suppress(Closed):
                self._agent.channel.send({"stop": True})

    def tell_looked(self, container: str, looked: Looked) -> None:
        """Tell the API process how a look ended; one that is not told is repeated."""
        if self._agent is None or self._stopped_at:
            return
        with contextlib.suppress(Closed, BlockingIOError):
            self._agent.channel.send({"container": container, "looked": list(looked)})

    @property
    def stopped(self) -> bool:
        """Whether the API process was told to end, and has ended."""
        return bool(self._stopped_at) and self._agent is None

    def close(self) -> None:
        """Kill its processes."""
        if self._agent is not None:
            self._agent.end()
            self._agent = None
        self.control.close()
        self._program.kill()
        self._program.wait()
        with contextlib.suppress(OSError):
            os.unlink(self.api_path)

    def _loaded(self, head: Mapping[str, Any]) -> None:
        version = head.get("version")
        if version != __version__:
            other = f"multus {version} is installed now, this daemon is {__version__}: restart it"
            self.failure = str(head.get("error") or other)
            return
        self.broken = head["broken"]
        if self._follow:
            self._start_agent()
        else:
            self.ready = True

    def _start_agent(self) -> None:
        with contextlib.suppress(OSError):
            os.unlink(self.api_path)
        try:
            mine, theirs = Channel.pair()
        except OSError as error:  # no descriptors are left
            self._agent_refused(str(error.strerror))
            return
        self._agent = Process(mine)
        try:
            self.control.send({"fork": "agent", "path": self.api_path}, fds=[theirs.fileno()])
        except Closed:
            self._agent_refused("the template process ended")
        finally:
            theirs.close()

    def _agent_begun(self, packet: Packet) -> None:
        if packet.fds and self._agent is not None:
            self._agent.begun(packet.head["pid"], packet.fds[0])
            return
        for handle in packet.fds:
            os.close(handle)  # the API process has ended already
        if "error" in packet.head:
            self._agent_refused(packet.head["error"])

    def _agent_refused(self, why: str) -> None:
        self._log.error(f"cannot start the API process: {why}")
        self._agent_ended(why)

    def _agent_says(self, head: Mapping[str, Any]) -> None:
        if "ready" in head:
            self.ready = True
        elif "look" in head:
            self.look(head["look"])
        elif "error" in head:
            self.failure = str(head["error"])
            if self.ready:
                self._log.error("cannot start the API process again", error=self.failure)
        else:
            self.states, self._agent_pause = head, _FIRST_PAUSE

    def _agent_ended(self, why: str = "it ended while it started: see the log") -> None:
        if self._agent is not None:
            self._agent.end()
            self._agent = None
        if not self.ready and not self.dead:
            self.failure = self.failure or f"cannot start the API process: {why}"
        if self._stopped_at or not self.ready:
            return
        self.states = {"notSynced": "the API process is restarting"}
        self._agent_at = time.monotonic() + self._agent_pause
        self._log.error("the API process ended: it is restarted", seconds=self._agent_pause)
        self._agent_pause = min(2 * self._agent_pause, _LONGEST_PAUSE)


def _start(board: Board) -> tuple[Channel, subprocess.Popen[bytes]]:
    """Start a template; only in the main thread, since it ends with the thread that started it."""
    mine, theirs = Channel.pair()
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    inherited = (theirs.fileno(), board.descriptor)
    numbers = [*map(str, inherited), str(board.slots)]
    argv = [sys.executable, *flags, "-c", _PROGRAM, json.dumps(sys.path), *numbers]
    try:
        return mine, subprocess.Popen(argv, pass_fds=inherited, stdin=subprocess.DEVNULL)
    except OSError:
        mine.close()
        raise
    finally:
        theirs.close()
