"""A cluster as text: tables fit, and every problem is said whole."""

from __future__ import annotations

import pytest

from multus.cli.matrix import problems, tables
from multus.picture.cluster.model import Attached, Cluster, Duplicate, Holder, Waiting

LONG = "ip-10-0-121-204.eu-central-1.compute.internal"


def cluster(networks: int) -> Cluster:
    """Two nodes with so many networks; all hold one address, and one name is hostile."""
    names = [f"shop/network-{number:02}" for number in range(networks)]
    holders = (
        Holder("shop/web-7c5ddbdf54-abcde", "net1", LONG),
        Holder("x/\x1b[2J\n", "net1", "b"),
    )
    attached = [Attached(name, each, ("10.1.0.2",)) for name in names for each in holders]
    counts = {LONG: dict.fromkeys(names, 1), "b": dict.fromkeys(names, 1)}
    return Cluster(
        "https://10.0.0.1:6443",
        counts=counts,
        attached=tuple(attached),
        duplicates=(Duplicate(names[0], "10.1.0.2", holders),),
        waiting=(Waiting(Holder("shop/new", node="b"), "storage"),),
        notes=("pod x/y: its network-status annotation is not a JSON list",),
    )


def text(parts: list[object]) -> str:
    return "".join(part if isinstance(part, str) else part[0] for part in parts)  # type: ignore[index]


@pytest.mark.parametrize("networks", [1, 4, 40])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_tables_fit(width: int, networks: int) -> None:
    found = [text(list(line)) for line in tables(cluster(networks), width)]
    assert [line for line in found if len(line) > width] == []
    assert all(line.isprintable() for line in found)


def test_networks_without_room_are_summed_up() -> None:
    found = [text(list(line)) for line in tables(cluster(40), 80)]
    (titles,) = [line for line in found if line.startswith("NODE")]
    shown = len(titles.split()) - 3
    assert titles.endswith(f"{40 - shown} MORE")
    assert found[found.index(titles) + 2].split()[-1] == str(40 - shown)


def test_nothing_is_cut_where_there_is_no_width() -> None:
    found = [text(list(line)) for line in tables(cluster(40), 0)]
    assert any("shop/network-39" in line and line.startswith("NODE") for line in found)
    assert any(line.startswith("shop/network-00  10.1.0.2 !") and LONG in line for line in found)


def test_problems_name_pods_and_nodes() -> None:
    found = [text(list(line)) for line in problems(cluster(1))]
    assert found[0].startswith(
        f"duplicate: 10.1.0.2 in network shop/network-00: shop/web-7c5ddbdf54-abcde on {LONG}, x/"
    )
    assert found[1] == "no status: shop/new on b asked for storage, and has no status"
    assert found[2].startswith("not read: pod x/y")
