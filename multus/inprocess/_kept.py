"""Files that an ADD keeps for the DEL, in the folders of the reference plugins."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

from multus.api import atomic, regular
from multus.api.errors import InvalidConfig, IOFailure
from multus.inprocess._requested import reader_of

if TYPE_CHECKING:
    from multus.api.network import Invocation


def folder_of(invocation: Invocation, usual: str, key: str = "dataDir") -> str:
    """The folder that the configuration names under *key*, or the *usual* one.

    It never raises: DEL needs it, also when ADD refused the path.
    """
    try:
        return reader_of(invocation).path(key) or usual
    except InvalidConfig:
        return usual


def keep(path: str, data: bytes) -> None:
    """Write *data* to *path*, and create its folder; raises ``IOFailure``.

    What is there and is not a regular file stays: it is an error.  Nothing is fsynced: a network
    that is undone after a power cut has gone with its container.
    """
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        with suppress(FileNotFoundError):
            regular.require(path)
        atomic.write(path, data, fsync=False, temporary=_new(path))
    except OSError as error:
        raise IOFailure(f"{path} cannot be written: {error.strerror}") from error


def forget(path: str) -> None:
    """Remove what `keep` wrote, also if it was killed meanwhile; raises ``IOFailure``.

    What is not a regular file stays: it is another program's.
    """
    for each in (path, _new(path)):
        try:
            regular.require(each)
        except OSError:
            continue
        try:
            os.unlink(each)
        except OSError as error:
            raise IOFailure(f"{each} cannot be removed: {error.strerror}") from error


def _new(path: str) -> str:
    """The temporary file, beside it.  The container's lock excludes other writers."""
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.new"
