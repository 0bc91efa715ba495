"""Checks everything that a request needs: binaries, plugins, the daemon."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from shlex import quote

from multus.api.errors import CNIError
from multus.api.execute import Executor
from multus.api.request import Request
from multus.api.session import Session
from multus.cli import engines, lacks
from multus.cli.commands.doctor import offered
from multus.cli.commands.doctor.installed import missing_files
from multus.cli.commands.doctor.places import Node
from multus.cli.findings import (
    AS_ROOT,
    ERROR,
    NOT_APPLICABLE,
    NOTE,
    OK,
    UNCHECKED,
    WARNING,
    Finding,
    Place,
    of_error,
)
from multus.daemon import wire
from multus.engine.invoke.call import Call
from multus.engine.invoke.plan import plan
from multus.log import Log
from multus.registry.warnings import warnings_of
from multus.state.record import Planned

_PATIENCE = 5.0


def look(node: Node) -> Iterator[Finding]:
    """Check the program itself, the delegates' binaries, the installed plugins, and the daemon."""
    for part in (_program, missing_files, _delegates, _plugins, _health, _daemon, _warm_engines):
        yield from part(node)


def brief(node: Node) -> Iterator[Finding]:
    """What a call needs, looked at without starting anything."""
    yield from _program(node, ask=False)
    for part in (missing_files, _delegates, _plugins, _health):
        yield from part(node)


def _program(node: Node, *, ask: bool = True) -> Iterator[Finding]:
    places = node.places
    path = os.path.join(places.bin_dir, "multus")
    fix = "run 'multus install'"
    try:
        os.stat(places.at(path))
    except PermissionError as error:
        reason = f"{path} cannot be looked at: {error.strerror}"
        yield Finding(UNCHECKED, "program", reason, AS_ROOT, Place(path))
        return
    except OSError:
        pass  # it is missing
    if not os.path.isfile(places.at(path)):
        yield Finding(ERROR, "program", f"{path} is missing: the runtime cannot call it", fix)
    elif not os.access(places.at(path), os.X_OK):
        yield Finding(ERROR, "program", f"{path} is not executable", f"chmod 0755 {quote(path)}")
    elif places.root or not ask:
        yield Finding(OK, "program", f"{path} exists")
    else:
        yield from _asked(path)


def _asked(path: str) -> Iterator[Finding]:
    """Start the program as a runtime does, and check the versions that it reports."""
    folder, name = os.path.split(path)
    environ = {"CNI_COMMAND": "VERSION", "PATH": os.defpath}
    # libcni's VERSION call: the program answers at once, without a daemon.
    stdin = b'{"cniVersion": "1.1.0"}'
    try:
        printed, _ = Executor((folder,)).call(name, stdin, environ, _PATIENCE)
    except CNIError as error:
        reason = f"{path} exists, but does not work: {error}"
        yield Finding(ERROR, "program", reason, "run 'multus install' again")
        return
    versions = printed.get("supportedVersions", []) if isinstance(printed, dict) else []
    if "1.1.0" not in versions:
        reason = f"{path} is another program or an old one: it supports CNI {', '.join(versions)}"
        yield Finding(ERROR, "program", reason, "run 'multus install' again")
    else:
        yield Finding(OK, "program", f"{path} answers, CNI up to {versions[-1]}")


def _delegates(node: Node) -> Iterator[Finding]:
    """Check that the node's default networks resolve, and that they find what they need."""
    unknown = node.without_conf("delegates")
    if unknown is not None:
        yield unknown
        return
    places = node.places
    try:
        delegates = offered.delegates(node)
    except CNIError as error:
        yield of_error(error, "networks")
        return
    if not delegates:
        reason = f"{node.file} names no network for every container"
        yield Finding(NOT_APPLICABLE, "delegates", reason)
        return
    request = Request("ADD", ifname="eth0", path=(places.bin_dir,), dry_run=True)
    with Session(Log.from_conf({"logLevel": "panic"}), chroot=places.root) as session:
        call = Call(node.installed, session, request, node.conf)
        try:
            planned = plan(delegates, call)
        except CNIError as error:
            yield of_error(error, "delegates")
            return
        yield from _lacking(planned, call)


def _lacking(planned: Sequence[Planned], call: Call) -> Iterator[Finding]:
    """What the networks do not find on this node; else, how their plugins are carried out."""
    found = []
    for each in planned:
        lacking = list(lacks.of_programs(each, call))
        if not call.session.chroot:
            lacking += lacks.of_host(each, call)
        in_files = lacks.of_configuration(each, call)
        lacking += [e for e in in_files if not call.session.chroot or not e.of_node]
        found += [of_error(one.error.at(str(each.delegate)), "delegates") for one in lacking]
    yield from dict.fromkeys(found)
    if call.session.chroot:
        reason = "interfaces and devices that the networks name are not looked for from here"
        yield Finding(UNCHECKED, "delegates", reason, "run it on the node itself")
    if not found:
        reason = f"what its networks need is there; their plugins: {lacks.served(planned)}"
        yield Finding(OK, "delegates", reason)


