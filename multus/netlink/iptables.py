"""Rules of iptables in table nat, written and removed without its programs where possible::

    from multus.netlink import iptables

    iptables.ensure(4, ["-N MY-OWN", "-A MY-OWN -d 10.1.2.3/32 -j ACCEPT", "-A OUTPUT -j MY-OWN"])
    iptables.remove_chains({"MY-OWN": "OUTPUT"})

iptables has two interfaces to the kernel, nf_tables and the older "legacy".  Where this machine's
program uses nf_tables, the same rules are written over netlink, as one transaction.  Where it uses
the older one, stores rules in another form than we do, or where a command has something that only
iptables understands, its program ``iptables-restore`` makes the change.  It too takes any number of
changes and applies all or none.  Chains are found and removed over netlink when they are in
nf_tables; programs are started for this only when the older interface has a table nat.

All functions act in the calling thread's network namespace.  They raise ``KernelRefused`` when the
kernel or a program refuses.

Source: iptables-restore(8), iptables-save(8); linux/netfilter/nf_tables_compat.h.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from multus.api import regular
from multus.api.errors import InvalidConfig, KernelRefused, MissingPlugin
from multus.api.execute import Executor
from multus.netlink import _proof, _saved, _xtread, _xtwrite, nftables
from multus.netlink._channel import Channel
from multus.netlink.addresses import encode

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.log import Log

_FOLDERS = ("/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin")


_ATTEMPTS = 5

#: Seconds that programs may take for one change.
PATIENCE = 30.0


class Programs(NamedTuple):
    """How programs are started: they keep the descriptors *inherited* open.

    All of them end at *deadline*, a ``time.monotonic()`` value; without one, each may take
    `PATIENCE`.  *folder* keeps what is found out about a program; "": only this process knows it.
    """

    inherited: tuple[int, ...] = ()
    deadline: float | None = None
    folder: str = ""
    log: Log | None = None

    @classmethod
    def of(cls, invocation: Invocation) -> Programs:
        """Those of an invocation, until its caller's deadline; a DEL is not cut short by it."""
        waits = invocation.verb != "DEL"
        seconds = invocation.session.remaining(PATIENCE) if waits else PATIENCE
        deadline = time.monotonic() + seconds
        return cls(invocation.inherited, deadline, invocation.conf.cni_dir, invocation.log)

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
    if not _written(version, commands, programs, _xtwrite.apply):
        _run(version, commands, programs)


def ensure(
    version: int, commands: Sequence[str], usual: Sequence[str] = (), programs: Programs = _USUAL
) -> None:
    """Carry out those of the commands whose chain or rule is not there: all of them, or none.

    The commands are -N, -A and -I, as those of `restore`.  The rules of *usual*, which come first,
    are there on most machines; a chain of -N is not.
    """

    def write(table: nftables.Table, known: Sequence[_xtread.Command]) -> str:
        return _xtwrite.ensure(table, known, lambda: _alone(programs))

    if _written(version, [*usual, *commands], programs, write):
        return
    present = [f"-C{each[2:]}" for each in usual if not each.startswith("-N ")]
    try:
        _run(version, [*present, *commands], programs)
    except KernelRefused as error:
        with _alone(programs):
            _run_missing(version, [*usual, *commands], error, programs)


def saved(version: int, programs: Programs = _USUAL) -> list[str]:
    """Table nat as ``iptables-save`` prints it; empty when iptables is not installed."""
    program = _find(_FAMILIES[version].save)
    return [] if program is None else programs.run([program, "-t", "nat"], "").splitlines()


def _written(
    version: int,
    commands: Sequence[str],
    programs: Programs,
    write: Callable[[nftables.Table, Sequence[_xtread.Command]], str],
) -> bool:
    """Whether *write* carried out the commands over netlink; why it did not is in the log."""
    read = [_xtread.read(version, each) for each in commands]
    known = [each for each in read if each is not None]
    path = _restorer(version)
    if len(known) < len(read):
        why = f"only it understands {commands[read.index(None)]!r}"
    else:
        program = _proof.Program(
            path, programs.folder, lambda script: _run(version, script, programs)
        )
        proven = _proof.proven(version, program)
        if proven.form != _xtread.FORMS[0]:
            again = (_xtread.read(version, each, proven.form) for each in commands)
            known = [each for each in again if each is not None]
        missing = {kind for each in known for kind in each.kinds} - proven.kinds
        why = f"it stores {', '.join(sorted(missing))} in a form of its own" if missing else ""
    why = why or write(_FAMILIES[version].table, known)
    if why and programs.log is not None:
        programs.log.debug(f"{path} is run: {why}")
    return not why


def _run(version: int, commands: Sequence[str], programs: Programs) -> None:
    script = "\n".join(["*nat", *commands, "COMMIT", ""])
    programs.run([_restorer(version), "--noflush", "--wait", "5"], script)


def _run_missing(
    version: int, commands: Sequence[str], error: KernelRefused, programs: Programs
) -> None:
    """Run what is missing after the table was read; again when others changed it meanwhile."""
    before: list[str] | None = None
    for _attempt in range(_ATTEMPTS):
        lines = saved(version, programs)
        now = _saved.without_counters(lines)
        if now == before:
            break  # nobody changed it: the commands themselves are refused
        before = now
        script = [each for each in commands if not _is_there(version, each, lines, programs)]
        try:
            return _run(version, script, programs)
        except KernelRefused as refused:
            error = refused
    raise error


def _is_there(version: int, command: str, lines: Sequence[str], programs: Programs) -> bool:
    option, rule = command[:2], command[3:]
    chain = rule.partition(" ")[0]
    if option == "-N" or not _saved.declares(lines, chain):
        return _saved.declares(lines, chain)
    if f"-A {rule}" in lines:
        return True
    ours = _xtread.read(version, command)
    if ours is not None:
        # Its options may be in another order than iptables-save prints.
        own = (each for each in lines if each.startswith(f"-A {chain} "))
        there = (_xtread.read(version, each) for each in own)
        return any(each is not None and each.expressions == ours.expressions for each in there)
    try:
        _run(version, [f"-C {rule}"], programs)
    except KernelRefused:
        return False
    return True


@contextmanager
def _alone(programs: Programs) -> Iterator[None]:
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
            for each in _saved.jumps(lines, entry):
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
            found |= {each.chain for each in _saved.jumps(lines, entry) if stale(each.comment)}
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
            script = _saved.removal(saved(version, programs), chains, kept)
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


def _has_legacy(version: int) -> bool:
    """Whether the kernel's older interface has a table nat."""
    try:
        with open(_FAMILIES[version].legacy_tables, "rb") as file:
            return b"nat" in file.read().split()
    except FileNotFoundError:
        return False


def _restorer(version: int) -> str:
    """The path of ``iptables-restore``; raises ``MissingPlugin`` when it is not installed."""
    name = _FAMILIES[version].restore
    program = _find(name)
    if program is None:
        raise MissingPlugin(
            f"rules of iptables need {name}, which is not installed",
            fix="install iptables, or use the backend nftables",
        )
    return program


def _find(program: str) -> str | None:
    for folder in _FOLDERS:
        path = f"{folder}/{program}"
        if os.access(path, os.X_OK):
            return path
    return None
