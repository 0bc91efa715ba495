"""A picture of a node as SVG: one file that needs no other.

All text is escaped, and what SVG cannot contain is written as its escape: names come from tenants.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.resources import files
from xml.sax.saxutils import escape, quoteattr

from multus.log._printable import printable
from multus.picture.model import Node, summary
from multus.picture.placing import Bar, Card, Line, Placed, Port, Text, fitted, placed

#: Networks have one of eight colours and one of four patterns of their lines.
COLOURS, PATTERNS = 8, 4
#: The width of a drawing by itself, in pixels.
_WIDTH = 1120
#: The height of the title of a drawing by itself.
_TITLE = 44


def drawing(node: Node, width: int = _WIDTH) -> str:
    """A whole SVG file, *width* pixels wide, which follows the reader's light or dark scheme."""
    shown = placed(node, width)
    notes = [f"not read: {each}" for each in node.notes]
    top = _TITLE + 18 * len(notes)
    size = shown.measures.width
    height = shown.height + top
    margin = shown.measures.margin
    style = (files(__package__) / "picture.css").read_text("utf-8")
    head = [
        '<?xml version="1.0" encoding="UTF-8"?>',
        f'<svg xmlns="http://www.w3.org/2000/svg" class="picture alone" width="{size}"'
        f' height="{height:g}" viewBox="0 0 {size} {height:g}" role="img"'
        f" aria-label={_quoted(f'Node {node.name}: {summary(node)}')}>",
        f"<style>{style}</style>",
        f'<rect class="paper" width="{size}" height="{height:g}"/>',
        _text(Text(margin, 28, node.name, "title", 18)),
        _text(Text(size - margin, 28, summary(node), "dim", 12, "end")),
        *(
            _text(Text(margin, 50 + 18 * n, fitted(e, size - 2 * margin, prose=True), "problem"))
            for n, e in enumerate(notes)
        ),
        f'<g transform="translate(0 {top})">',
    ]
    return "\n".join([*head, *_parts(shown, None), "</g>", "</svg>"]) + "\n"


def fragment(node: Node, width: int, link: Callable[[str], str], chosen: str = "") -> str:
    """The picture as a part of a page, without its style (``picture.css``).

    ``link`` gives the address to which a pod leads, by its container; *chosen* is the container
    that is shown beside the picture.
    """
    shown = placed(node, width)
    size = shown.measures.width
    head = (
        f'<svg class="picture" width="{size}" height="{shown.height:g}"'
        f' viewBox="0 0 {size} {shown.height:g}" role="group"'
        f" aria-label={_quoted(f'Node {node.name}: {summary(node)}')}>"
    )
    return "\n".join([head, *_parts(shown, link, chosen), "</svg>"])


def _parts(shown: Placed, link: Callable[[str], str] | None, chosen: str = "") -> Iterator[str]:
    """Lines first, so that cards hide none of them."""
    for line in shown.lines:
        yield _line(line, "chosen" if line.key == chosen else "")
    for card in shown.parents:
        yield _card(card, "parent")
    for card in shown.pods:
        if link is None:
            yield _card(card, "pod")
            continue
        state = " aria-current='true'" if card.key == chosen else ""
        yield f"<a href={_quoted(link(card.key))} data-pod={_quoted(card.key)}{state}>"
        yield f"{_card(card, 'pod')}</a>"


def slot(number: int) -> str:
    """The classes of a network's colour and pattern."""
    return f"c{number % COLOURS} p{number // COLOURS % PATTERNS}"


def _card(card: Card, kind: str) -> str:
    parts = [
        f'<g class="{kind} {card.style}"'
        + (f" data-parent={_quoted(card.key)}>" if kind == "parent" else ">"),
        f"<title>{_escaped(card.label)}</title>",
        f'<rect class="card" x="{card.x:g}" y="{card.y:g}" width="{card.width:g}"'
        f' height="{card.height:g}" rx="8"/>',
        *map(_text, card.texts),
        *map(_bar, card.bars),
        *map(_port, card.ports),
        "</g>",
    ]
    return "".join(parts)


def _text(text: Text) -> str:
    title = f"<title>{_escaped(text.full)}</title>" if text.full else ""
    anchor = f' text-anchor="{text.anchor}"' if text.anchor != "start" else ""
    return (
        f'<text class="{text.style}" x="{text.x:g}" y="{text.y:g}" font-size="{text.size}"{anchor}>'
        f"{_escaped(text.text)}{title}</text>"
    )


def _bar(bar: Bar) -> str:
    style = "full" if bar.share >= 1 else "nearly" if bar.share >= 0.9 else "free"
    filled = max(3.0, bar.share * bar.width) if bar.share else 0.0
    at = f'x="{bar.x:g}" y="{bar.y:g}" height="5" rx="2.5"'
    return (
        f"<g><title>{_escaped(bar.label)}</title>"
        f'<rect class="track" {at} width="{bar.width:g}"/>'
        f'<rect class="{style}" {at} width="{filled:.1f}"/></g>'
    )


def _port(port: Port) -> str:
    style = "none" if port.slot is None else slot(port.slot)
    return f'<circle class="port {style}" cx="{port.x:g}" cy="{port.y:g}" r="4"/>'


def _line(line: Line, state: str) -> str:
    begin = line.start.x
    keys = f"data-pod={_quoted(line.key)} data-parent={_quoted(line.parent)}"
    parts = [f'<g class="line {slot(line.to.slot or 0)} {line.style} {state}" {keys}>']
    if line.end is not None:
        left, right, text = line.end
        y = line.start.y
        if line.boxed:
            parts.append(f'<path d="M{begin:g} {y:g}H{left:g}"/>')
            parts.append(
                f'<rect class="box" x="{left:g}" y="{y - 9:g}" width="{right - left:.1f}"'
                ' height="18" rx="9"/>'
            )
            begin = right
        parts.append(_text(text))
    parts.append(f'<path d="{_curve(begin, line.bend, line.start.y, line.to)}"/></g>')
    return "".join(parts)


def _curve(x: float, bend: float, y: float, to: Port) -> str:
    """A path that is level up to *bend*, and comes to *to* level again."""
    half = (to.x - bend) / 2
    level = f"H{bend:.1f}" if bend > x else ""
    return f"M{x:.1f} {y:g}{level}c{half:.1f} 0 {half:.1f} {to.y - y:g} {2 * half:.1f} {to.y - y:g}"


def _escaped(text: str) -> str:
    return escape(printable(text))


def _quoted(text: str) -> str:
    return quoteattr(printable(text))
