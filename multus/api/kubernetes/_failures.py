"""Errors of the API server, as CNI errors.

All of them are :class:`multus.api.errors.TryAgainLater` (code 11): when the API cannot be read, the
ADD fails, because a pod must not start with fewer networks than it requested.
"""

from __future__ import annotations

from multus.api.errors import TryAgainLater

#: What the API server says to a request that it will refuse again: it is malformed or invalid, not
#: allowed, or too large.
_REFUSALS = frozenset({400, 403, 413, 422})


class ApiFailure(TryAgainLater):
    """The API server answered with an error.

    ``status`` is the HTTP status, ``word`` the answer's ``reason``: "AlreadyExists", for example.
    """

    def __init__(self, reason: str, status: int, word: str = "", *, fix: str = "") -> None:
        super().__init__(reason, fix=fix)
        self.status = status
        self.word = word

    @property
    def lasts(self) -> bool:
        """Whether it lasts until somebody installs a kind or grants a right."""
        return self.status == 403

    @property
    def refused(self) -> bool:
        """Whether the same request would be refused again, as long as nothing else changes."""
        return self.lasts or self.status in _REFUSALS


class NotFound(ApiFailure):
    """404.  ``kind_known`` is False when the API server does not serve this kind at all."""

    def __init__(self, reason: str, kind_known: bool, *, fix: str = "") -> None:
        super().__init__(reason, 404, "NotFound", fix=fix)
        self.kind_known = kind_known

    @property
    def lasts(self) -> bool:
        """Whether the kind is missing, not one object."""
        return not self.kind_known


class VersionExpired(ApiFailure):
    """410: the resourceVersion or continue token is no longer known; list again."""


class Unreachable(TryAgainLater):
    """No answer: refused, reset, truncated, not TLS, or the deadline passed."""


class Unreadable(Unreachable):
    """The answer is not the expected JSON."""


class TooLarge(TryAgainLater):
    """An answer, or one event of a watch, is longer than the limit."""
