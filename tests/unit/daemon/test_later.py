"""Kept edits in the daemon: what is refused waits alone, and is told once."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from unit.kube.edits import edit
from waiting import eventually

from multus.api.errors import IOFailure
from multus.daemon import later as module
from multus.daemon.later import Later
from multus.kube.keptedits import KeptEdits
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.nodeapi import NodeApi
from multus.log import Log
from multus.testing.apiserver import ApiServer, Fault


@pytest.fixture
def api() -> Iterator[ApiServer]:
    with ApiServer() as server:
        yield server


@pytest.fixture
def node(api: ApiServer, tmp_path: Path) -> Iterator[NodeApi]:
    found = NodeApi(load_kubeconfig(api.write_kubeconfig(tmp_path)), "n1", {})
    yield found
    found.close()


@pytest.fixture
def kept(tmp_path: Path) -> KeptEdits:
    return KeptEdits(str(tmp_path / "cni"))


@pytest.fixture
def look(
    node: NodeApi, kept: KeptEdits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], list[dict[str, Any]]]:
    """Looks at the folder when everything is due; returns the lines of the log until then."""
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.0)
    log = Log.from_conf({"logFile": str(tmp_path / "log"), "logToStderr": False})
    made = Later(lambda: [], lambda _: node, log)

    def look() -> list[dict[str, Any]]:
        made.look(os.path.dirname(kept.folder))
        path = tmp_path / "log"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    return look


def marks(api: ApiServer, pool: str) -> set[str]:
    kind = api.store.kind("whereabouts.cni.cncf.io", "v1alpha1", "ippools")
    assert kind is not None
    found = {each["metadata"]["name"]: each for each in api.store.objects(kind, "default", ())}
    return set(found[pool]["spec"]["allocations"]) if pool in found else set()


def test_what_is_refused_waits_alone_and_is_told_once(
    api: ApiServer, kept: KeptEdits, look: Callable[[], list[dict[str, Any]]]
) -> None:
    api.faults.add(Fault("status", "*/ippools/p", "GET", times=0, code=422, reason="Invalid"))
    kept.put("", [edit("a", pool="p"), edit("a", pool="r")])
    kept.put("", [edit("b", pool="q")])
    kept.put("", [edit("b", pool="r")])
    for _ in range(3):
        said = look()
    assert marks(api, "q") == {"b"}
    # It comes after one that shares its object with the refused one.
    assert marks(api, "r") == set()
    first, _ = kept.names()
    (line,) = said
    assert line["file"] == f"{kept.folder}/{first}" and "422" in line["error"]
    assert "422" in Path(f"{kept.folder}/{first}.refused").read_text()
    api.faults.clear()
    look()
    assert marks(api, "p") == {"a"} and marks(api, "r") == {"a", "b"}
    assert os.listdir(kept.folder) == []


def test_the_pauses_of_a_refused_edit_grow(
    api: ApiServer,
    kept: KeptEdits,
    look: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(module, "_FIRST_PAUSE", 1.0)
    monkeypatch.setattr("multus.daemon.later.time.monotonic", lambda: now[0])
    api.forbidden.add(("get", "ippools"))
    kept.put("", [edit("a")])
    tries = []
    for second in range(4000):
        now[0] = float(second)
        before = sum(api.requests.values())
        look()
        if sum(api.requests.values()) > before:
            tries.append(second)
    pauses = [b - a for a, b in pairwise(tries)]
    assert pauses == sorted(pauses) and pauses[0] == 1 and max(pauses) == 900


def test_an_api_server_that_is_away_is_asked_once_in_a_look(
    api: ApiServer,
    kept: KeptEdits,
    look: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_EACH", 0.2)
    api.faults.add(Fault("reset", times=0))
    for name in "abc":
        kept.put("", [edit(name, pool=name)])
    look()
    said = look()
    assert {path for _, path in api.requests} == {
        "/apis/whereabouts.cni.cncf.io/v1alpha1/namespaces/default/ippools/a"
    }
    assert len(said) == 1 and "cannot be made now" in said[0]["msg"]
    assert len(kept.names()) == 3
    api.faults.clear()
    look()
    assert kept.names() == []


def test_a_damaged_file_that_cannot_be_renamed_is_told_once_and_stops_nothing(
    api: ApiServer,
    kept: KeptEdits,
    look: Callable[[], list[dict[str, Any]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(*_: object) -> str:
        raise OSError(30, "Read-only file system")

    kept.put("", [edit("a")])
    Path(kept.folder, "1").write_text("[" * 100_000)
    monkeypatch.setattr(KeptEdits, "set_aside", refuse)
    for _ in range(3):
        said = look()
    assert len(said) == 1 and said[0]["file"].endswith("/.edits/1")
    assert marks(api, "p") == {"a"}
    monkeypatch.undo()
    look()
    assert [each for each in os.listdir(kept.folder) if "refused" not in each] == [".damaged-1"]


def test_an_unexpected_error_is_told_once(
    kept: KeptEdits, node: NodeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise IOFailure("the disk is broken")

    monkeypatch.setattr(KeptEdits, "make_all", fail)
    monkeypatch.setattr(module, "_LOOK", 0.01)
    monkeypatch.setattr(module, "_FIRST_PAUSE", 0.0)
    log = tmp_path / "log"
    looks: list[str] = []

    def folders() -> list[str]:
        looks.append(kept.folder)
        return [os.path.dirname(kept.folder)]

    made = Later(folders, lambda _: node, Log.from_conf({"logFile": str(log)}))
    made.start()
    eventually(lambda: len(looks) > 5)
    made.close()
    assert log.read_text().count("the disk is broken") == 1
