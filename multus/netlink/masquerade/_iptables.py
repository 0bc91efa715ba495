"""Masquerading by iptables, with either kernel backend (legacy or nf_tables) of its binaries.

Each container and network has one chain in table nat.  It accepts packets to the container's own
network, and masquerades all others except multicast; POSTROUTING jumps to it for the container's
address.  One ``iptables-restore`` per family makes all changes at once.

Source: iptables-restore(8), iptables-save(8).
"""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

from multus.api.errors import KernelRefused, MissingPlugin
from multus.api.execute import Executor
from multus.netlink import NETLINK_NETFILTER, Refused, open_channel
from multus.netlink.addresses import network_of
from multus.netlink.masquerade import _nft as nft
from multus.netlink.masquerade._owner import Owner

_FOLDERS = ("/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin")
_JUMP = re.compile(
    r'-A POSTROUTING -s (?P<address>\S+)/\d+ -m comment --comment "(?P<comment>.*)"'
    r" -j (?P<chain>CNI-[0-9a-f]{24})"
)
_OWNED = re.compile(r'name: \\"(?P<network>[^"\\]+)\\" id: \\"(?P<container>[^"\\]+)\\"')


class _Family(NamedTuple):
    """The programs of one address family, and its multicast network."""

    number: int
    save: str
    restore: str
    tables: str
    multicast: str


_FAMILIES = {
    4: _Family(
        number=socket.AF_INET,
        save="iptables-save",
        restore="iptables-restore",
        tables="/proc/thread-self/net/ip_tables_names",
        multicast="224.0.0.0/4",
    ),
    6: _Family(
        number=socket.AF_INET6,
        save="ip6tables-save",
        restore="ip6tables-restore",
        tables="/proc/thread-self/net/ip6_tables_names",
        multicast="ff00::/8",
    ),
}


class Programs(NamedTuple):
    """Runs iptables' programs, all of them until *deadline*, a ``time.monotonic()`` value.

    They keep the descriptors *inherited* open.
    """

    deadline: float
    inherited: tuple[int, ...] = ()

    @classmethod
    def within(cls, seconds: float, inherited: tuple[int, ...] = ()) -> Programs:
        """All of them together may take *seconds*."""
        return cls(time.monotonic() + seconds, inherited)

    def run(self, argv: Sequence[str], stdin: str) -> str:
        """The standard output of a program; raises ``KernelRefused`` when it fails."""
        seconds = max(0.0, self.deadline - time.monotonic())
        environ = {"PATH": ":".join(_FOLDERS)}
        executor = Executor((), inherited=self.inherited)
        finished = executor.run(argv, stdin.encode(), environ, seconds)
        if finished.status != 0:
            raise KernelRefused(
                f"{os.path.basename(argv[0])} failed with status {finished.status}",
                finished.stderr.decode(errors="replace").strip(),
            )
        return finished.stdout.decode(errors="replace")


class _Saved(NamedTuple):
    """The contents of a family's table nat, and the programs that change it."""

    family: _Family
    lines: Sequence[str]
    programs: Programs


class _Jump(NamedTuple):
    """A rule in POSTROUTING that sends a container's packets to its chain."""

    line: str
    address: str
    chain: str
    comment: str


def installed() -> bool:
    """Whether this machine has iptables."""
    return _find("iptables-restore") is not None


def add(owner: Owner, addresses: Sequence[str], programs: Programs) -> None:
    """Add the rules for these addresses (with prefix); an existing rule is not added twice."""
    for version, family in _FAMILIES.items():
        ours = [each for each in addresses if (":" in each) == (version == 6)]
        if not ours:
            continue
        rules = _rules(owner, ours, family)
        try:
            _restore(family, [f"-N {owner.chain}", *rules], programs)
        except KernelRefused:
            # The chain exists already: another interface of the container is in this network.
            present = _saved(family, programs)
            if not _is_declared(owner.chain, present):
                raise
            _restore(family, [rule for rule in rules if rule not in present], programs)


