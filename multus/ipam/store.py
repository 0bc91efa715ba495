"""host-local's store: a directory for each network, a file for each address in use.

The reference plugin reads and writes the same files under the same lock, so that an address that
one handed out is freed by the other::

    <dataDir>/<network>/lock                 flock(2), held for every change
    <dataDir>/<network>/10.1.0.7             "<container ID>\\r\\n<interface>"
    <dataDir>/<network>/last_reserved_ip.0   the last address of range set 0, for going round

A file comes into being with its contents: it is written under another name and linked.  Nothing is
synced to disk: a power cut ends the containers too, and what it may leave, a file without contents,
is nobody's and is freed on sight.  (The reference plugin creates first and writes then; a kill in
between leaves such a file as well.)

Directories are made 0755, as the reference plugin makes them, since others keep theirs beside it;
files 0600.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from typing import NamedTuple

from multus.errors import IOFailure
from multus.ipam.addresses import Address

_LOCK = "lock"
_LAST = "last_reserved_ip."
_FIRST_DIGITS = frozenset("0123456789abcdef:")  # of an address, not of the other files
_NEW = ".new"  # under the lock, so one name is enough
_LONGEST = 4096


class Owner(NamedTuple):
    """Who holds an address: an interface of a container."""

    container_id: str
    ifname: str

    def __str__(self) -> str:
        return f"{self.container_id.strip()}\r\n{self.ifname}"

    def owns(self, contents: str) -> bool:
        """Whether *contents*, of an address's file, name it.

        Releases of the reference plugin before 0.8 wrote the container ID alone.
        """
        return contents in (str(self), self.container_id.strip())


#: Who held what when the lock was given back, by directory: another program may have freed an
#: address since and handed it to somebody else.
_remembered: dict[str, dict[str, str]] = {}
_MOST_REMEMBERED = 256


class Ledger:
    """A network's addresses while the lock is held.

    ``holders`` is who holds what, by the address's text: which addresses are held, the directory
    says; by whom, as well, unless it is *recalled*.
    """

    def __init__(self, directory: str, holders: dict[str, str], *, recalled: bool = False) -> None:
        self.directory = directory
        self.holders = holders
        self._recalled = recalled
        #: Descriptors of last_reserved_ip files, by range set.
        self._rounds: dict[int, int] = {}

    def close(self) -> None:
        """Close what is open."""
        for fd in self._rounds.values():
            os.close(fd)

    def held_by(self, owner: Owner) -> list[str]:
        """The addresses that *owner* holds; of a recalled ledger, perhaps not all of them."""
        found = [text for text, contents in self.holders.items() if owner.owns(contents)]
        if self._recalled:
            found = [text for text in found if owner.owns(_contents(self._path(text)))]
        return found

    def reserve(self, address: Address, owner: Owner) -> bool:
        """Hand *address* to *owner*; False when it is taken."""
        text = str(address)
        if text in self.holders:
            return False
        with _failing(f"reserving {text} in {self.directory}"):
            if not self._create(text, str(owner)):
                return False
            self.holders[text] = str(owner)
        return True

    def remember(self, address: Address, index: int) -> None:
        """Note that *address* was the last to be handed out from range set *index*."""
        text = str(address).encode()
        with _failing(f"noting {address} in {self.directory}"):
            fd = self._round(index, os.O_CREAT)
            # In place: a new file each time costs ext4 more than all else here.  What a kill in
            # between can leave, the new text with the old one's end, only moves the round on.
            os.pwrite(fd, text, 0)
            os.ftruncate(fd, len(text))

    def last(self, index: int) -> Address | None:
        """The last address handed out from range set *index*; None when that is not known."""
        try:
            return Address.parse(_clean(os.pread(self._round(index), _LONGEST, 0)))
        except OSError:
            # Missing or unreadable: the going round starts anew, which costs nothing.
            return None

    def _round(self, index: int, flags: int = 0) -> int:
        if index not in self._rounds:
            flags |= os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
            self._rounds[index] = os.open(self._path(f"{_LAST}{index}"), flags, 0o600)
        return self._rounds[index]

    def free(self, text: str) -> None:
        """Free one address."""
        with _failing(f"freeing {text} in {self.directory}"), suppress(FileNotFoundError):
            os.unlink(self._path(text))
        self.holders.pop(text, None)

    def _create(self, name: str, contents: str) -> bool:
        with self._written(contents) as new:
            try:
                os.link(new, self._path(name))
            except FileExistsError:
                return False
        return True

    @contextmanager
    def _written(self, contents: str) -> Iterator[str]:
        """A new file with *contents*, which is gone afterwards unless it was renamed."""
        new = self._path(_NEW)
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            try:
                os.write(fd, contents.encode())
            finally:
                os.close(fd)
            yield new
        finally:
            with suppress(FileNotFoundError):
                os.unlink(new)

    def _path(self, name: str) -> str:
        return f"{self.directory}/{name}"


class Store(NamedTuple):
    """The store of one network."""

    directory: str

    @contextmanager
    def locked(self, *, create: bool) -> Iterator[Ledger | None]:
        """Hold the lock, and give what the directory says.

        With *create*, for handing out addresses, files whose contents are remembered are not read
        again: a daemon would else read all of a node's for each pod.  What is handed out to whom is
        then still the directory's say, since no file can be made twice.

        Without, gives None when there is no such directory.  Waits for the lock as long as it
        takes: whoever holds it touches a few files only.  Raises ``IOFailure``.
        """
        with _failing(f"opening the address store {self.directory}"):
            try:
                fd = self._open()
            except FileNotFoundError:
                if create:
                    os.makedirs(self.directory, 0o755, exist_ok=True)
                fd = self._open() if create else -1
        if fd < 0:
            yield None
            return
        try:
            with _failing(f"locking the address store {self.directory}"):
                fcntl.flock(fd, fcntl.LOCK_EX)
                ledger = self._ledger(recalled=create)
            with closing(ledger):
                yield ledger
        finally:
            os.close(fd)  # and with it the lock

    def _open(self) -> int:
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        return os.open(f"{self.directory}/{_LOCK}", flags, 0o600)

    def _ledger(self, *, recalled: bool) -> Ledger:
        known = _remembered.get(self.directory, {}) if recalled else {}
        holders: dict[str, str] = {}
        for name in os.listdir(self.directory):
            path = f"{self.directory}/{name}"
            if name == _NEW:
                # A killed process left it, and may have linked it: it must not be written to.
                os.unlink(path)
            if name[0] not in _FIRST_DIGITS:
                continue
            contents = known.get(name) or _contents(path)
            if contents:
                holders[name] = contents
            elif Address.parse(name) is not None:
                # We hold the lock, so nobody is still writing it: its writer was killed.
                with suppress(FileNotFoundError, IsADirectoryError):
                    os.unlink(path)
        if len(_remembered) >= _MOST_REMEMBERED and self.directory not in _remembered:
            _remembered.clear()
        _remembered[self.directory] = holders
        return Ledger(self.directory, holders, recalled=recalled)


def _contents(path: str) -> str:
    """Who holds an address, by its file; "" where that is gone: an administrator takes no lock."""
    try:
        return _read(path)
    except (FileNotFoundError, IsADirectoryError):
        return ""


def _read(path: str) -> str:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        return _clean(os.read(fd, _LONGEST))
    finally:
        os.close(fd)


def _clean(contents: bytes) -> str:
    # A power cut may leave a file of the right length with nothing but zeros.
    return contents.decode(errors="replace").strip(" \t\r\n\0")


@contextmanager
def _failing(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IOFailure(
            f"{doing} failed: {error.strerror}: see to the directory's rights and space"
        ) from error
