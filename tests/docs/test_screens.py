"""The pictures of the documentation: what is taken, how it is drawn, and when it is replaced."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest
from attrs import evolve
from repository import ROOT

from tools.screenshots.stamp import stamp, stamped
from tools.screenshots.studio import COLUMNS, Studio

SCREENS = ROOT / "docs" / "_static" / "screens"
_SVG = "{http://www.w3.org/2000/svg}"
TERMINALS = sorted(file.name for file in SCREENS.glob("*.svg") if "textLength" in file.read_text())
#: Bytes of a picture of a terminal, and of a page.
_LARGEST = {".svg": 20_000, ".png": 160_000}


def texts(file: Path) -> Iterator[tuple[str, str]]:
    """The texts of a picture, each with its style."""
    for each in ElementTree.parse(file).iter(f"{_SVG}text"):
        yield each.text or "", each.get("class", "")


def program(text: str) -> list[str]:
    return [sys.executable, "-c", text]


def test_a_terminal_is_drawn_with_its_colours_in_both_themes(tmp_path: Path) -> None:
    code = r"print('\x1b[31mred <&>\x1b[0m plain \x1b[2mfaint\x1b[0m \x1b[1;32mbold\x1b[0m')"
    Studio(tmp_path).terminal("colours", "show", argv=program(code))
    for theme in ("light", "dark"):
        assert list(texts(tmp_path / f"colours-{theme}.svg")) == [
            ("$", "green b"),
            ("show", ""),
            ("red <&>", "red"),
            ("plain", ""),
            ("faint", "faint"),
            ("bold", "green b"),
        ]
    light, dark = (tmp_path / f"colours-{theme}.svg" for theme in ("light", "dark"))
    assert light.read_text() != dark.read_text()


def test_a_program_that_goes_on_is_taken_at_the_right_moment_and_ended(tmp_path: Path) -> None:
    code = "import sys; print('ready'); sys.stdin.readline(); print('ended')"
    studio = evolve(Studio(tmp_path), inside=(sys.executable, "-c", code))
    studio.live("live", "goes on", until="ready", keys="q\n")
    assert [text for text, _ in texts(tmp_path / "live-light.svg")] == ["$", "goes on", "ready"]


@pytest.mark.parametrize(
    ("printed", "is_replaced"),
    [
        ("took 12 ms, 02:00:00:aa:bb:cc", False),
        ("took 7.5 ms, 3e:11:22:33:44:55", False),
        ("needed 12 ms, 02:00:00:aa:bb:cc", True),
        ("\x1b[31mtook\x1b[0m 12 ms, 02:00:00:aa:bb:cc", True),
    ],
)
def test_a_picture_stays_while_only_numbers_change(
    tmp_path: Path, printed: str, is_replaced: bool
) -> None:
    studio, file = Studio(tmp_path), tmp_path / "time-dark.svg"
    studio.terminal("time", "x", argv=program("print('took 123 ms, 02:00:00:aa:bb:dd')"))
    before = file.read_bytes()
    studio.terminal("time", "x", argv=program(f"print({printed!r})"))
    assert (file.read_bytes() != before) is is_replaced


def test_a_long_output_is_cut_with_a_mark(tmp_path: Path) -> None:
    argv = program("print(*range(100), sep=chr(10))")
    Studio(tmp_path).terminal("long", "x", argv=argv, lines=2)
    assert [text for text, _ in texts(tmp_path / "long-light.svg")][2:] == ["0", "1", "…"]


def test_a_png_says_of_what_it_is_and_is_still_one() -> None:
    png = next(iter(sorted(SCREENS.glob("site-*.png")))).read_bytes()
    marked = stamped(png, "of this page")
    assert (stamp(png), stamp(marked)) == ("", "of this page")
    kinds, at = [], 8
    while at < len(marked):
        length = int.from_bytes(marked[at : at + 4], "big")
        body = marked[at + 4 : at + 8 + length]
        assert zlib.crc32(body) == int.from_bytes(marked[at + 8 + length : at + 12 + length], "big")
        kinds.append(body[:4])
        at += 12 + length
    assert kinds[:2] == [b"IHDR", b"tEXt"]
    assert kinds[-1] == b"IEND"


def test_the_pictures_are_small_and_come_in_both_themes() -> None:
    files = {file.name: file for file in SCREENS.iterdir()}
    assert files
    for name, file in files.items():
        assert file.stat().st_size < _LARGEST[file.suffix], name
        assert name.replace("-light.", "-dark.") in files
        assert name.replace("-dark.", "-light.") in files


@pytest.mark.parametrize("name", TERMINALS)
def test_a_terminal_has_eighty_columns_and_nothing_of_a_person_or_machine(name: str) -> None:
    for each in ElementTree.parse(SCREENS / name).iter(f"{_SVG}text"):
        assert float(each.get("x", "0")) + float(each.get("textLength", "0")) < COLUMNS * 8.4 + 20
        assert "/home/" not in (each.text or "") and "/root/" not in (each.text or "")
