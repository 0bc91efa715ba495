"""Checks that the runtime calls Multus, and the configuration that it uses."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from multus.api.errors import CNIError
from multus.api.jsontext import decode_object
from multus.cli.commands.doctor.places import Node, Places
from multus.cli.commands.validate.confchecks import check_configuration
from multus.cli.documents import read
from multus.cli.findings import ERROR, NOTE, OK, WARNING, Finding, Place, of_error
from multus.cli.node import conf_files, multus_part


def look(node: Node) -> Iterator[Finding]:
    """Check the order of the files, Multus' own file, and its kubeconfig."""
    places = node.places
    try:
        paths = conf_files(places.at(places.net_d))
    except CNIError as error:
        yield of_error(error, "configuration folder")
        return
    findings = [*_order(paths, places), *_modes(paths)]
    if node.file:
        reading = read(places.at(node.file))
        findings += reading.findings
        for document in reading.documents:
            findings += check_configuration(document, node.installed)
        findings += _kubeconfig(node)
    yield from findings
    if all(each.severity in (OK, NOTE) for each in findings):
        yield Finding(OK, "configuration", f"the runtime uses {node.file}, which is valid")


def _order(paths: list[str], places: Places) -> Iterator[Finding]:
    """Runtimes load only the first file that they can read."""
    kinds = [(path, _kind(path)) for path in paths]
    ours = [path for path, kind in kinds if kind == "multus"]
    subject = "configuration order"
    if not kinds:
        reason = f"{places.net_d} is empty: the runtime reports the node as not ready"
        yield Finding(ERROR, subject, reason, "run 'multus install'")
        return
    if not ours:
        reason = f"no file in {places.net_d} calls Multus; the runtime takes {_base(kinds[0][0])}"
        yield Finding(ERROR, subject, reason, "run 'multus install'")
        return
    before = [(path, kind) for path, kind in kinds if path < ours[0]]
    for path, kind in before:
        if kind == "multus" or kind.startswith("unreadable"):
            reason = f"{_base(path)} is first and is {kind}: what a runtime does then is undefined"
            yield Finding(ERROR, subject, reason, f"repair it, or remove {path}", Place(path))
        else:
            reason = (
                f"{_base(path)} (type {kind}) comes before {_base(ours[0])}: Multus is not called"
            )
            fix = f"run 'multus install', or rename {_base(ours[0])} so that it comes first"
            yield Finding(ERROR, subject, reason, fix, Place(path))
    for path in ours[1:]:
        reason = (
            f"{_base(path)} also configures Multus, but is never used: {_base(ours[0])} is first"
        )
        yield Finding(WARNING, subject, reason, f"remove {path}", Place(path))


def _kind(path: str) -> str:
    """The plugin type in a file, or why it cannot be read."""
    try:
        if not os.path.getsize(path):
            return "unreadable: empty"
        with open(path, "rb") as file:
            whole = decode_object(file.read(), path)
    except OSError as error:
        return f"unreadable: {error.strerror}"
    except CNIError as error:
        return f"unreadable: {error.said}"
    if multus_part(path, whole) is not None:
        return "multus"
    plugins = whole.get("plugins")
    first = plugins[0] if isinstance(plugins, list) and plugins else whole
    return str(first.get("type", "none")) if isinstance(first, dict) else "none"


def _modes(paths: list[str]) -> Iterator[Finding]:
    for path in paths:
        try:
            found = os.stat(path)
        except OSError:
            continue  # already reported as unreadable
        if found.st_mode & (stat.S_IWOTH | stat.S_IWGRP) or found.st_uid != 0:
            reason = f"{path} is writable by other users, but root runs the programs in it"
            fix = f"chown root:root {path}; chmod 0600 {path}"
            yield Finding(ERROR, "configuration files", reason, fix, Place(path))


def _kubeconfig(node: Node) -> Iterator[Finding]:
    path = node.conf.raw.get("kubeconfig")
    if not isinstance(path, str) or not path:
        return
    try:
        found = os.stat(node.places.at(path))
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}: pods cannot be looked up"
        yield Finding(ERROR, "kubeconfig", reason, "run 'multus install', or correct the key")
        return
    if found.st_mode & 0o077:
        reason = f"{path} holds the node's credentials, but other users can read it"
        yield Finding(WARNING, "kubeconfig", reason, f"chmod 0600 {path}")


def _base(path: str) -> str:
    return os.path.basename(path)
