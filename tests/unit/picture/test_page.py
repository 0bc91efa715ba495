"""The page: its parts, its filter, what keeps it harmless, and the requests it shows."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
from unit.picture.nodes import HOSTILE, NODES, many, star, troubled

from multus.picture import frame
from multus.picture.filtering import MOST_PODS, Wanted, filtered
from multus.picture.model import Node
from multus.picture.page import NodePage, Seen
from multus.picture.requests import Request, matching, request_of

ENTRY: dict[str, Any] = {
    "time": 1_700_000_000.5,
    "command": "ADD",
    "container": "c1",
    "ifname": "eth0",
    "pod": "shop/web-0",
    "seconds": 0.2,
    "stages": {"resolve": 0.01, "journal": 0.02, "invoke": 0.1, "merge": 0.01},
    "delegates": [
        {"ifname": "eth0", "network": "pods", "types": "bridge", "seconds": 0.04},
        {
            "ifname": "net1",
            "network": "storage",
            "types": "macvlan",
            "seconds": 0.05,
            "error": {"code": 7, "msg": "Link not found"},
        },
    ],
    "plugins": [{"plugin": "bridge", "task": "ADD", "seconds": 0.04, "waited": 0.02}],
    "error": {"code": 7, "msg": f"network 'storage': {HOSTILE} token eyJhbGciOiJub25lIn0.abc.def"},
}


class Tags(HTMLParser):
    """The elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def named(self, tag: str) -> Iterator[dict[str, str | None]]:
        return (attributes for name, attributes in self.found if name == tag)


def page(node: Node, *requests: Request, **query: str) -> str:
    shown = NodePage(lambda: Seen(node, requests)).answer("/", query)
    assert shown.status == 200
    return shown.body.decode()


def parts(node: Node, *requests: Request, **query: str) -> dict[str, str]:
    shown = NodePage(lambda: Seen(node, requests)).answer("/parts", query)
    found: dict[str, str] = json.loads(shown.body)["parts"]
    return found


class TestHarmless:
    @pytest.mark.parametrize("name", NODES)
    def test_only_the_page_s_own_script_and_style_can_run(self, name: str) -> None:
        text = page(NODES[name], request_of(ENTRY), chosen="c0000000000000002")
        policy = dict(frame.headers())["Content-Security-Policy"]
        for kind in ("script", "style"):
            (found,) = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.DOTALL)
            digest = base64.b64encode(hashlib.sha256(found.encode()).digest()).decode()
            assert f"{kind}-src 'sha256-{digest}';" in policy
        assert "default-src 'none'" in policy
        tags = Tags(text)
        assert [
            e for e in tags.found if any(k.startswith("on") or k == "style" for k in e[1])
        ] == []

    def test_it_asks_for_nothing_from_elsewhere(self) -> None:
        for _, attributes in Tags(page(star(4), request_of(ENTRY))).found:
            for key in ("src", "href", "action"):
                assert not (attributes.get(key) or "").startswith(("http", "//"))

    def test_names_of_tenants_are_text(self) -> None:
        hostile = request_of({**ENTRY, "pod": HOSTILE, "command": HOSTILE})
        text = page(troubled(), hostile, pod=HOSTILE[:8], namespace=HOSTILE, chosen=f"c{2:016x}")
        text += "".join(parts(troubled(), hostile, chosen=f"c{2:016x}").values())
        assert "<script>alert" not in text
        assert "&lt;script&gt;alert" in text
        assert not {"\x1b", "\u202e"} & set(text)

    def test_secrets_in_errors_are_left_out(self) -> None:
        assert "eyJhbGciOi" not in page(many(1), request_of(ENTRY))
        assert "[redacted]" in page(many(1), request_of(ENTRY))

    def test_another_path_is_not_found(self) -> None:
        assert NodePage(lambda: Seen(many(1))).answer("/etc/passwd", {}).status == 404


