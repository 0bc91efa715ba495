"""Escapes text from outside for a terminal, so it cannot move the cursor or forge a line.

Names, keys and error texts come from annotations, Kubernetes objects, files and other programs.
"""

from __future__ import annotations


def printable(text: str, longest: int = 0) -> str:
    """*text* with every unprintable character written as its escape.

    These are control, format (bidirectional), surrogate, unassigned and separator characters,
    including newlines and tabs: ``\\x1b``, ``\\n``, ``\\u202e``.  *longest* limits the length; the
    result says how many characters were cut.
    """
    if 0 < longest < len(text):
        text = f"{text[:longest]}... ({len(text) - longest} more characters)"
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else _escape(char) for char in text])


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
