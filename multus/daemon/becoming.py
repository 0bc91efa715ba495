"""What a process of the daemon does first: it takes its name, and ends with its parent.

Source: prctl(2), proc(5).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal

_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
#: OOM score adjustment (0 to 1000): when memory runs out, the kernel kills these first.
_OOM_SCORE = "500"
_LIBC = ctypes.CDLL(None, use_errno=True)


def become(name: str, parent: int) -> None:
    """Set the process's name, and end with *parent*, the process that started this one."""
    _LIBC.prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def be_killed_first() -> None:
    """Let the kernel choose this process before the daemon's others when memory runs out."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(_OOM_SCORE)
