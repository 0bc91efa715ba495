"""Turns the Go Multus' settings into the two files of this one.

``daemon-config.json`` wins over the shim's configuration, as in the Go daemon.  Nothing is lost in
silence: a key is carried over, has an equivalent that is named, or is refused by name.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from attrs import field, frozen

from multus.api.errors import InvalidConfig
from multus.api.problem import Problem
from multus.cli.upstream import known

#: The folders of a node that the DaemonSet's containers see under the same path.
SHARED = ("/etc/cni/net.d", "/etc/cni/multus/net.d", "/var/lib/cni", "/run/multus")
#: Where the DaemonSet's daemon sees the node's root, and where the Go Multus' containers see it.
HOST = "/host"
_ROOTS = ("/hostroot", HOST)
_NET_D = "/host/etc/cni/net.d"
RUN = "/run/multus"


@frozen
class Carried:
    """Settings in this Multus' form.

    ``conf`` has keys of Multus' configuration, ``daemon`` keys of the daemon's settings.
    ``primary`` is the default network's file, or the folder that has it; ``net_d`` is the runtime's
    folder.  ``notes`` has a line for each key that became something else, ``refused`` a problem for
    each that cannot be carried over.
    """

    conf: Mapping[str, Any] = field(factory=dict)
    daemon: Mapping[str, Any] = field(factory=dict)
    primary: str = ""
    net_d: str = ""
    notes: tuple[str, ...] = ()
    refused: tuple[Problem, ...] = ()

    def require(self, where: str) -> Carried:
        """Raise ``InvalidConfig`` that names every refused key."""
        if self.refused:
            raise InvalidConfig.of(list(self.refused), where)
        return self


@frozen
class Carrying:
    """How settings are carried over.

    ``own`` are the configuration keys that this installation reads, ``served`` those of the
    daemon's settings.  ``in_pod``: this Multus' daemon runs in the DaemonSet's container, where a
    node's path may have another name; ``shared`` are the folders that have the same.  ``net_d`` is
    the runtime's folder on this node, when that is known: the thick plugin's container may have it
    under the name of another one.
    """

    own: Collection[str]
    served: Collection[str]
    in_pod: bool
    shared: tuple[str, ...] = SHARED
    net_d: str = ""

    def of(self, raw: Mapping[str, Any], *, in_container: bool) -> Carried:
        """What becomes of *raw*; *in_container*: its paths are those of the thick plugin's pod."""
        settings = known.canonical(raw)
        roots = self._roots(settings) if in_container else {}
        conf: dict[str, Any] = {}
        daemon: dict[str, Any] = {}
        notes: list[str] = []
        refused: list[Problem] = []
        for name, value in settings.items():
            key = known.KEYS.get(name)
            if key is None or key.fate == known.INERT:
                self._unknown(name, value, conf, notes)
                continue
            if key.path:
                value = _on_node(value, roots)
            if key.fate in (known.CONF, known.BOTH):
                self._into(conf, name, self._place(name, value), self.own, refused)
            if key.fate == known.INSTALLER:
                conf[name] = value
            if key.fate in (known.DAEMON, known.BOTH):
                self._into(daemon, name, self._place(name, value), self.served, refused)
            if key.fate == known.REFUSED and known.has_effect(value):
                refused.append(_problem(name, f"cannot be carried over: {key.text}"))
            if key.fate == known.INSTEAD and key.text and known.has_effect(value):
                notes.append(f"{name}: here {key.text}")
        if in_container and self.in_pod:
            daemon["chrootDir"] = HOST
        refused += self._unreachable(conf)
        refused += self._socket(daemon)
        primary, net_d = _primary(settings, roots), _folder(settings, roots)
        return Carried(conf, daemon, primary, net_d, tuple(notes), tuple(refused))

    def _roots(self, settings: Mapping[str, Any]) -> Mapping[str, str]:
        """The thick plugin container's folders that are the node's, and where they are there."""
        chroot = str(settings.get("chrootDir") or "").rstrip("/")
        folder = str(settings.get("cniConfigDir") or _NET_D).rstrip("/")
        net_d = {folder: self.net_d} if self.net_d else {}
        return {**net_d, **{each: "" for each in (chroot, *_ROOTS) if each}}

    def _unknown(self, name: str, value: Any, conf: dict[str, Any], notes: list[str]) -> None:
        if name in self.own:
            conf[name] = value
        elif known.has_effect(value):
            notes.append(f"{name}: left out, the Go Multus does not act on it")

    def _into(
        self,
        target: dict[str, Any],
        name: str,
        value: Any,
        readers: Collection[str],
        refused: list[Problem],
    ) -> None:
        if name in readers:
            target[name] = value
        elif known.has_effect(value):
            reason = "cannot be carried over: nothing that is installed here reads it"
            refused.append(_problem(name, reason))

    def _place(self, name: str, value: Any) -> Any:
        """A path as this Multus' daemon sees it; what is written for delegates stays."""
        if not self.in_pod or name in ("clusterNetwork", "cniDir", "socketDir"):
            return value
        if not known.KEYS[name].path:
            return value
        return _mapped(value, lambda path: path if self._is_shared(path) else HOST + path)

    def _is_shared(self, path: str) -> bool:
        return any(path == each or path.startswith(f"{each}/") for each in self.shared)

    def _socket(self, daemon: dict[str, Any]) -> Iterator[Problem]:
        """The shim here knows one folder; a link serves those who look in another one."""
        folder = str(daemon.pop("socketDir", RUN)).rstrip("/")
        if folder == RUN:
            return
        daemon["socketLinkDir"] = folder
        if self.in_pod and not self._is_shared(folder):
            reason = f"is {folder}, which the DaemonSet's containers do not see"
            yield _problem("socketDir", reason, f"use {RUN}, or a folder below it")

    def _unreachable(self, conf: Mapping[str, Any]) -> Iterator[Problem]:
        """Paths that have to be the same for the installer, the daemon and the node."""
        if not self.in_pod:
            return
        for name in ("clusterNetwork", "cniDir"):
            path = str(conf.get(name, ""))
            if path.startswith("/") and not self._is_shared(path):
                reason = f"is {path}, which the DaemonSet's containers do not see"
                yield _problem(name, reason, f"move it below one of {', '.join(self.shared)}")


def _problem(name: str, reason: str, fix: str = "") -> Problem:
    return Problem((name,), reason, fix or "remove the key from what the Go Multus left")


def _on_node(value: Any, roots: Mapping[str, str]) -> Any:
    def on_node(path: str) -> str:
        for root, place in roots.items():
            if path.rstrip("/") == root and place:
                return place
            if path.startswith(f"{root}/"):
                return os.path.normpath(place + path[len(root) :])
        return path

    return _mapped(value, on_node)


def _mapped(value: Any, change: Callable[[str], str]) -> Any:
    """*value* with each absolute path in it changed; names of objects stay."""
    if isinstance(value, str):
        return change(value) if value.startswith("/") else value
    if isinstance(value, (list, tuple)):
        return [_mapped(each, change) for each in value]
    if isinstance(value, dict):
        return {key: _mapped(each, change) for key, each in value.items()}
    return value


def _primary(settings: Mapping[str, Any], roots: Mapping[str, str]) -> str:
    folder = str(_on_node(settings.get("multusAutoconfigDir") or "", roots))
    return os.path.join(folder, str(settings.get("multusMasterCNI") or "")).rstrip("/")


def _folder(settings: Mapping[str, Any], roots: Mapping[str, str]) -> str:
    return str(_on_node(settings.get("cniConfigDir") or "", roots)).rstrip("/")
