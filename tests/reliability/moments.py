"""Moments at which a process can be killed: before each system call that changes something.

A child carries out a call under a seccomp filter with user notification:  the kernel stops the
child, and every process that it starts, before each system call of a list, until the supervisor
lets it continue.  So the moments of all its processes have one order and one count, and a test can
kill at each of them in turn.  Between two moments nothing changes.

Source: seccomp(2), seccomp_unotify(2); numbers from asm/unistd.h of x86_64 and aarch64.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import platform
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from attrs import field, frozen

_X86 = platform.machine() == "x86_64"

#: System calls that always change something: (x86_64, aarch64).
_ALWAYS: dict[str, tuple[int | None, int | None]] = {
    "write": (1, 64),
    "pwrite64": (18, 68),
    "writev": (20, 66),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "sendmmsg": (307, 269),
    "creat": (85, None),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "rmdir": (84, None),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "truncate": (76, 45),
    "ftruncate": (77, 46),
    "fallocate": (285, 47),
    "fsync": (74, 82),
    "fdatasync": (75, 83),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "mount": (165, 40),
    "umount2": (166, 39),
    "setns": (308, 268),
    "unshare": (272, 97),
    "fork": (57, None),
    "vfork": (58, None),
    "execve": (59, 221),
    "execveat": (322, 281),
    "flock": (73, 32),
    "kill": (62, 129),
}

#: System calls that change something for certain arguments: numbers, argument, mask, values; no
#: values mean "any bit of the mask".
_SOMETIMES: dict[str, tuple[tuple[int | None, int | None], int, int, tuple[int, ...]]] = {
    "open": ((2, None), 1, os.O_CREAT | os.O_TRUNC, ()),
    "openat": ((257, 56), 2, os.O_CREAT | os.O_TRUNC, ()),
    # SIOC…: what iproute2's older relatives and ethtool do.
    "ioctl": ((16, 29), 1, 0xFF00, (0x8900,)),
    # The replacing of iptables' tables, IPv4 and IPv6.
    "setsockopt": ((54, 208), 1, 0xFFFFFFFF, (socket.IPPROTO_IP, socket.IPPROTO_IPV6)),
    "fcntl": ((72, 25), 1, 0xFFFFFFFF, (fcntl.F_SETLK, fcntl.F_OFD_SETLK, fcntl.F_OFD_SETLKW)),
}

_CLONE: tuple[int | None, int | None] = (56, 220)
_CLONE_THREAD = 0x10000

_SYS_SECCOMP = 317 if _X86 else 277
_SYS_PIDFD_GETFD = 438
_AUDIT_ARCH = 0xC000003E if _X86 else 0xC00000B7
_SET_MODE_FILTER, _NEW_LISTENER = 1, 8
_ALLOW, _NOTIFY = 0x7FFF0000, 0x7FC00000
_GO_ON = 1
_RECEIVE, _SEND = 0xC0502100, 0xC0182101
_NOTIFICATION = struct.Struct("=QIIiIQ6Q")
_LIBC = ctypes.CDLL(None, use_errno=True)

#: Memory that a supervised process shares with its supervisor: the listener's number, and whether
#: system calls count now.  Empty in every other process.
_SHARED: list[mmap.mmap] = []


@frozen
class Run:
    """How a supervised call ended: ``status`` is negative when a signal ended it.

    ``moments`` is their number; ``last`` describes the last one: the process's name and the system
    call before which it was killed.
    """

    status: int
    stdout: bytes
    stderr: bytes
    moments: int
    last: str

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL


@frozen
class Family:
    """A running call, with every process that it started."""

    root: int
    listener: int
    outputs: tuple[int, int]
    shared: mmap.mmap
    answered: threading.Event = field(factory=threading.Event)

    def run(self, kill_at: int | None = None, *, whole: bool = True) -> Run:
        """Let it run, and kill it before its moment *kill_at*, counted from 1.

        Kills all its processes; without *whole*, only the first.  Then the others continue, and
        :meth:`outlive` waits for them.
        """
        moments, last, killed = 0, "", False
        for number, caller, name in self._notifications():
            if self.shared[1]:
                self._go_on(number)
                continue
            moments += 1
            if moments == kill_at:
                last, killed = f"{_comm(caller)} {name}", True
                self._kill(whole=whole)
            self._go_on(number)
            if killed:
                break
        if killed and not whole:
            threading.Thread(target=self._let_go, daemon=True).start()
        status = os.waitstatus_to_exitcode(os.waitpid(self.root, 0)[1])
        if not (killed and not whole):
            self._close()
        return Run(status, _contents(self.outputs[0]), _contents(self.outputs[1]), moments, last)

    def outlive(self, seconds: float = 30.0) -> None:
        """Wait for the processes that outlive the first."""
        if not self.answered.wait(seconds):
            raise AssertionError("a process that outlived its parent does not end")

    def _let_go(self) -> None:
        for number, _, _ in self._notifications():
            self._go_on(number)
        self._close()

    def _close(self) -> None:
        os.close(self.listener)
        self.shared.close()
        self.answered.set()

    def _notifications(self) -> Iterator[tuple[int, int, str]]:
        """The next moment: its notification, the process, and the system call."""
        poll = select.poll()
        poll.register(self.listener, select.POLLIN)
        while True:
            events = poll.poll(60_000)
            if not events:
                raise AssertionError(f"the call under process {self.root} hangs")
            if not events[0][1] & select.POLLIN:
                return  # no process is left under this filter
            buffer = bytearray(_NOTIFICATION.size)
            try:
                fcntl.ioctl(self.listener, _RECEIVE, buffer)
            except OSError:
                continue  # killed while it waited
            number, caller, _, syscall, *_ = _NOTIFICATION.unpack(buffer)
            yield number, caller, _NAMES.get(syscall, str(syscall))

    def _go_on(self, number: int) -> None:
        with suppress(OSError):  # it was killed meanwhile
            fcntl.ioctl(self.listener, _SEND, bytearray(struct.pack("=QqiI", number, 0, 0, _GO_ON)))

    def _kill(self, *, whole: bool) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.root, signal.SIGKILL)
        while whole and (left := _session(self.root)):
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def start(call: Callable[[], int], stdin: bytes = b"") -> Family:
    """Fork a supervised child that runs *call* with *stdin*, and exits with its status.

    The caller's other threads must not hold locks that *call* needs.
    """
    given, out, err = (os.memfd_create(name) for name in ("stdin", "stdout", "stderr"))
    os.write(given, stdin)
    os.lseek(given, 0, os.SEEK_SET)
    go, ready = os.pipe(), mmap.mmap(-1, mmap.PAGESIZE)
    program = _filter()
    root = os.fork()
    if not root:
        _child(call, (given, out, err), ready, go, program)
    os.close(given)
    os.close(go[0])
    try:
        listener = _listener(root, ready)
    finally:
        os.close(go[1])
    return Family(root, listener, (out, err), ready)


@contextmanager
def as_one() -> Iterator[None]:
    """System calls in this block are not moments: they simulate one action of the kernel."""
    shared = _SHARED[-1] if _SHARED else bytearray(2)
    shared[1] = 1
    try:
        yield
    finally:
        shared[1] = 0


def _child(
    call: Callable[[], int],
    standard: tuple[int, int, int],
    ready: mmap.mmap,
    go: tuple[int, int],
    program: bytes,
) -> None:
    status = 70
    _SHARED.append(ready)
    try:
        os.setsid()
        for theirs, ours in enumerate(standard):
            os.dup2(ours, theirs)
        code = ctypes.create_string_buffer(program)
        head = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code))
        listener = _LIBC.syscall(_SYS_SECCOMP, _SET_MODE_FILTER, _NEW_LISTENER, head)
        # By shared memory: every system call that could send it is supervised from here on.
        ready[0] = listener if listener > 0 else 255
        os.close(go[1])
        os.read(go[0], 1)
        if listener > 0:
            os.close(listener)
            status = call()
    finally:
        os._exit(status)


def _listener(root: int, ready: mmap.mmap) -> int:
    """Duplicate the child's listener into this process."""
    deadline = time.monotonic() + 60
    while not ready[0]:
        if os.waitpid(root, os.WNOHANG)[0]:
            raise RuntimeError("the supervised child ended before its call began")
        if time.monotonic() > deadline:
            where = _where(root)
            os.kill(root, signal.SIGKILL)
            os.waitpid(root, 0)
            raise RuntimeError(f"the supervised child does not start: {where}")
        time.sleep(0.0002)
    if ready[0] == 255:
        raise RuntimeError("no seccomp listener: it needs root, and Linux 5.6")
    process = os.pidfd_open(root)
    try:
        listener: int = _LIBC.syscall(_SYS_PIDFD_GETFD, process, ready[0], 0)
    finally:
        os.close(process)
    if listener < 0:
        raise RuntimeError(f"no seccomp listener: {os.strerror(ctypes.get_errno())}")
    os.set_inheritable(listener, False)
    return listener


