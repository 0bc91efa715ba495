"""Finds what another Multus had configured on this node, and takes its settings over.

What was found is kept in the manifest: the file is put away, and its settings stay in effect when
the configuration is made again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from multus.api import keys
from multus.api.errors import CNIError, InvalidConfig
from multus.api.jsontext import decode_object
from multus.api.problem import Problem
from multus.cli.commands.install.files import FOLDER, Manifest, contents
from multus.cli.node import MULTUS, conf_files
from multus.cli.upstream import known
from multus.cli.upstream.carrying import RUN, SHARED, Carried, Carrying

if TYPE_CHECKING:
    from multus.registry.loading import Installed

#: What the Go Multus' daemon reads, beside the runtime's configurations.
DAEMON_CONFIG = "daemon-config.json"
#: How the names of its files begin, which its entrypoints make.
_ITS_NAME = "00-multus."
#: What only the installer reads: it is not in the configuration that it writes.
OVERRIDE_NETWORK_NAME = keys.Key(
    "overrideNetworkName",
    keys.BOOLEAN,
    "Multus' network gets the name of the default network.",
    False,
)
_INSTALLER = tuple(name for name, key in known.KEYS.items() if key.fate == known.INSTALLER)
_LISTED = ("name", "cniVersion", "cniVersions", "disableCheck", "disableGC")


@frozen
class Older:
    """Another Multus' configuration: its file, its content, and the settings of its daemon.

    ``replaced``: an earlier installation has already put it away.  ``own``: the program that the
    runtime calls with it is this Multus', or there is none: its keys mean what they mean here.
    """

    path: str = ""
    whole: Mapping[str, Any] = field(factory=dict)
    daemon: Mapping[str, Any] | None = None
    replaced: bool = False
    own: bool = False

    @property
    def plugins(self) -> list[Mapping[str, Any]]:
        listed = self.whole.get("plugins")
        return [e for e in listed if isinstance(e, dict)] if isinstance(listed, list) else []

    @property
    def plugin(self) -> Mapping[str, Any]:
        """The configuration of Multus itself, without what the list around it says."""
        return next((each for each in self.plugins if _is_multus(each)), self.whole)

    @property
    def is_thick(self) -> bool:
        """Whether a daemon serves it: its settings and its paths are the daemon's."""
        return self.plugin.get("type") == known.THICK if self.whole else self.daemon is not None

    @property
    def raw(self) -> dict[str, Any]:
        """All its keys, as it reads them: the daemon's settings win."""
        listed = {key: self.whole[key] for key in _LISTED if key in self.whole}
        raw = {**known.canonical(self.plugin), **listed}
        return {**raw, **known.canonical(self.daemon or {})} if self.is_thick else raw

    def around(self, plugin: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """The plugins of its list, with *plugin* in Multus' place."""
        return [plugin if _is_multus(e) else e for e in self.plugins] or [plugin]

    def to_wire(self) -> dict[str, Any]:
        wire = {"path": self.path, "whole": self.whole, "daemon": self.daemon}
        return {**wire, "own": True} if self.own else wire


@frozen
class Settings:
    """What the new configuration is made with; ``own`` are the installer's own keys."""

    carried: Carried = field(factory=Carried)
    own: Mapping[str, Any] = field(factory=dict)
    older: Older | None = None

    @property
    def conf(self) -> dict[str, Any]:
        conf = {**self.carried.conf, **self.own}
        # Two ways to name the default network; the installer's own wins.
        if "clusterNetwork" in self.own:
            conf.pop("delegates", None)
        elif "delegates" in self.own:
            conf.pop("clusterNetwork", None)
        return conf


def find(net_d: str, bin_dir: str, manifest: Manifest) -> Older | None:
    """The Multus that the runtime uses now; else the one that was here before; None if neither.

    Raises ``CNIError`` for a file that cannot be decoded.
    """
    found = _in_use(net_d, bin_dir, manifest)
    daemon = contents(os.path.join(net_d, FOLDER, DAEMON_CONFIG))
    if found is None:
        kept = manifest.older
        found = Older(**kept, replaced=True) if kept else None
    if daemon is None:
        return found
    settings = decode_object(daemon, DAEMON_CONFIG)
    return evolve(found or Older(), daemon=settings)


def _in_use(net_d: str, bin_dir: str, manifest: Manifest) -> Older | None:
    for path in conf_files(net_d) if os.path.isdir(net_d) else ():
        entry = manifest.written.get(path)
        if entry is not None and entry.sha256:
            continue  # it was installed by us
        try:
            older = Older(path, decode_object(contents(path) or b"", path))
        except CNIError:
            if os.path.basename(path).startswith(_ITS_NAME):
                raise
            return None  # another network, which may still be being written
        if not _is_multus(older.plugin):
            return None
        own = older.plugin.get("type") != known.THICK and _is_own(os.path.join(bin_dir, "multus"))
        return evolve(older, own=own)
    return None


def _is_own(program: str) -> bool:
    """Whether no other Multus can have run from *program*: it is a shim or a script, or absent."""
    data = contents(program)
    return data is None or data.startswith(b"#!") or b"MULTUS_UNANSWERED" in data


def own_settings(path: str, installed: Installed) -> Mapping[str, Any]:
    """The keys in the installer's own file.

    Raises ``CNIError``, also for a key that nothing reads: it would have no effect.
    """
    data = contents(path)
    if data is None:
        raise InvalidConfig(f"--settings: {path} does not exist", fix="correct the path")
    own = known.canonical(decode_object(data, path))
    read = {*carrying(installed, in_pod=False).own, *_INSTALLER}
    unread = [
        Problem((name,), "is an unknown key", "correct or remove it")
        for name in own
        if name not in read
    ]
    if unread:
        raise InvalidConfig.of(unread, path)
    return own


def _settings_in(own: Mapping[str, Any]) -> bool:
    """Whether the installer gave more than a kubeconfig."""
    return bool(own.keys() - {"kubeconfig"})


def require_known_past(net_d: str, bin_dir: str, own: Mapping[str, Any]) -> None:
    """Raise ``InvalidConfig`` on a node whose Go Multus has taken its configuration away already.

    Its daemon removes the file when it ends; the shim stays.
    """
    shim = os.path.join(bin_dir, known.THICK)
    if not _settings_in(own) and os.path.exists(shim):
        raise InvalidConfig(
            f"{shim} is of the Go Multus' daemon, whose settings are neither in {net_d} nor given",
            fix=f"give them with --settings ('multus convert -f {DAEMON_CONFIG}' shows them), or"
            " remove that program when no setting is to be kept",
        )


def settings_for(
    older: Older | None, own: Mapping[str, Any], installed: Installed, *, net_d: str, in_pod: bool
) -> Settings:
    """The settings for a new configuration.

    Raises ``InvalidConfig``, with every key that cannot be carried over.
    """
    if older is None:
        return Settings(own=own)
    if older.is_thick and older.daemon is None and not _settings_in(own):
        raise InvalidConfig(
            f"{older.path} is of the Go Multus' daemon, whose settings are in its"
            f" {DAEMON_CONFIG}, and that is not on this node",
            fix=f"give them with --settings ('multus convert -f {DAEMON_CONFIG}' shows them), or"
            f" copy the file to {os.path.join(net_d, FOLDER)}",
        )
    rules = carrying(installed, in_pod=in_pod, shared=(net_d, *SHARED[1:]), net_d=net_d)
    carried = rules.of(older.raw, in_container=older.is_thick)
    carried = evolve(carried, refused=tuple(e for e in carried.refused if e.path[0] not in own))
    return Settings(carried.require(older.path or DAEMON_CONFIG), own, older)


def carrying(
    installed: Installed, *, in_pod: bool, shared: Iterable[str] = SHARED, net_d: str = ""
) -> Carrying:
    """The rules, with the keys that this installation reads."""
    from multus.daemon.keys import KEYS

    own = {key.top for key in (*keys.OWN, *installed.hooks.configuration_keys())}
    served = {key.top for key in KEYS}
    return Carrying(own, served, in_pod, tuple(dict.fromkeys(shared)), net_d)


def kubeconfig(settings: Settings, net_d: str) -> str:
    """The kubeconfig of the older Multus, for a node where none is given.

    Raises ``InvalidConfig`` for credentials that end with the Go Multus' pod.
    """
    if settings.older is None or "kubeconfig" in settings.own:
        return ""
    path = str(settings.older.raw.get("kubeconfig") or "")
    folders = (os.path.join(net_d, FOLDER), RUN)
    if settings.older.is_thick or os.path.dirname(path) in folders:
        raise InvalidConfig(
            "the Go Multus asks the API server with the credentials of its pod, which end with it",
            where=settings.older.path or DAEMON_CONFIG,
            key="kubeconfig",
            fix="name a kubeconfig of this node with --kubeconfig",
        )
    if path and not os.path.exists(path):
        raise InvalidConfig(
            f"is {path}, which does not exist",
            where=settings.older.path,
            key="kubeconfig",
            fix="name another one with --kubeconfig",
        )
    return path


def daemon_settings(
    settings: Settings, path: str, kubeconfig: str, *, in_pod: bool
) -> tuple[bytes, tuple[str, ...]]:
    """What to write to the daemon's file at *path*, and a line for each key that differs there.

    *kubeconfig* is the configuration's: the daemon needs it for calls of a Go Multus' shim.
    Nothing is written when it exists, or comes from a ConfigMap.  Raises ``InvalidConfig`` with the
    keys that it leaves out, and with those that the daemon could not read.
    """
    older = settings.older
    if older is None or not older.is_thick:
        return b"", ()
    carried = settings.carried.daemon if older.daemon is not None else {}
    # A false value can differ from an absent one: it is written, too.
    wanted = {k: v for k, v in carried.items() if v not in (None, "")}
    kubeconfig = "" if in_pod else str(settings.own.get("kubeconfig") or kubeconfig)
    own = {"kubeconfig": kubeconfig} if kubeconfig else {}
    data = contents(path)
    if data is None and not in_pod:
        wanted |= own
        _require_readable(wanted)
        return (json.dumps(wanted, indent=2).encode() + b"\n" if wanted else b""), ()
    present = decode_object(data, path, comments=True) if data is not None else {}
    lacking = [
        Problem((name,), f"is not in {path}", "add it ('multus convert' shows all of them)")
        for name in _asked(wanted, present, path)
    ]
    if lacking:
        raise InvalidConfig.of(lacking, DAEMON_CONFIG)
    without = [f"{name}: {path} has none" for name in _asked(own, present, path)]
    different = (k for k, v in {**wanted, **own}.items() if k in present and present[k] != v)
    return b"", (*without, *(f"{name}: {path} has another value" for name in different))


def _require_readable(daemon: Mapping[str, Any]) -> None:
    from multus.daemon.settings import problems

    wrong = problems(daemon)
    if wrong:
        raise InvalidConfig.of(wrong, DAEMON_CONFIG)


def _asked(wanted: Mapping[str, Any], present: Mapping[str, Any], path: str) -> list[str]:
    """The keys of *wanted* without which the daemon's file at *path* means something else."""
    from multus.daemon.settings import Settings

    lacking = {name: value for name, value in wanted.items() if name not in present}
    _require_readable(lacking)
    without = Settings.of(present, path, {})
    return [
        name
        for name, value in lacking.items()
        if evolve(Settings.of({**present, name: value}, path, {}), raw=without.raw) != without
    ]


def _is_multus(config: Mapping[str, Any]) -> bool:
    return config.get("type") in MULTUS
