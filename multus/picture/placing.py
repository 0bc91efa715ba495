"""Where everything of a picture stands: a node to positions, in pixels; nothing is drawn here.

Pods stand on the left, what they are attached to on the right.  A line leads from each interface,
past the host's end, to its network at its parent.  A parent stands at the height of its interfaces.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from attrs import frozen

from multus.log._printable import printable
from multus.picture.model import Interface, Network, Node, Parent, Pod, described

#: From this width on, the host's end of each interface has a column of its own.
WIDE = 640
#: The narrowest and the widest picture.
LEAST, MOST = 320, 1600
#: The width of a character of the fixed-width font, in sizes of the font.
_CHARACTER = 0.61
_TITLE, _TEXT, _SMALL = 13, 12, 11
#: The first pod stands at most so much lower than the first parent.
_LOWEST = 320.0
#: A parent stands not much lower than this, if there is room: with many pods, their middle is far
#: below what a person sees first.
_FIRST_LOOK = 480.0
#: Styles of text that is no name.
_PROSE = ("problem", "state", "dim")
#: More addresses of one interface are counted.
_ADDRESSES = 3


@frozen
class Measures:
    """The sizes of a picture of one width.

    ``pods`` and ``parents`` are the widths of the columns, ``ends`` that of the host's ends (0:
    none), ``head`` the height of a card's title, ``row`` that of an interface, ``line`` that of
    each further line.
    """

    width: int
    margin: int
    pods: int
    ends: int
    parents: int
    gap: int
    head: int = 30
    row: int = 24
    line: int = 16

    @classmethod
    def of(cls, width: int) -> Measures:
        """The measures of a picture *width* pixels wide."""
        width = max(LEAST, min(MOST, width))
        if width < WIDE:
            pods = int(width * 0.47)
            return cls(width, 4, pods, 0, width - pods - 8 - int(width * 0.13), 10, row=22)
        pods = min(420, int(width * 0.36))
        return cls(width, 12, pods, 124, min(330, int(width * 0.29)), 14)

    @property
    def is_wide(self) -> bool:
        """Whether the host's ends have a column."""
        return self.ends > 0

    @property
    def right(self) -> int:
        """Where the column of parents begins."""
        return self.width - self.margin - self.parents


@frozen
class Text:
    """One line of text at a baseline; ``full`` is the whole of it where it is cut."""

    x: float
    y: float
    text: str
    style: str
    size: int = _TEXT
    anchor: str = "start"
    full: str = ""


@frozen
class Bar:
    """A range's bar: filled to ``share``; ``label`` says it in words."""

    x: float
    y: float
    width: float
    share: float
    label: str


@frozen
class Port:
    """Where a line ends, of the network with this number; None where no line leads."""

    x: float
    y: float
    slot: int | None


@frozen
class Card:
    """A box with lines of text; ``key`` is the pod's container or the parent's key."""

    key: str
    label: str
    x: float
    y: float
    width: float
    height: float
    texts: tuple[Text, ...]
    ports: tuple[Port, ...]
    bars: tuple[Bar, ...] = ()
    style: str = ""


@frozen
class Line:
    """A line from an interface to its network: from ``start`` by ``end``, if any, to ``to``.

    ``end`` is the host's end: the edges of its box, and its text; it is ``boxed`` when it is a
    link, else the text is the kind of the interface.  The line is level up to ``bend``.  ``key`` is
    the pod's container, ``parent`` the parent's key.
    """

    key: str
    parent: str
    start: Port
    to: Port
    end: tuple[float, float, Text] | None
    boxed: bool
    bend: float
    style: str = ""


@frozen
class Placed:
    """A whole picture."""

    measures: Measures
    height: float
    pods: tuple[Card, ...]
    parents: tuple[Card, ...]
    lines: tuple[Line, ...]


def placed(node: Node, width: int) -> Placed:
    """The picture of *node*, *width* pixels wide, from ``LEAST`` to ``MOST``."""
    m = Measures.of(width)
    slots = {key: number for number, key in enumerate(_networks(node))}
    pods, at = [], _top(node, m, slots)
    for each in node.pods:
        pods.append(_pod(each, m, at, slots))
        at += pods[-1].height + m.gap
    starts = {(card.key, index): port for card in pods for index, port in enumerate(card.ports)}
    parents = _parents(node, m, starts, slots, at)
    lines = tuple(_lines(node, m, starts, parents))
    last = max([at, *(each.y + each.height + m.gap for each in parents)])
    return Placed(m, last - m.gap + m.margin, tuple(pods), tuple(parents), lines)


