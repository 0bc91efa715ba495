"""Copies standard input to a machine's serial line, no faster than the machine reads it.

The line's driver loses what its buffer of 4096 bytes cannot take: it stops, and never goes on.
``relay.py``, in the machine, answers each byte with one on the second line.
"""

from __future__ import annotations

import os
import sys
import time

AT_ONCE = 2048  # bytes


def main(name: str) -> None:
    while not os.path.exists(f"{name}.up"):  # before that, the line echoes
        time.sleep(0.05)
    line = os.open(f"{name}.in", os.O_WRONLY)
    acknowledged = os.open(f"{name}.acknowledged", os.O_RDONLY)
    under_way = 0
    while data := os.read(0, AT_ONCE):
        while under_way + len(data) > AT_ONCE:
            under_way -= len(os.read(acknowledged, AT_ONCE))
        os.write(line, data)
        under_way += len(data)


if __name__ == "__main__":
    main(sys.argv[1])
