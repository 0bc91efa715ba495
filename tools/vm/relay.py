"""In a machine: copies its serial line to standard output; see ``feed.py``."""

from __future__ import annotations

import os

ACKNOWLEDGEMENT = 4  # a descriptor


def main() -> None:
    while data := os.read(0, 4096):
        os.write(ACKNOWLEDGEMENT, b"." * len(data))
        view = memoryview(data)
        while view:
            view = view[os.write(1, view) :]


if __name__ == "__main__":
    main()
