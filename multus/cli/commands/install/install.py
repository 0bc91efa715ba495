"""Installs in steps; the node keeps working if it stops after any step.

The program comes first, then the files that it reads, the runtime's configuration last, so the
runtime never calls a missing program. Uninstalling uses the reverse order.
"""

from __future__ import annotations

import os
import sysconfig
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from multus.api.errors import CNIError, InvalidConfig
from multus.api.jsontext import decode_object
from multus.api.keys import CNI_DIR
from multus.cli.commands.install import configuration, older
from multus.cli.commands.install.account import NAME as KUBECONFIG
from multus.cli.commands.install.account import Account
from multus.cli.commands.install.files import FOLDER, Manifest, contents, make_folder
from multus.cli.commands.install.older import Older, Settings
from multus.cli.node import multus_part
from multus.cli.objects import Objects
from multus.cni.shim import launcher
from multus.daemon.spool import remove_mark

if TYPE_CHECKING:
    from multus.registry.loading import Installed

_LOOK_EVERY, _REFRESH_EVERY = 1.0, 5.0
_GONE = "Multus was uninstalled and is not reinstalled; to reinstall, run 'multus install'"

#: Receives messages about what was done.
Tell = Callable[[str], None]


@frozen
class Wanted:
    """What to install, and where.

    ``conf`` is a configuration to install unchanged, ``primary`` the file of the default network;
    if both are empty, the node's first network is the default. ``kubeconfig`` is an existing one;
    without it, and in a pod, ``account`` makes one. ``settings`` is a file with keys for the
    configuration, ``daemon_settings`` the daemon's own file. ``shim_only`` installs no program that
    needs Python on the node: every call goes to the daemon.
    """

    net_d: str
    bin_dir: str
    conf: str = ""
    primary: str = ""
    kubeconfig: str = ""
    account: Account | None = None
    settings: str = ""
    daemon_settings: str = ""
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


@frozen
class Plan:
    """What is to be installed: the configuration, and the file of its default network.

    ``older`` is the Multus that was here before, ``settings`` the installer's own keys.  ``daemon``
    is the daemon's file, for a node that has none yet.  ``notes`` tell what became of the older
    Multus' keys.
    """

    text: bytes
    primary: str = ""
    older: Older | None = None
    settings: Mapping[str, Any] = field(factory=dict)
    daemon: bytes = b""
    notes: tuple[str, ...] = ()


def plan_for(wanted: Wanted, installed: Installed, patience: float) -> Plan:
    """The valid configuration to install, with the settings of the Multus that it replaces.

    Waits up to *patience* seconds for a network that can be the default.  Raises ``CNIError``.
    """
    manifest = Manifest.load(wanted.net_d)
    if wanted.conf:
        text = configuration.given(wanted.conf)
        configuration.require_valid(text, installed, wanted.bin_dir)
        return Plan(text, settings=manifest.settings)
    before = older.find(wanted.net_d, wanted.bin_dir, manifest)
    own = manifest.settings
    if wanted.settings:
        # Without the option, a kubeconfig that was named stays.
        kept = {k: v for k, v in own.items() if k == "kubeconfig"}
        own = {**kept, **older.own_settings(wanted.settings, installed)}
    if wanted.kubeconfig:
        own = {**own, "kubeconfig": wanted.kubeconfig}
    if before is None and not manifest.written:
        older.require_known_past(wanted.net_d, wanted.bin_dir, own)
    settings = older.settings_for(
        before, own, installed, net_d=wanted.net_d, in_pod=wanted.shim_only
    )
    kubeconfig = wanted.kubeconfig_path or older.kubeconfig(settings, wanted.net_d)
    daemon, different = older.daemon_settings(
        settings, wanted.daemon_settings, kubeconfig, in_pod=wanted.shim_only
    )
    found = _primary(wanted, settings, manifest, time.monotonic() + patience)
    text = configuration.make(
        found,
        settings,
        kubeconfig=kubeconfig,
        bin_dir=wanted.bin_dir,
        standalone=not wanted.shim_only,
    )
    # The default network comes from a file, so an unreachable API does not matter.
    configuration.require_valid(text, installed, wanted.bin_dir, Objects({}))
    notes = (*settings.carried.notes, *different)
    return Plan(text, found.path if found else "", settings.older, own, daemon, notes)


def _primary(
    wanted: Wanted, settings: Settings, manifest: Manifest, deadline: float
) -> configuration.Primary | None:
    """The default network's file; None when the settings have the network itself or its name."""
    conf = settings.conf
    named = wanted.primary or str(settings.own.get("clusterNetwork", ""))
    if not named and settings.older and settings.older.replaced and "delegates" not in settings.own:
        # What it had is a copy of then; the file may have changed since.
        named = manifest.primary
    named = named or str(conf.get("clusterNetwork", ""))
    if not named and "delegates" in conf:
        return configuration.file_of(conf["delegates"], wanted.net_d)
    if named and not named.startswith("/"):
        return None
    folder = named or settings.carried.primary or wanted.net_d
    while True:
        try:
            return _primary_at(wanted, folder, "--primary" if wanted.primary else "clusterNetwork")
        except CNIError as error:
            # Retry unreadable files too: other installers do not write atomically.
            if time.monotonic() >= deadline or wanted.primary or isinstance(error, OutOfOrder):
                raise
            time.sleep(_LOOK_EVERY)


