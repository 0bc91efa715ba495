"""The drawing: nothing overlaps, lines end where they belong, and names are only text."""

from __future__ import annotations

from itertools import combinations
from xml.etree import ElementTree

import pytest
from unit.picture.nodes import HOSTILE, NODES, many, star, troubled

from multus.picture.model import Node
from multus.picture.placing import LEAST, MOST, Card, Placed, placed
from multus.picture.svg import drawing, fragment

WIDTHS = (390, 1120)
SVG = "{http://www.w3.org/2000/svg}"


def overlap(one: Card, other: Card) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def leaving(shown: Placed) -> list[str]:
    """The texts that leave their cards, at the width that a character is taken to have."""
    found = []
    for card in (*shown.pods, *shown.parents):
        for text in card.texts:
            width = len(text.text) * text.size * 0.61
            left = text.x - width if text.anchor == "end" else text.x
            inside = card.x <= left and left + width <= card.x + card.width
            if not inside or not card.y < text.y < card.y + card.height:
                found.append(text.text)
    return found


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", NODES)
class TestEveryNode:
    def test_nothing_overlaps_and_nothing_leaves_its_place(self, name: str, width: int) -> None:
        shown = placed(NODES[name], width)
        cards = (*shown.pods, *shown.parents)
        assert not [(a.key, b.key) for a, b in combinations(cards, 2) if overlap(a, b)]
        assert leaving(shown) == []
        assert all(each.x >= 0 and each.x + each.width <= width for each in cards)
        assert all(each.y >= 0 and each.y + each.height <= shown.height for each in cards)

    def test_it_is_well_formed_and_has_no_markup_of_others(self, name: str, width: int) -> None:
        for text in (drawing(NODES[name], width), fragment(NODES[name], width, "?pod={}".format)):
            root = ElementTree.fromstring(text)
            kinds = {each.tag.removeprefix(SVG) for each in root.iter()}
            assert kinds <= {*("svg", "style", "rect", "g", "text", "title", "circle", "path"), "a"}
            assert "://" not in text.replace("http://www.w3.org/2000/svg", "")


def test_each_line_leads_from_an_interface_to_its_network() -> None:
    shown = placed(star(5), 1120)
    (pod,) = shown.pods
    ends = {card.key: card.ports for card in shown.parents}
    assert [line.start for line in shown.lines] == list(pod.ports)
    assert [line.to for line in shown.lines] == [
        ends[key][0] for key in ("link cni0", *(f"link eth{n}" for n in range(1, 5)))
    ]
    assert len({line.to.slot for line in shown.lines}) == 5


def test_a_host_end_stands_between_the_interface_and_the_bend_of_its_line() -> None:
    for line in placed(many(3), 1120).lines:
        assert line.end is not None
        left, right, text = line.end
        assert line.start.x < left < text.x < right < line.bend < line.to.x


def test_a_phone_has_no_room_for_host_ends() -> None:
    assert [line.end for line in placed(many(2), 390).lines] == [None, None]


def test_what_is_not_connected_has_no_line() -> None:
    node = troubled()
    drawn = {line.key for line in placed(node, 1120).lines}
    assert drawn == {node.pods[0].container, node.pods[2].container}


def test_with_many_pods_their_bridge_is_still_seen_at_first() -> None:
    shown = placed(many(40), 1120)
    assert shown.height > 2000
    assert shown.parents[0].y < 600


@pytest.mark.parametrize(("asked", "got"), [(1, LEAST), (10**9, MOST)])
def test_the_width_is_bounded(asked: int, got: int) -> None:
    assert placed(Node("n"), asked).measures.width == got


def test_names_of_tenants_are_text() -> None:
    text = drawing(troubled())
    assert "<script" not in text
    assert "&lt;script&gt;" in text
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert HOSTILE not in text


def test_a_pod_leads_to_its_own_place_on_the_page() -> None:
    text = fragment(many(2), 1120, "?chosen={}".format, chosen=f"c{1:016x}")
    links = [e for e in ElementTree.fromstring(text).iter() if e.tag == "a"]
    assert [each.get("href") for each in links] == [f"?chosen=c{n:016x}" for n in range(2)]
    assert [each.get("aria-current") for each in links] == [None, "true"]