def _top(node: Node, m: Measures, slots: dict[tuple[str, str], int]) -> float:
    """Where the first pod stands: lower when the parents need much more room than the pods."""
    left = sum(_pod(each, m, 0.0, slots).height + m.gap for each in node.pods)
    right = sum(_parent(each, m, 0.0, slots).height + m.gap for each in node.parents)
    return m.margin + max(0.0, min(_LOWEST, (right - left) / 2))


def fitted(text: str, width: float, size: int = _TEXT, *, prose: bool = False) -> str:
    """Printable *text*, cut to fit *width* pixels.

    It is cut in its middle, since names often differ at their end alone; *prose* at its end.
    """
    most = max(1, int(width / (size * _CHARACTER)))
    text = printable(text)
    if len(text) <= most:
        return text
    kept = most - 1
    if prose:
        return f"{text[:kept]}…"
    return f"{text[: (kept + 1) // 2]}…{text[len(text) - kept // 2 :]}"


def _networks(node: Node) -> Iterator[tuple[str, str]]:
    """Each network at each parent, as they are numbered: by parent, then by name."""
    for parent in node.parents:
        for network in parent.networks:
            yield parent.key, network.name


# --- Pods -----------------------------------------------------------------------------------------


def _pod(pod: Pod, m: Measures, y: float, slots: dict[tuple[str, str], int]) -> Card:
    inner = m.pods - 20
    texts = [_cut(m.margin + 10, y + 20, pod.title, "title", inner, _TITLE)]
    at = y + m.head
    if pod.problem:
        texts.append(_cut(m.margin + 10, at + 10, pod.problem, "problem", inner, _SMALL))
        at += m.line
    ports = []
    for each in pod.interfaces:
        lines = list(_interface(each, m, at))
        texts += lines
        is_drawn = pod.alive and not each.problem
        slot = slots.get((each.parent, each.network)) if is_drawn else None
        ports.append(Port(m.margin + m.pods, at + m.row / 2, slot))
        at = max(line.y for line in lines) + 8
    style = "" if pod.alive else "gone"
    return Card(
        pod.container,
        pod.title,
        m.margin,
        y,
        m.pods,
        at - y + 4,
        tuple(texts),
        tuple(ports),
        style=style,
    )


def _interface(each: Interface, m: Measures, y: float) -> Iterator[Text]:
    """The lines of an interface: its name and network, and its addresses at the right."""
    left, right = m.margin + 10, m.margin + m.pods - 12
    base = y + m.row / 2 + 4
    said = [each.problem or each.state] if each.problem or each.state != "attached" else []
    wrong = "problem" if each.problem else "state"
    addresses = list(each.addresses[:_ADDRESSES])
    more = len(each.addresses) - len(addresses)
    addresses += [f"and {more} more"] if more else []
    if not m.is_wide:
        half = (right - left) * 0.36
        yield _cut(left, base, each.name, "name", half)
        yield _cut(right, base, each.network, "network", right - left - half - 6, _SMALL, "end")
        for text, style in [*((a, "address") for a in addresses), *((s, wrong) for s in said)]:
            base += m.line
            yield _cut(right, base, text, style, right - left, _SMALL, "end")
        return
    widest = max((len(each) for each in addresses), default=0) * _TEXT * _CHARACTER
    room = right - left - 92 - min(widest, (right - left) * 0.5) - 8
    yield _cut(left, base, each.name, "name", 86)
    yield _cut(left + 92, base, each.network, "network", room)
    for number, text in enumerate(addresses):
        width = right - left - 92 - (room if not number else 0)
        yield _cut(right, base + number * m.line, text, "address", width, anchor="end")
    if said:
        below = base + max(1, len(addresses)) * m.line
        yield _cut(left + 92, below, said[0], wrong, right - left - 92, _SMALL)


def _cut(
    x: float,
    y: float,
    text: str,
    style: str,
    width: float,
    size: int = _TEXT,
    anchor: str = "start",
) -> Text:
    shown = fitted(text, width, size, prose=style in _PROSE)
    return Text(x, y, shown, style, size, anchor, text if shown != text else "")


# --- What they are attached to --------------------------------------------------------------------


