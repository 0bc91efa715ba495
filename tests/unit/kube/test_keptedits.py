"""Kept edits: of two API servers, damaged, refused, and without a daemon."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from unit.kube.edits import edit as counted
from waiting import PATIENCE

from multus.api.errors import TryAgainLater
from multus.api.kubernetes import Deadline, Edit, Resource
from multus.kube.client import KubeClient
from multus.kube.keptedits import KeptEdits
from multus.testing.apiserver import ApiServer, Fault

POOL = Resource("example.org", "v1", "pools").object("default", "a")


def edit(name: str) -> Edit:
    return Edit(POOL, "example:free", {"name": name})


def test_edits_of_another_api_server_wait_for_who_reaches_it(tmp_path: Path) -> None:
    every = KeptEdits(str(tmp_path))
    for kubeconfig in ("/east", "/west", ""):
        every.put(kubeconfig, [edit(kubeconfig)])
    made: list[str] = []
    east = KeptEdits(str(tmp_path), only="/east")
    east.make_before(POOL, lambda _, each: made.append(each.given["name"]), Deadline.after(5.0))
    # An edit without a kubeconfig is for the node's one.
    assert made == ["/east", ""]
    east.make_all(lambda _, each: made.append(each.given["name"]))
    assert (made, len(every.names())) == (["/east", ""], 1)
    every.make_all(lambda kubeconfig, _: made.append(kubeconfig))
    assert (made, every.names()) == (["/east", "", "/west"], [])


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
    kept, made = KeptEdits(str(tmp_path)), list[str]()
    kept.put("", [edit("good")])
    Path(kept.folder, "1").write_text(text)
    kept.make_before(POOL, lambda _, each: made.append(each.given["name"]), Deadline.after(5.0))
    assert made == ["good"]
    kept.put("", [edit("rest")])
    kept.make_rest(lambda each, _: made.append(each.given["name"]), Deadline.after(5.0))
    assert made == ["good", "rest"]
    assert os.listdir(kept.folder) == [".damaged-1"]


def test_what_cannot_be_opened_is_told_and_stops_nothing(tmp_path: Path) -> None:
    kept, told = KeptEdits(str(tmp_path)), list[str]()
    kept.put("", [edit("good")])
    Path(kept.folder, "1").mkdir()
    os.mkfifo(f"{kept.folder}/2")
    kept.make_all(lambda *_: None, lambda name, _: told.append(name))
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
    api.faults.add(Fault("slow", "*/ippools/a", times=0, seconds=1.0))
    deadline = Deadline.after(2.0)
    assert client.edit(counted("a", pool="q"), deadline) == 1
    assert deadline.remaining() > 1.0
    assert client.edit(counted("b", pool="q"), deadline) == 2
    api.faults.clear()
    other = connect(cni_dir=str(tmp_path))
    other.edit(counted("c", pool="q"), Deadline.after(PATIENCE))
    assert kept.names() == []
