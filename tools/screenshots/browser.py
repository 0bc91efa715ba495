"""A headless browser: pictures of pages, and what a page's scripts have made of it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

#: Programs of one command line, under the names of Debian, Ubuntu and Google.
_PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
#: Seconds for one page.
_TIMEOUT = 120


class NoBrowser(Exception):
    """None of the known programs is installed."""


def program() -> str:
    """The path of the browser; raises ``NoBrowser``."""
    for name in _PROGRAMS:
        found = shutil.which(name)
        if found:
            return found
    raise NoBrowser("no headless browser: install chromium")


def picture(
    url: str,
    file: Path,
    width: int,
    height: int,
    *,
    dark: bool = False,
    inside: Sequence[str] = (),
) -> None:
    """Write the page as it is first seen, *width* and *height* in CSS pixels, as PNG.

    *inside* is put before the browser's command line.
    """
    options = [f"--screenshot={file}", f"--window-size={width},{height}"]
    # A page may draw itself by what it has asked for.
    options += ["--virtual-time-budget=1500"]
    options += ["--blink-settings=preferredColorScheme=0"] if dark else []
    _run(url, *options, inside=inside)


def document(url: str, *, patience: int = 10_000, inside: Sequence[str] = ()) -> str:
    """The page's HTML after its scripts ran for *patience* virtual milliseconds."""
    return _run(url, "--dump-dom", f"--virtual-time-budget={patience}", inside=inside)


def _run(url: str, *options: str, inside: Sequence[str] = ()) -> str:
    with tempfile.TemporaryDirectory() as profile:
        argv = [*inside, program(), "--headless=new", "--no-sandbox", "--disable-gpu"]
        argv += ["--hide-scrollbars", "--disable-background-networking", "--no-first-run"]
        # Pages are files, which read each other.
        argv += ["--allow-file-access-from-files", f"--user-data-dir={profile}", *options, url]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=_TIMEOUT, check=True)
    return done.stdout
