"""What takes pictures, and the folder that they are in."""

from __future__ import annotations

import hashlib
import re
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from attrs import frozen

from tools.screenshots import browser, drawing, terminal
from tools.screenshots.stamp import stamp, stamped
from tools.screenshots.terminal import Cell, Grid

#: The columns of a terminal that nobody has made larger, and pixels of a desktop and of a phone.
COLUMNS = 80
DESKTOP, PHONE = (1280, 900), (390, 844)
#: Rows of a terminal that nothing scrolls out of.
_LONGEST = 300
_THEME = re.compile(r"@media \(prefers-color-scheme: dark\)")
_COLOURS = {"light": drawing.LIGHT, "dark": drawing.DARK}


@frozen
class Studio:
    """Takes pictures into a folder; *inside* is put before programs, as a node's ``nsenter``."""

    folder: Path
    inside: tuple[str, ...] = ()

    def terminal(
        self, name: str, command: str, *, argv: Sequence[str] = (), lines: int = 60
    ) -> None:
        """A command that ends, its first *lines*.

        *argv* runs in its place when what is typed is not all of it.
        """
        grid = terminal.shown(self._argv(command, argv), COLUMNS, _LONGEST)
        more = [[Cell("…", faint=True)]] if len(grid) > lines else []
        self._terminal(name, command, grid[:lines] + more)

    def live(self, name: str, command: str, *, until: str, keys: str = "q", rows: int = 24) -> None:
        """A command that goes on: its screen once *until* is seen. *keys* end it."""
        grid = terminal.live(self._argv(command, ()), COLUMNS, rows, until, keys)
        self._terminal(name, command, grid)

    def drawing(self, name: str, argv: Sequence[str]) -> None:
        """The SVG that a program writes to its output; it follows the reader's theme by itself."""
        done = subprocess.run([*self.inside, *argv], capture_output=True, text=True, check=True)
        for theme in _COLOURS:
            # The page decides, as for the other pictures.
            chosen = _THEME.sub("@media all" if theme == "dark" else "@media not all", done.stdout)
            self._keep(f"{name}-{theme}.svg", chosen.encode())

    def page(self, name: str, url: str, size: tuple[int, int]) -> None:
        """A page as a browser window of this size shows it first, light and dark.

        A page that is served shows times and random names; the picture stays while the page is
        the same but for them.
        """
        served = url.startswith("http:")
        shown = self._fingerprint(url) if served else ""
        for theme in _COLOURS:
            file = self.folder / f"{name}-{size[0]}-{theme}.png"
            if served and file.exists() and stamp(file.read_bytes()) == shown:
                continue
            with tempfile.TemporaryDirectory() as folder:
                raw, small = Path(folder, "raw.png"), Path(folder, "small.png")
                browser.picture(url, raw, *size, dark=theme == "dark", inside=self.inside)
                subprocess.run(["pngquant", "--strip", "--output", small, "64", raw], check=True)
                made = small.read_bytes()
            file.write_bytes(stamped(made, shown) if served else made)

    def _fingerprint(self, url: str) -> str:
        """Which words a page shows; how often and in which order depends on times."""
        document = browser.document(url, inside=self.inside)
        opened = re.sub(r"</summary>.*?</details>", "", document, flags=re.DOTALL)
        words = sorted(set(_words(opened.encode()).split()))
        return hashlib.sha256(" ".join(words).encode()).hexdigest()

    def _argv(self, command: str, argv: Sequence[str]) -> list[str]:
        return [*self.inside, *(argv or ["sh", "-c", command])]

    def _terminal(self, name: str, command: str, grid: Grid) -> None:
        for theme, colours in _COLOURS.items():
            self._keep(f"{name}-{theme}.svg", drawing.svg(command, grid, colours).encode())

    def _keep(self, name: str, made: bytes) -> None:
        file = self.folder / name
        if not file.exists() or _words(file.read_bytes()) != _words(made):
            file.write_bytes(made)


def _words(svg: bytes) -> str:
    """A picture or page without numbers, places and random names: what a reader would miss."""
    head, _, drawn = svg.decode().partition("</style>")
    words = re.sub(r"<[^>]*>", _style_of, drawn)
    words = re.sub(r"\b[0-9a-f]{2}(:[0-9a-f]{2}){5}\b|\b(veth)?[0-9a-f]{8,}\b", "0", words)
    return head.partition("<style>")[2] + re.sub(r"\d[\d.:,]*", "0", " ".join(words.split()))


def _style_of(tag: re.Match[str]) -> str:
    found = re.search(r' class="[^"]*"', tag[0])
    return found[0] if found else " "
