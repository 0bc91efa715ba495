"""The page of the node, in a process of its own: what it reads, and who reads it, delays no call.

The supervisor starts it, and starts it again when it has ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

from multus.api.errors import CNIError

if TYPE_CHECKING:
    from multus.daemon.settings import Settings
    from multus.log import Log

#: Pauses before it is started again, in seconds.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
#: A process that has served for so long begins with the first pause again, in seconds.
_SERVED = 60.0
_ENDING = 2.0
#: How much calls come before it: whoever may connect could keep a processor busy.
_NICE = 10

_PROGRAM = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]);"
    "from multus.daemon import pageprocess; pageprocess.main(json.loads(sys.argv[2]))"
)


class PageProcess:
    """The process that serves the page at ``pageAddress``; for the supervisor's only thread."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self._log = log
        given = {
            "address": settings.page_address,
            "cniDir": settings.cni_dir,
            "node": settings.node,
            "log": dict(settings.log),
            "parent": os.getpid(),
        }
        self._argv = [sys.executable, "-c", _PROGRAM, json.dumps(sys.path), json.dumps(given)]
        self._process: subprocess.Popen[bytes] | None = None
        self._at, self._pause = 0.0, _FIRST_PAUSE
        self._begun = 0.0

    def tick(self, now: float) -> None:
        """Start the process when it is due."""
        if self._process is not None and self._process.poll() is not None:
            self._process = None
            if now - self._begun >= _SERVED:
                self._pause = _FIRST_PAUSE
            self._log.error("the process of the page ended: it is restarted", seconds=self._pause)
            self._at = now + self._pause
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
        if self._process is None and now >= self._at:
            self._begun = now
            try:
                self._process = subprocess.Popen(self._argv, stdin=subprocess.DEVNULL)
            except OSError as error:
                self._log.error("cannot start the process of the page", error=error)
                self._at = now + _LONGEST_PAUSE

    def close(self) -> None:
        """End the process."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_ENDING)
        self._process.kill()
        self._process.wait()


def main(given: dict[str, object]) -> None:
    """Serve until the supervisor ends it; an error is logged, and ends it with status 1."""
    from multus.daemon.becoming import be_killed_first, become
    from multus.log import Log
    from multus.picture.process import serve

    parent = given["parent"]
    assert isinstance(parent, int)
    become("multus-page", parent)
    be_killed_first()
    os.nice(_NICE)
    logged = given["log"]
    log = Log.from_conf(logged if isinstance(logged, dict) else {})
    try:
        serve(
            str(given["address"]),
            str(given["cniDir"]),
            lambda url: log.verbose("the page of the node is served", url=url),
            str(given["node"]),
        )
    except CNIError as error:
        log.error("the page of the node is not served", error=error)
        sys.exit(1)
