"""The page of a node: its picture, one pod's details, the last requests.

``NodePage`` answers requests for the page and for its parts; it knows nothing of HTTP's wire.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from urllib.parse import urlencode

from attrs import frozen

from multus.picture import frame
from multus.picture.details import details
from multus.picture.filtering import Wanted, filtered
from multus.picture.model import Node, summary
from multus.picture.requests import Request, matching
from multus.picture.svg import fragment
from multus.picture.waterfall import waterfall

#: The width of the picture before the script has said how wide the page is, in pixels.
_WIDTH = 1100


@frozen
class Seen:
    """What was read of a node at one time.  ``unread`` says why there is no trace, if so."""

    node: Node
    requests: tuple[Request, ...] = ()
    unread: tuple[str, ...] = ()


@frozen
class Answer:
    """The answer to a request: HTTP's status, the type and the bytes of the body.

    ``etag`` is HTTP's, with its quotes; "" for none.
    """

    status: int
    kind: str
    body: bytes
    etag: str = ""


NOT_FOUND = Answer(404, "text/plain; charset=utf-8", b"there is no such page\n")


@frozen
class NodePage:
    """Answers for the node that ``look`` has seen last."""

    look: Callable[[], Seen]

    def answer(self, path: str, query: Mapping[str, str]) -> Answer:
        """The page at ``/``, its parts at ``/parts``."""
        if path == "/":
            return answered("text/html; charset=utf-8", _page(self.look(), query))
        if path == "/parts":
            body = frame.parts_json(_parts(self.look(), query))
            return answered("application/json", body)
        return NOT_FOUND


def answered(kind: str, body: bytes) -> Answer:
    """A body that was made, with its mark."""
    return Answer(200, kind, body, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _page(seen: Seen, query: Mapping[str, str]) -> bytes:
    node = seen.node
    parts = _parts(seen, query)
    heading = (
        f"<h1>{frame.text(node.name)}</h1>{frame.part('summary', parts['summary'])}"
        '<span class="live" role="status"></span>'
    )
    body = [
        frame.part("notes", parts["notes"]),
        frame.part("picture", parts["picture"], label="What is attached to what"),
        frame.part("details", parts["details"], label="The chosen pod"),
        frame.part("requests", parts["requests"], label="Last requests"),
    ]
    form = frame.form(Wanted.of(query), parts["namespace"], parts["network"])
    return frame.document(node.name, heading, body, form)


def _parts(seen: Seen, query: Mapping[str, str]) -> dict[str, str]:
    wanted, chosen = Wanted.of(query), query.get("chosen", "")
    node = filtered(seen.node, wanted)
    namespaces = sorted({each.namespace for each in seen.node.pods if each.namespace})
    networks = sorted({each.name for parent in seen.node.parents for each in parent.networks})
    return {
        "namespace": frame.choices(wanted.namespace, namespaces),
        "network": frame.choices(wanted.network, networks),
        "summary": frame.text(_summary(seen.node, node)),
        "notes": "".join(f'<p class="note">not read: {frame.text(n)}</p>' for n in node.notes),
        "picture": _picture(node, seen.node, wanted, query),
        "details": details(seen.node, chosen),
        "requests": waterfall(matching(seen.requests, wanted), seen.unread),
    }


def _summary(whole: Node, shown: Node) -> str:
    if len(whole.pods) == len(shown.pods) and whole.count == shown.count:
        return summary(whole)
    return f"{summary(shown)} of {summary(whole)}" if shown.pods else f"none of {summary(whole)}"


def _picture(node: Node, whole: Node, wanted: Wanted, query: Mapping[str, str]) -> str:
    if not node.pods:
        if whole.pods:
            return '<p class="empty">No pod matches. <a class="all" href="?">Show all</a></p>'
        said = "No pod is attached to a network here. The picture appears with the first."
        if node.notes:
            said = "What is attached is not known, since it could not be read."
        return f'<p class="empty">{said}</p>'
    width = query.get("width", "")
    kept = wanted.to_query()

    def link(container: str) -> str:
        return f"?{urlencode({**kept, 'chosen': container})}"

    pixels = int(width) if width.isdecimal() and len(width) <= 5 else _WIDTH
    return fragment(node, pixels, link, query.get("chosen", ""))
