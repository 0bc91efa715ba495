"""The last requests, each with a line of time for its parts, as a part of a page."""

from __future__ import annotations

import time
from collections.abc import Sequence

from multus.picture.frame import text
from multus.picture.requests import Part, Request

_LEGEND = "A line has the stages in their order; the pale rest is between them. Open one for all."
#: The units of a line of time.
_UNITS = 1000


def waterfall(requests: Sequence[Request], notes: Sequence[str] = ()) -> str:
    """The requests, as HTML; each opens to its stages, networks, plugins and errors."""
    longest = max((each.seconds for each in requests), default=0.0)
    said = "".join(f'<p class="soft">{text(each)}</p>' for each in notes)
    rows = "".join(_request(each, longest) for each in requests)
    if rows:
        said += f'<p class="soft legend">{_LEGEND}</p>'
    elif not said:
        said = '<p class="soft">none</p>'
    return f"<h2>Last requests</h2>{said}{rows}"


def _request(request: Request, longest: float) -> str:
    moment = time.gmtime(request.time)
    style = "request failed" if request.error else "request"
    bars = [
        _rect(each, longest, "alternate" if number % 2 else "")
        for number, each in enumerate(part for part in request.parts if not part.depth)
    ]
    rest = request.seconds - sum(part.seconds for part in request.parts if not part.depth)
    if rest > 0:
        bars.append(_rect(Part("", request.seconds - rest, rest), longest, "rest"))
    return (
        f'<details class="{style}" data-key="{text(request.key)}">'
        f'<summary data-key="s{text(request.key)}">'
        f'<time datetime="{time.strftime("%Y-%m-%dT%H:%M:%SZ", moment)}">'
        f"{time.strftime('%H:%M:%SZ', moment)}</time>"
        f'<b>{text(request.command)}</b><span class="who">{text(request.who)}</span>'
        f'{_times(bars)}<span class="ms">{_ms(request.seconds)}</span></summary>'
        f"{_opened(request, rest)}</details>"
    )


def _opened(request: Request, rest: float) -> str:
    error = f'<p class="wrong">{text(request.error)}</p>' if request.error else ""
    rows = [_row(each, request.seconds) for each in request.parts]
    if rest > 0.0005:
        between = Part("between stages", request.seconds - rest, rest)
        rows.append(_row(between, request.seconds, "rest"))
    plugins = [_row(each, request.seconds, "alternate") for each in request.plugins]
    return f"{error}{_table('stages and networks', rows)}{_table('plugins', plugins)}"


def _table(title: str, rows: Sequence[str]) -> str:
    if not rows:
        return ""
    return f'<table><tr><th colspan="3">{title}</th></tr>{"".join(rows)}</table>'


def _row(part: Part, whole: float, style: str = "") -> str:
    bad = "bad" if part.error else "inner" if part.depth else style
    told = f' <span class="soft">{text(part.told)}</span>' if part.told else ""
    error = f'<div class="wrong">{text(part.error)}</div>' if part.error else ""
    return (
        f'<tr class="{"inner" if part.depth else ""}"><td>{text(part.name)}{told}{error}</td>'
        f"<td>{_times([_rect(part, whole, bad)])}</td>"
        f'<td class="ms">{_ms(part.seconds)}</td></tr>'
    )


def _times(bars: Sequence[str]) -> str:
    """A line of time; the numbers beside it say the same to those who do not see it."""
    return (
        f'<svg class="times" viewBox="0 0 {_UNITS} 10" preserveAspectRatio="none"'
        f' aria-hidden="true">{"".join(bars)}</svg>'
    )


def _rect(part: Part, whole: float, style: str) -> str:
    if whole <= 0:
        return ""
    x = min(_UNITS, part.begin / whole * _UNITS)
    width = min(_UNITS - x, max(2.0, part.seconds / whole * _UNITS))
    return f'<rect class="{style}" x="{x:.1f}" y="0" width="{width:.1f}" height="10"/>'


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.1f} ms"
