"""Changes of API objects that wait for the API server are told of."""

from __future__ import annotations

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
