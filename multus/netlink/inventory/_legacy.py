"""Chains and rules of iptables' older interface to the kernel, which nf_tables does not list.

Nothing but its own programs reads it.  Source: iptables-save(8).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from multus.api.execute import Executor
from multus.netlink.inventory._read import FirewallEntry

_FOLDERS = ("/usr/sbin", "/sbin", "/usr/bin", "/usr/local/sbin")
_SECONDS = 30.0
_COMMENT = re.compile(r'--comment (?:"((?:\\.|[^"\\])*)"|(\S+))')


class _Family(NamedTuple):
    name: str
    tables: str  # the kernel's list of tables, which is empty where nobody has used the interface
    programs: tuple[str, ...]


_FAMILIES = (
    _Family(
        "ip", "/proc/thread-self/net/ip_tables_names", ("iptables-legacy-save", "iptables-save")
    ),
    _Family(
        "ip6", "/proc/thread-self/net/ip6_tables_names", ("ip6tables-legacy-save", "ip6tables-save")
    ),
)


def entries() -> Iterator[FirewallEntry]:
    """Those of the calling thread's network namespace.

    The tables and their built-in chains are always there, and are left out.
    """
    for family in _FAMILIES:
        if _has_tables(family.tables):
            yield from _parsed(family.name, _saved(family.programs))


def _has_tables(path: str) -> bool:
    try:
        with open(path, encoding="ascii") as file:
            return bool(file.read().strip())
    except OSError:
        return False


def _saved(programs: tuple[str, ...]) -> str:
    """What the first of the programs prints that is installed and uses the older interface."""
    for path in (f"{folder}/{name}" for name in programs for folder in _FOLDERS):
        if os.access(path, os.X_OK) and b"nf_tables" not in _output(path, "-V"):
            return _output(path).decode(errors="replace")
    return ""


def _output(*command: str) -> bytes:
    return Executor(()).run(command, b"", {"PATH": ":".join(_FOLDERS)}, _SECONDS).stdout


def _parsed(family: str, text: str) -> Iterator[FirewallEntry]:
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith(":"):
            name, policy = line[1:].split()[:2]
            if policy == "-":
                yield FirewallEntry("chain", family, table, "", name, "", "")
        elif line.startswith("-A "):
            chain, _, text = line[3:].partition(" ")
            yield FirewallEntry("rule", family, table, chain, "", _comment(text), text)


def _comment(rule: str) -> str:
    found = _COMMENT.search(rule)
    return re.sub(r"\\(.)", r"\1", found[1] or found[2] or "") if found else ""