def remove(owners: Iterable[Owner], kept: Collection[str], programs: Programs) -> None:
    """Remove the rules in these owners' chains, except for addresses in *kept*."""
    chains = {owner.chain for owner in owners}
    for family in _FAMILIES.values():
        if _may_have(family, chains):
            _remove(_Saved(family, _saved(family, programs), programs), chains, kept)


def collect(network: str, containers: Collection[str], programs: Programs) -> None:
    """Remove the rules of the network's containers that are not among these."""
    for family in _FAMILIES.values():
        if not _may_have(family, ["POSTROUTING"]):
            continue
        lines = _saved(family, programs)
        stale = {
            jump.chain
            for jump in _jumps(lines)
            if (owned := _OWNED.fullmatch(jump.comment))
            and owned["network"] == network
            and owned["container"] not in containers
        }
        _remove(_Saved(family, lines, programs), stale, ())


def _rules(owner: Owner, addresses: Sequence[str], family: _Family) -> list[str]:
    """The rules, as ``iptables-save`` prints them."""
    quoted = owner.comment.replace('"', '\\"')
    comment = f'-m comment --comment "{quoted}"'
    rules = []
    for address in addresses:
        alone = network_of(address.partition("/")[0])
        rules += [
            f"-A {owner.chain} -d {network_of(address)} {comment} -j ACCEPT",
            f"-A {owner.chain} ! -d {family.multicast} {comment} -j MASQUERADE",
            f"-A POSTROUTING -s {alone} {comment} -j {owner.chain}",
        ]
    return list(dict.fromkeys(rules))


def _remove(saved: _Saved, chains: Collection[str], kept: Collection[str]) -> None:
    jumps = [jump for jump in _jumps(saved.lines) if jump.chain in chains]
    used = {jump.chain for jump in jumps if jump.address in kept}
    script = [f"-D{jump.line[2:]}" for jump in jumps if jump.address not in kept]
    for chain in chains:
        if chain not in used and _is_declared(chain, saved.lines):
            script += [f"-F {chain}", f"-X {chain}"]
    if script:
        _restore(saved.family, script, saved.programs)


def _jumps(lines: Sequence[str]) -> list[_Jump]:
    found = (_JUMP.fullmatch(line) for line in lines if line.startswith("-A POSTROUTING "))
    return [
        _Jump(match.string, match["address"], match["chain"], match["comment"])
        for match in found
        if match
    ]


def _may_have(family: _Family, chains: Iterable[str]) -> bool:
    """Whether one of these chains may be in table nat.

    This avoids ``iptables-save``, which takes milliseconds and, with nf_tables, creates the table.
    """
    if "nat" in _legacy_tables(family):
        return True  # the legacy interface cannot be asked for one chain
    asked = [nft.has_chain(family.number, "nat", chain) for chain in chains]
    with open_channel(NETLINK_NETFILTER) as channel:
        try:
            return any(reply is not None for reply in channel.request(asked))
        except Refused as error:
            if error.errno in nft.ABSENT:
                return False
            raise


def _legacy_tables(family: _Family) -> list[str]:
    try:
        with open(family.tables, encoding="ascii") as file:
            return file.read().split()
    except FileNotFoundError:
        return []


def _is_declared(chain: str, lines: Sequence[str]) -> bool:
    return any(line.startswith(f":{chain} ") for line in lines)


def _saved(family: _Family, programs: Programs) -> list[str]:
    """The contents of table nat; empty when iptables is not installed."""
    program = _find(family.save)
    return [] if program is None else programs.run([program, "-t", "nat"], "").splitlines()


def _restore(family: _Family, commands: Sequence[str], programs: Programs) -> None:
    """Apply the commands to table nat: all of them, or none."""
    program = _find(family.restore)
    if program is None:
        raise MissingPlugin(
            f"masquerading by iptables needs {family.restore}, which is not installed",
            fix="install iptables, or set 'ipMasqBackend' to nftables",
        )
    script = "\n".join(["*nat", *commands, "COMMIT", ""])
    programs.run([program, "--noflush", "--wait", "5"], script)


def _find(program: str) -> str | None:
    for folder in _FOLDERS:
        path = f"{folder}/{program}"
        if os.access(path, os.X_OK):
            return path
    return None
