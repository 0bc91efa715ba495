"""Locations for errors: an object in words, and the path of a key within it."""

from __future__ import annotations

#: A key's path from the top of an object: ``("delegates", 0, "type")``.
Path = tuple[str | int, ...]


class Where(str):
    """An object, or a part of one, in words; ``path`` leads to that part from the object's top.

    "annotation 'networks' of pod default/web, entry 2" is in the pod at
    ``("metadata", "annotations", "networks", 1)``.  Plain text may stand for a ``Where``: then
    keys are counted from the top.
    """

    __slots__ = ("path",)

    path: Path

    def __new__(cls, text: str, path: Path = ()) -> Where:
        made = super().__new__(cls, text)
        made.path = path
        return made


def path_of(where: str) -> Path:
    """The path that *where* has; empty for plain text."""
    return where.path if isinstance(where, Where) else ()


def within(where: str, text: str, *keys: str | int) -> Where:
    """The part of *where* under *keys*; *text* is appended to its words."""
    return Where(f"{where}{text}", (*path_of(where), *keys))


def as_path(path: str | Path) -> Path:
    """``"delegates[0].type"`` as a path.

    A key that contains a dot or a bracket can only be given in a tuple.
    """
    if not isinstance(path, str):
        return path
    found: list[str | int] = []
    for part in path.split(".") if path else ():
        name, *indexes = part.replace("]", "").split("[")
        found += [name] if name else []
        found += [int(each) for each in indexes if each.isdigit()]
    return tuple(found)


def dotted(path: Path) -> str:
    """A path as people write it: ``delegates[0].type``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def sentence(where: str, key: Path, reason: str, fix: str = "") -> str:
    """``where: 'key' reason: fix``, without the parts that are empty."""
    text = f"{where}: " if where else ""
    text += f"'{dotted(key)}' " if key else ""
    return f"{text}{reason}: {fix}" if fix else f"{text}{reason}"
