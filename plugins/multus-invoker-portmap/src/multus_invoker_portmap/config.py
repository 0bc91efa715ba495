"""The keys of a portmap configuration, and the mappings that a runtime requests."""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api.errors import InvalidConfig
from multus.inprocess import reader_of
from multus.netlink import addresses, iptables
from multus.netlink.nftexpressions import PROTOCOLS

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.reader import Reader

BACKENDS = ("iptables", "nftables")
_CONDITIONS = {4: "conditionsV4", 6: "conditionsV6"}
# Kubernetes uses 14 and 15.
_DEFAULT_BIT = 13
PORTS = range(1, 65536)
# The option, which may be shortened, names a program that iptables runs.
_RUNS_A_PROGRAM = re.compile(r"-[^-]*M|--mo")


class Forward(NamedTuple):
    """One mapping; ``host_ip`` is "" for every address of the host, ``version`` its family or 0.

    ``spelled`` is the protocol as it was requested: the reference plugin has rules for "tcp" and
    for "TCP".
    """

    host_port: int
    container_port: int
    spelled: str
    host_ip: str
    version: int

    @property
    def protocol(self) -> str:
        """The protocol's name in lower case."""
        return self.spelled.lower()

    def applies_to(self, version: int) -> bool:
        """Whether it is for containers' addresses of this family (4 or 6)."""
        return self.version in (0, version)


class Config(NamedTuple):
    """The keys, and the mappings of ``runtimeConfig``.

    ``backend`` is never "".  ``mark_chain`` is the chain, of another program, that marks packets to
    be masqueraded, or ""; else ``mark_bit`` is the mark.  ``conditions`` are arguments of iptables
    for each family.

    Source: the documentation of the reference plugin.
    """

    network: str
    container_id: str
    forwards: tuple[Forward, ...]
    backend: str
    snat: bool
    masquerade_all: bool
    mark_bit: int
    mark_chain: str
    conditions: Mapping[int, tuple[str, ...]]

    @classmethod
    def read(cls, invocation: Invocation) -> Config:
        """Read the configuration; raises ``InvalidConfig`` with the key and the problem."""
        reader = reader_of(invocation)
        chain = reader.text("externalSetMarkChain")
        if chain and reader.raw.get("markMasqBit") is not None:
            raise reader.error(
                "markMasqBit", "is set beside 'externalSetMarkChain'", "remove one of the two"
            )
        if not re.fullmatch(r"[!-~]*", chain) or chain.startswith(("-", "!")):
            raise reader.error("externalSetMarkChain", f"is {chain!r}, which names no chain")
        requested = reader.inner("runtimeConfig").inners("portMappings")
        return cls(
            network=str(invocation.config["name"]),
            container_id=invocation.request.container_id,
            forwards=tuple(map(_forward, requested)),
            backend=_backend(reader, chain),
            snat=reader.boolean("snat", True),
            masquerade_all=reader.boolean("masqAll"),
            mark_bit=reader.integer("markMasqBit", _DEFAULT_BIT, within=range(32)),
            mark_chain=chain,
            conditions={version: _conditions(reader, key) for version, key in _CONDITIONS.items()},
        )


def requested(invocation: Invocation) -> list[Mapping[str, Any]]:
    """The mappings as they were requested; never raises, because DEL needs them."""
    runtime = invocation.config.get("runtimeConfig")
    found = runtime.get("portMappings") if isinstance(runtime, Mapping) else None
    if not isinstance(found, (list, tuple)):
        return []
    return [each for each in found if isinstance(each, Mapping)]


def in_nft_language(config: Mapping[str, Any]) -> str:
    """The first key whose conditions are not arguments of iptables but text for nft, or ""."""
    for key in _CONDITIONS.values():
        value = config.get(key)
        first = value[0] if isinstance(value, (list, tuple)) and value else ""
        if isinstance(first, str) and first and not first.startswith(("-", "!")):
            return key
    return ""


def _forward(reader: Reader) -> Forward:
    protocol = reader.text("protocol")
    if protocol.lower() not in PROTOCOLS:
        known = ", ".join(PROTOCOLS)
        raise reader.error("protocol", f"is {protocol!r}", f"use one of {known}")
    host_ip, version = reader.text("hostIP"), 0
    if host_ip:
        packed = _packed(reader, host_ip)
        # The unspecified address stands for every address of its family.
        host_ip = addresses.network_of(host_ip).partition("/")[0] if any(packed) else ""
        version = 4 if len(packed) == 4 else 6
    return Forward(
        host_port=reader.integer("hostPort", within=PORTS),
        container_port=reader.integer("containerPort", within=PORTS),
        spelled=protocol,
        host_ip=host_ip,
        version=version,
    )


def _packed(reader: Reader, address: str) -> bytes:
    if "/" not in address:
        with suppress(InvalidConfig):
            return addresses.encode(address)[1]
    raise reader.error("hostIP", f"is {address!r}, which is not an address")


def _backend(reader: Reader, chain: str) -> str:
    backend = reader.text("backend") or ("iptables" if iptables.installed() else "nftables")
    if backend not in BACKENDS:
        raise reader.error("backend", f"is {backend!r}", f"use one of {', '.join(BACKENDS)}")
    given = {key: any(reader.texts(key)) for key in _CONDITIONS.values()}
    for key, is_set in {"externalSetMarkChain": bool(chain), **given}.items():
        if is_set and backend == "nftables":
            raise reader.error(key, "is for iptables, and the backend is nftables", "remove it")
    return backend


def _conditions(reader: Reader, key: str) -> tuple[str, ...]:
    found = reader.texts(key)
    if not any(found):
        return ()
    for each in found:
        if _RUNS_A_PROGRAM.match(each):
            raise reader.error(key, f"has {each!r}, which is not a condition", "remove it")
    return tuple(map(iptables.quoted, found))
