"""The network namespaces that live, and the addresses in them.

A namespace lives as long as a process is in it, or it is mounted somewhere.  This process sees the
processes of its own PID namespace, and the mounts of its own mount namespace.

Source: network_namespaces(7), proc_pid_mountinfo(5).
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterator

from multus.api.errors import CNIError, IOFailure
from multus.netlink import Namespace, addresses

_OWN = "/proc/thread-self/ns/net"
#: Where runtimes and iproute2 mount them.  A mount in another place is in the table of mounts.
_NAMED = ("/run/netns/*", "/var/run/netns/*")
_EVERYWHERE = ("127.", "::1/", "fe80:")
_MOUNTS = "/proc/self/mountinfo"
_ESCAPED = re.compile(r"\\([0-7]{3})")

#: The inode of the first PID namespace, which has every process (linux/proc_ns.h).
_NODES_PROCESSES = 0xEFFFFFFC


def would_be_seen(netns: str) -> bool:
    """Whether this process would see the namespace at *netns* if it existed.

    One in a container of its own may not have the folder of all of them, nor the node's processes.
    """
    if netns.startswith("/proc/"):
        try:
            return os.stat("/proc/self/ns/pid").st_ino == _NODES_PROCESSES
        except OSError:
            return False
    return not netns or os.path.isdir(os.path.dirname(netns))


def addresses_in_use() -> frozenset[str]:
    """The addresses, without prefix, of every namespace that is seen, this one's too.

    Loopback and link-local addresses are left out: each namespace has them.  Raises ``IOFailure``
    when one of them cannot be looked into: then nobody knows which addresses are in use.
    """
    found: set[str] = set()
    seen: set[int] = set()
    device = os.stat(_OWN).st_dev  # of all namespaces
    for path in (_OWN, *_paths()):
        there = _status(path)
        if there is None or there.st_dev != device or there.st_ino in seen:
            continue
        seen.add(there.st_ino)
        try:
            found |= _addresses_in(path)
        except (OSError, CNIError) as error:
            now = _status(path)
            if now is not None and now.st_ino == there.st_ino:
                raise _unseen(path, error) from error
            # It has ended meanwhile.
    return frozenset(found)


def _status(path: str) -> os.stat_result | None:
    """What is at *path*; None when nothing is, or when it is a process that is not ours to see."""
    try:
        return os.stat(path)
    except OSError:
        return None


def _unseen(path: str, error: Exception) -> IOFailure:
    return IOFailure(
        f"the network namespace {path} cannot be looked into ({error}): it is not known which"
        " addresses are in use",
        fix="run it as root, with all capabilities",
    )


def _addresses_in(path: str) -> set[str]:
    with Namespace(path) as namespace, namespace.channel() as channel:
        found = (each.address for each in addresses.list_of(channel))
        return {each.partition("/")[0] for each in found if not each.startswith(_EVERYWHERE)}


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
