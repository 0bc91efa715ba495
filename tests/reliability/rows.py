"""The cases of one hostile pod: its plugins, configurations, annotations and objects."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from attrs import field, frozen
from reliability.neighbours import STUCK

#: Seconds within which a call of the hostile pod has to be answered: the limit of a step, and some
#: time for the undo.
LIMIT = STUCK + 16.0
#: The same for a call that waits for a lock.
LONG = 40.0

#: The hostile pod's name.
POD = "intruder"

FAILS, SUCCEEDS, EITHER = "fails", "succeeds", "either"


def no_hazard(_: Path) -> AbstractContextManager[None]:
    return nullcontext()


@frozen
class Row:
    """One case.  ``@FOLDER@`` in its configurations is the case's own folder.

    ``delegates`` are the node's, in addition to the one of all pods; ``keys`` are other keys of the
    node's configuration; ``objects`` are the tenant's definitions by name, and the pod requests all
    of them unless it has an ``annotation``.  ``answer`` is the result of its ADD; an error has to
    name one of ``names``.  If ``deletable``, its DEL succeeds while the pod is hostile, else only
    afterwards.  ``odd`` are objects in the API server's lists and watches.
    """

    name: str
    delegates: Sequence[Mapping[str, Any]] = ()
    keys: Mapping[str, Any] = field(factory=dict)
    objects: Mapping[str, Any] = field(factory=dict)
    annotation: str = ""
    odd: Sequence[Any] = ()
    command: str = "ADD"
    answer: str = FAILS
    names: Sequence[str] = ("hostile",)
    limit: float = LIMIT
    deletable: bool = True
    hazard: Callable[[Path], AbstractContextManager[None]] = no_hazard
    full: bool = False

    def __str__(self) -> str:
        return self.name


# --- Plugins -------------------------------------------------------------------------------------


def _deed(deed: str, at: str, answer: str = FAILS, *, full: bool = False) -> Row:
    config = {"type": "hostile", "name": "hostile", "deed": deed, "at": at, "folder": "@FOLDER@"}
    name = f"plugin-{deed}-{at}"
    if at == "delete":
        return Row(name, (config,), command="DEL", answer=SUCCEEDS, deletable=False, full=full)
    # A DEL without a record calls the hooks again.
    return Row(name, (config,), answer=answer, deletable=at != "hook", full=full)


def _plugins() -> Iterator[Row]:
    yield _deed("sleep", "hook")
    yield _deed("spin", "hook", full=True)
    yield _deed("sleep", "add")
    yield _deed("spin", "add")
    yield _deed("sleep", "delete")
    yield _deed("spin", "delete", full=True)
    yield _deed("sleep", "observer", EITHER)
    yield _deed("allocate", "add")
    yield _deed("allocate", "hook", full=True)
    for deed in (
        "exception",
        "base-exception",
        "system-exit",
        "keyboard-interrupt",
        "recursion",
        "exit",
        "sigkill",
        "sigsegv",
        "wrong-type",
    ):
        yield _deed(deed, "add")
        yield _deed(deed, "hook", full=deed not in ("base-exception", "wrong-type"))
        yield _deed(deed, "delete", full=deed not in ("base-exception", "exit"))
        # An observer cannot change the result, but may end its process.
        yield _deed(deed, "observer", EITHER, full=deed not in ("system-exit", "exit"))
    for deed in (
        "close-standard",
        "close-all",
        "fork",
        "orphan",
        "twin",
        "threads",
        "write",
        "surroundings",
        "netns",
        "signals",
        "leak",
    ):
        yield _deed(deed, "add", EITHER)
        yield _deed(deed, "hook", EITHER, full=True)
        yield _deed(deed, "observer", EITHER, full=True)


# --- Configurations ------------------------------------------------------------------------------

_PTP: Mapping[str, Any] = {"cniVersion": "1.0.0", "type": "ptp", "name": "hostile"}
_SUBNET: Mapping[str, Any] = {"type": "host-local", "subnet": "10.68.0.0/24"}
_PATIENT: Mapping[str, Any] = {"delegateTimeout": 2}


def _ipam(**keys: Any) -> dict[str, Any]:
    return {**_PTP, "ipam": {**_SUBNET, "dataDir": "@FOLDER@/ipam", **keys}}


@contextmanager
def fifo_resolv_conf(folder: Path) -> Iterator[None]:
    os.mkfifo(folder / "resolv.conf")
    yield


@contextmanager
def huge_resolv_conf(folder: Path) -> Iterator[None]:
    with open(folder / "resolv.conf", "wb") as file:
        file.truncate(64 << 30)
    try:
        yield
    finally:
        os.unlink(folder / "resolv.conf")


@contextmanager
def held_lock(folder: Path) -> Iterator[None]:
    (folder / "ipam" / "hostile").mkdir(parents=True)
    with open(folder / "ipam" / "hostile" / "lock", "w", encoding="ascii") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def fifo_address(folder: Path) -> Iterator[None]:
    (folder / "ipam" / "hostile").mkdir(parents=True)
    fifo = folder / "ipam" / "hostile" / "10.68.0.9"
    os.mkfifo(fifo)
    try:
        yield
    finally:
        fifo.unlink(missing_ok=True)


@contextmanager
def fifo_lock(folder: Path) -> Iterator[None]:
    (folder / "ipam" / "hostile").mkdir(parents=True)
    fifo = folder / "ipam" / "hostile" / "lock"
    os.mkfifo(fifo)
    try:
        yield
    finally:
        fifo.unlink(missing_ok=True)


@contextmanager
def relative_folder(_: Path) -> Iterator[None]:
    """Remove what the case may create in the daemon's working directory."""
    try:
        yield
    finally:
        shutil.rmtree("hostile", ignore_errors=True)


