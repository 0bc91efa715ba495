"""host-local's stores as a whole: what is held, by whom, since when; and what is freed of it.

It is for those who look at a node.  An invocation's own addresses are ``multus.ipam._hostlocal``'s.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

from multus.api.errors import IOFailure
from multus.ipam._hostlocal import DATA_DIR
from multus.ipam.store import LONGEST, Store, contents_of, is_owner, names_of

#: Where the stores of networks are that name no ``dataDir``.
USUAL_FOLDER = DATA_DIR


class Held(NamedTuple):
    """An address that is held: its ``store`` is a directory, ``contents`` names the owner.

    ``contents`` is empty while the owner is being written, and stays so when a kill or a power cut
    comes before that.  ``since`` is when it was reserved, in seconds since 1970.
    """

    store: str
    address: str
    contents: str
    since: float

    @property
    def network(self) -> str:
        """The network's name: it names the directory."""
        return os.path.basename(self.store)

    @property
    def container_id(self) -> str:
        """The container that holds it."""
        return self.contents.partition("\r\n")[0]

    @property
    def ifname(self) -> str:
        """The interface; "" with releases of the reference plugin before 0.8."""
        return self.contents.partition("\r\n")[2]


def stores_in(folder: str) -> list[str]:
    """The stores under a ``dataDir``, sorted; none when it does not exist.

    Raises ``IOFailure`` for one that cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            return sorted(each.path for each in entries if each.is_dir(follow_symlinks=False))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(folder, error) from error


def held_in(store: str) -> list[Held]:
    """What a store holds, read without its lock, sorted; raises ``IOFailure``.

    Files with anything else than an owner are left out.
    """
    try:
        folder = os.open(store, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _unreadable(store, error) from error
    try:
        return sorted(_held(store, folder))
    except OSError as error:
        raise _unreadable(store, error) from error
    finally:
        os.close(folder)


def _held(store: str, folder: int) -> Iterator[Held]:
    for name in names_of(folder):
        contents, size = contents_of(name, folder)
        if is_owner(contents) if contents else 0 <= size <= LONGEST:
            with suppress(FileNotFoundError):
                since = os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime
                yield Held(store, name, contents, since)


def free(held: Sequence[Held], still: Callable[[Held], bool]) -> None:
    """Free these addresses of one store, while its lock is held.

    One that was reserved anew since, or that is not *still* to be freed, stays.  To take the lock
    frees those without an owner.  Raises ``IOFailure`` and ``TryAgainLater``.
    """
    with Store(held[0].store).locked(create=False) as ledger:
        if ledger is None:
            return
        for each in held:
            if ledger.holders.get(each.address) == each.contents and _is_same(each) and still(each):
                ledger.free(each.address)


def _is_same(held: Held) -> bool:
    try:
        return os.lstat(f"{held.store}/{held.address}").st_mtime == held.since
    except OSError:
        return False


def _unreadable(path: str, error: OSError) -> IOFailure:
    return IOFailure(
        f"cannot read the address store {path}: {error.strerror}", fix="run it as root"
    )
