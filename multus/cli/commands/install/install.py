"""Installing and uninstalling, step by step, each step one that the node can stop at.

First the program, then what it reads, the runtime's configuration last: the runtime never calls
what is not there.  Uninstalling goes the other way round.
"""

from __future__ import annotations

import os
import sysconfig
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from multus.api.errors import CNIError, InvalidConfig
from multus.cli.commands.install import configuration
from multus.cli.commands.install.account import NAME as KUBECONFIG
from multus.cli.commands.install.account import Account
from multus.cli.commands.install.files import FOLDER, Manifest, contents
from multus.cli.objects import Objects
from multus.cni.shim import MARK, launcher
from multus.daemon.spool import FOLDERS, remembered
from multus.state.journal import Journal

if TYPE_CHECKING:
    from multus.registry.loading import Installed

_LOOK_EVERY, _REFRESH_EVERY = 1.0, 5.0
_GONE = "it was uninstalled, and stays so until 'multus install' runs again"

#: Told what was done, a line for people.
Tell = Callable[[str], None]


@frozen
class Wanted:
    """What is to be installed, and where.

    ``conf`` is a configuration to install as it is, ``primary`` a network's file to be the default;
    both empty: the node's first network is the default.  ``kubeconfig`` is one that is there
    already; without it, and in a pod, ``account`` makes one.  ``shim_only`` installs no program
    that needs Python on the node: every call goes to the daemon.
    """

    net_d: str
    bin_dir: str
    conf: str = ""
    primary: str = ""
    kubeconfig: str = ""
    account: Account | None = None
    program: str = ""
    shim_only: bool = False
    force: bool = False

    @property
    def conf_path(self) -> str:
        return os.path.join(self.net_d, configuration.NAME)

    @property
    def kubeconfig_path(self) -> str:
        if self.kubeconfig or self.account is None:
            return self.kubeconfig
        return os.path.join(self.net_d, FOLDER, KUBECONFIG)


def configuration_for(wanted: Wanted, installed: Installed, patience: float) -> tuple[bytes, str]:
    """The valid configuration to install, and the file of its default network.

    Waits *patience* seconds for a network that can be the default.  Raises ``CNIError``.
    """
    if wanted.conf:
        text, primary = configuration.given(wanted.conf), ""
        configuration.require_valid(text, installed, wanted.bin_dir)
    else:
        found = _primary(wanted, time.monotonic() + patience)
        primary = found.path
        text = configuration.make(
            found,
            kubeconfig=wanted.kubeconfig_path,
            bin_dir=wanted.bin_dir,
            standalone=not wanted.shim_only,
        )
        # The default network is a file's: that the API cannot be asked yet does not matter.
        configuration.require_valid(text, installed, wanted.bin_dir, Objects({}))
    return text, primary


def _primary(wanted: Wanted, deadline: float) -> configuration.Primary:
    if wanted.primary:
        return configuration.load_primary(wanted.primary)
    while True:
        try:
            found = configuration.find_primary(wanted.net_d)
        except CNIError:
            # Also one that cannot be read: others do not write their files at one stroke.
            if time.monotonic() >= deadline:
                raise
            time.sleep(_LOOK_EVERY)
            continue
        if found.path > wanted.conf_path:
            return found
        raise InvalidConfig(
            f"{found.path} stands before {configuration.NAME}, so the runtime would go on using it",
            fix="rename it so that it comes later, then install again",
        )


def install(wanted: Wanted, text: bytes, primary: str, tell: Tell) -> None:
    """Put everything in its place; what is in place already is left alone.  Raises ``CNIError``."""
    manifest = Manifest.load(wanted.net_d)
    path = wanted.conf_path
    if manifest.is_changed(path) and not wanted.force and contents(path) != text:
        raise InvalidConfig(
            f"{path} was changed since it was installed",
            fix=f"keep the change with --conf {path}, or give it up with --force",
        )
    if primary != manifest.primary:
        manifest = evolve(manifest, primary=primary)
        manifest.save()
    for target, data in programs(wanted).items():
        manifest = _put(manifest, target, data, 0o755, tell)
    manifest = refresh(wanted, manifest, tell)
    manifest = _put(manifest, path, text, 0o600, tell)
    for older in configuration.of_predecessors(path):
        # Not before: without both, the runtime would use the next network for a moment.
        manifest, done = manifest.put_away(older)
        if done:
            tell(f"put away {older}, which configured Multus before")