@contextmanager
def fifo_record(folder: Path) -> Iterator[None]:
    """Create a FIFO at the path of the container's record; the container has the case's name."""
    (folder / "state").mkdir(mode=0o700)
    os.mkfifo(folder / "state" / "hostile:eth0", 0o600)
    try:
        yield
    finally:
        (folder / "state" / "hostile:eth0").unlink(missing_ok=True)


@contextmanager
def own_program(folder: Path) -> Iterator[None]:
    """Install a tenant's own program, which must not run: it would create ``harm``."""
    (folder / "bin").mkdir()
    (folder / "bin" / "evil").write_text(f"#!/bin/sh\ntouch {folder}/harm\n")
    (folder / "bin" / "evil").chmod(0o755)
    yield


def _for_both(name: str, config: Mapping[str, Any], **keys: Any) -> Iterator[Row]:
    """The same configuration from the node's owner, and from a tenant."""
    yield Row(f"{name}-node", (config,), keys=_PATIENT, **keys)
    yield Row(f"{name}-tenant", objects={"hostile": config}, keys=_PATIENT, **keys)


def _configurations() -> Iterator[Row]:
    resolv = _ipam(resolvConf="@FOLDER@/resolv.conf")
    yield from _for_both("resolv-fifo", resolv, hazard=fifo_resolv_conf)
    zero = _ipam(resolvConf="/dev/zero")
    yield from _for_both("resolv-zero", zero, answer=EITHER)
    yield from _for_both("resolv-huge", resolv, hazard=huge_resolv_conf, answer=EITHER)
    # The wait for a lock is five seconds for ADD, and five for its undo; a program that hangs is
    # started for ADD and for its undo.
    held = {"answer": EITHER, "deletable": False, "limit": LONG}
    yield from _for_both("lock-held", _ipam(), hazard=held_lock, deletable=False, limit=LONG)
    yield from _for_both("lock-fifo", _ipam(), hazard=fifo_lock, **held)
    yield from _for_both("address-fifo", _ipam(), hazard=fifo_address, **held)
    yield from _for_both("data-dir-nul", _ipam(dataDir="@FOLDER@/a\0b"))
    yield from _for_both("data-dir-surrogate", _ipam(dataDir="@FOLDER@/\ud800"))
    relative = _ipam(dataDir="hostile/networks")
    yield from _for_both("data-dir-relative", relative, hazard=relative_folder)
    inner = {"type": "evil", "name": "inner", "cniVersion": "1.0.0"}
    folders = {"binDir": "@FOLDER@/bin", "cniDir": "@FOLDER@/inner", "standalone": True}
    again = {"cniVersion": "1.0.0", "type": "multus", "name": "hostile", "delegates": [inner]}
    nested = {"hostile": {**again, **folders}}
    yield Row("type-multus-tenant", objects=nested, hazard=own_program)
    state = {"cniDir": "@FOLDER@/state"}
    names = ("hostile:eth0",)
    yield Row("record-fifo", keys=state, hazard=fifo_record, names=names, deletable=False)


