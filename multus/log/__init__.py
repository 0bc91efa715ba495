"""The log: one JSON object per line, to stderr, to a rotated file, or both.

It does not use ``logging``, whose import takes longer than the start of Python itself; a standalone
process pays for it in each call. Each line is one ``write``. Several processes may write one file:
they append whole lines, and the process that reaches the size limit renames the file under a lock;
the others reopen it.

The keys of the configuration are ``LOG`` in ``multus.api.keys``.
"""

from __future__ import annotations

import os
import time
from _thread import allocate_lock
from typing import TYPE_CHECKING

from multus.log._printable import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

__all__ = ["Log", "Sink"]

#: The levels of lines; all but ``notice`` are values of ``logLevel``.
LEVELS = {"panic": 0, "error": 1, "notice": 1, "verbose": 2, "debug": 3}
REDACTED = "[redacted]"
_SECRET_KEYS = ("token", "password", "passwd", "secret", "authorization", "key-data", "keydata")
_SECRET_TEXT = r"(?i:bearer\s+)[^\s\"',]+|eyJ[\w-]{8,}\.[\w.-]+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
_LONGEST_TEXT = 8192
_DEEPEST = 6


class Log:
    """A logger; never raises and never writes to stdout.

    Fields given to :meth:`bind` are in every line of the returned log.  An exception in a field is
    written as its text.  Its traceback is added when a plugin failed unexpectedly, and always with
    ``logLevel: debug``.
    """

    __slots__ = ("_fields", "_sink", "level")

    def __init__(
        self, sink: Sink, level: str = "error", fields: Mapping[str, object] | None = None
    ) -> None:
        self._sink = sink
        self._fields: dict[str, object] = dict(fields or {})
        self.level = level

    @classmethod
    def from_conf(cls, conf: Mapping[str, Any]) -> Log:
        """The log that the configuration describes; an invalid key gets its default."""
        from multus.api import keys
        from multus.api.errors import InvalidConfig
        from multus.api.reader import Reader

        reader = Reader(conf, "log")

        def read(key: keys.Key) -> Any:
            try:
                return key.read(reader)
            except InvalidConfig:
                return key.absent

        sink = Sink(
            path=read(keys.LOG_FILE),
            stderr=read(keys.LOG_TO_STDERR),
            max_bytes=max(1, read(keys.LOG_MAX_SIZE)) << 20,
            max_backups=read(keys.LOG_MAX_BACKUPS),
            max_age_days=read(keys.LOG_MAX_AGE),
            compress=read(keys.LOG_COMPRESS),
        )
        return cls(sink, read(keys.LOG_LEVEL))

    def bind(self, **fields: object) -> Log:
        """A log that adds ``fields`` to every line."""
        return Log(self._sink, self.level, {**self._fields, **fields})

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        self._sink.close()

    def wants(self, level: str) -> bool:
        """Whether lines of this level are written: check it before computing expensive fields."""
        return LEVELS[level] <= LEVELS[self.level]

    def panic(self, msg: str, **fields: object) -> None:
        """The program cannot go on."""
        self._line("panic", msg, fields)

    def error(self, msg: str, **fields: object) -> None:
        """A failure that a person should see."""
        self._line("error", msg, fields)

    def notice(self, msg: str, **fields: object) -> None:
        """What a person wants to know although nothing failed; also with ``logLevel: error``."""
        self._line("notice", msg, fields)

    def verbose(self, msg: str, **fields: object) -> None:
        """A step of a request: what was attached, by which invoker, how long it took."""
        self._line("verbose", msg, fields)

    def debug(self, msg: str, **fields: object) -> None:
        """Details for debugging."""
        self._line("debug", msg, fields)

    def _line(self, level: str, msg: str, fields: dict[str, object]) -> None:
        if not self.wants(level):
            return
        try:
            text = self._render(level, msg, fields)
        except Exception as err:  # noqa: BLE001  a field's __str__ may raise anything
            text = f'{{"level":"{level}","msg":"unprintable log line: {type(err).__name__}"}}'
        self._sink.write(text)

    def _render(self, level: str, msg: str, fields: dict[str, object]) -> str:
        import json

        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        line: dict[str, object] = {
            "time": f"{stamp}.{int(now * 1000) % 1000:03d}Z",
            "level": level,
            "msg": _plain(msg),
        }
        for key, value in {**self._fields, **fields}.items():
            line[key] = _field(key, value)
            if isinstance(value, BaseException) and (self.wants("debug") or is_unexpected(value)):
                line["traceback"] = _plain(traceback_of(value))
        return json.dumps(line, separators=(",", ":"), ensure_ascii=True)


