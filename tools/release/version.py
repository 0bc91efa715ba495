"""``./dev version``: the version stands in one place, and everything else follows it.

The place is ``multus/__init__.py``; the core's metadata reads it there. Plugins are distributions
of their own, whose metadata can read no file outside of their folder, and YAML reads none at all:
in these the version is written by this command, and a test compares.

A plugin requires the core of its own version or a later patch release, ``multus~=0.1.0``: it was
tested with no earlier one. This needs Python alone, no library.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

CHECKOUT = Path(__file__).resolve().parents[2]
SOURCE = "multus/__init__.py"
CHANGELOG = "CHANGELOG.md"
UNRELEASED = "not released yet"

_VERSION = r"\d+\.\d+\.\d+"
_SOURCE = re.compile(rf'^__version__ = "({_VERSION})"$', re.M)
_HEADING = re.compile(r"^## (\S+), (.+)$", re.M)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")


class Place(NamedTuple):
    """Files that follow the version; the group of the pattern is the version."""

    files: str
    pattern: str
    #: How the version is written there.
    form: str = "{version}"
    #: Whether it stands in each of the files, or in some of them.
    everywhere: bool = True


#: A line of a metadata's requirements: the core or a plugin, with a version.
_REQUIRED = r"^    multus(?:-[a-z-]+)?(?:\[[\w,]+\])?([<>=~]\S+)$"

PLACES = (
    Place("plugins/*/setup.cfg", r"^version = (.+)$"),
    Place("plugins/*/setup.cfg", _REQUIRED, "~={version}"),
    Place("setup.cfg", _REQUIRED, "~={version}"),
    Place("examples/*/setup.cfg", _REQUIRED, ">={minor},<{next}"),
    Place("deploy/helm/multus/Chart.yaml", r"^(?:version|appVersion): \"?([^\"\s]+)\"?$"),
    Place("deploy/**/*.yaml", r"image: registry\.invalid/multus:(\S+)$", everywhere=False),
    Place(
        "docs/*.md",
        r"(?:registry\.\w+/multus:|mirror\.\w+/multus:|/multus-|\?ref=v)(\d+\.\d+\.\d+)",
        everywhere=False,
    ),
)


class Wrong(Exception):
    """What keeps the version from being set, or a release from being made."""


def current(root: Path = CHECKOUT) -> str:
    """The version of the checkout at *root*."""
    found = _SOURCE.search((root / SOURCE).read_text())
    if found is None:
        raise Wrong(f"{SOURCE}: '__version__' is not like 0.1.0")
    return found[1]


def stale(root: Path = CHECKOUT) -> Iterator[str]:
    """Each place that has another version than the source."""
    version = current(root)
    for place in PLACES:
        wanted = _written(place, version)
        for path in files(place, root):
            found = re.findall(place.pattern, path.read_text(), re.M)
            name = path.relative_to(root)
            if not found:
                yield f"{name}: nothing in it is like {place.pattern}"
            yield from (f"{name}: {each}, not {wanted}" for each in found if each != wanted)


def write(version: str, root: Path = CHECKOUT) -> list[str]:
    """Make *version* the version of everything; the names of the files that were changed."""
    if not re.fullmatch(_VERSION, version):
        raise Wrong(f"{version!r} is no version: it is like 0.1.0")
    texts = {root / SOURCE: _set(_SOURCE, root / SOURCE, version)}
    for place in PLACES:
        pattern = re.compile(place.pattern, re.M)
        for path in files(place, root):
            old = texts.get(path)
            texts[path] = _set(pattern, path, _written(place, version), old)
    texts[root / CHANGELOG] = _with_section((root / CHANGELOG).read_text(), version)
    changed = {path: text for path, text in texts.items() if path.read_text() != text}
    for path, text in changed.items():
        path.write_text(text)
    return sorted(str(path.relative_to(root)) for path in changed)


def released(root: Path = CHECKOUT) -> str:
    """The date on which the changelog says that the version is released; raises where none does."""
    version = current(root)
    newest, when = section(root)
    if newest != version:
        raise Wrong(f"{CHANGELOG}: the newest section is of {newest}, the version is {version}")
    if not _DATE.fullmatch(when):
        raise Wrong(
            f"{CHANGELOG}: {version} is {when!r}: write '## {version}, YYYY-MM-DD' to release it"
        )
    return when


def section(root: Path = CHECKOUT) -> tuple[str, str]:
    """The version of the changelog's newest section, and its date or 'not released yet'."""
    found = _HEADING.search((root / CHANGELOG).read_text())
    if found is None:
        raise Wrong(f"{CHANGELOG}: no section is like '## 0.1.0, {UNRELEASED}'")
    return found[1], found[2]


def _with_section(text: str, version: str) -> str:
    """The changelog whose newest section is *version*'s: an unreleased one is renamed."""
    newest = _HEADING.search(text)
    heading = f"## {version}, {UNRELEASED}"
    if newest is None:
        return f"{text.rstrip()}\n\n{heading}\n"
    if newest[1] == version:
        return text
    kept = newest.end() if newest[2] == UNRELEASED else newest.start()
    between = "" if newest[2] == UNRELEASED else "\n\n"
    return text[: newest.start()] + heading + between + text[kept:]


def files(place: Place, root: Path = CHECKOUT) -> list[Path]:
    """The files in which the version stands at *place*; raises where there is none."""
    found = sorted(root.glob(place.files))
    if not place.everywhere:
        found = [path for path in found if re.search(place.pattern, path.read_text(), re.M)]
    if not found:
        raise Wrong(f"{place.files}: there is no such file, whose version would follow")
    return found


def _written(place: Place, version: str) -> str:
    major, minor = version.split(".")[:2]
    following = f"{major}.{int(minor) + 1}"
    return place.form.format(version=version, minor=f"{major}.{minor}", next=following)


def _set(pattern: re.Pattern[str], path: Path, value: str, text: str | None = None) -> str:
    text = path.read_text() if text is None else text

    def other(found: re.Match[str]) -> str:
        before, after = found.start(1) - found.start(), found.end(1) - found.start()
        return found[0][:before] + value + found[0][after:]

    return pattern.sub(other, text)


def main(argv: Sequence[str]) -> int:
    """Print the version, or set it; 1 where a place has another."""
    parser = argparse.ArgumentParser(prog="./dev version", description=__doc__.splitlines()[0])
    parser.add_argument("version", nargs="?", help="the new one; without it, compare all places")
    wanted = parser.parse_args(argv).version
    try:
        if wanted is not None:
            for name in write(wanted):
                print(name)
        wrong = list(stale())
        print(f"{current()}, {section()[1]}")
    except Wrong as error:
        print(f"dev: {error}", file=sys.stderr)
        return 1
    for each in wrong:
        print(f"dev: {each}: run './dev version {current()}'", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
