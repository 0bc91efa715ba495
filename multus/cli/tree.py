"""A picture of a node as lines of text that fit a width: a tree of pods, and one of parents."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from multus.cli.layout import Line, Part, bar, cut, fitted
from multus.picture.model import Kind, described, plural, summary

if TYPE_CHECKING:
    from multus.picture.model import Interface, Network, Node, Parent, Pod

#: Branches, in Unicode and in ASCII: of an item, of the last one, and of lines below them.
_BRANCHES = (("├─ ", "└─ ", "│  ", "   "), ("|- ", "`- ", "|  ", "   "))
_BAR = 10
#: A column for names is not wider than this share of the line.
_SHARE = 0.3
#: So many interfaces are named below a network.
_NAMED = 6


class Tree:
    """Lines in at most *width* columns; *plain* uses ASCII alone."""

    def __init__(self, node: Node, width: int, *, plain: bool) -> None:
        self._node, self._width, self._plain = node, width, plain
        self._item, self._last, self._on, self._blank = _BRANCHES[plain]
        self._link = " -- " if plain else " ── "
        every = [each for pod in node.pods for each in pod.interfaces]
        # The columns are those of all pods, so that a person can compare.
        self._first = self._column([each.name for each in every])
        self._second = self._column([self._path(each)[0] for each in every], 0.45)
        self._third = self._column([each.network for each in every])

    def lines(self) -> list[Line]:
        """The whole picture."""
        shown: list[Line] = [[(self._node.name, "bold"), f": {summary(self._node)}"]]
        shown += [[("not read: ", "yellow"), each] for each in self._node.notes]
        for pod in self._node.pods:
            shown += [[], *self._pod(pod)]
        for parent in self._node.parents:
            shown += [[], *self._parent(parent)]
        return [fitted(line, self._width) for line in shown]

    # --- Pods -------------------------------------------------------------------------------------

    def _pod(self, pod: Pod) -> Iterator[Line]:
        problem: list[Part] = [(f"  {pod.problem}", "red")] if pod.problem else []
        yield [(pod.title, "bold"), *problem]
        first, second = self._first, self._second
        for index, each in enumerate(pod.interfaces):
            last = index == len(pod.interfaces) - 1
            path, style = self._path(each)
            head: Line = [
                self._last if last else self._item,
                f"{cut(each.name, first):<{first}}  ",
                (f"{cut(path, second):<{second}}", style),
            ]
            more = list(self._told(each))
            below = self._blank if last else self._on
            yield from self._spread(head, more, [below, " " * (first + 2)])

    def _path(self, each: Interface) -> tuple[str, str]:
        """How an interface reaches its parent, and its style."""
        if each.problem:
            return each.problem, "red"
        parent = self._node.parent(each.parent)
        steps = [each.end] if each.end else [each.kind] if parent.is_link else []
        return self._link.join([*steps, parent.name]), "" if each.up else "dim"

    def _told(self, each: Interface) -> Iterator[Part]:
        """The network, the state where it is not the usual one, and the addresses."""
        yield (f"{cut(each.network, self._third):<{self._third}}", "cyan")
        if each.state != "attached":
            yield (each.state, "yellow")
        for address in each.addresses:
            yield (address, "")

    def _spread(self, head: Line, more: Sequence[Part], under: Line) -> Iterator[Line]:
        """*head* and as many of *more* as fit after it; the others on lines of their own."""
        line, is_fresh = list(head), False
        for part in more:
            if not is_fresh and _length(line) + _length([part]) + 2 > self._width:
                yield line
                line, is_fresh = list(under), True
            else:
                is_fresh = False
            line += ["  ", part]
        yield line

    # --- Parents ----------------------------------------------------------------------------------

    def _parent(self, parent: Parent) -> Iterator[Line]:
        what = ", ".join(filter(None, (described(parent), *parent.addresses)))
        yield [(parent.name, "bold"), (f"  {what}" if what else "", "dim")]
        for index, network in enumerate(parent.networks):
            last = index == len(parent.networks) - 1
            below = self._blank if last else self._on
            yield from self._network(network, parent, self._last if last else self._item, below)

    def _network(self, network: Network, parent: Parent, branch: str, below: str) -> Iterator[Line]:
        head: Line = [branch, (network.name, "cyan"), f"  {plural(network.count, 'interface')}"]
        more: list[Part] = [f"gateway {', '.join(network.gateways)}"] if network.gateways else []
        yield from self._spread(head, more, [below])
        for each in network.ranges:
            share = f"  {each.used} of {each.size} used"
            cells = bar(each.share, _BAR, plain=self._plain)
            room = self._width - len(below) - _BAR - len(share) - 2
            column = max(8, min(room, max(len(r.spans) for r in network.ranges)))
            yield [below, f"{cut(each.spans, column):<{column}}  ", *cells, share]
        if parent.kind is not Kind.UNKNOWN:
            yield [below, (self._who(network, parent, self._width - len(below)), "dim")]

    def _who(self, network: Network, parent: Parent, width: int) -> str:
        """The interfaces of a network, as many as fit."""
        names = [
            f"{pod.title} {each.name}"
            for pod in self._node.pods
            for each in pod.interfaces
            if (each.parent, each.network) == (parent.key, network.name)
        ]
        for count in range(min(len(names), _NAMED), 0, -1):
            rest = f" and {len(names) - count} more" if count < len(names) else ""
            text = f"{', '.join(names[:count])}{rest}"
            if len(text) <= width:
                return text
        return plural(len(names), "interface")

    def _column(self, texts: Sequence[str], share: float = _SHARE) -> int:
        return min(max(map(len, texts), default=0), int(self._width * share))


def _length(line: Sequence[Part]) -> int:
    return sum(len(part if isinstance(part, str) else part[0]) for part in line)