class Sink:
    """The destination of lines, shared by the logs of a process; opens its file at the first line.

    The file is closed when the last log that uses the sink is garbage-collected, so a short-lived
    log does not leak a descriptor.
    """

    _fd = -1

    def __init__(
        self,
        *,
        path: str = "",
        stderr: bool = True,
        max_bytes: int = 100 << 20,
        max_backups: int = 5,
        max_age_days: int = 5,
        compress: bool = True,
    ) -> None:
        self._path = path
        self._stderr = stderr
        self._max_bytes = max_bytes
        self._max_backups = max_backups
        self._max_age_days = max_age_days
        self._compress = compress
        self._lock = allocate_lock()
        self._complained = False

    def write(self, text: str) -> None:
        """Append one line to every destination; the first failure is reported on stderr."""
        data = text.encode("ascii", "backslashreplace") + b"\n"
        with self._lock:
            if self._stderr:
                _to_stderr(data)
            if self._path:
                try:
                    self._to_file(data)
                except OSError as err:
                    self._complain(err)

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        with self._lock:
            self._close()

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        if self._fd >= 0:
            descriptor, self._fd = self._fd, -1
            os.close(descriptor)

    def _complain(self, err: OSError) -> None:
        if not self._complained:
            self._complained = True
            text = printable(f"multus: cannot write logFile {self._path}: {err.strerror}")
            _to_stderr(f"{text}\n".encode("utf-8", "backslashreplace"))

    def _to_file(self, data: bytes) -> None:
        size = self._current_size()
        if size and size + len(data) > self._max_bytes:
            self._rotate()
            self._current_size()
        while data:
            data = data[os.write(self._fd, data) :]

    def _current_size(self) -> int:
        """The size of the current file in bytes; reopens it if another process renamed it."""
        if self._fd >= 0:
            ours = os.fstat(self._fd)
            try:
                named = os.stat(self._path, follow_symlinks=False)
            except FileNotFoundError:
                named = None
            if named and (named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino):
                return ours.st_size
            self._close()
        os.makedirs(os.path.dirname(self._path) or ".", mode=0o700, exist_ok=True)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._fd = os.open(self._path, flags, 0o600)
        return os.fstat(self._fd).st_size

    def _rotate(self) -> None:
        """Rename the full file, with a timestamp, unless another process already did."""
        import fcntl

        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            named = os.stat(self._path, follow_symlinks=False)
            if named.st_ino != os.fstat(self._fd).st_ino:
                return
            os.rename(self._path, f"{self._path}.{time.time_ns()}")
        except FileNotFoundError:
            return
        finally:
            self._close()
        from multus.log import _files as files

        files.tidy_apart(self._path, self._max_backups, self._max_age_days, compress=self._compress)


def _to_stderr(data: bytes) -> None:
    try:
        while data:
            data = data[os.write(2, data) :]
    except OSError:
        # The runtime closed stderr: the line is lost.
        return


def redacted(value: object) -> object:
    """*value* for others to read, as in a line of the log: without secrets, as JSON has it."""
    return _value(value, 0)


def _field(key: str, value: object, depth: int = 0) -> object:
    lowered = key.lower()
    if any(secret in lowered for secret in _SECRET_KEYS):
        return REDACTED
    return _value(value, depth)


def _value(value: object, depth: int) -> object:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return round(value, 6)
    if depth < _DEEPEST:
        if isinstance(value, dict):
            return {str(name): _field(str(name), item, depth + 1) for name, item in value.items()}
        if isinstance(value, (list, tuple)):
            return [_value(item, depth + 1) for item in value]
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    return _plain(str(value))


def _plain(text: str) -> str:
    """The text without secrets, cut to the maximum length."""
    if "earer" in text or "EARER" in text or "eyJ" in text or "://" in text:
        import re

        text = re.sub(_SECRET_TEXT, REDACTED, text)
    if len(text) > _LONGEST_TEXT:
        text = f"{text[:_LONGEST_TEXT]} [{len(text) - _LONGEST_TEXT} more characters]"
    return text


def is_unexpected(error: BaseException) -> bool:
    """Whether *error* is a ``CNIError`` that wraps an unexpected exception.

    That is an exception of another type, or the interruption of code that took too long.
    """
    from multus.api.errors import CNIError
    from multus.api.progress import Overdue

    if not isinstance(error, CNIError):
        return False
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        if isinstance(cause, Overdue):
            return True
        if not isinstance(cause, CNIError):
            return error.number == CNIError.code
        seen.add(id(cause))  # a plugin may have set an error as its own cause
        cause = cause.__cause__
    return False


def outcome(command: str, error: BaseException) -> str:
    """The message of a request that ended in *error*: an internal error says so."""
    from multus.api.errors import CNIError

    internal = is_unexpected(error) and getattr(error, "number", 0) == CNIError.code
    return f"{command}: internal error" if internal else command


def traceback_of(err: BaseException) -> str:
    """The traceback of an exception and of its causes, as multi-line text."""
    import traceback

    return "".join(traceback.format_exception(type(err), err, err.__traceback__))
