"""The blocks that this node has: a folder for each, in host-local's format.

::

    <cniDir>/.blocks/node                                     this node's name, once it is known
    <cniDir>/.blocks/kube-system_10.44.0.0-16/lock            held by who takes a block of the range
    <cniDir>/.blocks/kube-system_10.44.0.0-16/10.44.1.16-28/
        block         what the folder is, see `Block`
        lock          host-local's: held for every change of the folder
        10.44.1.17    "<container ID>\\r\\n<interface>", as host-local writes it

``block`` and ``node`` are written by rename and fsynced, before anything depends on them.  The
addresses are not fsynced: a power cut ends their containers too.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api import atomic, regular
from multus.api.errors import IOFailure, TryAgainLater
from multus.ipam.store import Store
from multus_ipam_whereabouts.objects import BLOCKS

if TYPE_CHECKING:
    from multus.api.kubernetes import Deadline, ObjectRef

FOLDER = ".blocks"
#: The states of a block: the API server may not know it yet; it is this node's; no address of it is
#: given out any more, and its object is being deleted.
TAKING, OURS, RETURNING = "taking", "ours", "returning"

_STATES = frozenset({TAKING, OURS, RETURNING})
_BLOCK, _LOCK, _NODE = "block", "lock", "node"
_LONGEST = 4096
#: How often the removal of a folder is repeated, in which others make the lock's file meanwhile.
_TRIES = 100
#: Errors for a folder that does not or cannot exist: no block is there.
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ENAMETOOLONG)


class Block(NamedTuple):
    """What the file ``block`` of a folder says.

    ``network`` is its addresses, as ``10.44.1.16/28``; ``namespace`` and ``name`` are its object's.
    ``store`` is the folder's own name, a random one that the object has too: a folder that was lost
    is not made again, since which pod has which address is not known.  ``kubeconfig`` names the API
    server.
    """

    state: str
    network: str
    namespace: str
    name: str
    store: str
    kubeconfig: str

    @property
    def object(self) -> ObjectRef:
        """Its object."""
        return BLOCKS.object(self.namespace, self.name)


class Folder(NamedTuple):
    """The folder of one block."""

    path: str

    @property
    def name(self) -> str:
        """The name of the block's object."""
        return os.path.basename(self.path)

    @property
    def store(self) -> Store:
        """Its addresses."""
        return Store(self.path)

    @property
    def idle(self) -> float:
        """For how many seconds no address was given out or came back; infinite when unknown."""
        try:
            since = time.time() - os.stat(self.path).st_mtime
        except FileNotFoundError:
            return float("inf")
        return since if since >= 0 else float("inf")  # the clock was set back

    def read(self) -> Block | None:
        """What it is; None when a kill came before it was written, or after it was removed."""
        found = _read(f"{self.path}/{_BLOCK}", Block._fields)
        return None if found is None else Block(**found)

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

    def folder(self, block: ObjectRef) -> Folder:
        """The folder of a block, which may not exist."""
        return Folder(f"{self.path}/{block.name}")

    def folders(self) -> list[Folder]:
        """The folders that exist, sorted by name."""
        return [Folder(path) for path in _folders(self.path)]

    @contextmanager
    def locked(self, deadline: Deadline) -> Iterator[None]:
        """Hold the lock of who takes a block; raises ``TryAgainLater``, and ``IOFailure``."""
        path = f"{self.path}/{_LOCK}"
        with _failing(path):
            os.makedirs(self.path, 0o700, exist_ok=True)
            descriptor = regular.opened(path, os.O_RDWR | os.O_CREAT)
        try:
            if not regular.locked(descriptor, deadline.at):
                raise TryAgainLater(
                    f"{path} is held by {regular.holder(descriptor)}, which takes a block",
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


def _read(path: str, keys: tuple[str, ...]) -> dict[str, str] | None:
    try:
        found: Any = json.loads(regular.read(path, _LONGEST))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _failed(path, error) from error
    except ValueError:
        found = None
    whole = isinstance(found, dict) and all(isinstance(found.get(key), str) for key in keys)
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
