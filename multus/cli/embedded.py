"""Finds a character of a YAML string in its file, for errors in the JSON that such strings hold."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import frozen


@frozen
class Scalar:
    """A string in a YAML file: its value, its style, and where it begins and ends in the file.

    ``style`` is YAML's: ``|``, ``>``, a quote, or None for a plain one.
    """

    value: str
    style: str | None
    start: int
    end: int

    def find(self, source: str, position: tuple[int, int]) -> tuple[int, int] | None:
        """Line and column in *source*, the file, of those in the value; both count from 1.

        None where the string's style does not say it.
        """
        offsets = self._offsets(source[self.start : self.end])
        if offsets is None or len(offsets) != len(self.value):
            return None
        line, column = position
        before = "".join(self.value.splitlines(keepends=True)[: line - 1])
        # An error at the end is one character behind the last.
        wanted = min(len(before) + column - 1, len(offsets))
        at = self.start + (offsets[wanted] if wanted < len(offsets) else offsets[-1] + 1)
        return source.count("\n", 0, at) + 1, at - source.rfind("\n", 0, at)

    def _offsets(self, raw: str) -> list[int] | None:
        """For each character of the value its place in *raw*, the string as it is written."""
        if not self.value:
            return None
        if self.style == "|":
            return list(_literal(raw, len(self.value)))
        if self.style == "'":
            return list(_single_quoted(raw))
        if "\n" in raw or "\\" in raw or self.style == ">":
            return None
        first = raw.find(self.value)
        return list(range(first, first + len(self.value))) if first >= 0 else None


def _literal(raw: str, most: int) -> Iterator[int]:
    """A block after ``|``: its lines, without the indentation of the first one with text."""
    at = raw.find("\n") + 1
    found = re.compile(r" *(?=[^ \n])").search(raw, at)
    indent = len(found[0]) if found else 0
    for line in raw[at:].splitlines(keepends=True):
        for column in range(min(indent, len(line.rstrip("\n"))), len(line)):
            if most == 0:
                return
            most -= 1
            yield at + column
        at += len(line)


def _single_quoted(raw: str) -> Iterator[int]:
    """A string in single quotes: a line break is a space, further ones are line breaks."""
    at = 1
    while at < len(raw) - 1:
        folded = re.compile(r"[ \t]*\n\s*").match(raw, at)
        if folded is not None:
            breaks = folded[0].count("\n")
            yield from [folded.start()] * max(1, breaks - 1)
            at = folded.end()
            continue
        yield at
        at += 2 if raw.startswith("''", at) else 1
