"""``kubectl exec``: commands that run behind the stand-in, over WebSocket or SPDY.

Source: kubernetes.io, "Remote command protocol" (KEP-4006 for v5.channel.k8s.io): binary messages,
the first byte is the channel; the status of the command is a ``Status`` object on channel 3.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from typing import IO, Protocol

from attrs import field, frozen

STDIN, STDOUT, STDERR, STATUS = 0, 1, 2, 3


@frozen
class Container:
    """What a command runs in: *prefix* stands before it, *environ* is added to this process's."""

    prefix: tuple[str, ...] = ()
    environ: Mapping[str, str] = field(factory=dict)


class Streams(Protocol):
    """The streams of one command, between the client and this server."""

    def send(self, channel: int, data: bytes) -> None:
        """Send *data*; raises ``OSError`` when the client is gone."""

    def receive(self) -> tuple[int, bytes] | None:
        """The next data of a channel, empty at its end; None when the client is gone."""

    def end(self) -> None:
        """Tell the client that all was sent."""


def execute(container: Container, command: Sequence[str], streams: Streams, *, stdin: bool) -> None:
    """Run *command* until it ends, or the client is gone."""
    try:
        process = subprocess.Popen(
            [*container.prefix, *command],
            env={**os.environ, **container.environ},
            stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        streams.send(STATUS, _status("InternalError", f"exec failed: {error.strerror}"))
        streams.end()
        return
    answering = threading.Thread(target=_answer, args=(process, streams), daemon=True)
    answering.start()
    try:
        while (received := streams.receive()) is not None:
            if received[0] == STDIN and process.stdin is not None:
                _write(process.stdin, received[1])
    finally:
        # A process group of its own: the command may have started others.
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        answering.join()


def _answer(process: subprocess.Popen[bytes], streams: Streams) -> None:
    """Send the output of *process*, then its status."""
    out, err = process.stdout, process.stderr
    assert out is not None and err is not None
    errors = threading.Thread(target=_copy, args=(err, STDERR, streams), daemon=True)
    errors.start()
    _copy(out, STDOUT, streams)
    errors.join()
    code = process.wait()
    cause = {"causes": [{"reason": "ExitCode", "message": str(code)}]}
    said = f"command terminated with non-zero exit code: exit status {code}"
    with contextlib.suppress(OSError):
        streams.send(STATUS, _status("NonZeroExitCode", said, cause) if code else _SUCCESS)
        streams.end()


def _copy(source: IO[bytes], channel: int, streams: Streams) -> None:
    with source, contextlib.suppress(OSError):
        while chunk := os.read(source.fileno(), 32768):
            streams.send(channel, chunk)


def _write(stdin: IO[bytes], data: bytes) -> None:
    """Write to a command's standard input, which may have ended; no data closes it."""
    with contextlib.suppress(OSError, ValueError):
        if data:
            stdin.write(data)
            stdin.flush()
        else:
            stdin.close()


_SUCCESS = b'{"metadata":{},"status":"Success"}'


def _status(reason: str, message: str, details: Mapping[str, object] | None = None) -> bytes:
    wire = {"metadata": {}, "status": "Failure", "reason": reason, "message": message}
    return json.dumps({**wire, **({"details": details} if details else {})}).encode()
