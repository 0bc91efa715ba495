"""host-local's store: a directory for each network, a file for each address in use.

The reference plugin reads and writes the same files under the same lock, so either can free an
address that the other reserved::

    <dataDir>/<network>/lock                 flock(2), held for every change
    <dataDir>/<network>/10.1.0.7             "<container ID>\\r\\n<interface>"
    <dataDir>/<network>/last_reserved_ip.0   the last address of range set 0, for round robin

The store consists of these files only, and they are regular files.  An address is written as the
kernel and Go print it.  Other files in the directory are never opened, changed or unlinked: a FIFO
that is named like an address is left alone, and that address is not assigned.

An address's file is created and then written, under the lock.  Nothing is fsynced: a power cut ends
the containers too.  A kill or a power cut may leave an empty file.  It has no owner, and the next
process that holds the lock removes it.

Directories have mode 0755, as with the reference plugin, because other programs keep their own
files in ``dataDir``; files have 0600.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Container, Iterator
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING, NamedTuple

from multus.api import regular
from multus.api.errors import IOFailure, TryAgainLater
from multus.api.names import interface_problem, is_identifier
from multus.api.regular import NotRegular
from multus.ipam._memory import Memory
from multus.ipam.addresses import Address

if TYPE_CHECKING:
    from types import TracebackType

#: What plugins may use: those whose addresses are kept in this format too.
__all__ = ["Busy", "Ledger", "Owner", "Store", "Unlockable", "is_owner"]

_LOCK = "lock"
_LAST = "last_reserved_ip."
_FIRST_DIGITS = frozenset("0123456789abcdef:")  # an address starts with one, other files do not

#: How much of a file is read: container ID and interface have some 250 bytes at most.
LONGEST = 1024

#: How long a request waits for the lock at most, in seconds.  The lock is held for a few files.
PATIENCE = 5.0

#: The deadline is checked after this many files.
_LOOK_EVERY = 1024

#: Errors for a name that is gone, or that is not a regular file any more.
_NOT_A_FILE = (errno.ENOENT, errno.ELOOP, errno.ENXIO, errno.EISDIR, errno.EAGAIN)
#: Errors for a directory that does not or cannot exist: no address is held there.
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


class Owner(NamedTuple):
    """The owner of an address: an interface of a container."""

    container_id: str
    ifname: str

    def __str__(self) -> str:
        return f"{self.container_id.strip()}\r\n{self.ifname}"

    @property
    def forms(self) -> tuple[str, str]:
        """Contents of an address's file that mean this owner.

        Releases of the reference plugin before 0.8 wrote the container ID alone.
        """
        return str(self), self.container_id.strip()

    def owns(self, contents: str) -> bool:
        """Whether the *contents* of an address's file mean this owner."""
        return contents in self.forms


def is_owner(contents: str) -> bool:
    """Whether *contents* can be an owner's; else the file does not belong to the store."""
    container_id, parted, ifname = contents.partition("\r\n")
    return is_identifier(container_id) and not (parted and interface_problem(ifname))


#: Another program may have freed an address meanwhile and assigned it to another container.
_remembered = Memory()


