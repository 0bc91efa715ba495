"""The cluster, asked by the ``kubectl`` in PATH.

kubectl knows every way to log in, every proxy, and every version of the protocol of ``exec``;
``docs/decisions/kubectl.md`` says why it is a program and not a library.
"""

from __future__ import annotations

import argparse
import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from typing import IO

from attrs import frozen

from multus.api.errors import IOFailure, NotInstalled, TryAgainLater

#: An answer with more bytes is an error; all attachments of a node are far below 1 MiB.
LARGEST = 32 * 1024 * 1024
_LARGEST_STDERR = 64 * 1024
#: The flags of kubectl that are passed on, each with a value.
_FLAGS = {
    "--kubeconfig": "the kubeconfig",
    "--context": "its context",
    "--cluster": "its cluster",
    "--user": "its user",
    "--as": "the user to impersonate",
    "--as-group": "the group to impersonate; may be repeated",
}


@frozen
class Finished:
    """A kubectl that ended by itself: its exit status, and what it printed."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def said(self) -> str:
        """The last lines of its standard error, for people."""
        lines = self.stderr.decode(errors="replace").strip().splitlines()
        return "; ".join(lines[-3:])[-500:] or f"kubectl ended with status {self.status}"


class NoAnswer(TryAgainLater):
    """kubectl did not end in time, or printed too much."""


@frozen
class Kubectl:
    """kubectl with the user's flags; every call of it ends after *seconds*."""

    flags: tuple[str, ...]
    seconds: float

    def ask(self, *arguments: str) -> str:
        """What kubectl prints; it may ask the user to log in.

        Its own errors are printed as they are; then this raises ``IOFailure``.
        """
        # A file that is given on standard input is for this program.
        person = sys.stdin is not None and sys.stdin.isatty()
        stdin = sys.stdin if person else subprocess.DEVNULL
        done = self._run([*arguments, *self._request()], stdin, errors=None)
        if done.status:
            raise IOFailure(
                f"'kubectl {arguments[0]} {arguments[1]}' failed with status {done.status}",
                fix="see what kubectl says above",
            )
        return done.stdout.decode(errors="replace")

    def run(self, *arguments: str, stdin: bytes | None = None) -> Finished:
        """Run kubectl with *stdin*, without a terminal; the caller judges its exit status."""
        if stdin is None:
            return self._run(arguments, subprocess.DEVNULL)
        with tempfile.TemporaryFile() as file:
            file.write(stdin)
            file.seek(0)
            return self._run(arguments, file)

    def _request(self) -> tuple[str, ...]:
        return (f"--request-timeout={max(1, round(self.seconds))}s",)

    def _run(
        self,
        arguments: Sequence[str],
        stdin: IO[bytes] | IO[str] | int | None,
        errors: int | None = subprocess.PIPE,
    ) -> Finished:
        # kubectl takes flags before "--", behind which the command of `exec` is.
        argv = ["kubectl", *self.flags, *arguments]
        until = time.monotonic() + self.seconds
        try:
            process = subprocess.Popen(argv, stdin=stdin, stdout=subprocess.PIPE, stderr=errors)
        except OSError as error:
            raise NotInstalled(
                f"cannot start kubectl: {error.strerror}", fix="put it into PATH"
            ) from error
        try:
            with process:
                stdout, stderr, status = _finish(process, until)
        except subprocess.TimeoutExpired:
            raise self._late() from None
        return Finished(status, stdout, stderr)

    def _late(self) -> NoAnswer:
        return NoAnswer(f"no answer within {self.seconds:g} s", fix="raise --timeout")


def _finish(process: subprocess.Popen[bytes], until: float) -> tuple[bytes, bytes, int]:
    """Standard output, the end of standard error, and the status; kills what does not end.

    Raises ``subprocess.TimeoutExpired``, or ``NoAnswer`` for too much output.
    """
    try:
        stdout, stderr = _read(process, until)
        return stdout, stderr, process.wait(max(0.0, until - time.monotonic()))
    except BaseException:
        process.kill()
        raise


def _read(process: subprocess.Popen[bytes], until: float) -> tuple[bytes, bytes]:
    out, err = process.stdout, process.stderr
    texts = {stream.fileno(): bytearray() for stream in (out, err) if stream is not None}
    with selectors.DefaultSelector() as waiting:
        for number in texts:
            waiting.register(number, selectors.EVENT_READ)
        while waiting.get_map():
            left = until - time.monotonic()
            if left <= 0:
                raise subprocess.TimeoutExpired(process.args, 0)
            for key, _ in waiting.select(left):
                chunk = os.read(key.fd, 65536)
                if not chunk:
                    waiting.unregister(key.fd)
                _keep(texts[key.fd], chunk, bounded=out is not None and key.fd == out.fileno())
    stdout, stderr = (bytes(texts[each.fileno()]) if each else b"" for each in (out, err))
    return stdout, stderr


def _keep(text: bytearray, chunk: bytes, *, bounded: bool) -> None:
    text += chunk
    if bounded and len(text) > LARGEST:
        raise NoAnswer(f"the answer is longer than {LARGEST} bytes", fix="report it")
    if not bounded and len(text) > 2 * _LARGEST_STDERR:
        del text[:-_LARGEST_STDERR]


def configure(parser: argparse._ArgumentGroup) -> None:
    """Add kubectl's flags, and the time limit."""
    for flag, what in _FLAGS.items():
        parser.add_argument(flag, action="append", metavar="VALUE", help=f"for kubectl: {what}")
    parser.add_argument(
        "--timeout",
        type=_seconds,
        metavar="SECONDS",
        help="how long each call of kubectl may take (10)",
    )


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds < float("inf"):
        raise ValueError
    return seconds


def kubectl_of(arguments: argparse.Namespace) -> Kubectl:
    """kubectl with the flags of the command line."""
    flags: list[str] = []
    for flag in _FLAGS:
        for value in getattr(arguments, flag.strip("-").replace("-", "_"), None) or ():
            flags.append(f"{flag}={value}")
    return Kubectl(tuple(flags), getattr(arguments, "timeout", 10.0))
