"""Reads a node's files: their paths, and Multus' configuration among them."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from multus.api.errors import CNIError, InvalidConfig, IOFailure
from multus.api.jsontext import decode_object
from multus.api.keys import NETWORK_SPELLING
from multus.api.spelling import spelled

NET_D = "/etc/cni/net.d"
BIN_DIR = "/opt/cni/bin"
DAEMON_SETTINGS = "/etc/cni/multus/daemon.json"
_ENDINGS = (".conf", ".conflist", ".json")
#: The type of a default network that stands for the node's own, which is not known.
DEFAULT_TYPE = "default-network"
#: The types of plugin that are Multus; the second is the shim of the Go Multus' daemon.
MULTUS = ("multus", "multus-shim")


class NotConfigured(InvalidConfig):
    """There is no configuration of Multus."""


@frozen
class NodeConf:
    """Multus' part of a configuration file: ``config`` is what the runtime passes on stdin.

    ``key`` is its path in the file: empty, or ``("plugins", 0)`` in a list.
    """

    path: str
    config: Mapping[str, Any]
    key: tuple[str | int, ...] = ()


def conf_files(net_d: str) -> list[str]:
    """The files in *net_d* that a runtime reads, in its order; raises ``IOFailure``."""
    try:
        names = sorted(os.listdir(net_d))
    except OSError as error:
        raise IOFailure(
            f"cannot list {net_d}: {error.strerror}: is this a node? name the folder, or a"
            " configuration with --conf"
        ) from error
    return [os.path.join(net_d, name) for name in names if name.endswith(_ENDINGS)]


def multus_part(path: str, whole: Mapping[str, Any]) -> NodeConf | None:
    """Multus' configuration in the decoded file *whole*; None if it configures another plugin."""
    whole = spelled(whole, NETWORK_SPELLING)
    if whole.get("type") == "multus":
        return NodeConf(path, whole)
    plugins = whole.get("plugins")
    if isinstance(plugins, list):
        for index, each in enumerate(plugins):
            if isinstance(each, dict) and each.get("type") == "multus":
                # Like libcni: copy only the list's name and versions.
                given = {k: whole[k] for k in ("name", "cniVersion", "cniVersions") if k in whole}
                return NodeConf(path, {**each, **given}, ("plugins", index))
    return None


def is_multus(whole: Mapping[str, Any]) -> bool:
    """Whether the decoded file *whole* configures a Multus, this one or the Go Multus."""
    plugins = whole.get("plugins")
    listed = plugins if isinstance(plugins, list) else []
    return any(isinstance(each, dict) and each.get("type") in MULTUS for each in (whole, *listed))


def load_conf(path: str) -> NodeConf:
    """Multus' configuration in the file at *path*; raises ``CNIError``."""
    whole = decode_object(_read(path), path)
    found = multus_part(path, whole)
    if found is None:
        raise NotConfigured(
            f"{path} has no plugin of type 'multus'",
            fix="name another file with --conf",
        )
    return found


def find_conf(net_d: str = NET_D) -> NodeConf:
    """Multus' configuration in *net_d*: the first file that has one; raises ``CNIError``."""
    broken: list[CNIError] = []
    for path in conf_files(net_d):
        try:
            found = multus_part(path, decode_object(_read(path), path))
        except CNIError as error:
            broken.append(error)
            continue
        if found is not None:
            return found
    if broken:
        raise broken[0]
    raise NotConfigured(
        f"no file in {net_d} has a plugin of type 'multus'",
        fix="run 'multus install', or name a configuration with --conf",
    )


def others(net_d: str) -> Iterator[str]:
    """The configuration files of other plugins, including unreadable ones."""
    for path in conf_files(net_d):
        try:
            if not is_multus(decode_object(_read(path), path)):
                yield path
        except CNIError:
            yield path


def read_regular(path: str, most: int) -> bytes:
    """Read up to *most* bytes of a regular file; ``OSError`` for other kinds; never blocks."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", path)
        return file.read(most)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        raise IOFailure(
            f"cannot read {path}: {error.strerror}",
            fix="correct the path",
        ) from error
