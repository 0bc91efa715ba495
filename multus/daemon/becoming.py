"""What a process of the daemon does first: it takes its name, and ends with its parent.

Source: prctl(2).
"""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_LIBC = ctypes.CDLL(None, use_errno=True)


def become(name: str, parent: int) -> None:
    """Set the process's name, and end with *parent*, the process that started this one."""
    _LIBC.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
