"""Reading what a check looks at: what cannot be read becomes a finding, never an empty answer."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator

from attrs import field, frozen

from multus.api.errors import CNIError
from multus.cli.findings import (
    AS_ROOT,
    ERROR,
    OK,
    UNCHECKED,
    WARNING,
    Finding,
    Place,
    of_error,
    worst,
)
from multus.cli.node import read_regular


@frozen
class Look:
    """What one check reads.  ``missed`` is what it could not look at."""

    subject: str
    missed: list[Finding] = field(factory=list)

    def listed(self, folder: str) -> list[str]:
        """The names in a folder, sorted; none when it does not exist."""
        try:
            return sorted(os.listdir(folder))
        except FileNotFoundError:
            return []
        except OSError as error:
            self._miss(folder, error)
            return []

    def is_there(self, path: str) -> bool:
        """Whether something exists at *path*."""
        try:
            os.lstat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            self._miss(path, error)
            return False
        return True

    def read(self, path: str, most: int) -> bytes | None:
        """Up to *most* bytes of a regular file; None for what is gone or no regular file."""
        try:
            return read_regular(path, most)
        except PermissionError as error:
            self._miss(path, error)
        except OSError:
            pass  # being removed now, or not what the check is about
        return None

    def failed(self, error: CNIError) -> None:
        """An error that kept the check from looking at something."""
        self.missed.append(of_error(error, self.subject, UNCHECKED))

    def miss(self, reason: str, fix: str = "", place: Place | None = None) -> None:
        """Something that the check could not look at."""
        self.missed.append(Finding(UNCHECKED, self.subject, reason, fix, place))

    def _miss(self, path: str, error: OSError) -> None:
        fix = AS_ROOT if isinstance(error, PermissionError) else "see what is wrong with it"
        self.miss(f"{path} cannot be read: {error.strerror}", fix, Place(path))

    def concluded(self, found: Iterable[Finding], well: str) -> Iterator[Finding]:
        """*found*, what was missed, and only without either that all is *well*."""
        found = list(found)
        yield from found
        yield from dict.fromkeys(self.missed)
        if worst([*found, *self.missed]) not in (ERROR, WARNING, UNCHECKED):
            yield Finding(OK, self.subject, well)
