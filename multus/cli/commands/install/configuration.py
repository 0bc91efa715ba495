"""Generates Multus' configuration, with the node's previous network as its default."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from attrs import frozen

from multus.api.errors import CNIError, InvalidConfig, TryAgainLater
from multus.api.jsontext import decode_object
from multus.api.network import capabilities_of
from multus.api.versions import IMPLICIT, highest_common
from multus.cli.commands.install.files import contents
from multus.cli.commands.install.older import OVERRIDE_NETWORK_NAME, Settings
from multus.cli.documents import read
from multus.cli.node import conf_files, is_multus

NAME = "00-multus.conflist"
NETWORK = "multus-cni-network"


@frozen
class Primary:
    """The network that the runtime used before: its file, and the content."""

    path: str
    config: Mapping[str, Any]

    @property
    def plugins(self) -> Sequence[Mapping[str, Any]]:
        listed = self.config.get("plugins")
        return listed if isinstance(listed, list) else [self.config]


def find_primary(net_d: str, ours: str = "") -> Primary:
    """The first configuration in *net_d* of another plugin; *ours* is Multus' own file.

    Raises ``TryAgainLater`` when there is none yet, ``InvalidConfig`` for an unreadable one, since
    runtimes differ in whether they skip it.
    """
    for path in conf_files(net_d) if os.path.isdir(net_d) else ():
        if path == ours:
            continue  # it may be damaged: it is written anew
        whole = _whole(path)
        if not is_multus(whole):
            return Primary(path, whole)
    raise TryAgainLater(
        f"{net_d} has no network yet that can be the default",
        fix="install the cluster's network first, use --wait, or name a network with --primary",
    )


def _whole(path: str) -> Mapping[str, Any]:
    try:
        return decode_object(contents(path) or b"", path)
    except CNIError as error:
        raise InvalidConfig(f"{error}", fix="repair or remove it, then install again") from error


def require_first(path: str) -> None:
    """Raise ``InvalidConfig`` for another plugin's file that the runtime would use before *path*.

    Files of another Multus are put away.
    """
    folder = os.path.dirname(path)
    for other in conf_files(folder) if os.path.isdir(folder) else ():
        if other >= path:
            return
        if not is_multus(_whole(other)):
            raise InvalidConfig(
                f"{other} sorts before {NAME}, so the runtime would keep using it",
                fix="rename it so that it sorts later, or remove it, then install again",
            )


def of_predecessors(path: str) -> list[str]:
    """The files before *path* that configure Multus: the runtime would use them instead."""
    found = []
    for other in conf_files(os.path.dirname(path)):
        if other >= path:
            break
        if is_multus(decode_object(contents(other) or b"", other)):
            found.append(other)
    return found


def load_primary(path: str, option: str = "--primary") -> Primary:
    """The network in the file at *path*, which *option* names; raises ``CNIError``."""
    data = contents(path)
    if data is None:
        raise InvalidConfig(
            f"{option}: {path} does not exist",
            fix="correct the path, or name another network with --primary",
        )
    whole = decode_object(data, path)
    if is_multus(whole):
        raise InvalidConfig(
            f"{option}: {path} configures Multus itself",
            fix="name another network",
        )
    return Primary(os.path.abspath(path), whole)


def file_of(delegates: Any, net_d: str) -> Primary | None:
    """The file in *net_d* that *delegates* is a copy of; None when there is none."""
    if not isinstance(delegates, list) or len(delegates) != 1:
        return None
    for path in conf_files(net_d):
        try:
            whole = decode_object(contents(path) or b"", path)
        except CNIError:
            continue
        if whole == delegates[0]:
            return Primary(path, whole)
    return None


def make(
    primary: Primary | None, settings: Settings, *, kubeconfig: str, bin_dir: str, standalone: bool
) -> bytes:
    """The configuration's text; *primary* is None when the settings name the default network.

    Version and capabilities are those of the primary: the runtime supports that version, and keeps
    passing port mappings.
    """
    conf = settings.conf
    plugin: dict[str, Any] = {"type": "multus"}
    if primary is not None:
        if conf.pop("delegates", None) and "cniVersion" not in settings.own:
            # The version was that of the file, too, which may have changed since.
            conf.pop("cniVersion", None)
        plugin["clusterNetwork"] = primary.path
    elif settings.older and not settings.older.own and len(conf.get("delegates", ())) > 1:
        # The Go Multus counts interfaces by position, also those of 'delegates', and leaves the
        # default route to the last of them.
        conf.setdefault("naming", "npwg")
        conf.setdefault("defaultRoute", "last")
    kubeconfig = str(settings.own.get("kubeconfig") or kubeconfig)
    if kubeconfig:
        plugin["kubeconfig"] = kubeconfig
    if bin_dir != "/opt/cni/bin":
        plugin["binDir"] = bin_dir
    if not standalone:
        plugin["standalone"] = False
        conf.pop("standalone", None)
    capabilities = {**conf.pop("capabilities", {}), **_capabilities(primary)}
    if capabilities:
        plugin["capabilities"] = capabilities
    listed = _listed(conf, primary)
    for key in ("type", "clusterNetwork", "kubeconfig") if primary else ("type", "kubeconfig"):
        conf.pop(key, None)
    plugin |= conf
    older = settings.older
    whole = {**listed, "plugins": older.around(plugin) if older else [plugin]}
    return json.dumps(whole, indent=2).encode() + b"\n"


def _listed(conf: dict[str, Any], primary: Primary | None) -> dict[str, Any]:
    """What stands around the plugin; taken out of *conf*."""
    network = primary.config if primary else {}
    given: dict[str, Any] = {
        key: conf.pop(key)
        for key in ("cniVersion", "cniVersions", "name", "disableCheck", "disableGC")
        if key in conf
    }
    versions = [str(network.get("cniVersion") or IMPLICIT)]
    more = network.get("cniVersions")
    versions += [str(each) for each in more] if isinstance(more, list) else []
    ours: dict[str, Any] = {"cniVersion": highest_common(versions) or versions[0], "name": NETWORK}
    if conf.pop(OVERRIDE_NETWORK_NAME.name, False) and primary:
        given["name"] = network.get("name", NETWORK)
    return {**ours, **given}


def _capabilities(primary: Primary | None) -> dict[str, bool]:
    plugins = primary.plugins if primary else ()
    objects = (each for each in plugins if isinstance(each, dict))
    return {name: True for each in objects for name in sorted(capabilities_of(each))}


def given(path: str) -> bytes:
    """Check a configuration of the user; raises ``InvalidConfig`` with every invalid line."""
    reading = read(path)
    if reading.findings:
        said = "; ".join(f"{each.place}: {each.reason}" for each in reading.findings)
        raise InvalidConfig(f"not installed: {path} cannot be read: {said}")
    return contents(path) or b""
