"""systemd's socket activation and notification, by their environment variables, without a library.

Source: sd_listen_fds(3), sd_notify(3), sd_watchdog_enabled(3).
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import MutableMapping

from attrs import frozen

_FIRST_FD = 3


def inherited_socket(environ: MutableMapping[str, str]) -> socket.socket | None:
    """The listening Unix socket that systemd opened for us; None when it opened none.

    Removes the variables from *environ*, so that delegates do not inherit them.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit() or int(count) < 1:
        return None
    os.set_inheritable(_FIRST_FD, False)
    return socket.socket(fileno=_FIRST_FD)


@frozen
class Notifier:
    """Sends the daemon's state to the service manager; does nothing without one."""

    address: str = ""
    watchdog_seconds: float = 0.0

    @classmethod
    def from_environ(cls, environ: MutableMapping[str, str]) -> Notifier:
        """From the service manager's variables, which are removed from *environ*."""
        address = environ.pop("NOTIFY_SOCKET", "")
        interval, pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        ours = pid in ("", str(os.getpid()))
        return cls(address, int(interval) / 1e6 if interval.isdigit() and ours else 0.0)

    def ready(self) -> None:
        self._send("READY=1")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, why: str) -> None:
        self._send(f"STOPPING=1\nSTATUS={why}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, state: str) -> None:
        if not self.address:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.sendto(state.encode(), address)
        except OSError as error:
            # The manager is restarting, or no descriptors are left.  The daemon must not end for
            # that, nor when its standard error is full.
            with contextlib.suppress(OSError):
                os.write(2, f"multus: cannot notify {self.address}: {error}\n".encode())
