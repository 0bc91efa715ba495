"""A problem of a configuration, as a value."""

from __future__ import annotations

from typing import NamedTuple

from multus.api.where import Path, as_path, sentence


class _Problem(NamedTuple):
    path: Path
    reason: str
    fix: str
    warning: bool


class Problem(_Problem):
    """A problem of a configuration: the key, the reason, and the fix.

    ``path`` is the key's path from the top of the configuration; it may be given as text,
    ``"delegates[0].type"``.  ``reason`` continues a sentence that begins with the key ("is 'x',
    which is relative"); ``fix`` is an instruction ("use an absolute path").  A *warning* does not
    fail the request: it is logged, and ``multus validate`` shows it.
    """

    __slots__ = ()

    def __new__(
        cls, path: str | Path, reason: str, fix: str = "", *, warning: bool = False
    ) -> Problem:
        return super().__new__(cls, as_path(path), reason, fix, warning)

    def beneath(self, base: Path) -> Problem:
        """The same problem of an object that stands at *base* of a larger one."""
        return Problem((*base, *self.path), self.reason, self.fix, warning=self.warning)

    def __str__(self) -> str:
        return sentence("", self.path, self.reason, self.fix)


def remark(path: str | Path, reason: str, fix: str = "") -> Problem:
    """A problem that does not fail the request."""
    return Problem(path, reason, fix, warning=True)
