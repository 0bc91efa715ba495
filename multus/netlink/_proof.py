"""Whether this machine's iptables stores rules as we do.

The form differs between releases, and the older interface ("legacy") has another one altogether.
So the program itself says it: it carries out some commands in a network namespace of its own, which
then is compared with what we would have written.  That takes one or two runs of it, once: a line in
a file keeps the answer for other processes and for later, as long as program and kernel stay the
same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

from multus.api import atomic, regular
from multus.api.errors import KernelRefused
from multus.netlink import _xtread, nftables
from multus.netlink import nftexpressions as nft
from multus.netlink._namespace import empty_namespace
from multus.netlink._xtread import Command

#: Increased whenever what we write, or what is compared, changes.
EDITION = 2
FILE = ".iptables"

_TABLES = {4: nftables.Table(nftables.IPV4, "nat"), 6: nftables.Table(nftables.IPV6, "nat")}
_SAID = r'-m comment --comment "a \"comment\""'
# A later group is compared when the ones before it are the same.
_SAMPLES = (
    (
        "-N CNI-ONE",
        f"-A CNI-ONE -d {{even}} {_SAID} -j ACCEPT",
        f"-A CNI-ONE -d {{odd}} {_SAID} -j ACCEPT",
        f"-A CNI-ONE ! -d {{multicast}} {_SAID} -j MASQUERADE",
        f"-A POSTROUTING -s {{one}} {_SAID} -j CNI-ONE",
        f"-A POSTROUTING -s {{even}} -d {{one}} {_SAID} -j CNI-ONE",
    ),
    (
        "-N CNI-TWO",
        "-N CNI-THREE",
        f"-A CNI-TWO {_SAID} -j MARK --set-xmark 0x2000/0x6000",
        "-A CNI-ONE -m mark --mark 0x2000/0x6000 -j MASQUERADE",
        "-A PREROUTING -m addrtype --dst-type LOCAL -j CNI-TWO",
        "-A CNI-TWO -s {even} -d {one} -p tcp -m tcp --dport 80 -j CNI-THREE",
        "-A CNI-TWO -p udp -m udp --dport 53 -j DNAT --to-destination {port}",
        f"-A CNI-TWO -p tcp {_SAID} -m multiport --dports 80,8080 -j CNI-THREE",
    ),
)
_ADDRESSES = {
    4: {
        "one": "10.1.2.3/32",
        "even": "10.1.2.0/24",
        "odd": "10.1.0.0/20",
        "multicast": "224.0.0.0/4",
        "port": "10.1.2.3:5353",
    },
    6: {
        "one": "fd00::3/128",
        "even": "fd00:1:2:3::/64",
        "odd": "fd00:1:2:8::/61",
        "multicast": "ff00::/8",
        "port": "[fd00::3]:5353",
    },
}


class Program(NamedTuple):
    """``iptables-restore`` of one family: its path, and how to *run* it with some commands.

    *folder* is where the answer is kept; "" for nowhere.
    """

    path: str
    folder: str
    run: Callable[[Sequence[str]], None]


class Proven(NamedTuple):
    """The *form* (``_xtread.FORMS``) in which a program stores options of these *kinds*."""

    form: str
    kinds: frozenset[str]


# What this process knows, by family and program.
_known: dict[str, Proven] = {}


def proven(version: int, program: Program) -> Proven:
    """The kinds of options (`Command.kinds`) that this program stores as we do, and the form."""
    name = f"{version} {program.path}"
    key = f"{name} {_identity(program.path)}"
    if key not in _known:
        found = _read(program.folder).get(key)
        if found is None:
            found = _compare(version, program)
            with suppress(OSError):
                _keep(program.folder, name, key, found)
        _known[key] = found
    return _known[key]


def samples(version: int) -> list[list[str]]:
    """The commands that are compared, in groups."""
    return [[each.format(**_ADDRESSES[version]) for each in group] for group in _SAMPLES]


def _identity(path: str) -> str:
    """What changes when the program is replaced, or the link to it is, or the kernel."""
    status = os.stat(path)
    file = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns)
    return f"{'-'.join(map(str, file))} {os.uname().release.replace(' ', '-')} {EDITION}"


def _compare(version: int, program: Program) -> Proven:
    same: dict[str, frozenset[str]] = dict.fromkeys(_xtread.FORMS, frozenset())
    carried_out: list[str] = []
    # Refused: the namespace, or a command by this program with this kernel.
    with suppress(KernelRefused), empty_namespace():
        forms: Sequence[str] = _xtread.FORMS
        for group in samples(version):
            program.run(group)
            carried_out += group
            written = {form: _commands(version, carried_out, form) for form in forms}
            forms = [form for form in forms if _are_there(version, written[form])]
            same |= {form: frozenset().union(*(e.kinds for e in written[form])) for form in forms}
            if not forms:
                break
    best = max(_xtread.FORMS, key=lambda form: len(same[form]))
    return Proven(best, same[best])


def _commands(version: int, texts: Sequence[str], form: str) -> list[Command]:
    read = (_xtread.read(version, each, form) for each in texts)
    return [each for each in read if each is not None]


def _are_there(version: int, commands: Sequence[Command]) -> bool:
    with nftables.channel() as channel:
        for chain in {each.chain for each in commands}:
            ours = [
                each.expressions for each in commands if (each.option, each.chain) == ("-A", chain)
            ]
            rules = _TABLES[version].list_rules(channel, chain)
            if len(rules) != len(ours) or any(rule.userdata for rule in rules):
                return False
            if not all(map(nft.are_listed, (rule.body for rule in rules), ours)):
                return False
    return True


def _read(folder: str) -> dict[str, Proven]:
    """The lines of the file: a program; behind a tab the form, and what it stores as we do."""
    try:
        with open(f"{folder}/{FILE}", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, ValueError):
        return {}
    parts = [(key, known.split()) for key, _, known in (each.partition("\t") for each in lines)]
    return {
        key: Proven(known[0], frozenset(known[1:]))
        for key, known in parts
        if known and known[0] in _xtread.FORMS
    }


def _keep(folder: str, name: str, key: str, found: Proven) -> None:
    """Replace the lines of this *name*; without a folder, every process finds it out."""
    if not folder:
        return
    directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if not regular.locked(directory, 0.0):
            return
        others = {k: v for k, v in _read(folder).items() if not k.startswith(f"{name} ")}
        known = {**others, key: found}
        text = "".join(f"{k}\t{' '.join([v.form, *sorted(v.kinds)])}\n" for k, v in known.items())
        path = f"{folder}/{FILE}"
        atomic.write(path, text.encode(), fsync=False, temporary=f"{path}.new")
    finally:
        os.close(directory)