def _where(pid: int) -> str:
    """A process's state, its system call, and where that waits in the kernel."""
    said = []
    for name in ("stat", "syscall", "wchan"):
        with suppress(OSError), open(f"/proc/{pid}/{name}", encoding="utf-8") as file:
            said.append(f"{name} {file.read(60).strip()}")
    return ", ".join(said)


# --- The filter ----------------------------------------------------------------------------------


def _filter() -> bytes:
    """The BPF program: notify for the calls of the lists, allow all others."""
    notify = _instruction(_RETURN, _NOTIFY)
    code = _instruction(_LOAD, 4) + _jump(_EQUAL, _AUDIT_ARCH, 1, 0) + _instruction(_RETURN, _ALLOW)
    code += _instruction(_LOAD, 0)
    for either in _ALWAYS.values():
        if (number := _of_this_machine(either)) is not None:
            code += _jump(_EQUAL, number, 0, 1) + notify
    for numbers, argument, mask, values in _SOMETIMES.values():
        if (number := _of_this_machine(numbers)) is None:
            continue
        low = _instruction(_LOAD, 16 + 8 * argument) + _instruction(_AND, mask)
        tests = b"".join(_jump(_EQUAL, value, 0, 1) + notify for value in values)
        body = low + (tests or _jump(_EQUAL, 0, 1, 0) + notify) + _instruction(_RETURN, _ALLOW)
        code += _jump(_EQUAL, number, 0, len(body) // 8) + body
    if (clone := _of_this_machine(_CLONE)) is not None:
        # A thread is not a process.
        flags = _instruction(_LOAD, 16) + _instruction(_AND, _CLONE_THREAD)
        body = flags + _jump(_EQUAL, 0, 0, 1) + notify + _instruction(_RETURN, _ALLOW)
        code += _jump(_EQUAL, clone, 0, len(body) // 8) + body
    return code + _instruction(_RETURN, _ALLOW)


_LOAD, _AND, _EQUAL, _RETURN = 0x20, 0x54, 0x15, 0x06


def _instruction(code: int, value: int) -> bytes:
    return struct.pack("=HBBI", code, 0, 0, value)


def _jump(code: int, value: int, when: int, otherwise: int) -> bytes:
    return struct.pack("=HBBI", code, when, otherwise, value)


def _of_this_machine(numbers: tuple[int | None, int | None]) -> int | None:
    return numbers[0 if _X86 else 1]


_NAMES = {
    _of_this_machine(numbers): name
    for name, numbers in (
        *_ALWAYS.items(),
        *((name, each[0]) for name, each in _SOMETIMES.items()),
        ("clone", _CLONE),
    )
}


# --- Processes -----------------------------------------------------------------------------------


def _session(root: int) -> list[int]:
    """The processes of *root*'s session with a live thread, without *root*."""
    found = []
    for name in os.listdir("/proc"):
        if not name.isdecimal() or int(name) == root:
            continue
        with suppress(OSError):
            # A process keeps its files open until its last thread ends, not its first.
            folder = f"/proc/{name}/task"
            tasks = [_stat(f"{folder}/{task}") for task in os.listdir(folder)]
            if any(session == root and state not in ("Z", "X") for state, session in tasks):
                found.append(int(name))
    return found


def _stat(folder: str) -> tuple[str, int]:
    """A thread's state and its session."""
    with open(f"{folder}/stat", encoding="utf-8", errors="replace") as file:
        state, _, _, session = file.read().rpartition(") ")[2].split()[:4]
    return state, int(session)


def _comm(pid: int) -> str:
    with suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8") as file:
        return file.read().strip()
    return "?"


def _contents(descriptor: int) -> bytes:
    os.lseek(descriptor, 0, os.SEEK_SET)
    with os.fdopen(descriptor, "rb") as file:
        return file.read()
