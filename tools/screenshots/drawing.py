"""Draws what a terminal shows as SVG."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from html import escape

from tools.screenshots.terminal import Cell, Grid

#: A character's width and a line's height, at a font size of 14, in user units.
_WIDE, _HIGH, _MARGIN = 8.4, 19, 14
_FONTS = "DejaVu Sans Mono, Liberation Mono, Menlo, Consolas, monospace"

#: Colours by pyte's names, in which "brown" is yellow.
LIGHT = {
    "background": "#f6f8fa",
    "border": "#d0d7de",
    "default": "#1f2328",
    "faint": "#59636e",
    "red": "#b3261e",
    "green": "#1a7f37",
    "brown": "#7d5300",
    "blue": "#0550ae",
    "magenta": "#8250df",
    "cyan": "#0a6575",
}
DARK = {
    "background": "#1a1c1e",
    "border": "#3d444d",
    "default": "#e6e8ea",
    "faint": "#9aa4ae",
    "red": "#ff7b72",
    "green": "#56d364",
    "brown": "#e3b341",
    "blue": "#79c0ff",
    "magenta": "#d2a8ff",
    "cyan": "#56d4dd",
}

_OF_TEXT = LIGHT.keys() - {"background", "border", "default"}


def svg(command: str, grid: Grid, colours: Mapping[str, str]) -> str:
    """The terminal with the *command* in its first line and *grid* below."""
    prompt = [Cell("$", "green", bold=True), *map(Cell, f" {command}")]
    rows = [prompt, *grid]
    width = max(len(row) for row in rows) * _WIDE + 2 * _MARGIN
    height = len(rows) * _HIGH + 2 * _MARGIN
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}"'
            f' width="{width:.0f}" height="{height:.0f}" role="img">',
            f"<title>{escape(command)}</title>",
            f"<style>{_style(colours)}</style>",
            f'<rect x=".5" y=".5" width="{width - 1:.0f}" height="{height - 1:.0f}" rx="6"/>',
            *(line for number, row in enumerate(rows) for line in _row(number, row)),
            "</svg>\n",
        ]
    )


def _style(colours: Mapping[str, str]) -> str:
    rules = [
        f"text{{font:14px {_FONTS};white-space:pre;fill:{colours['default']}}}",
        f"rect{{fill:{colours['background']};stroke:{colours['border']}}}",
        ".b{font-weight:bold}",
    ]
    rules += [f".{name}{{fill:{colour}}}" for name, colour in colours.items() if name in _OF_TEXT]
    return "".join(rules)


def _row(number: int, row: list[Cell]) -> Iterator[str]:
    """A row's texts: one for each run of a style, at its own place, in its exact width."""
    y, column = _MARGIN + number * _HIGH + 14, 0
    for style, cells in itertools.groupby(row, key=_classes):
        text = "".join(cell.text for cell in cells)
        start, column = column, column + len(text)
        words = text.rstrip()
        if words.strip():
            indent = len(words) - len(words.lstrip())
            x, length = _MARGIN + (start + indent) * _WIDE, (len(words) - indent) * _WIDE
            named = f' class="{style}"' if style else ""
            yield (
                f'<text x="{x:.1f}" y="{y}" textLength="{length:.1f}"{named}>'
                f"{escape(words.strip(), quote=False)}</text>"
            )


def _classes(cell: Cell) -> str:
    colour = cell.colour.removeprefix("bright")
    if cell.faint:
        colour = "faint"
    names = [] if colour == "default" else [colour]
    return " ".join([*names, "b"] if cell.bold else names)
