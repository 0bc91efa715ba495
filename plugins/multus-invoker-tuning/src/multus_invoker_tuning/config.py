"""The keys of a tuning configuration, and which sysctls the node allows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

from multus.api import regular
from multus.api.errors import InvalidConfig, IOFailure
from multus.inprocess import reader_of
from multus.netlink import links

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.reader import Reader

#: Where the backups are, unless ``dataDir`` says it.
FOLDER = "/run/cni/tuning"
#: Regular expressions of allowed sysctls, one a line; without the file every network sysctl is.
ALLOWED = "/etc/cni/tuning/allowlist.conf"

_LARGEST = 64 * 1024
_MOST = 2**31 - 1
#: The longest name of a sysctl that is compared with the node's expressions.
_LONGEST = 255


class Config(NamedTuple):
    """The keys.  ``mac`` "", ``mtu`` 0 and None stand for no change.

    ``sysctls`` maps names below ``net/``, with slashes, to values.

    Source: the documentation of the reference plugin.
    """

    folder: str
    sysctls: Mapping[str, str]
    mac: str
    promiscuous: bool
    mtu: int
    allmulti: bool | None
    txqlen: int | None

    @classmethod
    def read(cls, invocation: Invocation) -> Config:
        """Read the configuration; raises ``InvalidConfig`` with the key and the problem.

        ``args.cni`` precedes ``runtimeConfig``, which precedes ``CNI_ARGS`` and the own keys.
        """
        own = reader_of(invocation)
        args = own.inner("args").inner("cni")
        runtime = own.inner("runtimeConfig").text("mac")
        mac = args.text("mac") or runtime or invocation.args.get("MAC") or own.text("mac")
        first = {key: args if args.raw.get(key) is not None else own for key in _OPTIONS}
        return cls(
            folder=own.path("dataDir") or FOLDER,
            sysctls=_sysctls(own, args, invocation.ifname),
            mac=links.canonical_mac(mac),
            promiscuous=first["promisc"].boolean("promisc"),
            mtu=first["mtu"].integer("mtu", within=range(_MOST)),
            allmulti=_switch(first["allmulti"], "allmulti"),
            txqlen=_number(first["txQLen"], "txQLen"),
        )

    @property
    def changes_link(self) -> bool:
        """Whether an option of the interface is set, which DEL restores."""
        chosen = (self.allmulti, self.txqlen)
        return bool(self.mac or self.mtu or self.promiscuous) or chosen != (None, None)


_OPTIONS = ("promisc", "mtu", "allmulti", "txQLen")


def _switch(reader: Reader, key: str) -> bool | None:
    return None if reader.raw.get(key) is None else reader.boolean(key)


def _number(reader: Reader, key: str) -> int | None:
    return None if reader.raw.get(key) is None else reader.integer(key, within=range(_MOST))


def _sysctls(own: Reader, args: Reader, ifname: str) -> dict[str, str]:
    found = {}
    for reader in (own, args):
        inner = reader.inner("sysctl")
        for key in inner.raw:
            found[_name(inner, key, ifname)] = inner.text(key)
    if found:
        _require_allowed([*own.mapping("sysctl"), *args.mapping("sysctl")], own)
    return found


def _name(reader: Reader, key: str, ifname: str) -> str:
    """The name below ``net/``: dots are slashes, ``IFNAME`` is the interface's name."""
    path = key.replace(".", "/").replace("IFNAME", ifname, 1)
    parts = path.split("/")
    outside = parts[0] != "net" or len(parts) < 2 or {"", "..", "."} & set(parts)
    if outside or len(path) > _LONGEST:
        raise reader.error(key, "is not a sysctl of the network", "use one that begins with net.")
    return "/".join(parts[1:])


def _require_allowed(keys: list[str], reader: Reader) -> None:
    try:
        data = regular.read(ALLOWED, _LARGEST + 1, follow=True)
        text = data.decode()
    except FileNotFoundError as error:
        if not os.path.islink(ALLOWED):
            return
        # A list that went away allows nothing.
        raise IOFailure(f"{ALLOWED} is a link to no file", fix="correct it") from error
    except (OSError, ValueError) as error:
        raise IOFailure(f"{ALLOWED} cannot be read: {error}", fix="correct it") from error
    if len(data) > _LARGEST:
        # A part of an expression may allow more than the whole.
        raise IOFailure(f"{ALLOWED} has more than {_LARGEST} bytes", fix="make it smaller")
    try:
        allowed = [re.compile(line.strip()) for line in text.splitlines() if line.strip()]
    except re.error as error:
        raise InvalidConfig(f"{ALLOWED} has an expression that is wrong: {error}") from error
    for key in keys:
        if not any(each.search(key) for each in allowed):
            raise reader.inner("sysctl").error(
                key, f"is not allowed by {ALLOWED}", "remove it, or ask the node's administrator"
            )
