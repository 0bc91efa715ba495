"""Plans an installation: what the configuration will be, checked before anything is written."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from multus.api.errors import CNIError, InvalidConfig
from multus.cli.commands.install import checking, configuration, older
from multus.cli.commands.install.account import NAME as KUBECONFIG
from multus.cli.commands.install.account import Account
from multus.cli.commands.install.files import FOLDER, Manifest
from multus.cli.commands.install.older import Older, Settings
from multus.cli.objects import Objects

if TYPE_CHECKING:
    from multus.api.kubernetes import Api
    from multus.registry.loading import Installed

#: Between two looks for a network that can be the default, in seconds.
_LOOK_EVERY = 1.0


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
    Multus' keys, ``warnings`` what its networks do not find yet.  ``given`` is the text if it is
    the user's own.
    """

    text: bytes
    primary: str = ""
    older: Older | None = None
    settings: Mapping[str, Any] = field(factory=dict)
    daemon: bytes = b""
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    given: bytes = b""


def plan_for(wanted: Wanted, installed: Installed, patience: float) -> Plan:
    """The valid configuration to install, with the settings of the Multus that it replaces.

    Waits up to *patience* seconds for a network that can be the default.  Raises ``CNIError``.
    """
    manifest = Manifest.load(wanted.net_d)
    given = _given(wanted, manifest)
    if given:
        plan = Plan(given, given=given, settings=manifest.settings)
        return _checked(plan, wanted, installed)
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
    notes = (*settings.carried.notes, *different)
    plan = Plan(text, found.path if found else "", settings.older, own, daemon, notes)
    # The default network comes from a file, so an unreachable API does not matter.
    return _checked(plan, wanted, installed, Objects({}))


def _given(wanted: Wanted, manifest: Manifest) -> bytes:
    """The configuration that ``--conf`` names, or named before; b"" for one that is to be made.

    Raises ``InvalidConfig`` for options that would replace the one before.
    """
    if wanted.conf:
        return configuration.given(wanted.conf)
    options = {
        "--primary": wanted.primary,
        "--kubeconfig": wanted.kubeconfig,
        "--settings": wanted.settings,
    }
    asked = [name for name, value in options.items() if value]
    if not manifest.given or not asked:
        return manifest.given.encode()
    # The DaemonSet's options are for all of its nodes.
    if wanted.force or wanted.shim_only:
        return b""
    raise InvalidConfig(
        f"{wanted.conf_path} is your own, installed with --conf: {asked[0]} would replace it",
        fix="change your file, and install it with --conf; or replace it with --force",
    )


def _checked(plan: Plan, wanted: Wanted, installed: Installed, api: Api | None = None) -> Plan:
    """The plan with its warnings; raises ``CNIError`` for one that would not work here."""
    conf = checking.configured(plan.text, installed)
    networks = checking.networks(conf, installed, wanted.bin_dir, api)
    if wanted.shim_only:
        return plan  # a pod does not see what the node has
    made = wanted.kubeconfig_path if wanted.account and not wanted.kubeconfig else ""
    checking.require_kubeconfig(conf, made)
    warnings = checking.require_served(
        networks, conf, installed, wanted.bin_dir, force=wanted.force
    )
    return evolve(plan, warnings=warnings)


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
        except CNIError:
            # Retry unreadable files too: other installers do not write atomically.
            if time.monotonic() >= deadline or wanted.primary:
                raise
            time.sleep(_LOOK_EVERY)


def _primary_at(wanted: Wanted, path: str, option: str) -> configuration.Primary:
    if not os.path.isdir(path) and path != wanted.net_d:
        return configuration.load_primary(path, option)
    manifest = Manifest.load(wanted.net_d)
    ours = wanted.conf_path if wanted.conf_path in manifest.written else ""
    return configuration.find_primary(path, ours)
