"""From an answer of the API server to the error that says what is wrong and what to do."""

from __future__ import annotations

from typing import Any

from multus.api.kubernetes._failures import ApiFailure, NotFound, VersionExpired
from multus.kube.decoding import decode

_FIXES = {
    400: "this is a defect of the request; report it with the message above",
    401: "the credentials are refused; renew the token or certificate of {origin}",
    403: "grant it to this account by RBAC, as the manifests in deploy do",
    404: "create it, or correct the name",
    409: "it was changed at the same moment; the next call sees the new state",
    410: "the watch is too old; it starts again from a new list",
    429: "the API server is overloaded; the call is repeated",
}


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
        return VersionExpired(reason, status, word, fix=fix)
    return ApiFailure(reason, status, word, fix=fix)


def _status_object(body: bytes) -> dict[str, Any] | None:
    """The ``Status`` object of an answer, None when the body is something else (a proxy's page)."""
    try:
        wire = decode(body)
    except ValueError:
        return None
    return wire if isinstance(wire, dict) and wire.get("kind") == "Status" else None
