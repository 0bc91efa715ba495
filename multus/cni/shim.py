"""The shim that a container runtime starts: it sends the call to the daemon and prints the answer.

``shim/multus-shim.c`` in Python, for ``python -I -S``.  It imports built-in modules only, since
imports are most of such a process's time.  The layout of messages is in ``multus.daemon.wire``.
``multus.__main__`` uses this module too, to send a call to the daemon if there is one.

Without a daemon, the engine runs in this process where the configuration has
``"standalone": true``, or where the key is missing and the engine's program is beside the shim;
the warm engine serves the call that an earlier call left behind (``multus.cni.warm``), if any.
Everywhere else the node relies on its daemon: a DEL is kept on disk until the daemon starts; every
other command waits a bounded time, then fails so that the runtime retries it.
"""

from __future__ import annotations

import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket
    from collections.abc import Mapping

SOCKET = b"/run/multus/multus.sock"
CNI_DIR = b"/var/lib/cni/multus"
SPOOL = b".spool"
COMMANDS = (b"ADD", b"CHECK", b"DEL", b"GC", b"STATUS", b"VERSION")
VERSIONS = (b"0.1.0", b"0.2.0", b"0.3.0", b"0.3.1", b"0.4.0", b"1.0.0", b"1.1.0")
LARGEST = 8 << 20
SERVE_S = 220
CONTROL_S, RELOAD_S = 5, 70
#: What an engine has from its first caller, beside the program and the variables of these names.
_PLACES = ("/", *(f"/proc/self/ns/{each}" for each in ("mnt", "net", "pid", "user")))
_INHERITED = (b"PYTHON", b"LD_")
#: Longest wait for a daemon that restarts, on a node that can do without, in seconds.
RESTART_S = 1.0
#: Between two requests to a daemon that ends, in seconds.
LEAVING_S = 0.1
#: A warm engine that has not read its message after so many seconds is not waited for.
SILENT_S = 1.0
#: The exit status in an answer that leaves the call to its client: it has not begun.
LEFT = 255
#: Why a call is carried out in place although something serves at its socket: it ended in the
#: middle of the call, or it did not read the message.
LOST, SILENT = b"lost", b"silent"
#: The engine's program, which an installed shim has beside it.
_ENGINE = __file__.rpartition("/")[0].rpartition("/")[0] + "/__main__.py"
_SPACE = b" \t\r\n"
_ALNUM = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
_AWAY = (
    b"no daemon answers at %s: where 'multus daemon' serves the node, in its DaemonSet's pod or"
    b" as multus.service: 'kubectl -n kube-system describe pods -l"
    b" app.kubernetes.io/name=multus-python' or 'systemctl status multus' shows why it does not;"
    b" a node without one runs each call by itself: 'multus status'"
)
_NOT_KEPT = (
    b"the multus daemon does not answer, and this DEL cannot be kept for it under 'cniDir':"
    b" free some space there, look at its owner and mode, or start the daemon"
)
_ITSELF = (
    b"a network's plugin started Multus again: Multus would call itself: name the plugin that"
    b" attaches the network"
)
_CLOSED = b"multus: standard output is closed: the runtime would not learn what an ADD did\n"
_NOT_BESIDE = (
    b"; the engine's program is not beside this shim: run 'multus install' again, or start the"
    b" daemon"
)
_HELP = b"""\
multus-shim: a container runtime starts it as the CNI plugin 'multus', with
CNI_COMMAND in the environment; it sends the call to the daemon.
Usage: multus-shim health|ready|metrics|workers|reload   (asks the daemon)
'multus help' lists the other commands.
"""

#: Exit status and stdout.
Answer = tuple[int, bytes]


