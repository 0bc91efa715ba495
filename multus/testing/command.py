"""Runs a program and returns its output; an error contains the output."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence


class CommandFailed(Exception):
    """A program exited with a status other than 0; the message contains its output."""

    def __init__(self, argv: Sequence[str], status: int, said: str) -> None:
        super().__init__(f"{' '.join(argv)} ended with status {status}: {said.strip()}")
        self.status = status
        self.said = said


def output(
    argv: Sequence[str], environ: Mapping[str, str] | None = None, timeout: float = 60
) -> str:
    """The standard output of *argv*; raises ``CommandFailed``."""
    done = subprocess.run(
        argv,
        env=None if environ is None else dict(environ),
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    if done.returncode:
        raise CommandFailed(argv, done.returncode, f"{done.stderr}{done.stdout}")
    return done.stdout
