"""An overview of a node as lines that fit a width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus import __version__
from multus.cli.layout import Line, bar, cut, fitted, table

if TYPE_CHECKING:
    from multus.cli.overview import Overview
    from multus.ipam.usage import Usage

#: Columns of a bar; of the text before it at least, and after it.
_BAR, _LEAST, _COUNT = 20, 16, 24
_STATES = ("attached", "begun", "detached")


def lines(found: Overview, width: int, *, plain: bool) -> list[Line]:
    """All of ``multus status`` but the findings; *plain* uses ASCII alone."""
    none = "cannot be read" if found.unread else "none"
    shown: list[Line] = [[("Multus ", "bold"), (__version__, "bold"), f" on {found.node}"]]
    for title, text in (
        ("configuration", found.file or none),
        ("default network", found.default or none),
        ("calls", found.service),
        ("API server", found.api),
        ("attached", found.attached),
    ):
        shown.append(fitted([(f"  {title:<16}", "dim"), text], width))
    if found.networks:
        shown += [[], *networks(found, width)]
    if found.ranges:
        shown += [[], *ranges(found.ranges, width, plain=plain)]
    return [*shown, []]


def networks(found: Overview, width: int) -> list[Line]:
    """A table: how many attachments each network has."""
    states = [each for each in _STATES if any(each in c for c in found.networks.values())]
    rows = [
        (name, *(str(counts.get(state, "") or "-") for state in states))
        for name, counts in found.networks.items()
    ]
    return table(("NETWORK", *map(str.upper, states)), rows, width)


def ranges(found: tuple[Usage, ...], width: int, *, plain: bool) -> list[Line]:
    """A line with a bar for each range."""
    names = [f"{each.network} {each.spans}" for each in found]
    room = max(_LEAST, width - _BAR - _COUNT - 4)
    column = min(room, max(map(len, names)))
    shown: list[Line] = [[("RANGE", "bold")]]
    for name, each in zip(names, found, strict=True):
        share = f"{each.used} of {each.size}, {each.share:.0%}"
        cells = bar(each.share, _BAR, plain=plain)
        line: Line = [f"{cut(name, column):<{column}}  ", *cells, f"  {share}"]
        shown.append(fitted(line, width))
    return shown