def main() -> int:
    """The program: a CNI call, or a control request in the only argument."""
    environ = posix.environ
    if not _is_open(1):
        posix.write(2, _CLOSED)
        return 1
    if b"CNI_COMMAND" not in environ:
        if sys.argv[1:] in (["--help"], ["-h"]):
            return _print((0, _HELP))
        if len(sys.argv) != 2:
            return _print(error_answer(b"", 4, b"required env variables [CNI_COMMAND] missing"))
        return _print(control(environ, sys.argv[1].encode()))
    if environ[b"CNI_COMMAND"] not in COMMANDS:
        # Refused before stdin is read, which may never end.
        reason = b"unknown CNI_COMMAND: use one of " + b", ".join(COMMANDS)
        return _print(error_answer(b"", 4, reason))
    stdin = read_stdin()
    answer = ask(environ, stdin)
    if isinstance(answer, bytes):
        _become_multus(environ, stdin, answer)
        reason = b"the multus program is not beside its shim: install it, or start the daemon"
        answer = error_answer(stdin, 100, reason)
    return _print(answer)


def _is_open(descriptor: int) -> bool:
    try:
        posix.fstat(descriptor)
    except OSError:
        return False
    return True


def ask(environ: Mapping[bytes, bytes], stdin: bytes) -> Answer | bytes:
    """Send a CNI call to the daemon, or to a warm engine.

    Returns ``LOST``, ``SILENT`` or b"" when the engine has to run in this process.
    """
    command = environ[b"CNI_COMMAND"]
    if b"MULTUS_WITHIN" in environ and command != b"VERSION":
        # The daemon would wait for the call whose plugin sends this one.
        return (0, b"") if command in (b"DEL", b"GC") else error_answer(stdin, 7, _ITSELF)
    if len(stdin) > LARGEST:
        return error_answer(stdin, 6, b"the network configuration on stdin is larger than 8 MiB")
    if command == b"VERSION" and (version := _asked_version(stdin)):
        known = b'", "'.join(VERSIONS)
        return 0, b'{"cniVersion": "%s", "supportedVersions": ["%s"]}\n' % (version, known)
    path = environ.get(b"MULTUS_SOCKET", SOCKET)
    standalone = _value(stdin, b"standalone")
    alone = standalone.lstrip(b'"')[:4] == b"true" if standalone else _exists(_ENGINE)
    try:
        patience = 0.0 if alone and standalone else _patience(environ, alone=alone)
        return _ask_daemon(path, patience, _message(1, environ, stdin), alone=alone)
    except TimeoutError:
        reason = "no answer in time"
    except OSError as error:
        if alone:
            lost = error.errno == 32
            return LOST if lost else _ask_warm_engine(environ, stdin, path)
        reason = posix.strerror(error.errno or 0)
        if command == b"DEL":
            return spool(environ, stdin)
    why = reason.encode() + (b"" if alone or standalone else _NOT_BESIDE)
    return error_answer(stdin, 50 if command == b"STATUS" else 11, _away(path), why)


def _ask_daemon(path: bytes, wait_s: float, message: bytes, *, alone: bool) -> Answer:
    """Send a call to the daemon; for *wait_s* seconds also to the one after it.

    A daemon that ends leaves the calls that it has not begun.  *alone*: this process does without.
    """
    end = time.monotonic() + wait_s
    while True:
        connection = _dial(path, max(0.0, end - time.monotonic()), for_restart=alone)
        try:
            return _exchange(connection, message)
        except ConnectionResetError:
            if alone or time.monotonic() >= end:
                raise
        time.sleep(LEAVING_S)


def warm_engine(environ: Mapping[bytes, bytes], stdin: bytes, daemon: bytes) -> bytes:
    """The socket of this program's warm engine, in the folder of the daemon's; b"": there is none.

    Its name stands for all that an engine has from its first caller.
    """
    folder, slash, _ = daemon.rpartition(b"/")
    if not slash or _value(stdin, b"warmSeconds")[:1] == b"0":
        return b""
    try:
        program = posix.stat(_ENGINE)
        found = [program, *map(posix.stat, _PLACES)]
    except OSError:
        return b""
    numbers = [posix.geteuid(), program.st_mtime_ns]
    for each in found:
        numbers += each.st_dev, each.st_ino
    texts = [sys.executable.encode(), *(b"%s=%s" % pair for pair in inherited(environ).items())]
    identity = 0
    for number in (*numbers, *b"\0".join(texts)):
        identity = (identity ^ number) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return folder + b"/warm.%016x" % identity


