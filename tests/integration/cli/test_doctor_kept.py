"""Changes of API objects that wait for the API server are told of."""

from __future__ import annotations

import json
from pathlib import Path

from integration.cli.conftest import MadeUpNode


def test_changes_that_wait_for_the_api_server_are_a_warning(made_up: MadeUpNode) -> None:
    made_up.healthy()
    folder = made_up.folder / "state" / ".edits"
    folder.mkdir(parents=True)
    (folder / "17").write_text("{}")
    (folder / ".damaged-16").write_text("{")
    found = [each for each in made_up.doctor()[1] if each["subject"] == "kept DELs"]
    assert [(each["severity"], each["file"]) for each in found] == [("warning", str(folder))] * 2
    assert "1 change(s) of API objects wait" in found[0]["reason"]
    assert "1 damaged file(s)" in found[1]["reason"]


def test_a_change_that_is_refused_is_named_with_its_reason(made_up: MadeUpNode) -> None:
    made_up.healthy()
    folder = made_up.folder / "state" / ".edits"
    folder.mkdir(parents=True)
    for name in ("17", "18"):
        (folder / name).write_text("{}")
    (folder / "17.refused").write_text("cannot patch address pool: HTTP 422 Invalid")
    waiting, refused = [e for e in made_up.doctor()[1] if e["subject"] == "kept DELs"]
    assert "1 change(s) of API objects wait" in waiting["reason"]
    assert refused["file"] == str(folder / "17")
    assert "HTTP 422 Invalid" in refused["reason"] and "multus ipam reconcile" in refused["fix"]


def test_the_screen_counts_what_waits(made_up: MadeUpNode) -> None:
    conf = made_up.healthy()
    for folder, names in ((".spool", ["1.c"]), (".edits", ["1", "2", "2.refused", ".damaged-3"])):
        path = Path(conf["cniDir"], folder)
        path.mkdir(parents=True)
        for name in names:
            (path / name).write_text("{}")
    done = made_up.run("status", "--json", "--net-d", made_up.folder / "net.d")
    said = [e["reason"] for e in json.loads(done.stdout)["findings"] if e["subject"] == "kept DELs"]
    assert said == [
        "1 DEL(s) wait for the daemon",
        "2 change(s) of API objects wait for the API server",
    ]
