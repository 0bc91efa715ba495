"""Keys in another letter case than documented ("kubeConfig"), read as the key that is meant.

The Go Multus, libcni and plugins in Go decode into structures, and Go's decoder compares the names
of keys without regard to case.  So configurations with such keys exist and work.  Keys are given
their documented spelling where an object is read; all other code knows that spelling alone.

Source: the documentation of ``encoding/json``, "Unmarshal".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from multus.api.where import Path

#: Go folds these two as well: the long s, and the sign for kelvin.
_FOLDED = {0x17F: "s", 0x212A: "k"}


class Spelling:
    """The documented *names* of an object's keys.

    *within* has the spelling of the objects that a key holds, directly or in a list.
    """

    __slots__ = ("_folded", "names", "within")

    def __init__(self, names: Iterable[str], within: Mapping[str, Spelling] | None = None) -> None:
        self.within: Mapping[str, Spelling] = within or {}
        self.names = frozenset((*names, *self.within))
        self._folded = {_fold(name): name for name in self.names}

    def name_of(self, key: str) -> str:
        """The documented name of *key*; *key* itself when none is meant."""
        return key if key in self.names else self._folded.get(_fold(key), key)


def spelled(raw: Mapping[str, Any], spelling: Spelling) -> Mapping[str, Any]:
    """*raw* with the documented names of its keys; *raw* itself when it has them already.

    Of several spellings of one key the last one counts, and null never replaces a value.
    """
    found: dict[str, Any] = {}
    same = True
    for key, value in raw.items():
        name = spelling.name_of(key)
        inner = spelling.within.get(name)
        new = value if inner is None else _spelled_within(value, inner)
        same = same and name == key and new is value
        if new is not None or name not in found:
            found[name] = new
    return raw if same else found


def _spelled_within(value: Any, spelling: Spelling) -> Any:
    if isinstance(value, dict):
        return spelled(value, spelling)
    if not isinstance(value, list):
        return value
    found = [_spelled_within(each, spelling) if isinstance(each, dict) else each for each in value]
    return value if all(new is old for new, old in zip(found, value, strict=True)) else found


def misspelled(
    raw: Mapping[str, Any], spelling: Spelling, base: Path = ()
) -> Iterator[tuple[Path, str]]:
    """The path of each key that ``spelled`` renames, as it is written, and its documented name."""
    for key, value in raw.items():
        name, path = spelling.name_of(key), (*base, key)
        if name != key:
            yield path, name
        inner = spelling.within.get(name)
        if inner is None:
            continue
        listed = enumerate(value) if isinstance(value, list) else [(None, value)]
        for index, each in listed:
            if isinstance(each, dict):
                yield from misspelled(each, inner, path if index is None else (*path, index))


def spelled_path(path: Path, spelling: Spelling) -> Path:
    """*path* with the documented names of its keys."""
    found: list[str | int] = []
    known: Spelling | None = spelling
    for part in path:
        if isinstance(part, str):
            name = part if known is None else known.name_of(part)
            known = None if known is None else known.within.get(name)
            part = name
        found.append(part)
    return tuple(found)


def _fold(name: str) -> str:
    return name.lower() if name.isascii() else name.translate(_FOLDED).lower()
