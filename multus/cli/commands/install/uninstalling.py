"""Undoes an installation, in the reverse order of it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from attrs import evolve

from multus.api.errors import CNIError
from multus.cli import engines
from multus.cli.commands.install import configuration
from multus.cli.commands.install.files import Manifest
from multus.daemon.spool import FOLDERS, remembered, remove_mark
from multus.state.journal import Journal


def uninstall(net_d: str, cni_dir: str, *, force: bool) -> Iterator[str]:
    """Undo the installation; yields messages about what was done.  Raises ``CNIError``.

    While containers are attached, the program stays: without it their DEL would fail forever, and
    the runtime could not delete them.
    """
    manifest = Manifest.load(net_d)
    if not manifest.written:
        yield f"nothing is installed in {net_d}"
        yield from _end_engines()
        return
    conf_path = os.path.join(net_d, configuration.NAME)
    # Restore backups first, so that the runtime always has a network.
    confs = [path for path, each in manifest.written.items() if not each.sha256]
    confs += [conf_path] if conf_path in manifest.written else []
    paths = confs + [path for path in manifest.written if path not in confs]
    attached = [] if force else _attached(cni_dir)
    manifest = evolve(manifest, given="")  # the next installation is a new one
    for path in paths:
        if attached and path not in confs:
            continue
        if path == conf_path and manifest.is_changed(path):
            copy = manifest.keep_changed(path)
            yield f"{path} was changed since it was installed: kept a copy, {copy}"
        manifest, done = manifest.take_back(path)
        yield done
    if attached:
        some = ", ".join(attached[:3]) + (" …" if len(attached) > 3 else "")
        yield (
            f"{len(attached)} container(s) are still attached by Multus ({some}): the program stays"
            " until they are deleted; then run 'multus uninstall' again"
        )
        return
    manifest.forget()
    yield from _end_engines()
    for path in filter(None, (_forget_folders(cni_dir), remove_mark(cni_dir))):
        yield f"removed {path}, a leftover of the daemon"


def _end_engines() -> Iterator[str]:
    folder = engines.folder()
    yield from engines.end(folder)
    yield from engines.tidy(folder)


def _forget_folders(cni_dir: str) -> str:
    """Remove the daemon's list of other folders; returns its path, "" when there is none."""
    path = os.path.join(cni_dir, FOLDERS)
    if not os.path.exists(path):
        return ""
    os.unlink(path)
    return path


def _attached(cni_dir: str) -> list[str]:
    """The IDs of containers with a record here, or in another ``cniDir`` of the daemon."""
    found: Mapping[str, None] = {
        each.request.container_id: None
        for folder in (cni_dir, *remembered(cni_dir))
        for each in Journal(folder).records()
        if not isinstance(each, CNIError)
    }
    return list(found)
