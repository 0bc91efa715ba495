"""Rules of iptables in table nat: written by its programs, removed without them where possible::

    from multus.netlink import iptables

    iptables.restore(4, ["-N OURS", "-A OURS -d 10.1.2.3 -j ACCEPT", "-A OUTPUT -j OURS"])
    iptables.remove_chains({"OURS": "OUTPUT"})

Only ``iptables-restore`` knows how a rule's options are stored, and which of the kernel's two
interfaces (nf_tables, or the older "legacy") this machine's iptables uses.  It takes any number of
changes and applies all or none.  Chains are found and removed over netlink when they are in
nf_tables; programs are started for this only when the older interface has a table nat.

All functions act in the calling thread's network namespace.  They raise ``KernelRefused`` when the
kernel or a program refuses.

Source: iptables-restore(8), iptables-save(8); linux/netfilter/nf_tables_compat.h.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from multus.api import regular
from multus.api.errors import InvalidConfig, KernelRefused, MissingPlugin
from multus.api.execute import Executor
from multus.netlink import nftables
from multus.netlink._channel import Channel
from multus.netlink.addresses import encode

if TYPE_CHECKING:
    from multus.api.network import Invocation

_FOLDERS = ("/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin")
_TARGET = re.compile(r"-A (?P<entry>\S+) (?P<match>.*?)-[jg] (?P<chain>\S+)")
_SOURCE = re.compile(r"(?<!! )-s (?P<address>\S+)/\d+ ")
_COMMENT = re.compile(r'--comment (?:"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<plain>\S+)) ')


#: Seconds that programs may take for one change.
PATIENCE = 30.0


class Programs(NamedTuple):
    """How programs are started: they keep the descriptors *inherited* open.

    All of them end at *deadline*, a ``time.monotonic()`` value; without one, each may take
    `PATIENCE`.
    """

    inherited: tuple[int, ...] = ()
    deadline: float | None = None

    @classmethod
    def of(cls, invocation: Invocation) -> Programs:
        """Those of an invocation, until its caller's deadline; a DEL is not cut short by it."""
        waits = invocation.verb != "DEL"
        seconds = invocation.session.remaining(PATIENCE) if waits else PATIENCE
        return cls(invocation.inherited, time.monotonic() + seconds)

    def run(self, argv: Sequence[str], stdin: str) -> str:
        """A program's standard output; raises ``KernelRefused`` when it fails."""
        seconds = PATIENCE
        if self.deadline is not None:
            seconds = max(0.0, self.deadline - time.monotonic())
        executor, environ = Executor((), inherited=self.inherited), {"PATH": ":".join(_FOLDERS)}
        finished = executor.run(argv, stdin.encode(), environ, seconds)
        if finished.status != 0:
            raise KernelRefused(
                f"{os.path.basename(argv[0])} failed with status {finished.status}",
                finished.stderr.decode(errors="replace").strip(),
            )
        return finished.stdout.decode(errors="replace")


_USUAL = Programs()


class _Family(NamedTuple):
    """What differs between the address families."""

    save: str
    restore: str
    legacy_tables: str
    table: nftables.Table


_FAMILIES = {
    4: _Family(
        save="iptables-save",
        restore="iptables-restore",
        legacy_tables="/proc/thread-self/net/ip_tables_names",
        table=nftables.Table(nftables.IPV4, "nat"),
    ),
    6: _Family(
        save="ip6tables-save",
        restore="ip6tables-restore",
        legacy_tables="/proc/thread-self/net/ip6_tables_names",
        table=nftables.Table(nftables.IPV6, "nat"),
    ),
}


def installed() -> bool:
    """Whether this machine has iptables."""
    return _find("iptables-restore") is not None


def quoted(text: str) -> str:
    """One argument of a rule, in quotes; raises ``InvalidConfig`` when it has several lines."""
    if not text.isprintable():
        raise InvalidConfig(f"{text!r} cannot be an argument of iptables", fix="correct it")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def restore(version: int, commands: Sequence[str], programs: Programs = _USUAL) -> None:
    """Apply these commands to table nat of IPv4 or IPv6 (*version* 4 or 6): all of them, or none.

    Each is the arguments of ``iptables`` in one line, without the table.  A ``-C`` whose rule does
    not exist fails, and nothing is applied.
    """
    family = _FAMILIES[version]
    program = _find(family.restore)
    if program is None:
        raise MissingPlugin(
            f"rules of iptables need {family.restore}, which is not installed",
            fix="install iptables, or use the backend nftables",
        )
    script = "\n".join(["*nat", *commands, "COMMIT", ""])
    programs.run([program, "--noflush", "--wait", "5"], script)


def saved(version: int, programs: Programs = _USUAL) -> list[str]:
    """Table nat as ``iptables-save`` prints it; empty when iptables is not installed."""
    program = _find(_FAMILIES[version].save)
    return [] if program is None else programs.run([program, "-t", "nat"], "").splitlines()


@contextmanager
def alone(programs: Programs = _USUAL) -> Iterator[None]:
    """Wait until no other process in this network namespace is inside, and let none in.

    For a change that is made from what was read, since no command adds a rule that may exist.
    Raises ``KernelRefused`` when the deadline of *programs* passes meanwhile.
    """
    deadline = programs.deadline or time.monotonic() + PATIENCE
    # The namespace's own file: it needs no folder, and the lock ends with its holder.
    lock = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if not regular.locked(lock, deadline):
            raise KernelRefused(
                f"{regular.holder(lock)} changes the rules of iptables, and did not end in time",
                fix="try again, or end that process",
            )
        yield
    finally:
        os.close(lock)