def _plugins(node: Node) -> Iterator[Finding]:
    installed = node.installed
    for broken in installed.broken:
        yield Finding(ERROR, "plugins", str(broken), broken.fix)
    for clash in installed.clashes:
        yield Finding(ERROR, "plugins", str(clash), clash.fix)
    for warned in warnings_of(installed):
        yield Finding(WARNING, "plugins", str(warned), warned.fix)
    for name in installed.unmatched(node.conf.blocked_plugins):
        reason = f"'blockedPlugins' names {name!r}, but no such plugin is installed"
        fix = "correct it, or remove it; 'multus plugins' lists the names"
        yield Finding(WARNING, "plugins", reason, fix)
    names = [entry.name for entry in installed.loaded]
    for kind, package in (
        ("source-", "multus-source-conffile"),
        ("invoker-", "multus-invoker-exec"),
        ("merger-", "multus-merger-primary"),
    ):
        if not any(name.startswith(kind) for name in names):
            reason = f"no plugin {kind}… is installed"
            yield Finding(ERROR, "plugins", reason, f"install {package}")
    if not installed.broken and not installed.clashes and names:
        every = len(installed.every)
        said = f"{every} plugins are installed"
        if len(names) < every:
            said += f", {len(names)} take part with this configuration"
        yield Finding(OK, "plugins", f"{said}, and all that take part can be loaded")


def _health(node: Node) -> Iterator[Finding]:
    """Check the daemon and the answer to STATUS."""
    unknown = node.without_conf("readiness")
    if unknown is not None:
        yield unknown
        return
    try:
        problems = node.installed.hooks.health(node.conf)
    except CNIError as error:
        problems = [error]
    for each in problems:
        yield of_error(each, "readiness")
    if not problems:
        yield Finding(OK, "readiness", f"nothing that {node.file} waits for is missing")


def _daemon(node: Node) -> Iterator[Finding]:
    path = node.places.socket
    here = node.places.at(path)
    try:
        mode = os.stat(here).st_mode
        if mode & 0o077:
            reason = f"{path} can be opened by other users"
            fix = f"chmod 0600 {quote(path)}; find out who opened it"
            yield Finding(ERROR, "daemon", reason, fix)
        status, said = control(here, b"ready")
    except FileNotFoundError:
        yield absent(node, path)
        return
    except PermissionError as error:
        reason = f"{path} cannot be opened: {error.strerror}"
        yield Finding(UNCHECKED, "daemon", reason, AS_ROOT, Place(path))
        return
    except (OSError, wire.Malformed) as error:
        reason = f"the daemon does not answer on {path}: {said_of(error)}"
        fix = f"restart 'multus daemon'; until then, {_meanwhile(node)}"
        yield Finding(ERROR, "daemon", reason, fix, code=11)
        return
    if status:
        yield Finding(ERROR, "daemon", f"not ready: {said.strip()}", "see its log", code=11)
    else:
        yield Finding(OK, "daemon", f"the daemon answers on {path}")


def absent(node: Node, path: str) -> Finding:
    """What it means that no daemon was started."""
    if _in_place(node):
        reason = f"{path} does not exist: each call runs standalone"
        return Finding(NOTE, "daemon", reason, "start 'multus daemon' for faster calls")
    why = 'the configuration has "standalone": false'
    if "standalone" not in node.conf.raw:
        why = f"the engine's program is not in {node.places.bin_dir}"
    fix = f"start 'multus daemon'; until then, {_meanwhile(node)}"
    if not os.path.lexists(node.places.at(os.path.join(node.places.bin_dir, "multus"))):
        fix = "run 'multus install', after which no daemon is needed, or start 'multus daemon'"
    return Finding(ERROR, "daemon", f"{path} does not exist, and {why}", fix, code=11)


def _warm_engines(node: Node) -> Iterator[Finding]:
    """Name the engines that calls have left, and say why one did not start."""
    for each in engines.found(os.path.dirname(node.places.at(node.places.socket))):
        if each.process:
            reason = f"process {each.process} is a warm engine: it serves calls at {each.socket}"
            fix = f"'MULTUS_SOCKET={quote(each.socket)} multus-shim workers' shows what it does"
            yield Finding(NOTE, "daemon", reason, fix)
        elif each.failure:
            reason = f"no warm engine serves calls at {each.socket}: {each.failure}"
            fix = "mend that, or set 'warmSeconds' to 0"
            yield Finding(WARNING, "daemon", reason, fix)


def _meanwhile(node: Node) -> str:
    if _in_place(node):
        return "each call waits for it, at most a second, and runs standalone"
    return "ADD waits and DEL is queued"


def _in_place(node: Node) -> bool:
    """Whether a call is carried out without a daemon: the shims' rule (``multus.cni.shim``)."""
    standalone = node.conf.raw.get("standalone")
    if standalone is not None:
        return standalone in (True, "true")
    beside = node.places.at(os.path.join(node.places.bin_dir, "multus"))
    return os.path.exists(f"{beside}-standalone") or _is_python(beside)


def _is_python(path: str) -> bool:
    """Whether the program at *path* is a script: the engine itself, or the shim in Python."""
    try:
        with open(path, "rb") as file:
            return file.read(2) == b"#!"
    except OSError:
        return False


def said_of(error: Exception) -> str:
    """An error's words, without the number of the system's."""
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)


def control(path: str, word: bytes, patience: float = _PATIENCE) -> tuple[int, str]:
    """Send a control request to the daemon; returns its status and text.

    Each part of the answer may take *patience* seconds.  Raises ``OSError`` or ``wire.Malformed``.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(patience)
        connection.connect(path)
        connection.sendall(wire.Message(wire.CONTROL, word).encode())
        data = b""
        while part := connection.recv(65536):
            data += part
    answer = wire.decode(data)
    return answer.status, answer.payload.decode(errors="replace")
