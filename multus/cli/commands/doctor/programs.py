"""Checks everything that a request needs: binaries, plugins, the daemon."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Mapping
from shlex import quote

from multus.api.errors import CNIError
from multus.api.execute import Executor
from multus.api.invoker import Declined, Invoker
from multus.api.network import Delegate, Plugin, Provenance
from multus.api.request import Request
from multus.api.session import Session
from multus.cli import engines
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
from multus.engine import resolve
from multus.log import Log
from multus.registry.known import OFFERING
from multus.registry.warnings import warnings_of

_PATIENCE = 5.0
_OWNER = Provenance.NODE


def look(node: Node) -> Iterator[Finding]:
    """Check the program itself, the delegates' binaries, the installed plugins, and the daemon."""
    for part in (_program, _delegates, _plugins, _health, _daemon, _warm_engines):
        yield from part(node)


def _program(node: Node) -> Iterator[Finding]:
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
    elif places.root:
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
    """Check that the node's default networks resolve, and that their plugins can run."""
    unknown = node.without_conf("delegates")
    if unknown is not None:
        yield unknown
        return
    places = node.places
    folders = tuple(dict.fromkeys((node.conf.bin_dir, places.bin_dir)))
    finder = Executor(folders, chroot=places.root)
    try:
        delegates = _offered(node)
    except CNIError as error:
        yield of_error(error, "networks")
        return
    steps = [(plugin, delegate) for delegate in delegates for plugin in delegate.plugins]
    chosen = [(plugin, *_chosen(node, plugin, delegate)) for plugin, delegate in steps]
    wanted: dict[str, str] = {}
    for plugin, invoker, reason in chosen:
        for kind in _binaries(plugin, invoker):
            wanted.setdefault(kind, reason)
    found = True
    for kind, reason in wanted.items():
        try:
            finder.find(kind)
        except CNIError as error:
            found = False
            yield of_error(error.detailed(reason), "delegates")
    if not steps:
        reason = f"{node.file} names no network for every container"
        yield Finding(NOT_APPLICABLE, "delegates", reason)
    elif found:
        served = dict.fromkeys((plugin.type, invoker) for plugin, invoker, _ in chosen)
        types = ", ".join(
            f"{kind} ({'a program' if invoker == 'exec' else 'in-process'})"
            for kind, invoker in served
        )
        yield Finding(OK, "delegates", f"the plugins of its networks are installed: {types}")


def _offered(node: Node) -> list[Delegate]:
    """The node's default networks; raises ``CNIError``."""
    if node.places.root:
        # Sources would read the files here, not those of the node.
        return [
            Delegate(node.conf.name, (Plugin(each),), node.conf.cni_version, provenance=_OWNER)
            for each in node.delegates()
            if isinstance(each.get("type"), str)
        ]
    offered = [node.conf.raw.get(key) for key in OFFERING]
    if not any(offered):
        return []
    request = Request("STATUS", path=(node.places.bin_dir,))
    with Session(Log.from_conf({"logLevel": "panic"})) as session:
        return list(resolve.resolve(node.installed, request, node.conf, session).delegates)


def _chosen(node: Node, plugin: Plugin, delegate: Delegate) -> tuple[str, str]:
    """The invoker that would carry *plugin* out, and why an in-process one does not."""
    try:
        answers = list(node.installed.hooks.invokers(plugin, delegate, node.conf))
    except CNIError:
        return "exec", ""
    wanted = plugin.invoker or node.conf.invokers.get(plugin.type)
    offers = [each.name for each in answers if isinstance(each, Invoker)]
    chosen = wanted if wanted in offers else next(iter(offers), "exec")
    reasons = "; ".join(each.reason for each in answers if isinstance(each, Declined))
    return chosen, reasons if chosen == "exec" else ""


def _binaries(plugin: Plugin, invoker: str) -> list[str]:
    """The binaries that run *plugin*."""
    in_process = invoker != "exec"
    ipam = plugin.config.get("ipam")
    kind = ipam.get("type") if isinstance(ipam, Mapping) else None
    wanted = [] if in_process else [plugin.type]
    if isinstance(kind, str) and kind and not (in_process and kind in ("host-local", "static")):
        wanted.append(kind)
    return wanted


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
        yield Finding(OK, "plugins", f"{len(names)} plugins are installed, and all can be loaded")


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
        yield _absent(node, path)
        return
    except PermissionError as error:
        reason = f"{path} cannot be opened: {error.strerror}"
        yield Finding(UNCHECKED, "daemon", reason, AS_ROOT, Place(path))
        return
    except (OSError, wire.Malformed) as error:
        reason = f"the daemon does not answer on {path}: {error}"
        fix = f"restart 'multus daemon'; until then, {_meanwhile(node)}"
        yield Finding(ERROR, "daemon", reason, fix, code=11)
        return
    if status:
        yield Finding(ERROR, "daemon", f"not ready: {said.strip()}", "see its log", code=11)
    else:
        yield Finding(OK, "daemon", f"the daemon answers on {path}")


def _absent(node: Node, path: str) -> Finding:
    """What it means that no daemon was started."""
    if _in_place(node):
        reason = f"{path} does not exist: each call runs standalone"
        return Finding(NOTE, "daemon", reason, "start 'multus daemon' for faster calls")
    why = 'the configuration has "standalone": false'
    if "standalone" not in node.conf.raw:
        why = f"the engine's program is not in {node.places.bin_dir}"
    fix = f"start 'multus daemon'; until then, {_meanwhile(node)}"
    return Finding(ERROR, "daemon", f"{path} does not exist, and {why}", fix, code=11)


def _warm_engines(node: Node) -> Iterator[Finding]:
    """Name the engines that calls have left, and say why one did not start."""
    for each in engines.found(os.path.dirname(node.places.at(node.places.socket))):
        if each.process:
            reason = f"process {each.process} is a warm engine: it serves calls at {each.socket}"
            yield Finding(NOTE, "daemon", reason, "'multus-shim workers' shows what it does")
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


def control(path: str, word: bytes) -> tuple[int, str]:
    """Send a control request to the daemon; returns its status and text.

    Raises ``OSError`` or ``wire.Malformed``.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_PATIENCE)
        connection.connect(path)
        connection.sendall(wire.Message(wire.CONTROL, word).encode())
        data = b""
        while part := connection.recv(65536):
            data += part
    answer = wire.decode(data)
    return answer.status, answer.payload.decode(errors="replace")
