"""What can go wrong with the API server, as CNI errors.

All of them are :class:`multus.api.errors.TryAgainLater` (code 11): a pod must never come up with
less than it asked for because the API could not be read.
"""

from __future__ import annotations

from multus.api.errors import TryAgainLater


class ApiFailure(TryAgainLater):
    """The API server answered something other than success.

    ``status`` is the HTTP status, ``word`` the answer's ``reason``: "AlreadyExists", for example.
    """

    def __init__(self, reason: str, status: int, word: str = "", *, fix: str = "") -> None:
        super().__init__(reason, fix=fix)
        self.status = status
        self.word = word


class NotFound(ApiFailure):
    """404.  ``kind_known`` is False when the API server does not serve this kind at all."""

    def __init__(self, reason: str, kind_known: bool, *, fix: str = "") -> None:
        super().__init__(reason, 404, "NotFound", fix=fix)
        self.kind_known = kind_known


class VersionExpired(ApiFailure):
    """410: the resourceVersion or continue token is no longer known; list again."""


class Unreachable(TryAgainLater):
    """No answer: refused, reset, truncated, not TLS, or the deadline passed."""


class Unreadable(Unreachable):
    """An answer that is not the JSON that the API server sends."""


class TooLarge(TryAgainLater):
    """An answer, or one event of a watch, that is longer than what is read of one."""
