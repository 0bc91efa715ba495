"""The page around a picture: its style, its script, its filter, and what keeps it harmless.

A page is one document that asks for nothing from elsewhere.  Its policy names the style and the
script by their hashes, so that no other can run, whatever a name contains::

    form = frame.form(wanted, frame.choices(wanted.namespace, ["shop"]), frame.choices("", []))
    page = frame.document("worker-1", heading, [frame.part("picture", drawn)], form)

The script asks for ``parts`` with the page's own query, and replaces the parts by what it gets:
``{"parts": {id: html}}``.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from importlib.resources import files

from multus.log._printable import printable
from multus.picture.filtering import Wanted

#: A list to choose from has at most so many entries.
_MOST_CHOICES = 500
_HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title} · Multus</title>
<link rel="icon" href="data:,">
<style>{style}</style>
</head>
<body>
"""


def text(value: object) -> str:
    """*value* as text of a page: escaped, and what cannot be printed as its escape."""
    return html.escape(printable(str(value)))


def part(name: str, content: str, *, label: str = "") -> str:
    """A part of a page that the script replaces; *content* is HTML."""
    kind, said = ("section", f' aria-label="{text(label)}"') if label else ("div", "")
    return f'<{kind} id="{text(name)}" data-part{said}>{content}</{kind}>'


def form(
    wanted: Wanted, namespaces: str, networks: str, hint: str = "name, address or container"
) -> str:
    """The filter; *namespaces* and *networks* are entries (``choices``).

    *hint* says what a pod is found by.  The form works without the script, too.  The lists are
    parts of the page, ``namespace`` and ``network``.
    """
    return (
        '<form id="filter" role="search" aria-label="Filter">'
        f'<label>Pod <input type="search" name="pod" value="{text(wanted.pod)}"'
        f' placeholder="{text(hint)}" autocomplete="off" spellcheck="false"></label>'
        f"{_choice('Namespace', 'namespace', namespaces)}{_choice('Network', 'network', networks)}"
        '<button class="go">Show</button> <a class="all" href="?">All</a></form>'
    )


def document(
    title: str,
    heading: str,
    parts: Iterable[str],
    filter_form: str = "",
    *,
    skip: str = "requests",
) -> bytes:
    """A whole page: *heading*, *parts* and *filter_form* are HTML, *title* is text.

    *skip* is the part to which a keyboard's first link leads, past the picture.
    """
    head = _HEAD.format(title=text(title), style=_style())
    body = [
        f'<a class="skip" href="#{text(skip)}">Skip the picture</a>',
        f"<header>{heading}</header>",
        filter_form,
        "<main>",
        *parts,
        "</main>",
        f"<script>{_script()}</script>",
        "</body>\n</html>\n",
    ]
    return (head + "\n".join(body)).encode()


def parts_json(parts: Mapping[str, str]) -> bytes:
    """What the script gets: the HTML of each part, by its name."""
    return json.dumps({"parts": parts}).encode()


@cache
def headers() -> tuple[tuple[str, str], ...]:
    """The headers of every answer."""
    policy = {
        "default-src": "'none'",
        "style-src": f"'sha256-{_digest(_style())}'",
        "script-src": f"'sha256-{_digest(_script())}'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'self'",
        "frame-ancestors": "'none'",
    }
    return (
        ("Content-Security-Policy", "; ".join(f"{key} {value}" for key, value in policy.items())),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("Referrer-Policy", "no-referrer"),
        ("Cross-Origin-Resource-Policy", "same-origin"),
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cache-Control", "no-cache"),
    )


def choices(chosen: str, values: Sequence[str]) -> str:
    """The entries of a list to choose from, with what is chosen, whether it is one or not."""
    listed = dict.fromkeys([*([chosen] if chosen else []), *values[:_MOST_CHOICES]])
    options = "".join(
        f'<option value="{text(each)}"{" selected" if each == chosen else ""}>{text(each)}</option>'
        for each in listed
    )
    return f'<option value="">all</option>{options}'


def _choice(title: str, name: str, entries: str) -> str:
    select = f'<select name="{name}" id="{name}" data-part>{entries}</select>'
    return f"<label>{title} {select}</label>"


@cache
def _style() -> str:
    return _file("picture.css") + _file("page.css") + _file("cluster.css")


@cache
def _script() -> str:
    return _file("page.js")


def _file(name: str) -> str:
    return (files(__package__) / name).read_text("utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
