"""One picture: a few horizontal bars on a linear axis."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

_LEFT, _WIDTH, _BAR, _GAP, _HEAD, _FOOT = 250, 400, 30, 14, 46, 14
_FONT = 'font-family="sans-serif" fill="#202124"'
_COLOURS = {"ours": "#1a73e8", "base": "#9aa0a6", "other": "#c9782b"}


class Bar(NamedTuple):
    """A bar; its ``kind`` is ``base`` (the others are compared with it), ``ours`` or ``other``."""

    label: str
    seconds: float
    kind: str


def svg(title: str, bars: Sequence[Bar]) -> str:
    """The bars under each other, with a line where the first one ends."""
    longest = max(each.seconds for each in bars)
    scale = _WIDTH / longest
    bottom = _HEAD + len(bars) * (_BAR + _GAP)
    base = _LEFT + bars[0].seconds * scale
    # A page may be dark: the picture has a ground of its own.
    parts = [
        '<rect width="100%" height="100%" rx="6" fill="#ffffff"/>',
        _text(10, 24, title, 'font-size="16" font-weight="bold"'),
    ]
    for place, each in enumerate(bars):
        parts += _bar(_HEAD + place * (_BAR + _GAP), each, scale)
    parts.append(
        f'<line x1="{base:.0f}" x2="{base:.0f}" y1="{_HEAD - 6}" y2="{bottom - _GAP + 6}"'
        ' stroke="#202124" stroke-dasharray="4 3" opacity="0.6"/>'
    )
    width, height = _LEFT + _WIDTH + 100, bottom + _FOOT
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}"'
    body = "\n".join(parts)
    return f'{head} width="{width}" height="{height}" role="img">\n{body}\n</svg>\n'


def duration(seconds: float) -> str:
    """Seconds as a reader takes them in."""
    if seconds >= 0.1:
        return f"{seconds:.2f} s"
    return f"{seconds * 1000:.1f} ms"


def _bar(top: int, each: Bar, scale: float) -> list[str]:
    length = each.seconds * scale
    weight = ' font-weight="bold"' if each.kind == "ours" else ""
    return [
        f'<rect x="{_LEFT}" y="{top}" width="{length:.0f}" height="{_BAR}"'
        f' fill="{_COLOURS[each.kind]}"/>',
        _text(10, top + 20, each.label, f'font-size="14"{weight}'),
        _text(_LEFT + length + 8, top + 20, duration(each.seconds), f'font-size="14"{weight}'),
    ]


def _text(x: float, y: float, text: str, style: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" {_FONT} {style}>{escape(text)}</text>'
