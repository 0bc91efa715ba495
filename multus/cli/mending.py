"""Finds frequent mistakes in JSON all at once, and repairs them so that the text can be parsed.

A parser stops at the first mistake.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen


@frozen
class Slip:
    """A mistake in JSON text: its offset, the reason, and the fix."""

    offset: int
    reason: str
    fix: str
    is_comment: bool = False


_PIECE = re.compile(
    r"""
      (?P<string>"(?:[^"\\\n]|\\.)*")
    | (?P<comment>(?:\#|//)[^\n]*)
    | (?P<path>\\[^\s,\]}"]*)
    | (?P<single>'[^'\n]*')
    | (?P<comma>,(?=\s*[\]}]))
    | (?P<word>\b(?:True|False|None)\b)
    """,
    re.VERBOSE,
)
_WRONG_ESCAPE = re.compile(r'\\(?!["\\/bfnrt]|u[0-9a-fA-F]{4})')
_WINDOWS_PATH = re.compile(r'"(?:[A-Za-z]:)?\\(?!u[0-9a-fA-F]{4})[A-Za-z]')
_WORDS = {"True": "true", "False": "false", "None": "null"}


def mend(text: str) -> tuple[str, list[Slip]]:
    """*text* with known mistakes repaired, line numbers unchanged, and the mistakes in order."""
    slips: list[Slip] = []
    if text.startswith("\ufeff"):
        slips.append(Slip(0, "file starts with a byte order mark", "save it as UTF-8 without one"))
        text = text[1:]
    # Two passes: a trailing comma is recognised only after the comment behind it is removed.
    for _ in range(2):
        pieces: list[str] = []
        end = 0
        for found, instead, slip in _slips(text):
            pieces += [text[end : found.start()], instead]
            end = found.end()
            slips.append(slip)
        text = "".join([*pieces, text[end:]])
    return text, slips


def _slips(text: str) -> Iterator[tuple[re.Match[str], str, Slip]]:
    for found in _PIECE.finditer(text):
        piece, kind = found.group(), found.lastgroup
        if kind == "comment":
            # Pad with spaces, so that later text keeps its column.
            reason = f"{_short(piece.strip())} is a comment, and JSON has none"
            slip = Slip(found.start(), reason, "delete it", is_comment=True)
            yield found, " " * len(piece), slip
        elif kind == "path":
            instead = _slashes(piece)
            reason = f"{piece} is not quoted, and Linux paths use '/', not backslashes"
            yield found, instead, Slip(found.start(), reason, f"write {instead}")
        elif kind == "string" and _WINDOWS_PATH.match(piece):
            instead = _slashes(piece[1:-1])
            reason = f"{piece} contains backslashes, which JSON reads as escapes"
            yield found, instead, Slip(found.start(), reason, f"write {instead}")
        elif kind == "string" and _WRONG_ESCAPE.search(piece):
            reason = f"{_short(piece)} contains a backslash that does not start a valid JSON escape"
            fix = "write each backslash twice"
            yield found, _WRONG_ESCAPE.sub(r"\\\\", piece), Slip(found.start(), reason, fix)
        elif kind == "single":
            instead = '"' + piece[1:-1].replace('"', '\\"') + '"'
            reason = f"{_short(piece)} is in single quotes"
            yield found, instead, Slip(found.start(), reason, "use double quotes")
        elif kind == "comma":
            yield found, " ", Slip(found.start(), "trailing comma", "delete it")
        elif kind == "word":
            instead = _WORDS[piece]
            yield found, instead, Slip(found.start(), f"{piece} is not JSON", f"write {instead}")


def _slashes(path: str) -> str:
    return '"' + re.sub(r"\\+", "/", path.rstrip("\\")) + '"'


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."
