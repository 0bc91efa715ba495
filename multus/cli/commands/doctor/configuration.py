"""Checks that the runtime calls Multus, and the configuration that it uses."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from shlex import quote

from multus.api.errors import CNIError, InvalidConfig
from multus.api.jsontext import LARGEST, decode_object
from multus.cli.commands.doctor.places import Node, Places
from multus.cli.commands.install.configuration import NAME as INSTALLED
from multus.cli.commands.validate.confchecks import check_configuration
from multus.cli.documents import Reading, read
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
    worst,
)
from multus.cli.node import conf_files, multus_part, read_regular


def look(node: Node) -> Iterator[Finding]:
    """Check the order of the files, Multus' own file, and its kubeconfig."""
    places = node.places
    findings: list[Finding] = []
    try:
        paths = conf_files(places.at(places.net_d))
        findings += [*_order(paths, places), *_modes(paths)]
    except CNIError as error:
        findings.append(of_error(error, "configuration folder"))
    findings += _own(node)
    yield from findings
    if all(each.severity in (OK, NOTE, NOT_APPLICABLE) for each in findings) and node.file:
        yield Finding(OK, "configuration", f"the runtime uses {node.file}, which is valid")


def _own(node: Node) -> Iterator[Finding]:
    """Multus' own file."""
    if not node.file:
        return  # the order of the files says what there is instead
    unread = node.unread
    try:
        reading = read(node.places.at(node.file))
    except CNIError:
        reading = Reading(())
    findings = [each for each in reading.findings if each.subject == "JSON"]
    for document in reading.documents:
        value = document.value
        if isinstance(value, dict) and multus_part(document.file, value) is not None:
            findings += check_configuration(document, node.installed)
    if unread is not None and worst(findings) != ERROR:
        findings.append(unread)
    yield from findings
    if unread is None:
        yield from _kubeconfig(node)


def _order(paths: list[str], places: Places) -> Iterator[Finding]:
    """Runtimes load only the first file that they can read."""
    kinds = [(path, *_kind(path)) for path in paths]
    ours = [path for path, kind, _ in kinds if kind == "multus"]
    first_of_ours = ours[0] if ours else ""
    subject = "configuration order"
    for path, kind, trouble in kinds:
        if ours and path >= first_of_ours:
            break
        if trouble is not None:
            yield trouble
        elif ours:
            before = f"{_base(path)} (type {kind}) comes before {_base(ours[0])}"
            reason = f"{before}: Multus is not called"
            fix = f"rename {path} so that it sorts later, or remove it"
            if _base(path) > INSTALLED:
                fix = f"run 'multus install', or rename {_base(ours[0])} so that it comes first"
            yield Finding(ERROR, subject, reason, fix, Place(path))
    for path in ours[1:]:
        reason = (
            f"{_base(path)} also configures Multus, but is never used: {_base(ours[0])} is first"
        )
        yield Finding(WARNING, subject, reason, f"remove {path}", Place(path))
    if not kinds:
        reason = f"{places.net_d} is empty: the runtime reports the node as not ready"
        yield Finding(ERROR, subject, reason, "run 'multus install'")
    elif not ours and all(trouble is None for _, _, trouble in kinds):
        taken = _base(kinds[0][0])
        reason = f"no file in {places.net_d} calls Multus; the runtime takes {taken}"
        yield Finding(ERROR, subject, reason, "run 'multus install'")


def _kind(path: str) -> tuple[str, Finding | None]:
    """The plugin type in a file, and the finding when it cannot be read."""
    try:
        if not os.path.getsize(path):
            return "", _unreadable(path, "is empty")
        whole = decode_object(read_regular(path, LARGEST), path)
    except PermissionError as error:
        reason = f"{_base(path)} cannot be read: {error.strerror}"
        return "", Finding(UNCHECKED, "configuration order", reason, AS_ROOT, Place(path))
    except OSError as error:
        return "", _unreadable(path, f"cannot be read: {error.strerror}")
    except CNIError as error:
        return "", _unreadable(path, f"cannot be read: {error.said}")
    if multus_part(path, whole) is not None:
        return "multus", None
    plugins = whole.get("plugins")
    first = plugins[0] if isinstance(plugins, list) and plugins else whole
    return (str(first.get("type", "none")) if isinstance(first, dict) else "none"), None


def _unreadable(path: str, why: str) -> Finding:
    reason = f"{_base(path)} {why}: what a runtime does then is undefined"
    fix = f"repair it ('multus validate -f {quote(path)}' shows every mistake), or remove it"
    if _base(path) == INSTALLED:
        fix = f"{fix.removesuffix(', or remove it')}, or run 'multus install --force'"
    return Finding(ERROR, "configuration order", reason, fix, Place(path))


def _modes(paths: list[str]) -> Iterator[Finding]:
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            continue  # already reported as unreadable
        if found.st_mode & (stat.S_IWOTH | stat.S_IWGRP) or found.st_uid != 0:
            reason = f"{path} is writable by other users, but root runs the programs in it"
            fix = f"chown root:root {quote(path)}; chmod 0600 {quote(path)}"
            yield Finding(ERROR, "configuration files", reason, fix, Place(path))


def _kubeconfig(node: Node) -> Iterator[Finding]:
    path = node.conf.raw.get("kubeconfig")
    if not isinstance(path, str) or not path:
        return
    try:
        found = os.stat(node.places.at(path))
    except PermissionError as error:
        reason = f"{path} cannot be read: {error.strerror}"
        yield Finding(UNCHECKED, "kubeconfig", reason, AS_ROOT, Place(path))
        return
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}: pods cannot be looked up"
        yield Finding(ERROR, "kubeconfig", reason, "run 'multus install', or correct the key")
        return
    if found.st_mode & 0o077 and _is_kubeconfig(node.places.at(path)):
        reason = f"{path} holds the node's credentials, but other users can read it"
        yield Finding(WARNING, "kubeconfig", reason, f"chmod 0600 {quote(path)}")


def _is_kubeconfig(path: str) -> bool:
    """Whether it is one; what is wrong with another file is said of the API server."""
    from multus.kube.kubeconfig import load_kubeconfig

    try:
        load_kubeconfig(path)
    except InvalidConfig:
        return False
    return True


def _base(path: str) -> str:
    return os.path.basename(path)
