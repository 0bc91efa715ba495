"""Which pods the API process looks at, and when: the clock is the test's."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from unit.state.records import CONF, FOUR, request

from multus.daemon.looked import Looked
from multus.daemon.looks import APART, FIRST_PAUSE, LONGEST_PAUSE, SELDOM, SETTLED, Look, Looks
from multus.daemon.podrecords import PodRecords
from multus.state.journal import Journal

WEB = ("default", "web")


class Node:
    """A journal, and the pods that are known."""

    def __init__(self, folder: Path, *, follows: bool) -> None:
        self.journal = Journal(str(folder))
        self.journal.prepare()
        self.pods: dict[tuple[str, str], Mapping[str, Any]] = {}
        records = PodRecords(lambda: [str(folder)])
        self.looks = Looks(records, lambda *key: self.pods.get(key), follows=follows)
        self.now = 1000.0

    def add(self, name: str = "web", container: str = "c1", ifname: str = "eth0") -> None:
        args = {"K8S_POD_NAMESPACE": "default", "K8S_POD_NAME": name}
        text = ";".join(f"{key}={value}" for key, value in args.items())
        asked = evolve(request(container, ifname), environ={"CNI_ARGS": text})
        self.journal.begin(asked, CONF, FOUR[:1]).close()

    def annotate(self, name: str = "web", **annotations: str) -> None:
        self.pods["default", name] = {"annotations": annotations}
        self.looks.noticed("default", name)

    def after(self, seconds: float) -> list[Look]:
        """The looks that are due *seconds* later."""
        self.now += seconds
        return self.looks.due(self.now)

    def soon(self) -> list[str]:
        """The containers that are looked at once a change has settled."""
        assert self.after(0.0) == []
        return [each.record.container_id for each in self.after(SETTLED)]

    def end(self, outcome: str, *told: str, wrote: bool = False) -> None:
        self.looks.ended("c1", Looked(outcome, told, wrote), self.now)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """One that follows pods, and has looked at a pod once."""
    node = Node(tmp_path / "state", follows=True)
    node.add()
    node.annotate()
    assert node.soon() == ["c1"]
    node.end("same")
    assert node.after(SELDOM / 2) == []
    return node


def test_several_changes_are_one_look_and_one_look_is_under_way_at_a_time(node: Node) -> None:
    node.annotate(networks="a")
    node.annotate(networks="a,b")
    assert node.soon() == ["c1"]
    node.annotate(networks="c")
    assert node.after(10.0) == []
    node.end("changed")
    assert [each.record.container_id for each in node.after(SETTLED)] == ["c1"]


def test_a_program_that_changes_annotations_all_the_time_costs_a_look_a_second(node: Node) -> None:
    found = []
    for number in range(100):
        node.annotate(beat=str(number))
        found += node.after(0.1)
        node.end("same")
    assert 5 <= len(found) <= 11


def test_a_failure_is_repeated_with_growing_pauses_and_known_texts(node: Node) -> None:
    node.annotate(networks="nowhere")
    assert node.soon() == ["c1"]
    pause = FIRST_PAUSE
    while pause < LONGEST_PAUSE:
        node.end("refused", "no such network")
        assert node.after(0.7 * pause) == []
        (look,) = node.after(0.6 * pause)
        assert look.told == ("no such network",)
        pause *= 2
    node.end("changed")
    assert node.after(SELDOM / 2) == []
    assert len(node.after(SELDOM)) == 1  # whatever was not noticed


def test_a_new_annotation_does_not_wait_for_the_pause_of_a_failure(node: Node) -> None:
    for _ in range(8):
        node.end("refused", "no")
        node.after(LONGEST_PAUSE * 2)
    node.end("refused", "no")
    node.annotate(networks="a")
    assert node.after(0.0) == []
    assert [each.told for each in node.after(APART)] == [("no",)]


@pytest.mark.parametrize("outcome", ["righted", "refused"])
def test_a_status_that_another_program_overwrites_is_put_right_ever_less_often(
    node: Node, outcome: str
) -> None:
    waited = []
    for number in range(6):
        node.annotate(status=f"theirs {number}")
        begin = node.now
        while not node.after(0.25):
            pass
        waited.append(node.now - begin)
        node.end(outcome, wrote=True)
        node.annotate(status="ours")
    assert waited == sorted(waited)
    assert waited[-1] > 8 * waited[0]


def test_without_following_the_first_status_of_a_pod_is_no_reason(tmp_path: Path) -> None:
    node = Node(tmp_path / "state", follows=False)
    node.annotate("new")
    assert node.soon() == []
    node.add("new")
    node.annotate("new", status="first")
    assert node.soon() == []
    node.annotate("new", status="other")
    assert node.soon() == ["c1"]
    node.end("righted", wrote=True)
    node.annotate("new", networks="a", status="other")
    assert node.after(SELDOM / 2) == []
    node.annotate("new")
    assert node.soon() == ["c1"]


def test_a_pod_that_ends_is_left_to_its_del(node: Node) -> None:
    node.annotate(networks="a")
    node.pods[WEB] = {**node.pods[WEB], "deletionTimestamp": "now"}
    node.looks.noticed(*WEB)
    assert node.soon() == []
    node.annotate(networks="b")
    del node.pods[WEB]
    node.looks.noticed(*WEB)
    assert node.after(1e6) == []


def test_a_pod_whose_add_is_under_way_is_looked_at_once_it_has_a_record(tmp_path: Path) -> None:
    node = Node(tmp_path / "state", follows=True)
    node.annotate(networks="a")
    assert node.soon() == []
    node.add()
    assert [each.pod for each in node.after(5.0)] == ["default/web"]


def test_looks_are_spread_and_a_lost_one_is_repeated(tmp_path: Path) -> None:
    node = Node(tmp_path / "state", follows=True)
    for number in range(20):
        node.add(f"pod{number}", f"c{number}")
        node.annotate(f"pod{number}", networks="a")
    found = [node.after(SETTLED) for _ in range(20)]
    assert [len(each) for each in found] == [0] + [1] * 8 + [0] * 11
    found = [node.after(each) for each in (200.0, *[1.0] * 19)]
    assert [len(each) for each in found] == [1] * 8 + [0] * 12


def test_a_container_with_two_records_has_no_status_of_its_own(tmp_path: Path) -> None:
    node = Node(tmp_path / "state", follows=True)
    node.add()
    node.add(ifname="eth1")
    node.annotate()
    assert node.soon() == []
