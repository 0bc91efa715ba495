"""Discovery of plugins, and its index."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from unit.registry.site import Site, names

from multus.registry.index import discover
from multus.registry.scan import scan


class TestFinding:
    def test_a_plugin_is_found_with_where_it_came_from(self, site: Site) -> None:
        site.install("good", version="2.5", keys=("inventory", "colour"))
        (entry,) = site.discover()
        assert (entry.name, entry.module, entry.distribution) == ("good", "its_good", "multus-good")
        assert (entry.version, entry.keys) == ("2.5", ("inventory", "colour"))

    def test_they_are_sorted_by_name(self, site: Site) -> None:
        for name in ("b", "c", "a"):
            site.install(name)
        assert names(site.discover()) == ["a", "b", "c"]

    def test_one_distribution_may_have_several(self, site: Site) -> None:
        points = "[multus]\none = its_good\ntwo = its_good:part\n"
        site.install("good", points=points)
        assert [(each.name, each.module) for each in site.discover()] == [
            ("one", "its_good"),
            ("two", "its_good"),
        ]

    def test_the_first_on_the_path_hides_another_of_its_name(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.install("good", version="1.0")
        before = Site(tmp_path / "before", site.index)
        before.folder.mkdir()
        monkeypatch.syspath_prepend(str(before.folder))
        before.install("good", version="2.0")
        found = [entry for entry in discover(str(site.index)) if entry.name == "good"]
        assert [entry.version for entry in found] == ["2.0"]

    def test_other_groups_are_nothing_of_ours(self, site: Site) -> None:
        site.install("other", points="[console_scripts]\nother = its_other:main\n")
        assert site.discover() == ()

    @pytest.mark.parametrize("points", ["no section, no sign", "[multus\nx", "\0\0"])
    def test_what_a_stranger_has_written_does_not_matter(self, site: Site, points: str) -> None:
        site.install("odd", points=points)
        site.install("good")
        assert names(site.discover()) == ["good"]

    @pytest.mark.parametrize("points", ["[multus]\nno sign here\n"])
    def test_entry_points_that_cannot_be_read_are_a_broken_plugin(
        self, site: Site, points: str
    ) -> None:
        site.install("odd", points=points)
        site.install("good")
        installed = site.loaded()
        assert names(installed.loaded) == ["good"]
        (broken,) = installed.broken
        assert "multus-odd" in str(broken) and "cannot be read" in str(broken)


class TestIndex:
    """The index is used while it is current, and never when it is stale."""

    def frozen(self, site: Site) -> bool:
        """Whether the next discovery uses the index, without a scan."""
        before = site.index.stat().st_mtime_ns
        discover(str(site.index))
        return site.index.stat().st_mtime_ns == before

    def test_a_second_discovery_uses_the_index(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.install("good")
        found = site.discover()

        def never(*_: object, **__: object) -> None:
            raise AssertionError("asked again")

        monkeypatch.setattr(importlib.metadata, "distributions", never)
        assert site.discover() == found
        assert self.frozen(site)

    def test_what_is_installed_is_found(self, site: Site) -> None:
        site.install("a")
        site.discover()
        site.install("b")
        assert names(site.discover()) == ["a", "b"]

    def test_what_is_removed_is_forgotten(self, site: Site) -> None:
        site.install("a")
        site.install("b")
        site.discover()
        site.uninstall("a")
        assert names(site.discover()) == ["b"]

    def test_another_version_is_found(self, site: Site) -> None:
        site.install("a", version="1.0")
        site.discover()
        site.uninstall("a")
        site.install("a", version="1.1")
        assert [each.version for each in site.discover()] == ["1.1"]

    def test_entry_points_changed_in_their_place_are_found(self, site: Site) -> None:
        site.install("a")
        site.discover()
        path = site.folder / "multus_a-1.0.dist-info" / "entry_points.txt"
        path.write_text("[multus]\nrenamed = its_a\n")
        assert names(site.discover()) == ["renamed"]

    def test_another_path_is_looked_at(
        self, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.install("a")
        site.discover()
        other = Site(tmp_path / "other", site.index)
        other.folder.mkdir()
        other.install("b")
        monkeypatch.syspath_prepend(str(other.folder))
        assert {"a", "b"} <= set(names(discover(str(site.index))))

    @pytest.mark.parametrize(
        "content",
        [b"", b"{", b"[]", b"null", b'{"format": 2}', b"\xff", b'{"format": 99, "entries": []}'],
    )
    def test_a_corrupt_index_is_made_anew(self, site: Site, content: bytes) -> None:
        site.install("a")
        site.index.write_bytes(content)
        assert names(site.discover()) == ["a"]
        assert self.frozen(site)

    @pytest.mark.parametrize(
        ("key", "value"),
        [("multus", "0.0.1"), ("format", 1), ("entries", [{"colour": "red"}]), ("stamp", [])],
    )
    def test_an_index_of_another_program_is_made_anew(
        self, site: Site, key: str, value: object
    ) -> None:
        site.install("a")
        site.discover()
        raw = {**json.loads(site.index.read_text()), key: value}
        site.index.write_text(json.dumps(raw))
        assert names(site.discover()) == ["a"]

    def test_where_nothing_can_be_written_everybody_is_asked_every_time(
        self, site: Site, tmp_path: Path
    ) -> None:
        site.install("a")
        # Root can write everywhere except below a file.
        (tmp_path / "file").write_text("")
        nowhere = Site(site.folder, tmp_path / "file" / "index.json")
        assert names(nowhere.discover()) == names(nowhere.discover()) == ["a"]

    def test_what_is_found_while_it_is_being_installed_is_not_remembered(
        self, site: Site, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        site.install("a")
        real = importlib.metadata.distributions

        def slow(**keys: object) -> object:
            found = list(real())
            if not (site.folder / "its_b.py").exists():
                site.install("b")
            return found

        monkeypatch.setattr(importlib.metadata, "distributions", slow)
        assert names(site.discover()) == ["a"]
        assert not site.index.exists()
        assert names(site.discover()) == ["a", "b"]

    def test_only_its_owner_can_write_it(self, site: Site) -> None:
        site.install("a")
        old = os.umask(0)
        try:
            site.discover()
        finally:
            os.umask(old)
        assert site.index.stat().st_mode & 0o022 == 0

    def test_one_that_others_could_write_is_not_believed(self, site: Site) -> None:
        site.install("a")
        site.discover()
        raw = json.loads(site.index.read_text())
        raw["entries"][0]["module"] = "antigravity"
        site.index.write_text(json.dumps(raw))
        site.index.chmod(0o666)
        assert [each.module for each in site.discover() if each.name == "a"] == ["its_a"]


def test_the_index_is_that_of_the_installation(tmp_path: Path) -> None:
    code = "import multus.registry.index as p; print(p._index_path()); print(len(p.discover()))"
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    path, count = run.stdout.split()
    assert os.path.exists(path) and os.path.basename(os.path.dirname(path)) == "__pycache__"
    assert int(count) == len({entry.name for entry in scan()})
