"""Numbers of the command line, for argparse: what no command can use is refused there."""

from __future__ import annotations

import argparse
import math

#: A year; the operating system refuses to sleep much longer.
_LONGEST = 365 * 24 * 3600.0


def seconds(text: str) -> float:
    """A time of 0 seconds to one year."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.0 <= value <= _LONGEST:
        raise argparse.ArgumentTypeError(f"{text!r} is no time: write seconds, 0 to a year")
    return value


def count(text: str) -> int:
    """A number of 1 or more."""
    if not text.isascii() or not text.isdecimal() or len(text) > 9 or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return int(text)
