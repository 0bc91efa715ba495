"""The supervisor's view of a process of the daemon: its channel and its pidfd."""

from __future__ import annotations

import contextlib
import os
import signal

from multus.daemon.channel import Channel


class Process:
    """A process of the daemon: its channel, and its pidfd, which is safe against PID reuse."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.pid = 0
        self.handle = -1

    def begun(self, pid: int, handle: int) -> None:
        """Set the PID and the pidfd of the forked process."""
        self.pid, self.handle = pid, handle

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        if self.handle >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.handle, number)

    def end(self) -> None:
        """Kill the process, and close its channel and pidfd."""
        self.send_signal(signal.SIGKILL)
        self.channel.close()
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1
