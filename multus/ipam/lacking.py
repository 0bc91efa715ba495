"""What an ``ipam`` object needs and does not find: looked up after a plugin has failed.

The reference IPAM plugins say what went wrong with code 999 and in their own words.  These
functions never read those words: they look at the configuration and at the node.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from multus.api.errors import AddressesExhausted, CNIError, InvalidConfig, NotStarted
from multus.api.execute import Executor
from multus.ipam import require_valid, usage
from multus.ipam.settings import reader_of

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.reader import Reader

#: Where the reference dhcp plugin finds its daemon.
_DHCP_SOCKET = "/run/cni/dhcp.sock"


def lacking(invocation: Invocation) -> Iterator[CNIError]:
    """What is wrong with the addresses that the invocation's ``ipam`` object asks for."""
    reader = reader_of(invocation)
    kind = reader.text("type")
    if not kind:
        return
    missing = _missing_program(invocation, kind)
    if missing is not None:
        yield missing
    if kind == "dhcp":
        yield from () if missing is not None else _dhcp(invocation, reader)
    else:
        # Without its program too: it may be carried out in-process.
        try:
            require_valid(invocation.config)
        except InvalidConfig as error:
            yield error
            return
        if kind == "host-local":
            yield from _full(invocation)


def _missing_program(invocation: Invocation, kind: str) -> CNIError | None:
    try:
        Executor(invocation.folders(), invocation.session.chroot).find(kind)
    except NotStarted as error:
        return NotStarted(f"is {kind!r}: {error.reason}", key="ipam.type", fix=error.fix)
    return None


def _dhcp(invocation: Invocation, reader: Reader) -> Iterator[CNIError]:
    path = reader.text("daemonSocketPath") or _DHCP_SOCKET
    if not os.path.exists(f"{invocation.session.chroot}{path}"):
        yield InvalidConfig(
            f"is 'dhcp', and the daemon of that plugin does not run: {path} does not exist",
            key="ipam.type",
            fix="start 'dhcp daemon' on the node",
        )


def _full(invocation: Invocation) -> Iterator[CNIError]:
    """The range sets of a host-local configuration that have no free address."""
    # The binary runs where *chroot* leads, and so does its store.
    for each in usage.of(invocation.config, invocation.session.chroot):
        if each.used >= each.size:
            yield AddressesExhausted(
                f"has no free address in range set {each.spans}: {each.used} of {each.size} are in"
                f" use in {each.directory}",
                key="ipam",
                fix="enlarge the range, or run 'multus gc' if containers are gone",
            )
