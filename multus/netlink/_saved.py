"""A table of iptables as ``iptables-save`` prints it.

Source: iptables-save(8).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

_TARGET = re.compile(r"-A (?P<entry>\S+) (?P<match>.*?)-[jg] (?P<chain>\S+)")
_SOURCE = re.compile(r"(?<!! )-s (?P<address>\S+)/\d+ ")
_COMMENT = re.compile(r'--comment (?:"(?P<quoted>(?:\\.|[^"\\])*)"|(?P<plain>\S+)) ')


class Line(NamedTuple):
    """A jump: the line, and what it has."""

    line: str
    chain: str
    comment: str
    source: str


def declares(lines: Collection[str], chain: str) -> bool:
    """Whether the table has this chain."""
    return any(line.startswith(f":{chain} ") for line in lines)


def without_counters(lines: Sequence[str]) -> list[str]:
    """The chains and rules, without counters and the time."""
    return [line.partition(" [")[0] for line in lines if line[:1] in (":", "-")]


def jumps(lines: Sequence[str], entry: str) -> list[Line]:
    """The jumps in chain *entry*."""
    found = []
    for line in lines:
        rule = _TARGET.fullmatch(line) if line.startswith(f"-A {entry} ") else None
        if rule is not None:
            source, comment = _SOURCE.search(rule["match"]), _COMMENT.search(rule["match"])
            text = "" if comment is None else comment["quoted"] or comment["plain"] or ""
            said = re.sub(r"\\(.)", r"\1", text)
            found.append(Line(line, rule["chain"], said, source["address"] if source else ""))
    return found


def removal(lines: Sequence[str], chains: Mapping[str, str], kept: Collection[str]) -> list[str]:
    """The commands that remove these chains, each with the jumps to it in the chain it maps to.

    A jump for a source address in *kept* stays, and so does its chain.
    """
    script = []
    for chain, entry in chains.items():
        if not declares(lines, chain):
            continue
        jumping = [each for each in jumps(lines, entry) if each.chain == chain]
        stale = [each for each in jumping if each.source not in kept]
        script += [f"-D{each.line[2:]}" for each in stale]
        if len(stale) == len(jumping):
            script += [f"-F {chain}", f"-X {chain}"]
    return script
