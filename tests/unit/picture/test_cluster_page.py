"""The page of a cluster: its parts, its filter, what keeps it harmless, and when it is read."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from unit.picture.nodes import HOSTILE
from unit.picture.test_page import Tags
from waiting import becomes

from multus.api.errors import CNIError
from multus.picture.cluster.following import Following
from multus.picture.cluster.model import Attached, Cluster, Duplicate, Holder, Waiting, in_order
from multus.picture.cluster.page import ClusterPage
from multus.picture.cluster.reading import duplicates


def attached(pod: str, node: str, network: str, *addresses: str) -> Attached:
    return Attached(network, Holder(pod, "net1", node), addresses, "02:00:00:00:00:01")


def cluster(*found: Attached, waiting: tuple[Waiting, ...] = ()) -> Cluster:
    counts: dict[str, dict[str, int]] = {}
    for each in found:
        here = counts.setdefault(each.holder.node, {})
        here[each.network] = here.get(each.network, 0) + 1
    return Cluster(
        "https://10.0.0.1:6443",
        pods=len(found),
        counts=counts,
        attached=in_order(found),
        duplicates=duplicates(list(found)),
        waiting=waiting,
        moment=1_700_000_000,
    )


SMALL = cluster(
    attached("shop/web", "a", "storage", "10.9.0.10", "fd00::10"),
    attached("shop/db", "b", "storage", "10.9.0.9"),
    attached("media/enc", "b", "storage", "10.9.0.9"),
    attached("media/raw", "b", "sriov"),
    waiting=(Waiting(Holder("shop/new", node="a"), "backup", "2026-01-01T00:00:00Z"),),
)


def parts(shown: Cluster, **query: str) -> dict[str, str]:
    found: dict[str, str] = json.loads(ClusterPage(lambda: shown).answer("/parts", query).body)[
        "parts"
    ]
    return found


def pods(html: str) -> list[str | None]:
    return [each["data-pod"] for each in Tags(html).named("a") if "data-pod" in each]


def test_the_page_has_every_part_that_its_script_gets() -> None:
    page = ClusterPage(lambda: SMALL).answer("/", {})
    assert page.status == 200
    there = {each["id"] for _, each in Tags(page.body.decode()).found if "data-part" in each}
    assert there == set(parts(SMALL))
    assert ClusterPage(lambda: SMALL).answer("/other", {}).status == 404


def test_addresses_stand_in_the_order_of_their_numbers() -> None:
    assert pods(parts(SMALL)["addresses"]) == [
        *("media/raw", "media/enc", "shop/db", "shop/web", "shop/web")
    ]


def test_what_is_wrong_is_named_with_pods_and_nodes() -> None:
    found = parts(SMALL)
    assert pods(found["problems"]) == ["media/enc", "shop/db", "shop/new"]
    assert found["addresses"].count("twice") == 2
    right = cluster(attached("shop/web", "a", "storage", "10.9.0.10"))
    assert "no address is there twice" in parts(right)["problems"]


def test_a_cluster_that_was_not_read_is_not_called_right() -> None:
    unread = Cluster("https://10.0.0.1:6443", notes=("no answer",))
    found = parts(unread)
    assert found["problems"] == ""
    assert "not read: no answer" in found["notes"]
    assert found["summary"] == "not read yet"


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ({"network": "sriov"}, ["media/raw"]),
        ({"namespace": "shop"}, ["shop/db", "shop/web", "shop/web"]),
        ({"pod": "FD00"}, ["shop/web", "shop/web"]),
        ({"pod": "b", "namespace": "media"}, ["media/raw", "media/enc"]),
        ({"pod": "nobody"}, []),
    ],
)
def test_the_filter_keeps_what_is_asked_for(query: dict[str, str], shown: list[str]) -> None:
    assert pods(parts(SMALL, **query)["addresses"]) == shown


def test_a_count_leads_to_its_pods() -> None:
    links = [each["href"] for each in Tags(parts(SMALL)["picture"]).named("a")]
    assert "?network=storage&pod=b" in links


def test_a_chosen_pod_is_shown_whole_whatever_the_filter_is() -> None:
    found = parts(SMALL, chosen="shop/web", network="sriov")["details"]
    assert "fd00::10" in found
    assert "Asked for" in parts(SMALL, chosen="shop/new")["details"]
    assert parts(SMALL, chosen="shop/none")["details"] == ""


def test_names_of_tenants_make_no_element() -> None:
    evil = Attached(HOSTILE, Holder(f"x/{HOSTILE}", HOSTILE, HOSTILE), (HOSTILE,), HOSTILE)
    twin = Attached(HOSTILE, Holder(f"y/{HOSTILE}", HOSTILE, HOSTILE), (HOSTILE,), HOSTILE)
    shown = cluster(evil, twin, waiting=(Waiting(evil.holder, HOSTILE, HOSTILE),))
    clean = {
        name for name, _ in Tags(ClusterPage(lambda: SMALL).answer("/", {}).body.decode()).found
    }
    for query in ({}, {"chosen": f"x/{HOSTILE}"}, {"pod": HOSTILE}):
        body = ClusterPage(lambda: shown).answer("/", query).body.decode()
        assert {name for name, _ in Tags(body).found} <= clean | {"section", "h3", "dl", "dt", "dd"}
        assert not [a for _, a in Tags(body).found if any(k.startswith("on") for k in a)]


def test_a_huge_cluster_makes_no_huge_page() -> None:
    many = [
        attached(f"shop/web-{number}", f"node-{number % 1000}", f"net-{number % 300}", "10.0.0.1")
        for number in range(20_000)
    ]
    page = ClusterPage(lambda: cluster(*many)).answer("/", {}).body
    assert len(page) < 2_000_000
    text = page.decode()
    assert "200 of 1000 nodes" in text
    assert "500 of 20000 addresses" in text
    assert "276 more" in text


class TestFollowing:
    @pytest.fixture
    def gate(self) -> Iterator[threading.Event]:
        gate = threading.Event()
        yield gate
        gate.set()

    def test_who_looks_never_waits_for_the_api_server(self, gate: threading.Event) -> None:
        def read() -> Cluster:
            gate.wait()
            return SMALL

        following = Following("https://10.0.0.1:6443", read)
        assert not following.look().is_right
        gate.set()
        becomes(following.look, SMALL)
        following.close()

    def test_nothing_is_read_before_somebody_looks(self) -> None:
        asked = threading.Event()

        def read() -> Cluster:
            asked.set()
            return SMALL

        following = Following("x", read)
        assert not asked.is_set()
        following.look()
        becomes(asked.is_set, True)
        following.close()

    def test_a_failure_keeps_what_was_read_and_says_so(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("multus.picture.cluster.following._SOONEST", 0.01)
        states: list[Cluster | Exception] = [SMALL, CNIError("no route"), ValueError("odd")]

        def read() -> Cluster:
            found = states.pop(0) if len(states) > 1 else states[0]
            if isinstance(found, Exception):
                raise found
            return found

        following = Following("x", read)
        said = "internal error: ValueError"
        becomes(lambda: said in " ".join(following.look().notes), True)
        assert following.look().attached == SMALL.attached
        following.close()


def test_duplicates_name_each_holder_once_in_order() -> None:
    (found,) = SMALL.duplicates
    assert found == Duplicate(
        "storage", "10.9.0.9", (Holder("media/enc", "net1", "b"), Holder("shop/db", "net1", "b"))
    )
