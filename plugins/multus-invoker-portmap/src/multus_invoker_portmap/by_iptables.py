"""Port mappings by iptables, all in table nat::

    PREROUTING, OUTPUT   to an address of the host       -> CNI-HOSTPORT-DNAT
    CNI-HOSTPORT-DNAT    to a container's host ports     -> CNI-DN-<hash>
    CNI-DN-<hash>        to one host port, from the container's network or localhost
                                                         -> CNI-HOSTPORT-SETMARK
                         to one host port                -> translated to the container
    POSTROUTING, first                                   -> CNI-HOSTPORT-MASQ
    CNI-HOSTPORT-MASQ    marked                          -> masqueraded

A chain ``CNI-DN`` is of one container and network.  The other chains are shared; they are made when
they are missing, and stay.

Source: containernetworking plugins 1.1.1, by what they leave in the kernel.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from hashlib import sha512
from typing import TYPE_CHECKING

from multus.netlink import iptables
from multus.netlink.addresses import network_of

if TYPE_CHECKING:
    from multus.netlink.iptables import Programs
    from multus_invoker_portmap.config import Config, Forward

_TOP, _SET_MARK, _MASQUERADE = "CNI-HOSTPORT-DNAT", "CNI-HOSTPORT-SETMARK", "CNI-HOSTPORT-MASQ"
# Releases of the reference before 0.8 made a chain for masquerading too.
_OLD_TOP = "CNI-HOSTPORT-SNAT"
_LONGEST_COMMENT = 255
# The match multiport takes no more.
_PORTS_A_RULE = 15
_OWNED = re.compile(r'dnat name: "(?P<network>[^"]+)" id: "(?P<container>[^"]+)"')


def add(config: Config, version: int, address: str, programs: Programs) -> None:
    """Map the ports to this address (with prefix); an existing rule is not added twice."""
    own = _own_rules(config, version, address)
    chain = _chain("DN", config.network, config.container_id)
    shared = [f"-N {each}" for each in ([_SET_MARK, _MASQUERADE] if _marks(config) else [])]
    shared += [f"-N {_TOP}", *(f"{option} {rule}" for option, rule in _shared_rules(config))]
    commands = [f"-N {chain}", *(f"-A {rule}" for rule in own)]
    iptables.ensure(version, commands, shared, programs)


def check(config: Config, version: int, address: str, programs: Programs) -> None:
    """Raise ``KernelRefused`` when a rule for this address (with prefix) is missing."""
    shared = [rule for _option, rule in _shared_rules(config)]
    rules = [*shared, *_own_rules(config, version, address)]
    iptables.restore(version, [f"-C {rule}" for rule in rules], programs)


def remove(network: str, container_id: str, programs: Programs) -> None:
    """Remove the container's chains in this network, and the jumps to them."""
    chains = {_chain("DN", network, container_id): _TOP}
    chains[_chain("SN", network, container_id)] = _OLD_TOP
    iptables.remove_chains(chains, programs=programs)


def collect(network: str, containers: Collection[str], programs: Programs) -> None:
    """Remove the chains of the network's containers that are not among these."""

    def stale(comment: str) -> bool:
        owned = _OWNED.fullmatch(comment)
        if owned is None or owned["network"] != network:
            return False
        return owned["container"] not in containers

    iptables.remove_jumped_to(_TOP, stale, programs)


def _marks(config: Config) -> bool:
    return config.snat and not config.mark_chain


def _shared_rules(config: Config) -> list[tuple[str, str]]:
    """Rules that all mappings need, as ``iptables-save`` prints them: how to add each, and it."""
    rules = []
    if _marks(config):
        mark = f"{1 << config.mark_bit:#x}"
        said = '-m comment --comment "CNI portfwd'
        rules = [
            ("-A", f'{_SET_MARK} {said} masquerade mark" -j MARK --set-xmark {mark}/{mark}'),
            ("-A", f"{_MASQUERADE} -m mark --mark {mark}/{mark} -j MASQUERADE"),
            # Before the rules of ptp and bridge, which would decide first.
            ("-I", f'POSTROUTING {said} requiring masquerade" -j {_MASQUERADE}'),
        ]
    local = "-m addrtype --dst-type LOCAL"
    return [*rules, *(("-A", f"{entry} {local} -j {_TOP}") for entry in ("PREROUTING", "OUTPUT"))]


def _own_rules(config: Config, version: int, address: str) -> list[str]:
    chain = _chain("DN", config.network, config.container_id)
    said = f'dnat name: "{config.network}" id: "{config.container_id}"'
    if len(said) > _LONGEST_COMMENT:
        said = f"{said[: _LONGEST_COMMENT - 2]}..."
    comment = f"-m comment --comment {iptables.quoted(said)}"
    more = "".join(f" {each}" for each in config.conditions[version])
    rules = [
        rule
        for forward in config.forwards
        if forward.applies_to(version)
        for rule in _forwarding(config, forward, version, address)
    ]
    for spelled in sorted({each.spelled for each in config.forwards}):
        ports = [str(each.host_port) for each in config.forwards if each.spelled == spelled]
        for start in range(0, len(ports), _PORTS_A_RULE):
            some = ",".join(ports[start : start + _PORTS_A_RULE])
            to = f"-p {spelled.lower()} {comment} -m multiport --dports {some}{more}"
            rules.append(f"{_TOP} {to} -j {chain}")
    return [f"{chain} {rule}" if rule.startswith("-") else rule for rule in rules]


def _forwarding(config: Config, forward: Forward, version: int, address: str) -> Iterator[str]:
    """The rules of one mapping; those that mark come first."""
    to = f"-d {network_of(forward.host_ip)} " if forward.host_ip else ""
    to += f"-p {forward.protocol} -m {forward.protocol} --dport {forward.host_port}"
    if config.snat:
        mark = config.mark_chain or _SET_MARK
        if config.masquerade_all:
            yield f"{to} -j {mark}"
        else:
            # The container itself, which would see its own address.
            yield f"-s {network_of(address)} {to} -j {mark}"
            if version == 4:
                # The host, from an address that the container has too.
                yield f"-s 127.0.0.1/32 {to} -j {mark}"
    alone = address.partition("/")[0]
    target = f"[{alone}]" if version == 6 else alone
    yield f"{to} -j DNAT --to-destination {target}:{forward.container_port}"


def _chain(kind: str, network: str, container_id: str) -> str:
    return f"CNI-{kind}-{sha512((network + container_id).encode()).hexdigest()}"[:28]
