"""The comparison with the Go Multus: for each of its keys, events and files, what differs here.

The rows are in ``comparison.txt``.  The migration page shows them, and ``multus validate`` names
those of the settings in its files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from attrs import frozen

from multus.api.keys import LOG_LEVEL
from multus.api.where import Path, dotted
from multus.cli.upstream import known

SAME, DIFFERENT, ONLY_HERE = "same", "different", "only here"
#: The kinds of rows, in the order of the page.
KINDS = (
    "annotation",
    "element key",
    "configuration key",
    "daemon key",
    "endpoint",
    "event",
    "metric",
    "file",
    "behaviour",
)
CONFIGURATION_KEY, DAEMON_KEY = "configuration key", "daemon key"


def _is_absolute(path: object) -> bool:
    return str(path).startswith("/")


#: Configurations for which a key that differs means the same all the same.
_SAME_FOR: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "cniDir": lambda config: _is_absolute(config["cniDir"]),
    # Without a kubeconfig it may be one of the first releases, whose names of interfaces are ours.
    "delegates[1]": lambda config: config.get("naming") == "npwg" or not config.get("kubeconfig"),
    "logLevel": lambda config: str(config["logLevel"]).lower() in LOG_LEVEL.choices,
}


@frozen
class Row:
    """What becomes of something of the Go Multus.

    ``text`` says what differs, why, and which setting changes it; ``test`` is a pytest node ID.
    """

    kind: str
    name: str
    verdict: str
    text: str
    test: str


@cache
def rows() -> tuple[Row, ...]:
    """All rows, in the order of the file; raises ``ValueError`` for a line that is no row."""
    text = files("multus.cli.upstream").joinpath("comparison.txt").read_text(encoding="utf-8")
    return tuple(_rows(text))


def _rows(text: str) -> Iterator[Row]:
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split("|")]
        if len(cells) != 5:
            raise ValueError(f"comparison.txt, line {number}: {len(cells)} fields instead of 5")
        yield Row(*cells)


def differences(config: Mapping[str, Any], *kinds: str) -> Iterator[tuple[Path, Row]]:
    """The keys of *config* that have an effect in the Go Multus and differ here, with their rows.

    A key that differs in two *kinds* is of the first.  Its path has the spelling of *config*: the
    Go Multus takes any letter case.
    """
    by_name = {
        row.name.lower(): row
        for kind in reversed(kinds)
        for row in rows()
        if row.kind == kind and row.verdict == DIFFERENT
    }
    for path, value in _keys(config):
        row = by_name.get(dotted(path).lower())
        if row is None or not known.has_effect(value):
            continue
        means_the_same = _SAME_FOR.get(row.name)
        if means_the_same is None or not means_the_same(known.canonical(config)):
            yield path, row


def _keys(config: Mapping[str, Any]) -> Iterator[tuple[Path, Any]]:
    for key, value in config.items():
        yield (key,), value
        if isinstance(value, dict):
            yield from (((key, inner), each) for inner, each in value.items())
        if isinstance(value, list):
            yield from (((key, index), each) for index, each in enumerate(value))
