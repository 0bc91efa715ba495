"""Replays spooled DELs: checks and reads the file, carries it out, then removes the file.

``multus.daemon.spool`` lists the files, and when each is due.  Those of a container come before its
later calls, whoever serves these: a daemon's worker, or a process for one call.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple

from multus.api.errors import StateDamaged
from multus.cni import shim
from multus.cni.shim import Answer
from multus.daemon import wire

#: Carries out a CNI call: environment, stdin, deadline.
Handle = Callable[[Mapping[str, str], bytes, float], Answer]

_SECONDS = 60.0
#: The largest possible message, in bytes.
_LONGEST = wire.HEADER + wire.LARGEST + wire.LARGEST_ENVIRONMENT


class Replayed(NamedTuple):
    """A file, its outcome as of `carry_out`, and the reason."""

    path: str
    outcome: str
    reason: str


def cni_dir_of(stdin: bytes) -> str:
    """The ``cniDir`` under which a shim keeps a DEL with this configuration."""
    return os.fsdecode(shim.text_of(stdin, b"cniDir", b"/_.-", shim.CNI_DIR))


def carry_out_first(
    paths: Iterable[str], environ: Mapping[str, str], stdin: bytes, handle: Handle
) -> tuple[list[Replayed], Answer | None]:
    """Carry out the DELs at *paths*, which a call of their container has to come after.

    With the answer of the call if it may not be carried out, because one has failed.
    """
    replayed = [Replayed(path, *carry_out(path, handle)) for path in paths]
    failed = any(each.outcome == "failed" for each in replayed)
    if not failed or environ.get("CNI_COMMAND") == "DEL":
        return replayed, None
    text = b"an earlier DEL of this container still fails: try again"
    return replayed, shim.error_answer(stdin, 11, text)


def carry_out(path: str, handle: Handle) -> tuple[str, str]:
    """Carry out the DEL in the file at *path*, and remove the file when it succeeded.

    Returns the outcome and its reason: ``done``; ``gone``: another process carried it out;
    ``failed``: it has to be retried; ``malformed``: the file is not a spooled DEL.
    """
    try:
        with _opened(path) as descriptor:
            message = wire.decode(_whole(descriptor))
            if message.environ.get("CNI_COMMAND") != "DEL":
                return "malformed", "it is not a DEL"
            status, stdout = handle(message.environ, message.payload, time.monotonic() + _SECONDS)
            if status:
                return "failed", stdout.decode(errors="replace").strip()
            os.unlink(path)
    except FileNotFoundError:
        return "gone", ""
    except (wire.Malformed, StateDamaged) as error:
        return "malformed", str(error)
    except OSError as error:
        return "failed", str(error)
    return "done", ""


@contextmanager
def _opened(path: str) -> Iterator[int]:
    """Open and lock the file; raises ``StateDamaged`` if another user could have written it."""
    # O_NONBLOCK: opening a FIFO without a writer would block.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        descriptor = os.open(path, flags)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise StateDamaged("it is a symbolic link or a socket") from error
        raise
    try:
        found = os.fstat(descriptor)
        for each in (found, os.stat(os.path.dirname(path))):
            if each.st_uid not in (0, os.geteuid()) or each.st_mode & 0o022:
                raise StateDamaged("another user could have written it")
        if not stat.S_ISREG(found.st_mode):
            raise StateDamaged("it is not a regular file")
        # If another daemon's worker has the lock, this one retries later.
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if not os.fstat(descriptor).st_nlink:
            raise FileNotFoundError(path)
        yield descriptor
    finally:
        os.close(descriptor)


def _whole(descriptor: int) -> bytes:
    with open(os.dup(descriptor), "rb") as file:
        data = file.read(_LONGEST + 1)
    if len(data) > _LONGEST:
        raise wire.Malformed(f"it has more than {_LONGEST} bytes")
    return data
