"""Kept edits: of two API servers, damaged, refused, and without a daemon."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from unit.kube.edits import edit as counted
from waiting import PATIENCE

from multus.api.errors import CNIError, TryAgainLater
from multus.api.kubernetes import ApiFailure, Deadline, Edit, Resource
from multus.kube.batches import NotTried
from multus.kube.client import KubeClient
from multus.kube.keptedits import KeptEdits
from multus.testing.apiserver import ApiServer, Fault

POOL = Resource("example.org", "v1", "pools").object("default", "a")
OTHER = Resource("example.org", "v1", "pools").object("default", "b")


def edit(name: str, *, other: bool = False) -> Edit:
    return Edit(OTHER if other else POOL, "example:free", {"name": name})


class Maker:
    """Makes edits by writing down their names; those of *failing* fail."""

    def __init__(self, *failing: str) -> None:
        self.failing = failing
        self.made: list[str] = []
        self.writes = 0

    def __call__(self, _: object, edits: Sequence[Edit]) -> list[object]:
        self.writes += 1
        outcomes: list[object] = []
        for each in edits:
            name = each.given["name"]
            if outcomes and isinstance(outcomes[-1], CNIError):
                outcomes.append(NotTried("an earlier one has failed"))
            elif name in self.failing:
                outcomes.append(ApiFailure(f"{name} is invalid", 422))
            else:
                self.made.append(name)
                outcomes.append(None)
        return outcomes

    def later(self, edits: Sequence[Edit], _: Deadline) -> list[object]:
        return self("", edits)


def test_edits_of_another_api_server_wait_for_who_reaches_it(tmp_path: Path) -> None:
    every, maker = KeptEdits(str(tmp_path)), Maker()
    for kubeconfig in ("/east", "/west", ""):
        every.put(kubeconfig, [edit(kubeconfig)])
    east = KeptEdits(str(tmp_path), only="/east")
    east.make_before(POOL, maker, Deadline.after(5.0))
    # An edit without a kubeconfig is for the node's one.
    assert maker.made == ["/east", ""]
    east.make_all(maker)
    assert (maker.made, len(every.names())) == (["/east", ""], 1)
    every.make_all(maker)
    assert (maker.made, every.names()) == (["/east", "", "/west"], [])


def test_what_several_files_have_of_one_object_is_one_write(tmp_path: Path) -> None:
    kept, maker = KeptEdits(str(tmp_path)), Maker()
    for number in range(300):
        kept.put("", [edit(f"p{number}"), edit(f"r{number}", other=True)])
    kept.make_before(POOL, maker, Deadline.after(5.0))
    assert kept.names() == []
    pools = [each for each in maker.made if each[0] == "p"]
    assert pools == [f"p{number}" for number in range(300)]
    # At most so many files are open at a time.
    assert maker.writes == 6


def test_each_objects_edits_are_made_in_their_order(tmp_path: Path) -> None:
    kept, maker = KeptEdits(str(tmp_path)), Maker("bad")
    kept.put("", [edit("p1"), edit("r1", other=True)])
    kept.put("", [edit("r2", other=True), edit("p2")])
    kept.put("", [edit("p3"), edit("bad"), edit("r3", other=True)])
    kept.put("", [edit("p4")])
    kept.put("", [edit("r4", other=True)])
    told: list[str] = []
    kept.make_all(maker, lambda _, error: told.append(str(error)))
    for kind in "pr":
        mine = [each for each in maker.made if each[0] == kind]
        assert mine == [f"{kind}{number}" for number in range(1, len(mine) + 1)]
    # What comes after the refused one, on any of its objects, waits.
    assert set(maker.made) == {"p1", "r1", "r2", "p2", "p3"}
    assert told == ["bad is invalid"] and len(kept.names()) == 3
    maker.failing = ()
    kept.make_all(maker)
    assert kept.names() == [] and {"r3", "p4", "r4"} <= set(maker.made)


def test_who_finds_a_file_in_work_waits_for_it(tmp_path: Path) -> None:
    kept, maker, began = KeptEdits(str(tmp_path)), Maker(), threading.Event()
    kept.put("", [edit("a")])
    kept.put("", [edit("b")])

    def slow(kubeconfig: str, edits: Sequence[Edit]) -> list[object]:
        began.set()
        time.sleep(0.2)
        return maker(kubeconfig, edits)

    other = threading.Thread(target=kept.make_all, args=(slow,))
    other.start()
    assert began.wait(PATIENCE)
    KeptEdits(str(tmp_path)).make_before(POOL, maker, Deadline.after(PATIENCE))
    assert maker.made == ["a", "b"]
    other.join()


GOOD = {"kubeconfig": "", "edits": [edit("a").to_wire()]}


def damaged(**keys: Any) -> str:
    return json.dumps({**GOOD, "edits": [{**edit("a").to_wire(), **keys}]})


@pytest.mark.parametrize(
    "text",
    [
        "",
        json.dumps(GOOD)[:-20],
        "[" * 100_000,
        " " * (1 << 21),
        "[]",
        json.dumps({**GOOD, "edits": None}),
        damaged(kind=["a"]),
        damaged(kind=[[], [], [], [], []]),
        damaged(kind=["a", "b", "c", "d", "{oops}"]),
        damaged(object=[1, 2]),
        damaged(function=5),
        damaged(given=[1]),
        damaged(subresource=None),
    ],
)
def test_a_damaged_file_keeps_no_other_edit_from_being_made(tmp_path: Path, text: str) -> None:
    kept, maker = KeptEdits(str(tmp_path)), Maker()
    kept.put("", [edit("good")])
    Path(kept.folder, "1").write_text(text)
    kept.make_before(POOL, maker, Deadline.after(5.0))
    assert maker.made == ["good"]
    kept.put("", [edit("rest")])
    kept.make_rest(maker.later, Deadline.after(5.0))
    assert maker.made == ["good", "rest"]
    assert os.listdir(kept.folder) == [".damaged-1"]


def test_what_a_killed_writer_has_left_is_replaced(tmp_path: Path) -> None:
    kept, maker = KeptEdits(str(tmp_path)), Maker()
    kept.put("", [edit("a")])
    Path(kept.folder, ".new").write_text("half of")
    kept.put("", [edit("b")])
    assert len(os.listdir(kept.folder)) == 2
    kept.make_all(maker)
    assert maker.made == ["a", "b"] and os.listdir(kept.folder) == []


def test_what_cannot_be_opened_is_told_and_stops_nothing(tmp_path: Path) -> None:
    kept, told = KeptEdits(str(tmp_path)), list[str]()
    kept.put("", [edit("good")])
    Path(kept.folder, "1").mkdir()
    os.mkfifo(f"{kept.folder}/2")
    kept.make_all(Maker(), lambda name, _: told.append(name))
    assert told == ["1", "2"] and kept.names() == ["1", "2"]


def test_an_edit_that_is_refused_blocks_its_object_alone_and_names_its_file(
    tmp_path: Path, connect: Callable[..., KubeClient], soon: Deadline
) -> None:
    client = connect(cni_dir=str(tmp_path))
    kept = KeptEdits(str(tmp_path))
    kept.put("", [counted("bad", pool="p")])
    with pytest.raises(TryAgainLater) as caught:
        client.edit(counted("a", pool="p"), soon)
    (name,) = kept.names()
    assert f"{kept.folder}/{name}" in str(caught.value) and "bad is bad" in str(caught.value)
    assert "multus ipam reconcile" in caught.value.fix
    assert client.edit(counted("a", pool="q"), soon) == 1
    assert "bad is bad" in Path(kept.folder, f"{name}.refused").read_text()


def test_without_a_daemon_what_is_kept_of_other_objects_takes_a_part_of_the_time(
    api: ApiServer, tmp_path: Path, connect: Callable[..., KubeClient]
) -> None:
    client = connect(cni_dir=str(tmp_path))
    kept = KeptEdits(str(tmp_path))
    for pool in "abc":
        kept.put("", [counted("late", pool=pool)])
    held = Fault("held", "*/ippools/a", times=0)
    api.faults.add(held)
    deadline = Deadline.after(PATIENCE)
    assert client.edit(counted("a", pool="q"), deadline) == 1
    assert deadline.remaining() > PATIENCE / 2
    assert client.edit(counted("b", pool="q"), deadline) == 2
    api.faults.clear()
    held.released.set()
    other = connect(cni_dir=str(tmp_path))
    other.edit(counted("c", pool="q"), Deadline.after(PATIENCE))
    assert kept.names() == []
