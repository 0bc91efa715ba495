"""The figures as a picture: horizontal bars, on a logarithmic axis since they span two decades."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from bench.rounds import Figure

_COLOURS = {True: "#9aa0a6", False: "#1a73e8"}
_LEFT, _WIDTH, _BAR, _GAP, _HEAD = 250, 460, 14, 6, 34
_FONT = 'font-family="sans-serif" font-size="12"'


def svg(figures: Sequence[Figure]) -> str:
    """A chart for each number of networks: ADD in milliseconds by way, and over direct exec."""
    parts: list[str] = []
    top = 10
    slowest = max(each.add for each in figures) * 1000
    for networks in dict.fromkeys(each.networks for each in figures):
        rows = [each for each in figures if each.networks == networks]
        parts.append(_text(10, top + 16, f"ADD of {networks} network{'s' * (networks > 1)}", True))
        top += _HEAD
        for place, each in enumerate(rows):
            parts += _bar(top, each, slowest, first=place == 0)
            top += _BAR + _GAP
        top += _GAP
    size = f'width="{_LEFT + _WIDTH + 130}" height="{top}"'
    body = "\n".join(parts)
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>\n{body}\n</svg>\n'


def _bar(top: int, each: Figure, slowest: float, *, first: bool) -> list[str]:
    milliseconds = each.add * 1000
    length = max(2.0, _WIDTH * math.log10(max(1.0, milliseconds)) / math.log10(max(10.0, slowest)))
    shape = (
        f'<rect x="{_LEFT}" y="{top}" width="{length:.0f}" height="{_BAR}"'
        f' fill="{_COLOURS[first]}"/>'
    )
    label = f"{milliseconds:.1f} ms" + ("" if first else f", {each.add_ratio:.2f}×")
    return [
        shape,
        _text(10, top + 11, each.way),
        _text(_LEFT + int(length) + 6, top + 11, label),
    ]


def _text(x: int, y: int, text: str, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x}" y="{y}" {_FONT}{weight} fill="currentColor">{escape(text)}</text>'
