"""A hostile third-party plugin, which tests copy into its own distribution.

It acts only for the type ``hostile``.  In that configuration, ``deed`` names the action, and ``at``
the time: ``hook`` (while the networks are prepared), ``add``, ``delete``, ``observer`` (after the
attachment).  ``folder`` is the test's: when the action starts, it creates ``begun`` there; while
``calm`` exists there, the plugin does nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from multus import hookimpl
from multus.api.conf import Conf
from multus.api.errors import CNIError
from multus.api.invoker import Invoker
from multus.api.network import Attachment, Delegate, Invocation, Plugin
from multus.api.request import Request
from multus.api.result import Interface, Result

TYPE = "hostile"

_LONG = 300.0
#: An action stops by itself at this limit, for machines without a memory limit.
_LARGEST = 1 << 30
_CLONE_NEWNET = 0x40000000


class OwnError(BaseException):
    """Not an ``Exception``: ``except Exception`` does not catch it."""


def spin() -> None:
    end = time.monotonic() + _LONG
    while time.monotonic() < end:
        pass


def masked() -> None:
    """Hang with the supervisor's signal blocked."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    time.sleep(_LONG)


def in_c() -> None:
    """Hang in C, where the interpreter does not handle signals."""
    sum(itertools.repeat(0))


def allocate() -> None:
    held = []
    for _ in range(_LARGEST >> 20):
        held.append(b"x" * (1 << 20))
    time.sleep(_LONG)


def fail(error: BaseException) -> Callable[[], None]:
    def deed() -> None:
        raise error

    return deed


def recurse() -> None:
    recurse()


def close_all() -> None:
    os.closerange(0, 1024)


def close_standard() -> None:
    os.closerange(0, 3)


def fork() -> None:
    if os.fork() == 0:
        time.sleep(_LONG)
        os._exit(0)


def orphan() -> None:
    child = os.fork()
    if child == 0:
        os.setsid()
        if os.fork() == 0:
            time.sleep(20)  # longer than the test checks
        os._exit(0)
    os.waitpid(child, 0)


def twin() -> None:
    os.fork()


def threads() -> None:
    for _ in range(300):
        threading.Thread(target=time.sleep, args=(_LONG,), daemon=True).start()


def write() -> None:
    print("hostile words", flush=True)
    os.write(1, b"hostile bytes\n")
    subprocess.run(["echo", "hostile child"], check=True)


def scribble(data: bytes) -> Callable[[], None]:
    def deed() -> None:
        for descriptor in range(3, 64):
            with contextlib.suppress(OSError):
                os.write(descriptor, data)

    return deed


def surroundings() -> None:
    os.chdir("/")
    os.umask(0o777)
    os.environ.clear()


def signals() -> None:
    for number in (signal.SIGTERM, signal.SIGALRM, signal.SIGCHLD):
        try:
            signal.signal(number, signal.SIG_IGN if number != signal.SIGALRM else signal.SIG_DFL)
        except ValueError:
            break  # a thread may not set handlers; the alarm is delivered all the same
    signal.setitimer(signal.ITIMER_REAL, 0.2)


def leak() -> None:
    for _ in range(100):
        os.open("/dev/null", os.O_RDONLY)


def netns() -> None:
    """Enter another network namespace, and stay in it."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")


DEEDS: Mapping[str, Callable[[], object]] = {
    "sleep": lambda: time.sleep(_LONG),
    "spin": spin,
    "masked": masked,
    "in-c": in_c,
    "allocate": allocate,
    "exception": fail(RuntimeError("hostile")),
    "base-exception": fail(OwnError("hostile")),
    "system-exit": fail(SystemExit(0)),
    "keyboard-interrupt": fail(KeyboardInterrupt()),
    "generator-exit": fail(GeneratorExit()),
    "recursion": recurse,
    "exit": lambda: os._exit(3),
    "leave": lambda: os._exit(0),
    "sigkill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "sigsegv": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "close-standard": close_standard,
    "close-all": close_all,
    "fork": fork,
    "orphan": orphan,
    "twin": twin,
    "threads": threads,
    "write": write,
    "scribble": scribble(b"hostile words\n"),
    "forge": scribble(b"\0\0\0\2{}"),
    "surroundings": surroundings,
    "netns": netns,
    "signals": signals,
    "leak": leak,
}


def act(config: Mapping[str, Any], at: str) -> object:
    """Do the action if *at* is its time; returns a wrong answer for the actions that need one."""
    folder = str(config["folder"])
    if config["at"] != at or os.path.exists(f"{folder}/calm"):
        return None
    Path(folder, "begun").touch()
    if config["deed"] == "wrong-type":
        return 7
    DEEDS[str(config["deed"])]()
    return None


class Hostile(Invoker):
    name = "hostile"

    def add(self, invocation: Invocation) -> Result:
        wrong: Any = act(invocation.config, "add")
        return wrong or Result((Interface(invocation.ifname, "02:00:00:00:00:01"),))

    def delete(self, invocations: Sequence[Invocation]) -> list[CNIError | None]:
        wrong: Any = [act(each.config, "delete") for each in invocations]
        return list(wrong)


@hookimpl
def multus_invoker(plugin: Plugin, delegate: Delegate, conf: Conf) -> Invoker | None:
    return Hostile() if plugin.type == TYPE else None


@hookimpl
def multus_runtime_config(
    delegate: Delegate, request: Request, conf: Conf
) -> Mapping[str, Any] | None:
    wrong: Any = _act_for(delegate, "hook")
    answer: Mapping[str, Any] | None = wrong
    return answer


@hookimpl
def multus_attached(attachment: Attachment, request: Request, conf: Conf) -> None:
    _act_for(attachment.delegate, "observer")


def _act_for(delegate: Delegate, at: str) -> object:
    ours = [plugin for plugin in delegate.plugins if plugin.type == TYPE]
    return act(ours[0].config, at) if ours else None


def install(folder: Path) -> None:
    """Create a distribution in *folder* whose plugin is this file."""
    metadata = folder / "multus_hostile-1.0.dist-info"
    metadata.mkdir(parents=True)
    heads = "Metadata-Version: 2.1\nName: multus-hostile\nVersion: 1.0\n"
    (metadata / "METADATA").write_text(heads)
    (metadata / "entry_points.txt").write_text("[multus]\nhostile = its_hostile\n")
    (folder / "its_hostile.py").write_bytes(Path(__file__).read_bytes())
