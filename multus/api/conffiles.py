"""Network configurations in files: found by name, by folder, by path.

Files end in ``.conf``, ``.conflist`` or ``.json``; whole lines that start with ``#`` are comments.
Unless ``loadOnlyInlinedPlugins`` is true, the plugins in ``.conf`` files of the folder with the
list's name, beside the file, are appended to the list.

Source: CNI specification 1.1.0, section 1; libcni's loading of configuration files.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from multus.api import regular
from multus.api.errors import CNIError, IOFailure
from multus.api.jsontext import LARGEST, decode_object
from multus.api.keys import INLINED_ONLY, NETWORK_SPELLING
from multus.api.reader import Reader
from multus.api.spelling import spelled

_ENDINGS = (".conf", ".conflist", ".json")


class Found(NamedTuple):
    """A configuration and its file."""

    path: str
    config: Mapping[str, Any]


def load(path: str) -> Found:
    """Read the file at *path*; raises ``IOFailure``, ``DecodingFailure`` or ``InvalidConfig``."""
    decoded = decode_object(_read(path), f"network configuration {path}", comments=True)
    config = spelled(decoded, NETWORK_SPELLING)
    # A list without plugins gets all of them from the folder.
    if "plugins" in config or "type" not in config:
        config = _with_folder(path, config)
    return Found(path, config)


def in_folder(folder: str, kinds: tuple[str, ...] = _ENDINGS) -> list[str]:
    """The files of *folder* that end in one of *kinds*, in lexical order.

    Empty when there is nothing of that name.  Raises ``IOFailure`` for anything else that is not a
    readable folder, for example a file or a link to nothing.
    """
    try:
        names = sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError) as error:
        if not os.path.lexists(folder):
            return []
        kind = "a link to nothing" if isinstance(error, FileNotFoundError) else "not a folder"
        raise IOFailure(
            f"cannot list {folder}: it is {kind}", fix="make it a folder, or remove it"
        ) from error
    except OSError as error:
        raise IOFailure(
            f"cannot list {folder}: {error.strerror}", fix="give this process access to the folder"
        ) from error
    return [os.path.join(folder, name) for name in names if name.endswith(kinds)]


def by_name(folder: str, name: str, kinds: tuple[str, ...] = _ENDINGS) -> Found | None:
    """The first configuration in *folder* whose ``name`` is *name*; None when there is none.

    *kinds* are the file endings to read.  An unreadable file is skipped when another file matches;
    otherwise its error is raised.
    """
    first_error: CNIError | None = None
    for path in in_folder(folder, kinds):
        try:
            found = load(path)
        except CNIError as error:
            first_error = first_error or error
            continue
        if found.config.get("name") == name:
            return found
    if first_error is not None:
        raise first_error
    return None


def first_in(folder: str) -> Found | None:
    """The lexically first configuration of *folder*; None when it has none."""
    paths = in_folder(folder)
    return load(paths[0]) if paths else None


def plugins_in(folder: str) -> list[Mapping[str, Any]]:
    """The plugins in the ``.conf`` files of *folder*, in lexical order: the rest of a chain.

    Empty when there is no such folder.  Raises ``IOFailure``, ``DecodingFailure`` or
    ``InvalidConfig`` for a file that is not one plugin's configuration.
    """
    found = []
    for path in in_folder(folder, (".conf",)):
        config = load(path).config
        reader = Reader(config, f"network configuration {path}")
        if not reader.text("type"):
            raise reader.error("type", "is missing", "write one plugin's configuration")
        found.append(config)
    return found


def _with_folder(path: str, config: Mapping[str, Any]) -> Mapping[str, Any]:
    reader = Reader(config, f"network configuration {path}")
    name = reader.text("name")
    if INLINED_ONLY.read(reader) or not name:
        return config
    if "/" in name or name in (".", ".."):
        raise reader.error(
            "name", f"is {name!r}: invalid network name", "use letters, digits, '_', '.', '-'"
        )
    folder = os.path.join(os.path.dirname(path), name)
    more = plugins_in(folder)
    return {**config, "plugins": [*reader.sequence("plugins"), *more]} if more else config


def _read(path: str) -> bytes:
    try:
        # A name in a folder may be a FIFO, a socket or a device: opening one could block forever.
        return regular.read(path, LARGEST + 1, follow=True)
    except regular.NotRegular as error:
        raise IOFailure(
            f"cannot read network configuration {path}: {error.strerror}",
            fix="put a regular file there, or remove it",
        ) from error
    except OSError as error:
        raise IOFailure(
            f"cannot read network configuration {path}: {error.strerror}",
            fix="create it, or correct the path",
        ) from error
