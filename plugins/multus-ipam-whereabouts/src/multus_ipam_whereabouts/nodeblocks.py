"""The blocks that this node has: a folder for each, in host-local's format.

::

    <cniDir>/.blocks/node                                     this node's name, once it is known
    <cniDir>/.blocks/kube-system_10.44.0.0-16/lock            held by who takes a block of the range
    <cniDir>/.blocks/kube-system_10.44.0.0-16/lending         held by who lends addresses of it
    <cniDir>/.blocks/kube-system_10.44.0.0-16/10.44.1.16-28/
        block         what the folder is, see `Block`
        lock          host-local's: held for every change of the folder
        10.44.1.17    "<container ID>\\r\\n<interface>", as host-local writes it
    <cniDir>/.blocks/kube-system_10.44.0.0-16/10.44.9.0-28_10.44.9.7/
                      an address that is borrowed from another block, in the same form

The time of ``block`` is when the API server has last said that this node has it.  ``block`` and
``node`` are written by rename and fsynced, before anything depends on them.  The
addresses are not fsynced: a power cut ends their containers too.
"""

from __future__ import annotations

import errno
import json
import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api import atomic, regular
from multus.api.errors import IOFailure
from multus.api.kubernetes import Edit
from multus.ipam.store import Busy, Store
from multus_ipam_whereabouts.objects import BLOCKS, POOLS

if TYPE_CHECKING:
    from multus.api.kubernetes import Deadline, ObjectRef

FOLDER = ".blocks"
#: The states of a block: the API server may not know it yet; it is this node's; no address of it is
#: given out any more, and its object is being given back.
TAKING, OURS, RETURNING = "taking", "ours", "returning"

#: For how many seconds addresses are given out after the API server has said whose the block is.
#: A daemon hears it all the time; after a daemon was away, the first ADD asks.
CONFIRMED = 120.0
#: The lock of who lends addresses.
LENDING = "lending"

_STATES = frozenset({TAKING, OURS, RETURNING})
#: What `Block.usable` may be.
_SPANS = re.compile(r"(\d+(-\d+)?(,\d+(-\d+)?)*)?", re.ASCII)
_BLOCK, _LOCK, _NODE = "block", "lock", "node"
_LONGEST = 65536
#: How often the removal of a folder is repeated, in which others make the lock's file meanwhile.
_TRIES = 100
#: Errors for a folder that does not or cannot exist: no block is there.
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


class Block(NamedTuple):
    """What the file ``block`` of a folder says.

    ``network`` is its addresses, as ``10.44.1.16/28``; ``namespace`` and ``name`` are its object's.
    ``store`` is the folder's own name, a random one that the object has too: a folder that was lost
    is not made again, since which pod has which address is not known.  ``kubeconfig`` names the API
    server.  ``usable`` is which addresses may be lent, as ``1-14,20``: distances from the first.
    ``lent`` are the addresses, parted by spaces, that other nodes have or may borrow: none of them
    is given out here.  ``part`` is the address when only that is borrowed from the block.
    """

    state: str
    network: str
    namespace: str
    name: str
    store: str
    kubeconfig: str
    usable: str = ""
    lent: str = ""
    part: str = ""

    def __str__(self) -> str:
        """As people read it."""
        return f"{self.part} of {self.object}" if self.part else str(self.object)

    @property
    def object(self) -> ObjectRef:
        """Its object."""
        return BLOCKS.object(self.namespace, self.name)

    def edit(self, function: str, node: str, **given: Any) -> Edit:
        """The edit of its object by a *function* of `blocks`, for this folder of *node*."""
        whose = {"node": node, "store": self.store, "part": self.part}
        return Edit(self.object, f"multus_ipam_whereabouts.blocks:{function}", {**whose, **given})


class Folder(NamedTuple):
    """The folder of one block, or of one address that is borrowed from a block."""

    path: str

    @property
    def name(self) -> str:
        """The name of the block's object; of a borrowed address, no object's."""
        return os.path.basename(self.path)

    @property
    def store(self) -> Store:
        """Its addresses."""
        return Store(self.path)

    @property
    def idle(self) -> float:
        """For how many seconds no address was given out or came back; infinite without a folder.

        When the clock was set back, they are counted from now on.
        """
        with _failing(self.path):
            try:
                since = time.time() - os.stat(self.path).st_mtime
                if since < 0:
                    os.utime(self.path)
            except FileNotFoundError:
                return float("inf")
        return max(0.0, since)

    def read(self) -> Block | None:
        """What it is; None when a kill came before it was written, or after it was removed."""
        found = _read(f"{self.path}/{_BLOCK}", Block._fields, Block._field_defaults)
        return None if found is None else Block(**found)

    @property
    def is_confirmed(self) -> bool:
        """Whether the API server has said lately that this node has the block."""
        return 0.0 <= self._unconfirmed < CONFIRMED

    def confirm(self) -> None:
        """Write down that it has said so now; seldom, whoever calls."""
        if not 0.0 <= self._unconfirmed < CONFIRMED / 4:
            with _failing(self.path), suppress(FileNotFoundError):
                os.utime(f"{self.path}/{_BLOCK}")

    @property
    def _unconfirmed(self) -> float:
        """For how many seconds nobody has said so."""
        with _failing(self.path):
            try:
                return time.time() - os.stat(f"{self.path}/{_BLOCK}").st_mtime
            except FileNotFoundError:
                return float("inf")

    def retire(self, deadline: Deadline, *, even_used: bool = False) -> bool:
        """Give out no address any more, unless one is in use; returns whether none will be."""
        with self.store.locked(create=False, deadline=deadline.at) as ledger:
            block = self.read()
            if ledger is None or block is None or block.state != OURS:
                return True
            if ledger.holders and not even_used:
                return False
            self.write(block._replace(state=RETURNING))
            return True

    def write(self, block: Block) -> None:
        """Write what it is; durable when this returns.  Raises ``IOFailure``."""
        _write(f"{self.path}/{_BLOCK}", block._asdict())

    def create(self, block: Block) -> None:
        """Make the folder; it is durable when this returns."""
        with _failing(self.path):
            os.makedirs(self.path, 0o700, exist_ok=True)
            atomic.sync_folder(self.path)
            atomic.sync_folder(os.path.dirname(self.path))
        self.write(block)

    def remove(self) -> None:
        """Remove it, while its lock is held and no address is in use.

        Others may wait for the lock: without the file ``block``, they use nothing of the folder.
        """
        with _failing(self.path):
            with suppress(FileNotFoundError):
                os.unlink(f"{self.path}/{_BLOCK}")
            for _ in range(_TRIES):
                for name in os.listdir(self.path):
                    os.unlink(f"{self.path}/{name}")
                with suppress(OSError):
                    os.rmdir(self.path)
                    return
            os.rmdir(self.path)