def refresh(wanted: Wanted, manifest: Manifest, tell: Tell) -> Manifest:
    """Write the node's kubeconfig, token and CA, if they are made here and changed."""
    if wanted.account is None or wanted.kubeconfig:
        return manifest
    for name, data in wanted.account.files().items():
        manifest = _put(manifest, os.path.join(manifest.folder, name), data, 0o600, tell)
    return manifest


def _put(manifest: Manifest, path: str, data: bytes, mode: int, tell: Tell) -> Manifest:
    manifest, changed = manifest.put(path, data, mode)
    if changed:
        tell(f"wrote {path}")
    return manifest


def programs(wanted: Wanted) -> dict[str, bytes]:
    """What the runtime is going to start, by path; raises ``InvalidConfig``."""
    target = os.path.join(wanted.bin_dir, "multus")
    if wanted.program:
        return {target: _program(wanted.program)}
    scripts = sysconfig.get_path("scripts")
    shim, program = os.path.join(scripts, "multus-shim"), os.path.join(scripts, "multus")
    if wanted.shim_only:
        return {target: _program(shim)}
    if contents(shim) is None:
        # In Python it is slower, and all the same faster than the whole program.
        return {target: launcher().encode()}
    # The shim starts what is beside it where no daemon is to serve the call.
    return {f"{target}-standalone": _program(program), target: _program(shim)}


def _program(path: str) -> bytes:
    data = contents(path)
    if data is None:
        raise InvalidConfig(
            f"{path} is not there",
            fix="name the program to install with --program",
        )
    return data


# --- Keeping it so --------------------------------------------------------------------------------


def watch(
    wanted: Wanted, installed: Installed, tell: Tell, stopped: Callable[[float], bool]
) -> None:
    """Install again whenever something that was installed changed, until *stopped* says so.

    The token of the service account is exchanged every hour or so, the cluster's network may be
    replaced, and its installer may delete what it does not know.  What cannot be done now is told
    and tried again.  What was uninstalled stays so.
    """
    said = ""
    while not stopped(_REFRESH_EVERY):
        try:
            if wanted.conf_path not in Manifest.load(wanted.net_d).written:
                if said != _GONE:
                    said = _GONE
                    tell(said)
                continue
            text, primary = configuration_for(wanted, installed, 0.0)
            install(wanted, text, primary, tell)
            said = ""
        except CNIError as error:
            if str(error) != said:
                said = str(error)
                tell(f"not refreshed: {said}")


# --- Taking it off --------------------------------------------------------------------------------


def uninstall(net_d: str, cni_dir: str, *, force: bool) -> Iterator[str]:
    """Undo the installation; yields what was done.  Raises ``CNIError``.

    While containers are attached, the program stays: without it their DEL would fail for ever, and
    so would their deletion.
    """
    manifest = Manifest.load(net_d)
    if not manifest.written:
        yield f"nothing is installed in {net_d}"
        return
    conf_path = os.path.join(net_d, configuration.NAME)
    # What was put away comes back first, so that the runtime has a network at every moment.
    confs = [path for path, each in manifest.written.items() if not each.sha256]
    confs += [conf_path] if conf_path in manifest.written else []
    paths = confs + [path for path in manifest.written if path not in confs]
    attached = [] if force else _attached(cni_dir)
    for path in paths:
        if attached and path not in confs:
            continue
        if path == conf_path and manifest.is_changed(path):
            yield f"{path} was changed since it was installed; it goes all the same"
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
    # Shims that find the mark wait for a daemon instead of doing without.
    for name in (os.fsdecode(MARK), FOLDERS):
        path = os.path.join(cni_dir, name)
        if os.path.exists(path):
            os.unlink(path)
            yield f"removed {path}, which a daemon left"


def _attached(cni_dir: str) -> list[str]:
    """The IDs of the containers that have a record there, or in another folder of the daemon's."""
    found: Mapping[str, None] = {
        each.request.container_id: None
        for folder in (cni_dir, *remembered(cni_dir))
        for each in Journal(folder).records()
        if not isinstance(each, CNIError)
    }
    return list(found)
