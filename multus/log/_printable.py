"""Text from outside, made fit for a terminal: it can neither move the cursor nor forge a line.

Names, keys and error texts come from annotations, Kubernetes objects, files and other programs.
"""

from __future__ import annotations


def printable(text: str, longest: int = 0) -> str:
    """*text* with every character that is not plainly visible written as its escape.

    These are control, format (bidirectional), surrogate, unassigned and separator characters,
    line ends and tabs among them: ``\\x1b``, ``\\n``, ``\\u202e``.  With *longest*, text beyond so
    many characters is cut, and how much is said.
    """
    if 0 < longest < len(text):
        text = f"{text[:longest]}... ({len(text) - longest} more characters)"
    if text.isprintable():
        return text
    return "".join([char if char.isprintable() else _escape(char) for char in text])


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
