"""Files that other programs replace: tokens, certificates, CA bundles."""

from __future__ import annotations

import os

from multus.api import regular
from multus.api.errors import TryAgainLater

#: Longer than any token or bundle of certificates.
_LARGEST = 8 * 1024 * 1024


class WatchedFile:
    """A file whose content is read again when it changes.

    The kubelet replaces projected tokens and client certificates by a symlink swap, so the target's
    inode is compared too.  While a replacement makes the file unreadable for a moment, the content
    of before is used.
    """

    def __init__(self, path: str, what: str) -> None:
        self.path = path
        self._what = what
        self._stamp: tuple[int, int, int] | None = None
        self._content = b""

    def read(self) -> bytes:
        """The content now; :class:`TryAgainLater` when it has never been readable."""
        try:
            found = os.stat(self.path)
            stamp = (found.st_ino, found.st_mtime_ns, found.st_size)
            if stamp != self._stamp:
                self._content = regular.read(self.path, _LARGEST, follow=True)
                self._stamp = stamp
        except OSError as error:
            if self._stamp is None:
                raise TryAgainLater(
                    f"cannot read the {self._what} {self.path}: {error.strerror}",
                    fix="correct the path in the kubeconfig or create the file",
                ) from error
        return self._content

    def forget(self) -> None:
        """Read the file again next time, even if it looks unchanged."""
        self._stamp = (0, 0, 0) if self._stamp else None