def inherited(environ: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """The variables that change an interpreter: an engine has those of its first caller."""
    return {name: value for name, value in environ.items() if name.startswith(_INHERITED)}


def _ask_warm_engine(environ: Mapping[bytes, bytes], stdin: bytes, daemon: bytes) -> Answer | bytes:
    """Send a call to the warm engine; returns the same as ``ask``: it may end at any time."""
    path = warm_engine(environ, stdin, daemon)
    if not path or b"MULTUS_STANDALONE" in environ:
        return b""
    try:
        return _exchange(_dial(path, 0, SILENT_S), _message(1, environ, stdin), SILENT_S)
    except TimeoutError:
        reason = b"no answer in time"
        return error_answer(stdin, 11, _away(path), reason)
    except OSError as error:
        return {11: SILENT, 32: LOST}.get(error.errno or 0, b"")


def control(environ: Mapping[bytes, bytes], word: bytes) -> Answer:
    """Send a control request: ``health``, ``ready``, ``metrics``, ``workers`` or ``reload``."""
    path = environ.get(b"MULTUS_SOCKET", SOCKET)
    try:
        try:
            connection = _dial(path, 0)
        except OSError:
            warm = warm_engine(environ, b"", path)
            if not warm or not _exists(warm):
                raise
            connection = _dial(warm, 0)
        connection.settimeout(RELOAD_S if word == b"reload" else CONTROL_S)
        return _exchange(connection, _message(2, environ, word))
    except TimeoutError:
        return error_answer(b"", 11, _away(path), b"no answer in time")
    except OSError as error:
        reason = posix.strerror(error.errno or 0).encode()
        return error_answer(b"", 11, _away(path), reason)


def _away(path: bytes) -> bytes:
    usable = not path.translate(None, _ALNUM + b"/_.-")
    return _AWAY % (path[:200] if usable else b"the socket of MULTUS_SOCKET")


# --- The connection ------------------------------------------------------------------------------


def _patience(environ: Mapping[bytes, bytes], *, alone: bool) -> float:
    """How long to wait for a daemon, in seconds; *alone*: this process can do without."""
    command = environ[b"CNI_COMMAND"]
    default = b"3" if command == b"STATUS" else b"30"
    seconds = _seconds(environ.get(b"MULTUS_WAIT", default))
    if alone:
        return min(seconds, RESTART_S)
    return 0.0 if command == b"DEL" else seconds


def _seconds(text: bytes) -> float:
    """A decimal number of seconds, at most ``SERVE_S``; 0 for any other text."""
    try:
        return min(float(text if not text.strip(b"0123456789.") else b""), SERVE_S)
    except ValueError:
        return 0.0


def _dial(
    path: bytes, wait_s: float, limit_s: float = SERVE_S + 10, *, for_restart: bool = False
) -> socket:
    """Connect, and retry for *wait_s* seconds; *for_restart*: only if a daemon left its socket.

    Connecting, and sending a message, may take *limit_s* seconds.
    """
    import _socket

    if len(path) >= 108:
        raise OSError(36, "File name too long")
    end = time.monotonic() + wait_s
    while True:
        connection = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            connection.settimeout(limit_s)
            connection.connect(path)
            return connection
        except (FileNotFoundError, ConnectionRefusedError) as error:
            connection.close()
            # A daemon that stopped for good removed its socket.
            if (for_restart and error.errno == 2) or time.monotonic() >= end:
                raise
            for_restart = False
            time.sleep(0.01)


def _message(kind: int, environ: Mapping[bytes, bytes], payload: bytes) -> bytes:
    environment = b"".join([b"%s=%s\0" % pair for pair in environ.items()])
    numbers = (len(environment), len(payload), SERVE_S * 1000)
    head = b"MULT\1%c\0\0" % kind + b"".join([each.to_bytes(4, "big") for each in numbers])
    return head + environment + payload


def _exchange(connection: socket, message: bytes, limit_s: float = 0) -> Answer:
    """Send *message* and receive the answer.

    Raises ``BrokenPipeError`` when the peer had read the message and ended before it answered,
    ``BlockingIOError`` when it has not read the message after *limit_s* seconds, 0 for any time.
    """
    sent = True
    try:
        # A daemon that refuses may answer before it has read everything: ignore a broken pipe.
        try:
            connection.sendall(message)
        except (BrokenPipeError, ConnectionResetError):
            sent = False
        head = _receive(connection, 20)
    except TimeoutError:
        if not limit_s:
            raise
        if not _is_read(connection):
            raise BlockingIOError(11, "it does not read") from None
        connection.settimeout(SERVE_S + 10)
        head = _receive(connection, 20)
    except BrokenPipeError:
        if sent:
            raise
        raise ConnectionResetError(104, "Connection reset by peer") from None
    connection.settimeout(SERVE_S + 10)
    size = int.from_bytes(head[12:16], "big")
    if head[:6] != b"MULT\1\x80" or size > LARGEST:
        raise OSError(71, "Protocol error")
    answer = _receive(connection, size)
    if head[7] == LEFT:
        raise ConnectionResetError(104, "Connection reset by peer")
    return head[7], answer


def _is_read(connection: socket) -> bool:
    """Whether the peer has read the whole message, or will find that this client has left.

    It is one of the two, whenever the peer is stopped and continued.  A warm engine begins a call
    only after it has read the message and seen no end.
    """
    import fcntl  # not built in everywhere, but no usual call comes here
    import termios

    for _ in range(2):
        if fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0\0\0\0") == b"\0\0\0\0":
            return True
        connection.shutdown(1)
    return False


def _receive(connection: socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        chunk = connection.recv(size - len(data))
        if not chunk:
            raise BrokenPipeError(32, "Broken pipe")
        data = data + chunk if data else chunk
    return data


# --- Without a daemon ----------------------------------------------------------------------------


def _exists(path: str | bytes) -> bool:
    try:
        posix.stat(path)
    except OSError:
        return False
    return True


def spool(environ: Mapping[bytes, bytes], stdin: bytes) -> Answer:
    """Keep a DEL for the daemon; returns the answer."""
    container_id = environ.get(b"CNI_CONTAINERID", b"")
    rest = container_id.strip(_ALNUM).translate(None, _ALNUM + b"_.-")
    usable = container_id[:1].isalnum() and not rest and len(container_id) <= 200
    if not usable or not environ.get(b"CNI_IFNAME"):
        return error_answer(stdin, 4, b"CNI_CONTAINERID or CNI_IFNAME is missing or malformed")
    if not stdin.lstrip(_SPACE).startswith(b"{"):
        return error_answer(stdin, 6, b"the network configuration on stdin is not a JSON object")
    folder = text_of(stdin, b"cniDir", b"/_.-", CNI_DIR) + b"/" + SPOOL
    name = b"%019d.%s" % (time.time_ns(), container_id)
    try:
        _keep(folder, name, _message(1, environ, stdin))
    except OSError as error:
        return error_answer(stdin, 11, _NOT_KEPT, posix.strerror(error.errno or 0).encode())
    return 0, b""


def _keep(folder: bytes, name: bytes, message: bytes) -> None:
    """Write a file atomically: temporary file, fsync, rename."""
    parts = folder.split(b"/")
    for end in range(2, len(parts) + 1):
        try:
            posix.mkdir(b"/".join(parts[:end]), 0o700)
        except FileExistsError:
            continue
    directory = posix.open(folder, posix.O_RDONLY | posix.O_DIRECTORY | posix.O_CLOEXEC)
    found = posix.fstat(directory)
    if found.st_uid != posix.geteuid() or found.st_mode & 0o022:
        raise PermissionError(1, "Operation not permitted")
    part = b".%d.%s" % (posix.getpid(), name)
    flags = posix.O_WRONLY | posix.O_CREAT | posix.O_EXCL | posix.O_CLOEXEC
    file = posix.open(part, flags, 0o600, dir_fd=directory)
    try:
        _write(file, message)
        posix.fsync(file)
        posix.rename(part, name, src_dir_fd=directory, dst_dir_fd=directory)
    except OSError:
        posix.unlink(part, dir_fd=directory)
        raise
    posix.fsync(directory)


def _become_multus(environ: Mapping[bytes, bytes], stdin: bytes, unanswered: bytes) -> None:
    """Exec the multus program, with the configuration on stdin again."""
    if b"MULTUS_STANDALONE" in environ:
        return
    copy = posix.memfd_create("stdin", 0)
    _write(copy, stdin)
    posix.lseek(copy, 0, 0)
    posix.dup2(copy, 0)
    program = "from multus.__main__ import program; program()"
    arguments = [sys.executable, "-I", "-c", program]
    warm = warm_engine(environ, stdin, environ.get(b"MULTUS_SOCKET", SOCKET))
    more = {b"MULTUS_WARM": warm, b"MULTUS_UNANSWERED": unanswered}
    more = {b"MULTUS_STANDALONE": b"1", **{name: text for name, text in more.items() if text}}
    posix.execve(sys.executable, arguments, {**environ, **more})


# --- Reading the configuration -------------------------------------------------------------------


def _asked_version(stdin: bytes) -> bytes:
    """The version in the input of a VERSION call, empty or as libcni sends it; else b""."""
    words = stdin.strip(_SPACE).split(b'"')
    if words == [b""]:
        return VERSIONS[-1]
    asked = len(words) == 5 and [word.strip(_SPACE) for word in (*words[:3], words[4])]
    if asked == [b"{", b"cniVersion", b":", b"}"] and words[3] in VERSIONS:
        return words[3]
    return b""


def _value(stdin: bytes, key: bytes) -> bytes:
    """The text from the last value of a top-level key on; b"" when the key is missing."""
    if b'"%s"' % key not in stdin:
        return b""  # the usual case: the loop below is slow
    found, depth, at, end = b"", 0, 0, len(stdin)
    while at < end:
        char = stdin[at : at + 1]
        at += 1
        if char in b"{[":
            depth += 1
        elif char in b"}]":
            depth -= 1
        elif char == b'"':
            start = at
            while at < end and stdin[at : at + 1] != b'"':
                at += 2 if stdin[at : at + 1] == b"\\" else 1
            if depth == 1 and stdin[start:at] == key:
                rest = stdin[at + 1 : at + 400].lstrip(_SPACE)
                if rest.startswith(b":"):
                    found = rest[1:].lstrip(_SPACE)
            at += 1
    return found


def text_of(stdin: bytes, key: bytes, others: bytes, default: bytes) -> bytes:
    """A string value of alphanumerics and *others*, else *default*."""
    value = _value(stdin, key)
    text, quote, _ = value[1:].partition(b'"')
    usable = value[:1] == b'"' and quote and text and len(text) < 256
    return text if usable and not text.translate(None, _ALNUM + others) else default


def launcher(module: str = __file__) -> str:
    """A program that runs this module with the current interpreter and its compiled file."""
    return (
        f"#!{sys.executable} -IS\n"
        "from _frozen_importlib_external import SourceFileLoader\n"
        f"__file__ = {module!r}\n"
        'exec(SourceFileLoader("__main__", __file__).get_code("__main__"))\n'
    )


# --- Input and output ----------------------------------------------------------------------------


def read_stdin() -> bytes:
    """All of stdin; little more than ``LARGEST`` bytes when there is too much."""
    chunks, size = [], 0
    while size <= LARGEST and (chunk := posix.read(0, 65536)):
        chunks.append(chunk)
        size += len(chunk)
    return b"".join(chunks)


def error_answer(stdin: bytes, code: int, msg: bytes, details: bytes = b"") -> Answer:
    """The answer of a failed call with configuration *stdin*; the texts must need no escapes."""
    version = text_of(stdin, b"cniVersion", b".", VERSIONS[-1])
    form = b'{"cniVersion": "%s", "code": %d, "msg": "%s", "details": "%s"}\n'
    return 1, form % (version, code, msg, details)


def _print(answer: Answer) -> int:
    _write(1, answer[1])
    return answer[0]


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[posix.write(fd, data) :]


if __name__ == "__main__":
    # Nothing is buffered, and the interpreter's shutdown would take a sixth of the time.
    posix._exit(main())
