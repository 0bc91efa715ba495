"""Kept edits of two API servers: none is made at the other one's."""

from __future__ import annotations

from pathlib import Path

from multus.api.kubernetes import Deadline, Edit, Resource
from multus.kube.keptedits import KeptEdits

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
