"""Whether a container's network namespace still exists: the one place that decides it.

The journal keeps the device and the inode of the namespace beside its path.  A path alone says
little: a number under ``/proc`` or a name under ``/run/netns`` may later be another namespace's.
"""

from __future__ import annotations

import errno
import os
import time
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from multus.state.record import Record


class Liveness(Enum):
    """What is at a path, compared with the namespace that was recorded."""

    #: Nothing.
    NOTHING = "nothing"
    #: The recorded namespace.
    SAME = "same"
    #: Something else: another container's namespace, or a file that is left of a mount.
    OTHER = "other"
    #: Something, and the record does not say which namespace it was; or it cannot be looked at.
    UNKNOWN = "unknown"


#: What the kernel says when it does not let this process look, whatever is at the path.
_NOT_SEEN = (errno.EACCES, errno.EPERM, errno.ENOMEM, errno.EIO)

#: In place of an identity that was recorded before the node was started again.
OF_ANOTHER_BOOT = "of another boot"


@lru_cache(maxsize=1)
def boot() -> str:
    """The kernel's name for the time since the node was started; empty when it has none.

    Source: random(4), ``/proc/sys/kernel/random/boot_id``.
    """
    try:
        # As bytes: an encoding would load the module of its codec, in each process.
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            return file.read().decode("ascii").strip()
    except (OSError, ValueError):
        return ""


def booted() -> float:
    """When the node was started, in seconds since 1970 by its clock of today."""
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def is_of_earlier_boot(path: str) -> bool:
    """Whether the file at *path* was last changed before the node was started."""
    try:
        changed = os.lstat(path).st_ctime
    except OSError:
        return False
    return changed < booted()


def identity_since(recorded_boot: str, started: float, identity: str) -> str:
    """*identity* as it compares now: numbers of inodes are used again after a boot.

    The names of two boots differ in the same boot too, where a node is a container with a name of
    its own (systemd-nspawn) and its pods see the kernel's: so *started* has to be earlier as well.
    """
    differ = recorded_boot and boot() and recorded_boot != boot()
    return OF_ANOTHER_BOOT if differ and started < booted() else identity


def netns_identity(path: str) -> str:
    """The device and inode of what is at *path*, for the journal; empty when there is nothing."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return ""
    return f"{found.st_dev}:{found.st_ino}"


def is_nodes(path: str, chroot: str = "") -> bool:
    """Whether the namespace at *path* is the node's own, or that of this process.

    *chroot* is where the node's root is mounted, when this process runs in a container: there the
    process 1 is another one, and a path under ``/proc`` is the node's.
    """
    there = (chroot and netns_identity(f"{chroot}{path}")) or netns_identity(path)
    own = ("/proc/thread-self/ns/net", "/proc/1/ns/net", f"{chroot}/proc/1/ns/net")
    return bool(there) and there in map(netns_identity, own)


def look(path: str, recorded: str) -> Liveness:
    """What is at *path* now; *recorded* is the identity in the journal, "" when it has none."""
    try:
        found = os.stat(path)
    except OSError as error:
        return Liveness.UNKNOWN if error.errno in _NOT_SEEN else Liveness.NOTHING
    except ValueError:
        return Liveness.NOTHING
    there = f"{found.st_dev}:{found.st_ino}"
    if not recorded:
        return Liveness.UNKNOWN
    return Liveness.SAME if there == recorded else Liveness.OTHER


def is_gone(record: Record, *paths: str) -> bool:
    """Whether the namespace of *record* is at its own path no more, nor at any of *paths*."""
    return all(
        look(path, record.netns_identity) in (Liveness.NOTHING, Liveness.OTHER)
        for path in (record.request.netns, *paths)
    )


def lives(record: Record, root: str = "") -> bool:
    """Whether the container of *record* still has its network namespace.

    *root* is where the node's file system is mounted, when this process sees it from a container of
    its own: identities are not compared then.  A record that is too damaged to say its namespace is
    taken to be of a container that lives; one that a power cut left so is of one that does not.
    """
    from multus.netlink import is_namespace

    if record.unbegun:
        return False
    if not record.request.environ:
        return True
    if record.netns_identity == OF_ANOTHER_BOOT:
        return False
    netns = record.request.netns
    path = f"{root}{netns}" if netns.startswith("/") else netns
    recorded = "" if root else record.netns_identity
    return look(path, recorded) in (Liveness.SAME, Liveness.UNKNOWN) and is_namespace(path)


def path_for_removal(record: Record) -> str:
    """The path of the record's namespace, for a DEL that names none; empty when it is gone.

    A path under ``/proc`` is never given: the process may end, and its number be used again,
    between this look and the DEL.  Nor is the node's own namespace, which earlier releases took.
    """
    netns = record.request.netns
    if is_nodes(netns):
        return ""
    same = look(netns, record.netns_identity) is Liveness.SAME
    return netns if same and not os.path.realpath(netns).startswith("/proc/") else ""
