"""The picture as text: it fits, it has each pod's path, and names cannot move the cursor."""

from __future__ import annotations

import pytest
from unit.picture.nodes import HOSTILE, NODES, many, star, troubled

from multus.cli.tree import Tree
from multus.picture.model import Node


def lines(node: Node, width: int, *, plain: bool = False) -> list[str]:
    found = Tree(node, width, plain=plain).lines()
    return ["".join(p if isinstance(p, str) else p[0] for p in line).rstrip() for line in found]


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("name", NODES)
def test_no_line_is_too_wide(name: str, width: int) -> None:
    found = lines(NODES[name], width)
    assert [line for line in found if len(line) > width] == []
    assert all(line.isprintable() for line in found)


def test_a_pods_interfaces_say_how_they_reach_what_they_are_attached_to() -> None:
    found = lines(star(3), 78)
    assert found[0] == "worker-1: 1 pod, 3 interfaces"
    assert found[3].split() == ["├─", "eth0", "veth00000000", "──", "cni0", "pods", "10.244.1.2/24"]
    assert found[4].startswith("├─ net1  macvlan ── eth1")
    assert "192.168.1.10/24" in found[4]
    # The second address does not fit any more.
    assert found[5].split() == ["│", "fd00:0:0:1::a/64"]
    assert "eth1  master, on bond0" in found


def test_ranges_and_gateways_stand_with_what_they_are_reached_by() -> None:
    found = lines(many(40), 80)
    at = found.index("cni0  bridge, uplink eth1, 10.244.1.1/24")
    assert found[at + 1] == "└─ pods  40 interfaces  gateway 10.244.1.1"
    assert "10.244.1.1-10.244.1.254  ██░░░░░░░░  40 of 253 used" in found[at + 2]
    assert found[at + 3].endswith("and 37 more")


def test_what_is_wrong_is_told_where_it_is() -> None:
    found = "\n".join(lines(troubled(), 120))
    assert "its network namespace is gone" in found
    assert "there is no interface 'eth0' in the pod" in found
    assert "ens2f0  physical function, down" in found
    assert "VF 3 ── ens2f0" in found
    assert "5 of 5 used" in found
    assert "not read: a record cannot be read" in found


def test_it_needs_no_more_than_ascii() -> None:
    found = lines(star(3), 80, plain=True)
    assert all(line.isascii() for line in found)
    assert found[3].startswith("|- eth0  veth00000000 -- cni0")


def test_nothing_attached_is_said() -> None:
    assert lines(NODES["empty"], 80) == ["worker-1: nothing is attached"]


def test_what_could_not_be_read_is_not_called_empty() -> None:
    found = lines(Node("worker-1", notes=("the journal cannot be read",)), 80)
    assert found == [
        "worker-1: what is attached is not known",
        "not read: the journal cannot be read",
    ]


def test_the_model_as_json_keeps_names_as_they_are() -> None:
    wire = troubled().to_wire()
    assert wire["pods"][2]["name"] == HOSTILE
    assert wire["parents"][1]["kind"] == "physical function"
