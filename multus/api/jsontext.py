"""Decode JSON that people wrote, with errors that name the line, and encode it without changes."""

from __future__ import annotations

import json
import sys
from json.encoder import encode_basestring_ascii as _quoted
from typing import Any, NoReturn

from multus.api.errors import DecodingFailure
from multus.api.frozen import DEEPEST, freeze

#: Larger text is refused before it is decoded: configurations and results are far smaller.
LARGEST = 4 * 1024 * 1024

_TOO_DEEP = f"is nested deeper than {DEEPEST} levels"


class _NotJSON(ValueError):
    """Something that the library reads, and that is refused here."""


class _Number(float):
    """A float that keeps its text: ``1.10`` is written as ``1.10``."""

    text: str
    #: Whether this process has decoded such a number.
    met = False


def _number(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _NotJSON(f"the number {text} is too large")
    if repr(number) == text:
        return number
    number = _Number(number)
    number.text, _Number.met = text, True
    return number


def decode(data: bytes, what: str, *, comments: bool = False) -> Any:
    """Decode *data*, read-only (``multus.api.frozen``); *what* names it in errors.

    With *comments*, lines whose first visible character is ``#`` are skipped, as the examples of
    Multus' first documentation have such lines.  Raises ``DecodingFailure``.
    """
    if len(data) > LARGEST:
        reason = f"is {len(data)} bytes long, at most {LARGEST} are read"
        raise _failure(what, reason, "make it shorter")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        reason = f"is not UTF-8 (byte {error.start})"
        raise _failure(what, reason, "save it as UTF-8") from error
    if comments:
        text = "\n".join("" if is_comment(line) else line for line in text.split("\n"))
    try:
        value = freeze(json.loads(text, parse_float=_number, parse_constant=_no_constant))
    except json.JSONDecodeError as error:
        raise _located(what, text, error) from error
    except RecursionError as error:
        raise _failure(what, _TOO_DEEP) from error
    except _NotJSON as error:
        raise _failure(what, f"is not JSON: {error}") from error
    except ValueError as error:
        # int() refuses it, and advises a change of the program.
        most = sys.get_int_max_str_digits()
        reason = f"has a number with more than {most} digits"
        raise _failure(what, reason, "write a shorter number") from error
    return value


def decode_object(data: bytes, what: str, *, comments: bool = False) -> dict[str, Any]:
    """Like ``decode``, for text that must hold an object."""
    value = decode(data, what, comments=comments)
    if not isinstance(value, dict):
        raise _failure(what, "is not a JSON object", "put it into braces")
    return value


def encode(value: Any) -> bytes:
    """Compact JSON; a number that ``decode`` read is written with its original text.

    The keys of objects have to be strings.  Raises ``TypeError`` for types that JSON lacks,
    ``ValueError`` for NaN and infinities.
    """
    # The library writes a float's value, not its original text. The slow encoder, which keeps the
    # text, is used only after a number was decoded whose text differs.
    return (_text if _Number.met else _standard)(value).encode()


_standard = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode


def _text(value: Any) -> str:
    if isinstance(value, str):
        return _quoted(value)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        pairs = [f"{_quoted(key)}:{_text(item)}" for key, item in value.items()]
        return "{" + ",".join(pairs) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join([_text(item) for item in value]) + "]"
    if isinstance(value, _Number):
        return value.text
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float) and value - value == 0:
        return float.__repr__(value)
    if isinstance(value, float):
        raise ValueError(f"{value!r} is not a JSON number")
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def is_comment(line: str) -> bool:
    """Whether a whole line is a comment."""
    return line.lstrip().startswith("#")


def _no_constant(name: str) -> NoReturn:
    raise _NotJSON(f"{name} is not a JSON number")


def _failure(what: str, wrong: str, fix: str = "") -> DecodingFailure:
    failure = DecodingFailure(f"{what} {wrong}", fix=fix)
    failure.wrong = wrong
    return failure


def _located(what: str, text: str, error: json.JSONDecodeError) -> DecodingFailure:
    if not text.strip():
        return _failure(what, "is not JSON: it is empty")
    comma = _trailing_comma(text, error.pos)
    if comma is not None:
        error = json.JSONDecodeError("a comma stands before the closing bracket", text, comma)
    syntax, fix = _explained(text, error) if comma is None else (error.msg, "delete it")
    line, column = error.lineno, error.colno
    failure = _failure(what, f"is not JSON: line {line} column {column}: {syntax}", fix)
    failure.position, failure.syntax = (line, column), syntax
    return failure


def _trailing_comma(text: str, position: int) -> int | None:
    """Where the comma is that ends an object or a list wrongly.

    From Python 3.13 the library reports the comma's position, before it that of what follows.
    """
    before = text[: position + 1].rstrip()
    comma = len(before.rstrip("}]").rstrip()) - 1
    after = text[comma + 1 :].lstrip()
    return comma if comma >= 0 and text[comma] == "," and after[:1] in ("}", "]") else None


def _explained(text: str, error: json.JSONDecodeError) -> tuple[str, str]:
    """What is wrong, and a fix when one is known."""
    lines = text.split("\n")
    line = lines[error.lineno - 1] if error.lineno <= len(lines) else ""
    if is_comment(line):
        return f"{line.strip()!r} is a comment, and JSON has none", "delete the line"
    if "\\" in text[max(0, error.pos - 1) : error.pos + 1]:
        return error.msg, "write each backslash twice"
    if error.pos >= len(text.rstrip()):
        return "it ends too early", "complete it"
    return error.msg, ""