def declares(lines: Collection[str], chain: str) -> bool:
    """Whether a saved table has this chain."""
    return any(line.startswith(f":{chain} ") for line in lines)


def jumps_from(entry: str, programs: Programs = _USUAL) -> list[tuple[str, bytes]]:
    """The comments on the rules of chain *entry* that jump to other chains, in both families.

    Each comes with its expressions and those of the chain that it jumps to as bytes, which have
    their addresses; with the older interface these are rules as text.  Rules without a comment have
    the comment "".
    """
    found: list[tuple[str, bytes]] = []
    with nftables.channel() as channel:
        for table in (family.table for family in _FAMILIES.values()):
            for rule in table.list_rules(channel, entry):
                inner = [each for to in rule.targets() for each in table.list_rules(channel, to)]
                if rule.targets():
                    found.append((rule.comment, b"".join(each.body for each in (rule, *inner))))
    for version in _FAMILIES:
        if _has_legacy(version):
            lines = saved(version, programs)
            for each in _read(lines, entry):
                text = [line for line in lines if line.startswith(f"-A {each.chain} ")]
                found.append((each.comment, "\n".join([each.line, *text]).encode()))
    return found


def remove_jumped_to(entry: str, stale: Callable[[str], bool], programs: Programs = _USUAL) -> None:
    """Remove the chains to which chain *entry* jumps by rules whose comments are *stale*.

    Rules without a comment have the comment "".
    """
    found: set[str] = set()
    with nftables.channel() as channel:
        for family in _FAMILIES.values():
            for rule in family.table.list_rules(channel, entry):
                found.update(rule.targets() if stale(rule.comment) else ())
    for version in _FAMILIES:
        if _has_legacy(version):
            lines = saved(version, programs)
            found |= {each.chain for each in _read(lines, entry) if stale(each.comment)}
    if found:
        remove_chains(dict.fromkeys(found, entry), programs=programs)


def remove_chains(
    chains: Mapping[str, str], kept: Collection[str] = (), programs: Programs = _USUAL
) -> None:
    """Remove these chains of both families, each with the jumps to it in the chain it maps to.

    A missing chain is ignored.  A jump for a source address (without prefix) in *kept* stays, and
    so does its chain.
    """
    with nftables.channel() as channel:
        asked = [
            (family, chain, family.table.get_chain(chain))
            for family in _FAMILIES.values()
            for chain in chains
        ]
        replies = channel.request([message for _family, _chain, message in asked])
        for (family, chain, _message), reply in zip(asked, replies, strict=True):
            # A chain with a hook is another program's.
            if reply is not None and not nftables.has_hook(reply):
                _remove(channel, family.table, chain, chains[chain], kept)
    for version in _FAMILIES:
        if _has_legacy(version):
            script = _removal(saved(version, programs), chains, kept)
            if script:
                restore(version, script, programs)


def _remove(
    channel: Channel, table: nftables.Table, chain: str, entry: str, kept: Collection[str]
) -> None:
    addresses = {encode(each)[1] for each in kept}
    jumping = [rule for rule in table.list_rules(channel, entry) if rule.jumps_to(chain)]
    stale = [rule for rule in jumping if addresses.isdisjoint(rule.compared())]
    messages = [table.delete_rule(entry, rule.handle) for rule in stale]
    if len(stale) == len(jumping):
        messages += [table.flush(chain), table.delete_chain(chain)]
    nftables.commit(channel, messages)


class _Line(NamedTuple):
    """A jump in a saved table: the line, and what it has."""

    line: str
    chain: str
    comment: str
    source: str


def _removal(lines: Sequence[str], chains: Mapping[str, str], kept: Collection[str]) -> list[str]:
    script = []
    for chain, entry in chains.items():
        if not declares(lines, chain):
            continue
        jumping = [each for each in _read(lines, entry) if each.chain == chain]
        stale = [each for each in jumping if each.source not in kept]
        script += [f"-D{each.line[2:]}" for each in stale]
        if len(stale) == len(jumping):
            script += [f"-F {chain}", f"-X {chain}"]
    return script


def _read(lines: Sequence[str], entry: str) -> list[_Line]:
    found = []
    for line in lines:
        rule = _TARGET.fullmatch(line) if line.startswith(f"-A {entry} ") else None
        if rule is not None:
            source, comment = _SOURCE.search(rule["match"]), _COMMENT.search(rule["match"])
            text = "" if comment is None else comment["quoted"] or comment["plain"] or ""
            said = re.sub(r"\\(.)", r"\1", text)
            found.append(_Line(line, rule["chain"], said, source["address"] if source else ""))
    return found


def _has_legacy(version: int) -> bool:
    """Whether the kernel's older interface has a table nat."""
    try:
        with open(_FAMILIES[version].legacy_tables, encoding="ascii") as file:
            return "nat" in file.read().split()
    except FileNotFoundError:
        return False


def _find(program: str) -> str | None:
    for folder in _FOLDERS:
        path = f"{folder}/{program}"
        if os.access(path, os.X_OK):
            return path
    return None
