"""Checks DELs that shims queued while no daemon answered: which ones, how old, and why.

A shim queues a DEL under the ``cniDir`` of its call's configuration. The daemon runs those under
the ``cniDir`` of its own settings, and under every ``cniDir`` that it saw in a call. DELs under
another folder wait until a call uses it; until then their containers keep addresses and interfaces.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from itertools import chain
from shlex import quote

from attrs import frozen

from multus.api.errors import CNIError
from multus.api.jsontext import LARGEST, decode_object
from multus.api.request import parse_args
from multus.cli.commands.doctor import laterchanges
from multus.cli.commands.doctor.places import Node
from multus.cli.commands.doctor.programs import control
from multus.cli.findings import ERROR, WARNING, Finding, Place, of_error
from multus.cli.looking import Look
from multus.cli.node import conf_files, multus_part, read_regular
from multus.daemon import wire
from multus.daemon.settings import Settings
from multus.daemon.spool import DAMAGED, FOLDER, remembered

_SUBJECT = "kept DELs"
_LARGEST = wire.HEADER + wire.LARGEST + wire.LARGEST_ENVIRONMENT
#: A younger DEL may still be running.
_UNDER_WAY = 5.0


@frozen
class Spooled:
    """The queue of one ``cniDir``: the folder's path on the node, and its file names."""

    folder: str
    waiting: tuple[str, ...]
    damaged: tuple[str, ...]


def look(node: Node) -> Iterator[Finding]:
    """Check every ``cniDir`` in the node's configurations and the daemon's settings."""
    try:
        served = _served(node)
    except CNIError as error:
        yield of_error(error, "daemon settings")
        served = ()
    sight = Look(_SUBJECT)
    named = (*served, node.places.cni_dir, node.conf.cni_dir, *_configured(node, sight))
    folders = dict.fromkeys(os.path.normpath(each) for each in named if each)
    found = [_spooled(each, node, sight) for each in folders]
    every = chain(_about(found, node, served), laterchanges.about(folders, node, sight))
    yield from sight.concluded(every, f"no DEL waits for a daemon in {', '.join(folders)}")


def _about(found: list[Spooled], node: Node, served: tuple[str, ...]) -> Iterator[Finding]:
    answers = any(each.waiting for each in found) and _daemon_answers(node)
    for each in found:
        if each.waiting:
            yield from _waiting(each, node, served=each.folder in served, answers=answers)
        if each.damaged:
            yield _broken(each)


def _served(node: Node) -> tuple[str, ...]:
    """Every ``cniDir`` that this node's daemon reads; raises ``CNIError``."""
    path = node.places.settings
    if node.places.exists(path):
        path = node.places.at(path)  # otherwise the file of a pod, which only its containers see
    own = Settings.read(path, {}).cni_dir
    others = remembered(node.places.at(own))
    return tuple(os.path.normpath(each) for each in (own, *others))


def _configured(node: Node, sight: Look) -> Iterator[str]:
    """The ``cniDir`` of every Multus configuration in the runtime's folder, used or not."""
    try:
        paths = conf_files(node.places.at(node.places.net_d))
    except CNIError as error:
        sight.failed(error)
        return
    for path in paths:
        try:
            data = sight.read(path, LARGEST)
            found = multus_part(path, decode_object(data, path)) if data else None
        except CNIError as error:
            sight.failed(error)  # it may have a 'cniDir' of its own
            continue
        folder = found.config.get("cniDir") if found is not None else None
        if isinstance(folder, str) and folder.startswith("/") and "\0" not in folder:
            yield folder


def _spooled(cni_dir: str, node: Node, sight: Look) -> Spooled:
    names = sight.listed(os.path.join(node.places.at(cni_dir), FOLDER))
    waiting = tuple(name for name in names if not name.startswith("."))
    return Spooled(cni_dir, waiting, tuple(name for name in names if name.startswith(DAMAGED)))


def _waiting(each: Spooled, node: Node, *, served: bool, answers: bool) -> Iterator[Finding]:
    folder = os.path.join(each.folder, FOLDER)
    ages = {name: _age(os.path.join(node.places.at(folder), name)) for name in each.waiting}
    oldest = max(each.waiting, key=lambda name: ages[name])
    if served and answers and ages[oldest] < _UNDER_WAY:
        return
    what = (
        f"{len(each.waiting)} DEL(s) wait in {folder}; the oldest, {_ago(ages[oldest])} old, is of"
        f" {_who(os.path.join(node.places.at(folder), oldest), oldest)}"
    )
    settings = node.places.settings
    if not served:
        why = f"no daemon reads it: {settings} has another 'cniDir', and no call used this one"
        fix = f"set 'cniDir' to {each.folder} in {settings} and restart the daemon"
        severity = ERROR
    elif not answers:
        why = "the daemon does not answer"
        fix = "start 'multus daemon': it runs them first"
        severity = WARNING
    else:
        why = "they failed, and the daemon retries within five minutes"
        fix = "see the daemon's log, which names the file and the reason"
        severity = WARNING
    fix += "; until then their containers keep addresses and interfaces"
    yield Finding(severity, _SUBJECT, f"{what}: {why}", fix, Place(folder))


def _broken(each: Spooled) -> Finding:
    folder = os.path.join(each.folder, FOLDER)
    some = ", ".join(name.removeprefix(DAMAGED).partition(".")[2] for name in each.damaged[:3])
    more = f" and {len(each.damaged) - 3} more" if len(each.damaged) > 3 else ""
    reason = f"{len(each.damaged)} damaged DEL(s) are in {folder}, of containers {some}{more}"
    files = f"{quote(folder)}/{DAMAGED}*"
    fix = f"run 'multus gc' to remove their containers' resources, then delete {files}"
    return Finding(WARNING, _SUBJECT, reason, fix, Place(folder))


def _who(path: str, name: str) -> str:
    """The container of a kept DEL, and its pod if the file names it."""
    container = f"container {name.partition('.')[2]}"
    try:
        environ = wire.decode(read_regular(path, _LARGEST + 1)).environ
        args = parse_args(environ.get("CNI_ARGS", ""))
    except (OSError, ValueError, wire.Malformed):
        return container
    namespace, pod = args.get("K8S_POD_NAMESPACE"), args.get("K8S_POD_NAME")
    return f"{container} of pod {namespace}/{pod}" if namespace and pod else container


def _age(path: str) -> float:
    try:
        return max(0.0, time.time() - os.lstat(path).st_mtime)
    except OSError:
        return 0.0  # just completed


def _ago(seconds: float) -> str:
    for unit, length in (("day(s)", 86400), ("hour(s)", 3600), ("minute(s)", 60)):
        if seconds >= length:
            return f"{int(seconds / length)} {unit}"
    return f"{int(seconds)} second(s)"


def _daemon_answers(node: Node) -> bool:
    try:
        control(node.places.at(node.places.socket), b"health")
    except (OSError, wire.Malformed):
        return False
    return True