class Home(NamedTuple):
    """The blocks of one range on this node."""

    path: str

    @classmethod
    def of(cls, cni_dir: str, pool: ObjectRef) -> Home:
        """That of the range with this pool.  An underscore is in no object's name."""
        return cls(f"{cni_dir}/{FOLDER}/{pool.namespace}_{pool.name}")

    @property
    def pool(self) -> ObjectRef:
        """The pool of the range, which `of` was given."""
        namespace, _, name = os.path.basename(self.path).partition("_")
        return POOLS.object(namespace, name)

    def folder(self, block: ObjectRef, part: str = "") -> Folder:
        """The folder of a block, or of the address *part* of it; it may not exist."""
        return Folder(f"{self.path}/{block.name}{part and '_'}{part}")

    def folders(self) -> list[Folder]:
        """The folders that exist, sorted by name."""
        return [Folder(path) for path in _folders(self.path)]

    @contextmanager
    def locked(self, deadline: Deadline, name: str = _LOCK) -> Iterator[None]:
        """Hold the lock of who takes a block, or with ``LENDING`` of who lends addresses.

        Raises ``Busy``, and ``IOFailure``.
        """
        path = f"{self.path}/{name}"
        with _failing(path):
            os.makedirs(self.path, 0o700, exist_ok=True)
            descriptor = regular.opened(path, os.O_RDWR | os.O_CREAT)
        try:
            if not regular.locked(descriptor, deadline.at):
                raise Busy(
                    f"{path} is held by {regular.holder(descriptor)}",
                    fix="try again",
                )
            yield
        finally:
            os.close(descriptor)


def homes(cni_dir: str) -> list[Home]:
    """The ranges of which this node has blocks, or had some."""
    return [Home(path) for path in _folders(f"{cni_dir}/{FOLDER}")]


def known_node(cni_dir: str) -> str:
    """The name of this node that the API server has confirmed; "" when it was never asked."""
    found = _read(f"{cni_dir}/{FOLDER}/{_NODE}", ("node",))
    return found["node"] if found else ""


def write_node(cni_dir: str, node: str) -> None:
    """Write down the name of this node; durable when this returns.  Raises ``IOFailure``."""
    folder = f"{cni_dir}/{FOLDER}"
    with _failing(folder):
        os.makedirs(folder, 0o700, exist_ok=True)
        atomic.sync_folder(folder)
    _write(f"{folder}/{_NODE}", {"node": node})


def _folders(path: str) -> list[str]:
    try:
        with os.scandir(path) as entries:
            return sorted(each.path for each in entries if each.is_dir(follow_symlinks=False))
    except OSError as error:
        if error.errno in _NOWHERE:
            return []
        raise _failed(path, error) from error


def _read(
    path: str, keys: tuple[str, ...], missing: Mapping[str, str] = MappingProxyType({})
) -> dict[str, str] | None:
    try:
        found: Any = json.loads(regular.read(path, _LONGEST))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _failed(path, error) from error
    except ValueError:
        found = None
    found = {**missing, **found} if isinstance(found, dict) else {}
    whole = all(isinstance(found.get(key), str) for key in keys)
    whole = whole and bool(_SPANS.fullmatch(found.get("usable", "")))
    if not whole or found.get("state", OURS) not in _STATES:
        raise IOFailure(
            f"{path} is damaged: it does not say what it is for",
            fix="remove its folder when no pod of this node has an address of it",
        )
    return {key: found[key] for key in keys}


def _write(path: str, value: dict[str, str]) -> None:
    with _failing(path):
        atomic.write(path, json.dumps(value).encode(), fsync=True)


@contextmanager
def _failing(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _failed(path, error) from error


def _failed(path: str, error: OSError) -> IOFailure:
    return IOFailure(
        f"cannot use {path}: {error.strerror}", fix="check the disk and the folder's permissions"
    )
