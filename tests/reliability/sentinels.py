"""A tree that must not change: files of the host, and files with the names of a plugin's files.

Every folder of it may be the store of a network (``dataDir`` is the tree, ``name`` the folder), the
``cniDir`` of the SR-IOV plugin, or the ``dataDir`` of tuning.
"""

from __future__ import annotations

import os
import socket
import stat
from contextlib import closing
from typing import NamedTuple

#: Kinds of files that are not regular files.
ODD = ("fifo", "device", "socket", "link", "dangling", "folder")

#: Names of the store's files, and of the files of sriov and tuning for containers c1 and c2.
_LOCKS = ("lock", "last_reserved_ip.0", "10.1.0.2", "fd00:1::2", ".new")
_CLAIMS = ("c1-eth0", "c1-net1", ".c1-eth0.new", "c2-eth0")
_BACKUPS = ("c1_eth0.json", ".c1_eth0.json.new", "c1_net1.json")

#: Files of the host whose names begin like addresses, and addresses in unusual forms.
_PLAIN = (
    "atd", "chpasswd", "common-auth", "cron", "abba", "0", "10.1.0", "10.1.0.300", "010.1.0.5",
    "FD00:1::5", "fd00:1:0::6", "::ffff:10.1.0.6", "10.1.0.5 ", "10.1.0.5\n", ".new",
)  # fmt: skip


class Entry(NamedTuple):
    """The properties of an entry that must not change; fewer for a folder."""

    mode: int
    inode: int
    device: int
    changed: int
    contents: bytes


class Sentinels(NamedTuple):
    """The tree at *root*."""

    root: str

    @classmethod
    def plant(cls, root: str) -> Sentinels:
        """Create the tree: ``pam.d`` has files of the host, each other folder one special kind."""
        os.makedirs(f"{root}/pam.d")
        for name in _PLAIN:
            _write(f"{root}/pam.d/{name}", b"a precious file\n")
            _write(f"{root}/pam.d/empty-{name.strip()}", b"")
        for name in ("abcd", "99", "fe80::1%eth0"):
            _write(f"{root}/pam.d/{name}", b"")
        # A file with the name of an address that does not belong to a store.
        _write(f"{root}/pam.d/10.1.0.33", b"a precious file\n")
        for kind in ODD:
            for name in (*_LOCKS, *_CLAIMS, *_BACKUPS):
                os.makedirs(f"{root}/{kind}", exist_ok=True)
                make(kind, f"{root}/{kind}/{name}")
            os.makedirs(f"{root}/{kind}-inside/pci/vf_lock")
            for name in ("pci/0000:03:02.0", "pci/vf_lock/0000:03:02.0.lock", "10.1.0.2"):
                make(kind, f"{root}/{kind}-inside/{name}")
            make(kind, f"{root}/as-{kind}")
        return cls(root)

    @property
    def names(self) -> list[str]:
        """The entries at the top."""
        return sorted(os.listdir(self.root))

    def snapshot(self) -> dict[str, Entry]:
        """All entries of the tree that exist now."""
        found = {}
        for folder, folders, files in os.walk(self.root):
            for name in (*folders, *files):
                path = os.path.join(folder, name)
                found[path] = _entry(path)
        return found

    def changed(self, before: dict[str, Entry]) -> list[str]:
        """The entries of *before* that have changed."""
        now = self.snapshot()
        return sorted(path for path, entry in before.items() if now.get(path) != entry)


def make(kind: str, path: str) -> None:
    """Create an entry of a special kind."""
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "device":
        os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 5))  # /dev/zero: it never ends
    elif kind == "socket":
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            # The path of a socket must be short.
            here = os.open(os.path.dirname(path), os.O_RDONLY)
            try:
                listener.bind(f"/proc/self/fd/{here}/{os.path.basename(path)}")
            finally:
                os.close(here)
    elif kind == "link":
        target = f"{path}.target"
        _write(target, b"a precious file\n")
        os.symlink(target, path)
    elif kind == "dangling":
        os.symlink("/no/such/file", path)
    else:
        os.mkdir(path)
        _write(f"{path}/10.1.0.2", b"a precious file\n")


def _write(path: str, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
    os.utime(path, (1_000_000, 1_000_000))


def _entry(path: str) -> Entry:
    found = os.lstat(path)
    contents, changed = b"", found.st_mtime_ns
    if stat.S_ISREG(found.st_mode):
        with open(path, "rb") as file:
            contents = file.read(1 << 16)
    elif stat.S_ISLNK(found.st_mode):
        contents = os.fsencode(os.readlink(path))
    elif stat.S_ISDIR(found.st_mode):
        changed = 0
    return Entry(found.st_mode, found.st_ino, found.st_rdev, changed, contents)
