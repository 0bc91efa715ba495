"""Reading a plugin's configuration, and what a runtime requests beside it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from multus.api.names import interface_problem
from multus.api.reader import Reader
from multus.netlink import Refused, links

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from multus.api.network import Invocation

_BACKENDS = ("iptables", "nftables")


def requested_mac(invocation: Invocation, *, by_args: bool = True) -> str:
    """The hardware address that is requested, as the kernel shows it; "" when none is.

    ``runtimeConfig.mac`` precedes ``args.cni.mac`` (with *by_args*), which precedes ``MAC`` of
    ``CNI_ARGS``, as in the reference plugins.
    """
    reader = reader_of(invocation)
    asked = reader.inner("runtimeConfig").text("mac")
    if by_args:
        asked = asked or reader.inner("args").inner("cni").text("mac")
    return links.canonical_mac(asked or invocation.args.get("MAC", ""))


def masquerade_backend(reader: Reader) -> str | None:
    """The backend that the keys ``ipMasq`` and ``ipMasqBackend`` ask for.

    "" is the machine's; None: nothing is masqueraded.
    """
    backend = reader.text("ipMasqBackend")
    if backend and backend not in _BACKENDS:
        known = ", ".join(_BACKENDS)
        raise reader.error("ipMasqBackend", f"is {backend!r}", f"use one of {known}")
    return backend if reader.boolean("ipMasq") else None


def require_nameable(reader: Reader, key: str, name: str) -> None:
    """Raise ``InvalidConfig`` when no interface can have this *name*, the value of *key*."""
    problem = interface_problem(name) if name else None
    if problem is not None:
        raise reader.error(key, f"{problem}: {name!r:.100}", "use the name of an interface")


@contextmanager
def naming(reader: Reader, key: str, fixes: Mapping[int, str]) -> Iterator[None]:
    """Raise ``InvalidConfig`` for the value of *key* when the kernel refuses it inside.

    *fixes* are by the kernel's errno; another one is raised as it is.
    """
    try:
        yield
    except Refused as error:
        if error.errno not in fixes:
            raise
        said = f"is {reader.raw.get(key)!r}, and the kernel refuses it: {error}"
        raise reader.error(key, said, fixes[error.errno]) from error


def reader_of(invocation: Invocation) -> Reader:
    """Typed access to the plugin's configuration; errors name the network."""
    return Reader(invocation.config, f"network {invocation.config.get('name')!r}")
