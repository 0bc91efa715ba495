"""Installs in steps; the node keeps working if it stops after any step.

The program comes first, then the files that it reads, the runtime's configuration last, so the
runtime never calls a missing program. Uninstalling uses the reverse order.
"""

from __future__ import annotations

import os
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.errors import CNIError, InvalidConfig
from multus.api.jsontext import decode_object
from multus.api.keys import CNI_DIR
from multus.cli.commands.install import configuration
from multus.cli.commands.install.files import Manifest, contents, make_folder
from multus.cli.commands.install.planning import Plan, Wanted, plan_for
from multus.cli.node import multus_part
from multus.cni.shim import launcher
from multus.daemon.spool import remove_mark

if TYPE_CHECKING:
    from multus.registry.loading import Installed

_REFRESH_EVERY = 5.0
_GONE = "Multus was uninstalled and is not reinstalled; to reinstall, run 'multus install'"

#: Receives messages about what was done.
Tell = Callable[[str], None]


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
    if contents(path) != plan.text:
        _keep(wanted, plan, manifest, tell)
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


def _keep(wanted: Wanted, plan: Plan, manifest: Manifest, tell: Tell) -> None:
    """Keep a copy of the user's own configuration, before another one replaces it.

    Raises ``InvalidConfig`` for one that was changed by hand, unless it is forced.
    """
    path = wanted.conf_path
    is_changed = manifest.is_changed(path)
    if is_changed and not wanted.force:
        raise InvalidConfig(
            f"{path} was changed since it was installed",
            fix=f"keep the change with --conf {path}, or overwrite it with --force",
        )
    if is_changed or manifest.given.encode() != plan.given:
        copy = manifest.keep_changed(path)
        if copy:
            tell(f"kept a copy of {path}: {copy}")


def _cni_dir(text: bytes) -> str:
    """The ``cniDir`` of the configuration *text*."""
    found = multus_part(configuration.NAME, decode_object(text, configuration.NAME))
    value = found.config.get("cniDir") if found else None
    return str(value or CNI_DIR.absent)


def _remembered(manifest: Manifest, plan: Plan, tell: Tell) -> Manifest:
    """The manifest with what the plan was made from; saved, and its notes told, if it is new."""
    before = plan.older.to_wire() if plan.older else manifest.older
    known = evolve(
        manifest,
        primary=plan.primary,
        older=before,
        settings=plan.settings,
        given=plan.given.decode(),
    )
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
            configuration.require_first(wanted.conf_path)
            said = ""
        except CNIError as error:
            if str(error) != said:
                said = str(error)
                tell(f"not refreshed: {said}")
