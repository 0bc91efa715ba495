"""One spooled DEL: read with suspicion, carried out by a worker, and then removed.

``multus.daemon.spool`` says which there are, and when each is due.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from multus.api.errors import StateDamaged
from multus.cni import shim
from multus.cni.shim import Answer
from multus.daemon import wire

#: Carries a CNI call out: environment, stdin, deadline.
Handle = Callable[[Mapping[str, str], bytes, float], Answer]

_SECONDS = 60.0
#: No message is larger.
_LONGEST = wire.HEADER + wire.LARGEST + wire.LARGEST_ENVIRONMENT


def cni_dir_of(stdin: bytes) -> str:
    """Where a shim that was given this configuration keeps a DEL."""
    return os.fsdecode(shim.text_of(stdin, b"cniDir", b"/_.-", shim.CNI_DIR))


def carry_out(path: str, handle: Handle) -> tuple[str, str]:
    """Carry out the DEL in the file at *path*, and remove the file when it succeeded.

    Returns the outcome and its reason: ``done``; ``gone`` when another process carried it out;
    ``failed``, it has to be tried again; ``malformed``, it is no spooled DEL.
    """
    try:
        with _opened(path) as descriptor:
            message = wire.decode(_whole(descriptor))
            if message.environ.get("CNI_COMMAND") != "DEL":
                return "malformed", "it is no DEL"
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
    """The file, locked, if it can only have been written by us."""
    # Opening what is no file must not wait: a pipe without a writer would.
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
                raise StateDamaged("others could have written it")
        if not stat.S_ISREG(found.st_mode):
            raise StateDamaged("it is no regular file")
        # Another daemon's worker may have the same file; then this one tries again later.
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
