"""The network namespaces that live, and the addresses in them.

A namespace lives as long as a process is in it, or it is mounted somewhere.  This process sees the
processes of its own PID namespace, and the mounts of its own mount namespace.

Source: network_namespaces(7), proc_pid_mountinfo(5); linux/proc_ns.h for the first PID namespace.
"""

from __future__ import annotations

import errno
import glob
import os
import re
from collections.abc import Collection, Iterator

from multus.api.errors import CNIError, TryAgainLater
from multus.netlink import Namespace, NamespaceGone, addresses

#: Where runtimes and iproute2 mount them.  A mount in another place is in the table of mounts.
_NAMED = ("/run/netns/*", "/var/run/netns/*")
_EVERYWHERE = ("127.", "::1/", "fe80:")
_OWN = "/proc/thread-self/ns/net"
_MOUNTS = "/proc/self/mountinfo"
_ESCAPED = re.compile(r"\\([0-7]{3})")
#: What the kernel says of the namespaces of a process that has ended, waited for or not.
_ENDED = (errno.ENOENT, errno.ESRCH, errno.EINVAL)
#: The inode of the first PID namespace, which has every process.
_NODES_PROCESSES = 0xEFFFFFFC


def sees_every_process() -> bool:
    """Whether every process of the node is in this process' ``/proc``."""
    try:
        return os.stat("/proc/self/ns/pid").st_ino == _NODES_PROCESSES
    except OSError:
        return False


def would_be_seen(netns: str) -> bool:
    """Whether this process would see the namespace at *netns* if it existed.

    One in a container of its own may not have the folder of all of them, nor the node's processes.
    """
    if netns.startswith("/proc/"):
        return sees_every_process()
    return not netns or os.path.isdir(os.path.dirname(netns))


def addresses_in_use() -> frozenset[str]:
    """The addresses, without prefix, of every namespace that is seen, this one's too.

    Loopback and link-local addresses are left out: each namespace has them.  Raises
    ``TryAgainLater`` when one that lives cannot be read: its addresses would count as nobody's.
    """
    found: set[str] = set()
    seen: set[int] = set()
    tables: set[int] = set()
    unread: list[tuple[str, Exception]] = []
    kind = os.stat(_OWN).st_dev
    for path in (_OWN, *_paths()):
        try:
            there = os.stat(path)
            if there.st_dev != kind or there.st_ino in seen:  # a file that is left of a mount
                continue
            table, used = _read(path)
        except (FileNotFoundError, NamespaceGone):
            continue
        except (OSError, CNIError) as error:
            unread.append((path, error))
            continue
        seen.add(there.st_ino)
        tables.add(table)
        found |= used
    for path, why in unread:
        if _is_another(path, tables):
            raise TryAgainLater(
                f"the network namespace {path} cannot be looked into: {why}",
                fix="it takes root with CAP_SYS_ADMIN and CAP_SYS_PTRACE, and free descriptors",
            ) from why
    return frozenset(found)


def _read(path: str) -> tuple[int, set[str]]:
    """The inode of the table of links in the namespace at *path*, and the addresses there."""
    with Namespace(path) as namespace, namespace.channel() as channel:
        table = namespace.run(lambda: os.stat("/proc/thread-self/net/dev").st_ino)
        found = (each.address for each in addresses.list_of(channel))
        return table, {each.partition("/")[0] for each in found if not each.startswith(_EVERYWHERE)}


def _is_another(path: str, tables: Collection[int]) -> bool:
    """Whether a namespace that cannot be read is none of those with these *tables* of links.

    The table of a process is seen also where its namespace may not be opened.
    """
    if not os.path.lexists(path):
        return False
    try:
        return os.stat(path.replace("/ns/net", "/net/dev")).st_ino not in tables
    except OSError as error:
        return error.errno not in _ENDED


def _paths() -> Iterator[str]:
    for pattern in _NAMED:
        yield from sorted(glob.glob(pattern))
    yield from _mounted()
    yield from (f"/proc/{pid}/ns/net" for pid in os.listdir("/proc") if pid.isdecimal())


def _mounted() -> Iterator[str]:
    with open(_MOUNTS, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields, _, kind = line.partition(" - ")
            words = fields.split()
            if kind.startswith("nsfs ") and words[3].startswith("net:"):
                yield _ESCAPED.sub(lambda found: chr(int(found[1], 8)), words[4])
