"""What a configuration key is: its type, default and limits, and how it is read and checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from multus.api.errors import InvalidConfig, either
from multus.api.problem import Problem, remark
from multus.api.reader import Reader
from multus.api.spelling import Spelling

#: Where a key is set: Multus' own configuration, a network's configuration, the daemon's file.
MULTUS, NETWORK, DAEMON = "multus", "network", "daemon"


# Named tuples: an attrs class takes six times as long to create, in every standalone call.


class Kind(NamedTuple):
    """A type: its name in tables, its reader, and the factory of an empty value."""

    name: str
    read: Callable[[Reader, str], Any]
    empty: Callable[[], Any]

    def __str__(self) -> str:
        return self.name


def _texts(reader: Reader, key: str) -> tuple[str, ...]:
    return tuple(reader.texts(key))


def _word(reader: Reader, key: str) -> str:
    return reader.text(key).lower()


TEXT = Kind("string", Reader.text, str)
#: A case-insensitive string; it is read in lower case.
WORD = Kind("string", _word, str)
PATH = Kind("absolute path", Reader.path, str)
#: A path that may be relative to the process's working folder, as the Go Multus takes it.
PLACE = Kind("path", Reader.place, str)
BOOLEAN = Kind("boolean", Reader.boolean, bool)
INTEGER = Kind("integer", Reader.integer, int)
NUMBER = Kind("number", Reader.number, float)
OBJECT = Kind("object", Reader.mapping, dict)
TEXTS = Kind("list of strings", _texts, tuple)
OBJECTS = Kind("list of objects", Reader.mappings, list)


class Key(NamedTuple):
    """A configuration key.

    ``name`` is its path from the top of a configuration ("logOptions.maxSize"); ``text`` is a
    sentence for the table.  ``default`` is the value of an absent key, None when the key is
    required or has no default.  ``of`` is ``MULTUS`` for a key of Multus' own configuration,
    ``NETWORK`` for one of any delegate's, ``DAEMON`` for one of the daemon's file, or the ``type``
    of the plugin whose configuration has it.

    A value must be one of ``choices``, at least ``least``, more than ``above`` and at most
    ``most``; a limit that is not set is not checked.  ``nearest`` gives the allowed value that
    another one is read as; without it, another one is refused.

    ``spared``: DEL and GC ignore the key when its value is invalid.  ``kept``: the journal keeps
    the key.  ``selects``: the key selects networks, or lets containers choose theirs.
    """

    name: str
    kind: Kind
    text: str
    default: Any = None
    of: str = MULTUS
    required: bool = False
    choices: tuple[str, ...] = ()
    least: float | None = None
    above: float | None = None
    most: float | None = None
    nearest: Callable[[Any], Any] | None = None
    spared: bool = False
    kept: bool = True
    selects: bool = False

    @property
    def top(self) -> str:
        """The key at the top of the configuration: "logOptions" for "logOptions.maxSize"."""
        return self.name if "/" in self.name else self.name.partition(".")[0]

    def read(self, reader: Reader) -> Any:
        """The value in *reader*'s object, or the default; raises ``InvalidConfig``."""
        name = self.name
        if self.top != name:
            reader, name = reader.inner(self.top), name[len(self.top) + 1 :]
        if reader.raw.get(name) is None:
            return self.absent
        value = self.kind.read(reader, name)
        if value == "" and (self.kind in (PATH, PLACE) or self.default is None):
            return self.absent
        if self.choices or self._bounded:
            return self._allowed(reader, name, value)
        return value

    def remark(self, reader: Reader) -> Problem | None:
        """What to say about a value that ``read`` takes, but not as it is written; else None."""
        written: Any = reader.raw
        for part in (self.top, self.name[len(self.top) + 1 :]):
            written = written.get(part) if part else written
        if self.kind is PLACE and written and not written.startswith("/"):
            reason = f"is {written!r}, relative to the working folder of the process that reads it"
            return remark(self.name, reason, "use an absolute path")
        if self.nearest is None or written is None:
            return None
        value = self.read(reader)
        same = value == (written.lower() if self.kind is WORD else written)
        if same or written == "":
            return None
        fix = f"use {either(self.choices)}" if self.choices else f"use {self._range()}"
        return remark(self.name, f"is {written!r}, which is read as {value!r}", fix)

    @property
    def absent(self) -> Any:
        """The value of an absent key."""
        return self.kind.empty() if self.default is None else self.default

    @property
    def _bounded(self) -> bool:
        return self.least is not None or self.above is not None or self.most is not None

    def _allowed(self, reader: Reader, name: str, value: Any) -> Any:
        try:
            self._require_allowed(reader, name, value)
        except InvalidConfig:
            if self.nearest is None:
                raise
            return self.nearest(value)
        return value

    def _require_allowed(self, reader: Reader, name: str, value: Any) -> None:
        if self.choices:
            given = value if isinstance(value, tuple) else (value,)
            wrong = next((each for each in given if each not in self.choices), None)
            if wrong is not None:
                verb = "is" if given == (value,) else "has"
                shown = reader.raw[name] if verb == "is" else wrong
                raise reader.error(name, f"{verb} {shown!r}", f"use {either(self.choices)}")
            return
        low = self.least is not None and value < self.least
        low = low or (self.above is not None and value <= self.above)
        if low or (self.most is not None and value > self.most):
            raise reader.error(name, f"is {reader.raw[name]}", f"use {self._range()}")

    def _range(self) -> str:
        number = "a whole number" if self.kind is INTEGER else "a number"
        if self.above is not None:
            most = "" if self.most is None else f", at most {self.most}"
            return f"{number} above {self.above}{most}"
        if self.most is None:
            return f"{self.least} or more"
        return f"{number} from {self.least} to {self.most}"


def problems(reader: Reader, keys: Iterable[Key], of: str = MULTUS) -> list[Problem]:
    """The problems with the values of *keys* in *reader*'s object, and remarks about them."""
    found: list[Problem] = []
    for key in keys:
        if key.of == of and reader.raw.get(key.top) is not None:
            try:
                key.read(reader)
            except InvalidConfig as error:
                found += error.problems
            else:
                said = key.remark(reader)
                found += () if said is None else (said,)
    # A value that is not an object gives the same problem for every key in it: report it once.
    return list(dict.fromkeys(found))


def kept(raw: Mapping[str, Any], keys: Iterable[Key]) -> dict[str, Any]:
    """The keys of a configuration that the journal keeps."""
    passing = {key.name for key in keys if not key.kept}
    return {key: value for key, value in raw.items() if key not in passing}


def spelling_of(keys: Iterable[Key], within: Mapping[str, Spelling] | None = None) -> Spelling:
    """The spelling of an object with these *keys*; *within* as in ``Spelling``."""
    inner: dict[str, list[str]] = {}
    names: list[str] = []
    for key in keys:
        names.append(key.top)
        if key.top != key.name:
            inner.setdefault(key.top, []).append(key.name[len(key.top) + 1 :])
    nested = {top: Spelling(listed) for top, listed in inner.items()}
    return Spelling(names, {**nested, **(within or {})})