class Ledger:
    """A network's addresses while the lock is held.

    ``holders`` maps an address's text to its owner's text.  The addresses are always read from the
    directory; the owners are read from the files, or *recalled* from the cache.  *folder* is the
    directory's descriptor.
    """

    def __init__(
        self, directory: str, folder: int, holders: dict[str, str], *, recalled: bool = False
    ) -> None:
        self.directory = directory
        self.holders = holders
        self._folder = folder
        self._recalled = recalled
        #: Descriptors of last_reserved_ip files, by range set.
        self._rounds: dict[int, int] = {}

    def close(self) -> None:
        """Close the open descriptors."""
        for fd in self._rounds.values():
            os.close(fd)

    def held_by(self, owner: Owner) -> list[str]:
        """The addresses that *owner* holds; a recalled ledger may lack some of them."""
        forms = owner.forms
        found = [text for text, contents in self.holders.items() if contents in forms]
        if self._recalled:
            found = [text for text in found if owner.owns(self._contents(text))]
        return found

    def reserve(self, address: Address, owner: Owner) -> bool:
        """Reserve *address* for *owner*; False when it is in use."""
        text = str(address)
        if text in self.holders:
            return False
        with _failing(f"reserving {text} in {self.directory}"):
            if not self._create(text, str(owner).encode()):
                return False
            self.holders[text] = str(owner)
        return True

    def remember(self, address: Address, index: int) -> None:
        """Record *address* as the last that was assigned from range set *index*."""
        text = str(address).encode()
        with _failing(f"writing {address} to {self.directory}/{_LAST}{index}"):
            fd = self._round(index, os.O_CREAT)
            # Written in place: a new file each time costs ext4 more than everything else here.  A
            # kill may leave the new text followed by the old one's end.  That changes only which
            # address the round robin tries next.
            os.pwrite(fd, text, 0)
            os.ftruncate(fd, len(text))

    def last(self, index: int) -> Address | None:
        """The last address assigned from range set *index*; None when it is not known."""
        try:
            return Address.parse(_clean(os.pread(self._round(index), LONGEST, 0)))
        except OSError:
            # Missing or unreadable: the round robin starts at the first address.
            return None

    def _round(self, index: int, flags: int = 0) -> int:
        if index not in self._rounds:
            name, flags = f"{_LAST}{index}", flags | os.O_RDWR
            self._rounds[index] = regular.opened(name, flags, folder=self._folder)
        return self._rounds[index]

    def free(self, text: str) -> None:
        """Free one address."""
        with _failing(f"freeing {text} in {self.directory}"), suppress(FileNotFoundError):
            os.unlink(text, dir_fd=self._folder)
        self.holders.pop(text, None)

    def _create(self, name: str, contents: bytes) -> bool:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        try:
            fd = os.open(name, flags, 0o600, dir_fd=self._folder)
        except FileExistsError:
            return False
        try:
            try:
                os.write(fd, contents)
            finally:
                os.close(fd)
        except OSError:
            os.unlink(name, dir_fd=self._folder)
            raise
        return True

    def _contents(self, text: str) -> str:
        return contents_of(text, self._folder)[0]