# --- Delegates' programs -------------------------------------------------------------------------

_RESULT = '{"cniVersion": "1.0.0", "interfaces": [{"name": "eth9"}]}'

#: Programs by type.  The hostile ones misbehave only for ADD.
PROGRAMS: Mapping[str, str] = {
    "multus": f"exec env -u MULTUS_SOCKET {os.path.dirname(sys.executable)}/multus",
    "hostile-sleep": "exec sleep 300",
    "hostile-loud": "head -c 100000000 /dev/zero | tr '\\0' x",
    "hostile-parent": f"sleep 3 & echo '{_RESULT}'",
    "hostile-killed": "kill -KILL $$",
}


def program(name: str) -> bytes:
    """The script of that name."""
    gentle = '[ "$CNI_COMMAND" = ADD ] || exit 0\ncat >/dev/null\n'
    return f"#!/bin/sh\n{'' if name == 'multus' else gentle}{PROGRAMS[name]}\n".encode()


def _binaries() -> Iterator[Row]:
    for kind in (each for each in PROGRAMS if each.startswith("hostile-")):
        config = {"cniVersion": "1.0.0", "type": kind, "name": "hostile"}
        keys, name = {"delegateTimeout": 1}, f"program-{kind.partition('-')[2]}"
        answer = SUCCEEDS if kind == "hostile-parent" else FAILS
        yield Row(f"{name}-node", (config,), keys=keys, answer=answer)
        tenants = {"hostile": config}
        yield Row(f"{name}-tenant", objects=tenants, keys=keys, answer=answer, full=True)


# --- Annotations and objects ---------------------------------------------------------------------


def _annotations() -> Iterator[Row]:
    deep = "[" * 10_000 + "]" * 10_000
    again = {**_ipam(), "name": "e"}
    yield Row(
        "annotation-long", objects={"e": again}, annotation="e" + ",e" * 120_000, names=(POD,)
    )
    yield Row("annotation-deep", annotation=deep, names=(POD,))
    nested = f'{{"cniVersion": "1.0.0", "type": "ptp", "name": "hostile", "deep": {deep}}}'
    yield Row("definition-deep", objects={"hostile": nested})
    subnets = [[{"subnet": f"10.{80 + i // 256}.{i % 256}.0/24"}] for i in range(4000)]
    ranges = _ipam(ranges=subnets)
    del ranges["ipam"]["subnet"]
    del ranges["ipam"]["dataDir"]  # with another folder, the binary would be executed
    yield Row("definition-ranges", objects={"hostile": json.dumps(ranges, separators=(",", ":"))})
    large = {"hostile": {**_ipam(), "x": "x" * 1_400_000}}
    yield Row("definition-large", objects=large, answer=EITHER)
    odd = [{"metadata": 5}, {"metadata": None}, {"metadata": {"name": 7}}, {}]
    yield Row("objects-odd", odd=odd, answer=SUCCEEDS)


def rows() -> list[Row]:
    """All of them, in the order in which they are tried."""
    return [*_plugins(), *_configurations(), *_binaries(), *_annotations()]
