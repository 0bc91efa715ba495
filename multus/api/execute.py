"""Run another CNI plugin's binary: find it by its bare name, write its stdin, read its output.

``subprocess`` costs 15 ms to import and forks a copy of a daemon's memory; ``posix_spawn`` does
neither.

Source: CNI specification 1.1.0, section 4 "Plugin Delegation"; POSIX.1-2017 posix_spawn.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from multus.api._limits import lifted
from multus.api.errors import (
    CNIError,
    DecodingFailure,
    DelegateFailed,
    InvalidConfig,
    NotInstalled,
    NotStarted,
    TryAgainLater,
    error_of,
)
from multus.api.jsontext import LARGEST, decode
from multus.api.progress import step

#: How much of a plugin's stderr is kept: the end, which has the reason.
_STDERR_KEPT = 8 * 1024

#: Errors that may pass soon: too many processes, too little memory.
_SHORTAGES = (errno.EAGAIN, errno.ENOMEM)

#: How long to wait for a killed program to exit, in seconds.
_TO_END = 10.0

#: Inherited descriptors get numbers from here downwards in a started plugin: far above those that
#: it opens itself, and above those that a shell script uses.
_INHERITED = range(3, 201)


class Finished(NamedTuple):
    """A process that ended: its status (negative: the signal), and its output."""

    status: int
    stdout: bytes
    stderr: bytes


class Executor(NamedTuple):
    """Runs plugins found in *folders*, in that order.

    ``chroot`` is the path of the host's root when this process runs in a container: plugins are
    looked up and run there.  ``inherited`` are descriptors that a started plugin keeps open, so
    that a lock is held as long as the plugin runs.
    """

    folders: tuple[str, ...]
    chroot: str = ""
    inherited: tuple[int, ...] = ()

    def find(self, kind: str) -> str:
        """The path of the plugin *kind*.

        Raises ``InvalidConfig`` for a name that is a path, ``NotInstalled`` naming the folders that
        were searched.
        """
        if not kind or "/" in kind or "\0" in kind or kind in (".", ".."):
            raise InvalidConfig(
                f"plugin type {kind!r} is not a bare name",
                fix="use one without '/'",
            )
        for folder in self.folders:
            path = os.path.join(folder, kind)
            if os.path.isfile(self.chroot + path):
                if not os.access(self.chroot + path, os.X_OK):
                    raise NotInstalled(
                        f"plugin {path} is not executable",
                        fix="chmod 0755 it",
                    )
                return path
        raise NotInstalled(
            f"plugin {kind!r} is not found in {', '.join(self.folders) or 'any folder'}",
            fix=self._what_to_do(kind),
        )

    def _what_to_do(self, kind: str) -> str:
        from multus.api._wellknown import meant

        usual = "install it there, or correct 'binDir'"
        name = meant(kind, (f"{self.chroot}{folder}" for folder in self.folders))
        return f"did you mean {name!r}? Otherwise {usual}" if name else usual

    def call(
        self, kind: str, stdin: bytes, environ: Mapping[str, str], timeout: float
    ) -> tuple[Any, str]:
        """Run plugin *kind* and decode its stdout: ``(value or None, stderr)``.

        Raises the plugin's own error (``multus.api.errors.error_of``), ``NotStarted`` when it did
        not start, or ``DelegateFailed`` when it was killed, took longer than *timeout* seconds, or
        did not print JSON.
        """
        path = self.find(kind)
        finished = self.run([path], stdin, environ, timeout)
        stderr = finished.stderr.decode(errors="replace").strip()
        if finished.status != 0:
            raise _plugin_error(kind, finished, stderr)
        if not finished.stdout.strip():
            return None, stderr
        try:
            return decode(finished.stdout, f"what plugin {kind!r} printed"), stderr
        except DecodingFailure as error:
            where = f"plugin {kind!r} succeeded but printed no JSON"
            raise error.at(where).into(DelegateFailed).detailed(stderr) from error

    def run(
        self, argv: Sequence[str], stdin: bytes, environ: Mapping[str, str], timeout: float
    ) -> Finished:
        """Run a program until it exits.

        Raises ``NotStarted``, or ``DelegateFailed`` when it takes longer than *timeout* seconds.
        """
        with _Descriptors() as ours:
            (child_in, to), (out, child_out), (err, child_err) = (ours.pipe() for _ in range(3))
            pid = self._spawn(argv, environ, (child_in, child_out, child_err))
            process = _Process(argv[0], pid)
            try:
                ours.close(child_in, child_out, child_err)
                with step(f"program {argv[0]!r}", timeout + _TO_END, waits=True):
                    return process.talk(stdin, (to, out, err), ours, time.monotonic() + timeout)
            finally:
                process.end()

    def _spawn(
        self, argv: Sequence[str], environ: Mapping[str, str], standard: tuple[int, int, int]
    ) -> int:
        keep = zip(self.inherited, _high({*standard, *self.inherited}), strict=False)
        actions = [(os.POSIX_SPAWN_DUP2, ours, theirs) for theirs, ours in enumerate(standard)] + [
            (os.POSIX_SPAWN_DUP2, ours, theirs) for ours, theirs in keep
        ]
        command = ["chroot", self.chroot, *argv] if self.chroot else list(argv)
        program = _CHROOT if self.chroot else command[0]
        try:
            with lifted():
                return os.posix_spawn(
                    program,
                    command,
                    dict(environ),
                    file_actions=actions,
                    setpgroup=0,
                    setsigmask=[],
                    setsigdef=[signal.SIGPIPE, signal.SIGTERM, signal.SIGINT, signal.SIGHUP],
                )
        except OSError as error:
            if error.errno in _SHORTAGES:
                raise NotStarted(
                    f"plugin {argv[0]} cannot be started: {error.strerror}",
                    code=TryAgainLater.code,
                    fix="raise the limit of processes and memory, or try again",
                ) from error
            raise NotStarted(
                f"plugin {argv[0]} cannot be started: {error.strerror}: is it a program for this"
                " machine?"
            ) from error


_CHROOT = "/usr/sbin/chroot"


def _high(taken: set[int]) -> Iterator[int]:
    """Descriptor numbers that this process may use, the highest first, except those *taken*."""
    allowed = os.sysconf("SC_OPEN_MAX")  # the soft limit; -1: no limit
    return (n for n in reversed(_INHERITED) if n not in taken and (n < allowed or allowed < 0))


class _Descriptors:
    """Open descriptors, each closed once: another thread may reuse the number at once."""

    def __init__(self) -> None:
        self._open: set[int] = set()

    def __enter__(self) -> _Descriptors:
        return self

    def __exit__(self, *_: object) -> None:
        self.close(*self._open)

    def pipe(self) -> tuple[int, int]:
        try:
            ends = os.pipe()
        except OSError as error:
            raise NotStarted(
                f"no plugin can be started: {error.strerror}",
                fix="raise the limit of open files",
            ) from error
        self._open.update(ends)
        return ends

    def watch(self, pid: int) -> int:
        """A descriptor that becomes readable when the process has ended."""
        handle = os.pidfd_open(pid)
        self._open.add(handle)
        return handle

    def close(self, *descriptors: int) -> None:
        for descriptor in descriptors:
            self._open.discard(descriptor)
            os.close(descriptor)


class _Process:
    """A started process: writes its stdin, reads its output, and always reaps it."""

    def __init__(self, name: str, pid: int) -> None:
        self._name = name
        self._pid = pid
        self._status: int | None = None

    def talk(
        self, stdin: bytes, ends: tuple[int, int, int], ours: _Descriptors, deadline: float
    ) -> Finished:
        """Write *stdin* and read until the process has ended.

        *ends* are this process's ends of its standard streams.  It does not wait for a child of the
        process that keeps the output open.
        """
        to, out, err = ends
        texts = {out: bytearray(), err: bytearray()}
        unsent = memoryview(stdin)
        ended = ours.watch(self._pid)
        poll = select.poll()
        for descriptor in ends:
            os.set_blocking(descriptor, False)
        poll.register(to, select.POLLOUT)
        for descriptor in (out, err, ended):
            poll.register(descriptor, select.POLLIN)
        while ended not in (ready := self._ready(poll, deadline)):
            if to in ready:
                unsent = _feed(to, unsent)
                if not unsent:
                    poll.unregister(to)
                    ours.close(to)
            for source in ready & texts.keys():
                if not self._read(source, texts[source], bounded=source == out):
                    poll.unregister(source)
        for source, text in texts.items():
            while self._read(source, text, bounded=source == out):
                pass
        self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])
        return Finished(self._status, bytes(texts[out]), bytes(texts[err][-_STDERR_KEPT:]))

    def _ready(self, poll: select.poll, deadline: float) -> set[int]:
        left = deadline - time.monotonic()
        events = poll.poll(left * 1000) if left > 0 else []
        if not events:
            raise DelegateFailed(
                f"program {os.path.basename(self._name)!r} did not end in time and was killed",
                fix="find out why it hangs, or raise 'delegateTimeout'",
            )
        return {descriptor for descriptor, _ in events}

    def _read(self, descriptor: int, text: bytearray, *, bounded: bool) -> int:
        """Read available output; return the byte count: 0 at the end, or when there is none now."""
        try:
            chunk = os.read(descriptor, 65536)
        except BlockingIOError:
            return 0
        text += chunk
        if bounded and len(text) > LARGEST:
            raise DelegateFailed(
                f"plugin {os.path.basename(self._name)!r} printed more than {LARGEST} bytes and"
                " was killed: a result is never that large"
            )
        if not bounded and len(text) > 2 * _STDERR_KEPT:
            del text[:-_STDERR_KEPT]
        return len(chunk)

    def end(self) -> None:
        """Kill the process and its children, unless it has ended by itself."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._pid, signal.SIGKILL)
            self._status = os.waitstatus_to_exitcode(os.waitpid(self._pid, 0)[1])


def _feed(to: int, unsent: memoryview) -> memoryview:
    """Write what fits; a plugin may leave its stdin unread without an error."""
    try:
        return unsent[os.write(to, unsent[:65536]) :]
    except BlockingIOError:
        return unsent
    except BrokenPipeError:
        return unsent[:0]


def _plugin_error(kind: str, finished: Finished, stderr: str) -> CNIError:
    """The error that a plugin printed, or one with its exit status when it printed none."""
    if finished.status < 0:
        return DelegateFailed(f"plugin {kind!r} was killed by signal {-finished.status}", stderr)
    try:
        raw = decode(finished.stdout, "the error")
    except DecodingFailure:
        raw = None
    code = raw.get("code") if isinstance(raw, dict) else None
    if not isinstance(code, int) or isinstance(code, bool):
        printed = finished.stdout[:500].decode(errors="replace").strip()
        failed = DelegateFailed(
            f"plugin {kind!r} failed with status {finished.status} and printed no CNI error",
            "; ".join(part for part in (printed, stderr) if part),
        )
        failed.foreign = True
        return failed
    details = "; ".join(str(part) for part in (raw.get("details"), stderr) if part)
    return error_of(code, str(raw.get("msg") or "(no message)"), details)