class Store(NamedTuple):
    """The store of one network."""

    directory: str

    @contextmanager
    def locked(self, *, create: bool, deadline: float | None = None) -> Iterator[Ledger | None]:
        """Hold the lock, and yield the contents of the directory.

        With *create*, for reserving addresses, files with cached contents are not read again: a
        daemon would otherwise read all files of the node for each pod.  The directory still decides
        which addresses are free, because reserving creates the file exclusively.

        Without *create*, yields None when the directory does not exist, or was removed by who had
        the lock before.  Waits for the lock until *deadline*, at most ``PATIENCE`` seconds, then
        raises ``TryAgainLater``.  Raises ``IOFailure`` when reading fails.
        """
        with _failing(f"opening the address store {self.directory}"):
            folder = self._open(create=create)
        if folder is None:
            yield None
            return
        try:
            lock = self._lock_file(folder, removed=not create)
            if lock is None:
                yield None
                return
            with self._lock(lock, deadline):
                if not create and not os.fstat(folder).st_nlink:
                    yield None
                    return
                with _failing(f"reading the address store {self.directory}"):
                    ledger = self._ledger(folder, deadline, recalled=create)
                with closing(ledger):
                    yield ledger
        finally:
            os.close(folder)

    def unlocked(self) -> list[str]:
        """The contents of all addresses' files, read without the lock; when locking fails."""
        return [contents for _, contents in self._files()]

    def names(self) -> list[str]:
        """The addresses that are in use, read without the lock; empty when there is no store."""
        return [name for name, _ in self._files()]

    def of(self, owner: Owner) -> list[str]:
        """The addresses that *owner* holds, read without the lock."""
        return [name for name, contents in self._files() if owner.owns(contents)]

    def _files(self) -> list[tuple[str, str]]:
        """Name and contents of each address's file; empty when there is no store."""
        with _failing(f"reading the address store {self.directory}"):
            folder = self._open(create=False)
            if folder is None:
                return []
            try:
                return [(name, contents_of(name, folder)[0]) for name in names_of(folder)]
            finally:
                os.close(folder)

    def _open(self, *, create: bool) -> int | None:
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            return os.open(self.directory, flags)
        except OSError as error:
            if error.errno not in _NOWHERE:
                raise
        if not create:
            return None
        os.makedirs(self.directory, 0o755, exist_ok=True)
        return os.open(self.directory, flags)

    def _lock_file(self, folder: int, *, removed: bool) -> int | None:
        """A descriptor of the lock's file; None when the directory was *removed*, as it may be."""
        path = f"{self.directory}/{_LOCK}"
        try:
            return regular.opened(_LOCK, os.O_RDWR | os.O_CREAT, folder=folder)
        except NotRegular as error:
            raise Unlockable(f"{path} cannot be locked: {error.strerror}: remove it") from error
        except OSError as error:
            if removed and error.errno == errno.ENOENT:
                return None
            raise IOFailure(
                f"opening {path} failed: {error.strerror}",
                fix="correct its permissions",
            ) from error

    @contextmanager
    def _lock(self, fd: int, deadline: float | None) -> Iterator[None]:
        path = f"{self.directory}/{_LOCK}"
        try:
            latest = time.monotonic() + PATIENCE
            with _failing(f"locking {path}"):
                got = regular.locked(fd, latest if deadline is None else min(latest, deadline))
            if not got:
                raise Busy(
                    f"the address store {self.directory} is in use: {regular.holder(fd)} holds"
                    f" {path}",
                    fix="try again, or end that process",
                )
            yield
        finally:
            os.close(fd)  # this releases the lock

    def _ledger(self, folder: int, deadline: float | None, *, recalled: bool) -> Ledger:
        known = _remembered.recall(self.directory)
        holders: dict[str, str] = {}
        for count, name in enumerate(names_of(folder, known), 1):
            if count % _LOOK_EVERY == 0 and deadline is not None and time.monotonic() > deadline:
                raise TryAgainLater(
                    f"the address store {self.directory} could not be read in time",
                    fix="try again",
                )
            contents, size = known.get(name, "") if recalled else "", 0
            if not contents:
                contents, size = contents_of(name, folder)
            if contents:
                holders[name] = contents
            elif size > LONGEST:
                holders[name] = ""  # not a file of the store: never freed, and not assigned
            elif size >= 0:
                # This process holds the lock, so the writer of this file was killed.
                with suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
        _remembered.keep(self.directory, holders)
        return Ledger(self.directory, folder, holders, recalled=recalled)


class Busy(TryAgainLater):
    """Another process holds the lock."""


class Unlockable(IOFailure):
    """The lock file is not a regular file."""


def names_of(folder: int, known: Container[str] = ()) -> list[str]:
    """The names of the addresses' files: regular files whose name is an address in Go's form.

    Names in *known* are known to be addresses and are not parsed.
    """
    with os.scandir(folder) as entries:
        return [
            each.name
            for each in entries
            if each.name[0] in _FIRST_DIGITS
            and (each.name in known or _is_canonical(each.name))
            and each.is_file(follow_symlinks=False)
        ]


def _is_canonical(name: str) -> bool:
    address = Address.parse(name)
    return address is not None and str(address) == name


def contents_of(name: str, folder: int) -> tuple[str, int]:
    """The owner's text in an address's file, and the file's size; "" and -1 when it is gone.

    An administrator may have replaced the file without taking the lock.
    """
    try:
        data = regular.read_listed(name, folder, LONGEST + 1)
    except OSError as error:
        if error.errno not in _NOT_A_FILE:
            raise
        return "", -1
    return _clean(data), len(data)


def _clean(contents: bytes) -> str:
    # A power cut may leave a file of the right length that holds only zeros.
    return contents.decode(errors="replace").strip(" \t\r\n\0")


class _failing:  # noqa: N801  it is used like a function: ``with _failing("…"):``
    """Turn an ``OSError`` inside the ``with`` block into an ``IOFailure`` about *doing* something.

    It is a class since it surrounds most steps of an ADD: a generator takes three times as long.
    """

    __slots__ = ("_doing",)

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if not isinstance(error, (OSError, ValueError)):
            return
        why = (error.strerror if isinstance(error, OSError) else None) or error
        raise IOFailure(
            f"{self._doing} failed: {why}",
            fix="check the directory's permissions and free space",
        ) from error