def _parents(
    node: Node,
    m: Measures,
    starts: dict[tuple[str, int], Port],
    slots: dict[tuple[str, str], int],
    bottom: float,
) -> list[Card]:
    """The cards of the parents, each as near to the middle of its interfaces as there is room."""
    ends: dict[str, list[float]] = {}
    for pod in node.pods:
        for index, each in enumerate(pod.interfaces):
            ends.setdefault(each.parent, []).append(starts[pod.container, index].y)
    middle = {key: sum(found) / len(found) for key, found in ends.items()}
    order = sorted(node.parents, key=lambda each: (middle.get(each.key, 0.0), each.name))
    drawn = [_parent(each, m, 0.0, slots) for each in order]
    wanted = [min(middle.get(c.key, 0.0), _FIRST_LOOK) - c.height / 2 for c in drawn]
    tops = _spread(wanted, drawn, m, bottom)
    return [_parent(each, m, top, slots) for each, top in zip(order, tops, strict=True)]


def _spread(
    wanted: Sequence[float], cards: Sequence[Card], m: Measures, bottom: float
) -> list[float]:
    """Positions near those that are wanted, without overlap, within the height if that suffices."""
    at, tops = float(m.margin), []
    for want, card in zip(wanted, cards, strict=True):
        tops.append(max(at, want))
        at = tops[-1] + card.height + m.gap
    limit = max(bottom, m.margin + sum(each.height + m.gap for each in cards))
    for index in reversed(range(len(cards))):
        tops[index] = min(tops[index], limit - cards[index].height - m.gap)
        limit = tops[index]
    return tops


def _parent(parent: Parent, m: Measures, y: float, slots: dict[tuple[str, str], int]) -> Card:
    x, inner = float(m.right), m.parents - 24
    texts = [_cut(x + 14, y + 20, parent.name, "title", inner, _TITLE)]
    at = y + m.head - 4
    words = described(parent)
    for text, style in [(words, "dim"), *((each, "address") for each in parent.addresses)]:
        if text:
            at += m.line - 2
            texts.append(_cut(x + 14, at - 2, text, style, inner, _SMALL))
    ports: list[Port] = []
    bars: list[Bar] = []
    for network in parent.networks:
        ports.append(Port(x, at + 16, slots[parent.key, network.name]))
        lines, drawn, at = _network(network, x + 14, at + 20, inner, m)
        texts += lines
        bars += drawn
    return Card(
        parent.key,
        parent.name,
        x,
        y,
        m.parents,
        max(at - y + 12, m.head + 6),
        tuple(texts),
        tuple(ports),
        tuple(bars),
        "" if parent.up else "down",
    )


def _network(
    network: Network, x: float, y: float, inner: float, m: Measures
) -> tuple[list[Text], list[Bar], float]:
    """A network's lines and bars from the baseline *y* on, and the last baseline."""
    count = f"{network.count}×"
    texts = [
        _cut(x, y, network.name, "network", inner - 40),
        Text(x + inner, y, count, "dim", _SMALL, "end"),
    ]
    bars = []
    for each in network.ranges:
        y += m.line
        used = f"{each.used}/{each.size}"
        room = inner - (len(used) + 1) * _SMALL * _CHARACTER
        texts.append(_cut(x, y, each.spans, "dim", room, _SMALL))
        texts.append(Text(x + inner, y, used, "dim", _SMALL, "end"))
        label = f"{each.spans}: {each.used} of {each.size} addresses are in use"
        bars.append(Bar(x, y + 5, inner, each.share, label))
        y += 8
    if network.gateways:
        y += m.line
        texts.append(_cut(x, y, f"gateway {', '.join(network.gateways)}", "dim", inner, _SMALL))
    return texts, bars, y


# --- Lines ----------------------------------------------------------------------------------------


def _lines(
    node: Node, m: Measures, starts: dict[tuple[str, int], Port], parents: Sequence[Card]
) -> Iterator[Line]:
    slots = {(card.key, port.slot): port for card in parents for port in card.ports}
    for pod in node.pods:
        for index, each in enumerate(pod.interfaces):
            start = starts[pod.container, index]
            to = slots.get((each.parent, start.slot))
            if start.slot is None or to is None:
                continue
            style = "" if each.state == "attached" else "begun"
            bend = start.x + (m.ends + 18 if m.is_wide else 6)
            end = _end(each, m, start)
            yield Line(pod.container, each.parent, start, to, end, bool(each.end), bend, style)


def _end(each: Interface, m: Measures, start: Port) -> tuple[float, float, Text] | None:
    said = each.end or each.kind
    if not m.is_wide or not said:
        return None
    text = fitted(said, m.ends - 14, _SMALL)
    left = start.x + 18
    right = left + len(text) * _SMALL * _CHARACTER + 14
    # The name of a link stands in its box, the kind of another above the line.
    y, style = (start.y + 4, "ending") if each.end else (start.y - 4, "kind")
    return left, right, Text((left + right) / 2, y, text, style, _SMALL, "middle")