class OutOfOrder(InvalidConfig):
    """The runtime would use another file than the one to install."""


def _primary_at(wanted: Wanted, path: str, option: str) -> configuration.Primary:
    if not os.path.isdir(path) and path != wanted.net_d:
        return configuration.load_primary(path, option)
    manifest = Manifest.load(wanted.net_d)
    ours = wanted.conf_path if wanted.conf_path in manifest.written else ""
    found = configuration.find_primary(path, ours)
    if path == wanted.net_d and found.path < wanted.conf_path:
        raise OutOfOrder(
            f"{found.path} sorts before {configuration.NAME}, so the runtime would keep using it",
            fix="rename it so that it sorts later, then install again",
        )
    return found


def install(wanted: Wanted, plan: Plan, tell: Tell) -> None:
    """Install all files that are missing or different.

    Raises ``CNIError``.  A first installation that fails is undone.
    """
    manifest = Manifest.load(wanted.net_d)
    try:
        _install(wanted, plan, manifest, tell)
    except CNIError:
        if not manifest.written:
            with suppress(CNIError):  # the first error is the reason
                _undo(Manifest.load(wanted.net_d))
        raise


def _undo(manifest: Manifest) -> None:
    """Take back what a first installation wrote, the last first, and its manifest."""
    for path in reversed(list(manifest.written)):
        manifest, _ = manifest.take_back(path)
    manifest.forget()


def _install(wanted: Wanted, plan: Plan, manifest: Manifest, tell: Tell) -> None:
    path = wanted.conf_path
    if manifest.is_changed(path) and not wanted.force and contents(path) != plan.text:
        raise InvalidConfig(
            f"{path} was changed since it was installed",
            fix=f"keep the change with --conf {path}, or overwrite it with --force",
        )
    manifest = _remembered(manifest, plan, tell)
    for target, data in programs(wanted).items():
        manifest = _put(manifest, target, data, 0o755, tell)
    manifest = refresh(wanted, manifest, tell)
    if plan.daemon:
        make_folder(os.path.dirname(wanted.daemon_settings), 0o755)
        manifest = _put(manifest, wanted.daemon_settings, plan.daemon, 0o600, tell)
    manifest = _put(manifest, path, plan.text, 0o600, tell)
    for each in _replaced(plan, path):
        # Only now: without either file, the runtime would use the next network for a moment.
        manifest, done = manifest.put_away(each)
        if done:
            tell(f"backed up and removed {each}, an older configuration of Multus")
    remove_mark(_cni_dir(plan.text))


def _cni_dir(text: bytes) -> str:
    """The ``cniDir`` of the configuration *text*."""
    found = multus_part(configuration.NAME, decode_object(text, configuration.NAME))
    value = found.config.get("cniDir") if found else None
    return str(value or CNI_DIR.absent)


def _remembered(manifest: Manifest, plan: Plan, tell: Tell) -> Manifest:
    """The manifest with what the plan was made from; saved, and its notes told, if it is new."""
    before = plan.older.to_wire() if plan.older else manifest.older
    known = evolve(manifest, primary=plan.primary, older=before, settings=plan.settings)
    if known != manifest:
        known.save()
        for line in plan.notes:
            tell(line)
    return known


def _replaced(plan: Plan, path: str) -> list[str]:
    """The files of another Multus, which the runtime could use instead of *path*."""
    found = configuration.of_predecessors(path)
    if plan.older and plan.older.path not in ("", path, *found):
        found.append(plan.older.path)
    return found


def refresh(wanted: Wanted, manifest: Manifest, tell: Tell) -> Manifest:
    """Write the node's kubeconfig, token and CA, if they are generated and changed."""
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
    """The programs for the runtime, by path; raises ``InvalidConfig``."""
    target = os.path.join(wanted.bin_dir, "multus")
    if wanted.program:
        return {target: _program(wanted.program)}
    scripts = sysconfig.get_path("scripts")
    shim, program = os.path.join(scripts, "multus-shim"), os.path.join(scripts, "multus")
    if wanted.shim_only:
        return {target: _program(shim)}
    if contents(shim) is None:
        # The Python shim is slower than the C shim, but still faster than the full program.
        return {target: launcher().encode()}
    # The shim starts the program beside it when no daemon serves the call.
    return {f"{target}-standalone": _program(program), target: _program(shim)}


def _program(path: str) -> bytes:
    data = contents(path)
    if data is None:
        raise InvalidConfig(
            f"{path} does not exist",
            fix="name the program to install with --program",
        )
    return data


# --- Watching -------------------------------------------------------------------------------------


def watch(
    wanted: Wanted, installed: Installed, tell: Tell, stopped: Callable[[float], bool]
) -> None:
    """Reinstall whenever an installed file changes, until *stopped* returns true.

    The kubelet renews the service account's token about every hour, the cluster's network may be
    replaced, and its installer may delete unknown files. Failures are reported and retried. After
    an uninstall, nothing is reinstalled.
    """
    said = ""
    while not stopped(_REFRESH_EVERY):
        try:
            if wanted.conf_path not in Manifest.load(wanted.net_d).written:
                if said != _GONE:
                    said = _GONE
                    tell(said)
                continue
            install(wanted, plan_for(wanted, installed, 0.0), tell)
            said = ""
        except CNIError as error:
            if str(error) != said:
                said = str(error)
                tell(f"not refreshed: {said}")
