"""What can go wrong with the API server, as CNI errors.

All of them are :class:`multus.api.errors.TryAgainLater` (code 11): a pod must never come up with
less than it asked for because the API could not be read.
"""

from __future__ import annotations

from typing import Any

from multus.api.errors import TryAgainLater
from multus.kube.wire import decode

_FIXES = {
    400: "this is a defect of the request; report it with the message above",
    401: "the credentials are refused; renew the token or certificate of {origin}",
    403: "grant it to this account by RBAC (deploy/rbac)",
    404: "create it, or correct the name",
    409: "it was changed at the same moment; the next call sees the new state",
    410: "the watch is too old; it starts again from a new list",
    429: "the API server is overloaded; the call is repeated",
}


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


class Gone(ApiFailure):
    """410: the resourceVersion or continue token is no longer known; list again."""


class Unreachable(TryAgainLater):
    """No answer: refused, reset, truncated, not TLS, or the deadline passed."""


class Unreadable(Unreachable):
    """An answer that is not the JSON that the API server sends."""


class TooLarge(TryAgainLater):
    """An answer, or one event of a watch, that is longer than what is read of one."""


def failure(action: str, server: str, origin: str, status: int, body: bytes) -> ApiFailure:
    """The error for an answer; ``action`` is such as ``"get pod default/web"``."""
    wire = _status_object(body)
    word = str(wire.get("reason", "")) if wire else ""
    said = str(wire.get("message", "")) if wire else ""
    fix = _FIXES.get(status, "the API server is in trouble; the call can be repeated")
    details = wire.get("details") if wire else None
    kind_known = isinstance(details, dict) and bool(details.get("name"))
    if status == 404 and not kind_known:
        fix = "the API server does not serve this kind; create its CustomResourceDefinition"
    reason = (
        f"cannot {action}: {server} answered HTTP {status}"
        f"{f' {word}' if word else ''}{f' ({said[:300]})' if said else ''}"
    )
    fix = fix.format(origin=origin)
    if status == 404:
        return NotFound(reason, kind_known, fix=fix)
    if status == 410:
        return Gone(reason, status, word, fix=fix)
    return ApiFailure(reason, status, word, fix=fix)


def _status_object(body: bytes) -> dict[str, Any] | None:
    """The ``Status`` object of an answer, None when the body is something else (a proxy's page)."""
    try:
        wire = decode(body)
    except ValueError:
        return None
    return wire if isinstance(wire, dict) and wire.get("kind") == "Status" else None
