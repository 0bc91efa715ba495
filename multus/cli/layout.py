"""Lines of text that fit a width: tables and bars.

A line is a list of parts, as ``multus.cli.screen`` prints them.  All text in it is printable.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from multus.log._printable import printable

#: Text, or ``(text, style)``.
Part = str | tuple[str, str]
Line = list[Part]

#: Between two columns of a table.
_GAP = "  "
#: A column that is too wide for the line is not made narrower than this.
_NARROWEST = 6
_LONGEST_CELL, _LONGEST_TEXT = 200, 1000
#: From these shares on, a range is nearly full, and full.
NEARLY_FULL, _FULL = 0.9, 1.0


def cut(text: str, width: int) -> str:
    """*text* in at most *width* columns; what is missing is marked."""
    return text if len(text) <= width else f"{text[: max(0, width - 1)]}…"


def fitted(line: Line, width: int) -> Line:
    """*line* in at most *width* columns."""
    left, found = width, []
    for part in line:
        said, style = (part, "") if isinstance(part, str) else part
        text = printable(said, _LONGEST_TEXT)
        if left <= 0:
            break
        found.append((cut(text, left), style))
        left -= len(text)
    return list(found)


def table(titles: Sequence[str], rows: Iterable[Sequence[str]], width: int = 0) -> list[Line]:
    """Rows under titles, in at most *width* columns; 0 for any width.

    The widest columns get narrower first.
    """
    cells = [[printable(cell, _LONGEST_CELL) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(titles, *cells, strict=True)]
    while width and sum(widths) + len(_GAP) * (len(widths) - 1) > width:
        widest = max(range(len(widths)), key=widths.__getitem__)
        if widths[widest] <= _NARROWEST:
            break
        widths[widest] -= 1
    lines: list[Line] = [[(_row(titles, widths), "bold")]]
    lines += [[_row(row, widths)] for row in cells]
    return [fitted(line, width) for line in lines] if width else lines


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(
        f"{cut(cell, width):<{width}}" for cell, width in zip(cells, widths, strict=True)
    ).rstrip()


def bar(share: float, cells: int, *, plain: bool) -> Line:
    """A bar of *cells* columns, filled to *share* (0.0 to 1.0); *plain* uses ASCII alone.

    Something is shown of any share above 0, and something is missing below 1.
    """
    full = round(share * cells)
    full = min(max(full, 1 if share > 0 else 0), cells if share >= 1 else cells - 1)
    style = "red" if share >= _FULL else "yellow" if share >= NEARLY_FULL else "green"
    filled, empty = ("#", ".") if plain else ("█", "░")
    return [(filled * full, style), (empty * (cells - full), "dim")]
