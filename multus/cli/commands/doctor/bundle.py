"""Collects what a maintainer needs to understand a node: a compressed tar file, without secrets.

Values of keys that name a secret are replaced, and so is text that looks like a token, as in the
log.  Kubeconfigs, certificates and tokens are not read at all.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from multus.api import atomic
from multus.api.errors import CNIError, IOFailure
from multus.log import redacted

if TYPE_CHECKING:
    from multus.cli.commands.doctor.places import Node

#: Entries of the trace, and bytes of one file.
_MOST_ENTRIES, _LARGEST = 500, 1 << 20


def write(path: str, node: Node, report: dict[str, Any]) -> list[str]:
    """Write the bundle to *path*, mode 0600; returns the names in it.

    *report* is what ``multus doctor --json`` prints.  What cannot be read is a text that says why.
    Raises ``IOFailure``.
    """
    parts: dict[str, Callable[[], Any]] = {
        "doctor.json": lambda: report,
        "versions.json": _versions,
        "configuration": lambda: dict(_files(node)),
        "attachments.json": lambda: _attachments(node),
        "trace.json": lambda: _trace(node),
        "links.json": _links,
    }
    stream, names = io.BytesIO(), []
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, collect in parts.items():
            found = _collected(collect)
            files = found if name == "configuration" and isinstance(found, dict) else {name: found}
            for each, content in files.items():
                _add(archive, f"multus-bundle/{each}", content)
                names.append(each)
    try:
        atomic.write(path, stream.getvalue(), fsync=False)
    except OSError as error:
        raise IOFailure(
            f"cannot write {path}: {error.strerror}", fix="name another file"
        ) from error
    return names


def _collected(collect: Callable[[], Any]) -> Any:
    try:
        return collect()
    except (CNIError, OSError) as error:
        return f"not collected: {error}"


def _add(archive: tarfile.TarFile, name: str, content: Any) -> None:
    clean = redacted(content)
    text = clean if isinstance(clean, str) else json.dumps(clean, indent=2)
    data = text.encode("utf-8", "backslashreplace")
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime, entry.mode = len(data), int(time.time()), 0o600
    archive.addfile(entry, io.BytesIO(data))


def _versions() -> dict[str, Any]:
    from importlib.metadata import distributions

    kernel = os.uname()
    found = sorted({f"{each.name} {each.version}" for each in distributions()})
    return {
        "python": sys.version,
        "kernel": f"{kernel.sysname} {kernel.release} {kernel.machine}",
        "distributions": found,
    }


def _files(node: Node) -> Iterator[tuple[str, Any]]:
    """The runtime's configuration files and the daemon's settings, by their paths on the node."""
    from multus.cli.node import conf_files, read_regular

    paths = [node.places.at(node.places.settings)]
    try:
        paths += conf_files(node.places.at(node.places.net_d))
    except CNIError as error:
        yield f"files{node.places.net_d}", f"not collected: {error}"
    for path in paths:
        name = f"files/{path.removeprefix(node.places.root).lstrip('/')}"
        try:
            text = read_regular(path, _LARGEST).decode(errors="backslashreplace")
        except OSError as error:
            yield name, f"not collected: {error.strerror}"
            continue
        try:
            yield name, json.loads(text)
        except (ValueError, RecursionError):
            # Its secrets have no keys to be found by.
            yield name, "not collected: it is not JSON, see doctor.json"


def _attachments(node: Node) -> Any:
    from multus.cli.attachments import described, others
    from multus.state.journal import Journal

    journal = Journal(node.places.at(node.conf.cni_dir))
    found = list(journal.records())
    return {
        "records": [described(each) for each in found if not isinstance(each, CNIError)],
        "others": list(others(journal)),
        "errors": [str(each) for each in found if isinstance(each, CNIError)],
    }


def _trace(node: Node) -> Any:
    from multus.log.trace import read

    return list(read(node.places.at(node.conf.cni_dir)))[-_MOST_ENTRIES:]


def _links() -> Any:
    from multus.netlink import links, open_channel

    with open_channel() as channel:
        return [
            {
                "index": each.index,
                "name": each.name,
                "kind": each.kind,
                "state": each.state,
                "mtu": each.mtu,
                "master": each.master,
                "peer": each.peer,
            }
            for each in links.list_all(channel)
        ]