class TestParts:
    def test_the_parts_are_those_of_the_page(self) -> None:
        text = page(many(2))
        ids = {each.get("id") for _, each in Tags(text).found if "data-part" in each}
        assert ids == set(parts(many(2)))
        for html in parts(many(2)).values():
            assert html in text

    def test_a_chosen_pod_has_its_details(self) -> None:
        html = parts(star(3), chosen=f"c{0:016x}")["details"]
        for words in ("shop/web-0", "/run/netns/0", "fd00:0:0:1::a/64", "eth1, master, on bond0"):
            assert words in html
        assert parts(star(3), chosen="another")["details"] == ""

    def test_the_picture_is_as_wide_as_it_is_asked_for(self) -> None:
        for asked, got in (("390", "390"), ("99999", "1600"), ("-1", "1100"), ("9" * 9, "1100")):
            assert f'class="picture" width="{got}"' in parts(many(1), width=asked)["picture"]

    def test_an_etag_names_the_content(self) -> None:
        answers = [NodePage(lambda: Seen(many(2))).answer("/parts", {}) for _ in range(2)]
        other = NodePage(lambda: Seen(many(3))).answer("/parts", {})
        assert answers[0].etag == answers[1].etag != other.etag

    def test_an_empty_node_says_so(self) -> None:
        found = parts(Node("worker-1"))
        assert "No pod is attached" in found["picture"]
        assert found["summary"] == "nothing is attached"
        unread = Node("worker-1", notes=("the journal cannot be read",))
        assert "is not known" in parts(unread)["picture"]
        assert "No pod matches" in parts(many(1), pod="nobody")["picture"]


class TestFilter:
    @pytest.mark.parametrize(
        ("query", "kept"),
        [
            ({"pod": "WEB-1"}, ["shop/web-1", *(f"shop/web-{n}" for n in range(10, 12))]),
            ({"pod": "10.244.1.5/"}, ["shop/web-3"]),
            ({"pod": f"c{4:016x}"}, ["shop/web-4"]),
            ({"namespace": "sho"}, []),
            ({"network": "other"}, []),
        ],
    )
    def test_pods_by_name_address_container_namespace_and_network(
        self, query: dict[str, str], kept: list[str]
    ) -> None:
        found = filtered(many(12), Wanted.of(query))
        assert [each.title for each in found.pods] == kept
        assert bool(found.parents) == bool(kept)

    def test_of_a_network_only_its_interfaces_and_parents_are_left(self) -> None:
        found = filtered(star(5), Wanted(network="tenants/net-2"))
        assert [each.name for each in found.pods[0].interfaces] == ["net2"]
        assert [each.name for each in found.parents] == ["eth2"]
        assert "of 1 pod, 5 interfaces" in parts(star(5), network="tenants/net-2")["summary"]

    def test_a_node_with_too_many_pods_says_that_not_all_are_drawn(self) -> None:
        found = filtered(many(MOST_PODS + 1), Wanted())
        assert len(found.pods) == MOST_PODS
        assert found.notes == (
            f"only {MOST_PODS} of {MOST_PODS + 1} pods are drawn: ask for fewer",
        )

    def test_links_and_the_form_keep_what_is_asked_for(self) -> None:
        text = page(many(12), pod="web-1", namespace="shop")
        assert 'value="web-1"' in text
        assert '<option value="shop" selected>' in text
        assert "?pod=web-1&amp;namespace=shop&amp;chosen=c0000000000000001" in text

    def test_requests_are_filtered_too(self) -> None:
        requests = [request_of(ENTRY), request_of({**ENTRY, "pod": "lab/x", "delegates": []})]
        assert matching(requests, Wanted(namespace="shop")) == (requests[0],)
        assert matching(requests, Wanted(network="storage")) == (requests[0],)
        assert matching(requests, Wanted(pod="x")) == (requests[1],)


class TestRequests:
    def test_stages_follow_one_another_and_networks_lie_within_one(self) -> None:
        found = [(e.name, round(e.begin, 3), e.depth) for e in request_of(ENTRY).parts]
        assert found == [
            ("resolve", 0.0, 0),
            ("journal", 0.01, 0),
            ("invoke", 0.03, 0),
            ("eth0 pods", 0.03, 1),
            ("net1 storage", 0.07, 1),
            ("merge", 0.13, 0),
        ]

    def test_a_request_shows_its_times_plugins_and_errors(self) -> None:
        html = parts(many(1), request_of(ENTRY))["requests"]
        for words in (
            "200.0 ms",
            "bridge ADD",
            "20.0 ms of them waiting",
            "Link not found [code 7]",
        ):
            assert words in html
        assert 'class="request failed"' in html
        # The time between stages is shown, too: here 60 of 200 ms.
        assert "between stages" in html

    @pytest.mark.parametrize("value", [None, "x", [], {}, -1, True, [1, "x"], 10**400, math.inf])
    def test_a_damaged_entry_is_shown_as_far_as_it_can_be(self, value: object) -> None:
        for key in ENTRY:
            damaged = request_of({**ENTRY, key: value})
            assert 'class="request' in parts(many(1), damaged)["requests"]
