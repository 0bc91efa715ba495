"""Finding plugins, with distributions made by hand: no installer, no real site-packages."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from attrs import frozen

from multus.registry.discovery import Entry, Installed, discover, load, scan

GOOD = """
from multus import hookimpl

@hookimpl
def multus_health(conf):
    return None
"""


@frozen
class Site:
    """A folder on ``sys.path`` that distributions are installed into, and where the index lies."""

    folder: Path
    index: Path

    def install(
        self,
        name: str,
        source: str | None = GOOD,
        *,
        version: str = "1.0",
        keys: tuple[str, ...] = (),
        points: str | None = None,
    ) -> None:
        """Install a distribution ``multus-NAME`` with plugin NAME in module ``its_NAME``."""
        module = f"its_{name.replace('-', '_')}"
        text = f"[multus]\n{name} = {module}\n\n[multus.keys]\n"
        text += "".join(f"{key} = {module}\n" for key in keys)
        metadata = self.folder / f"multus_{name}-{version}.dist-info"
        metadata.mkdir()
        heads = f"Metadata-Version: 2.1\nName: multus-{name}\nVersion: {version}\n"
        (metadata / "METADATA").write_text(heads)
        (metadata / "entry_points.txt").write_text(text if points is None else points)
        if source is not None:
            (self.folder / f"{module}.py").write_text(textwrap.dedent(source))
            importlib.invalidate_caches()

    def uninstall(self, name: str) -> None:
        for path in self.folder.glob(f"multus_{name}-*.dist-info"):
            shutil.rmtree(path)
        (self.folder / f"its_{name.replace('-', '_')}.py").unlink()

    def discover(self) -> tuple[Entry, ...]:
        """What is found here; the installed plugins of the project are left out."""
        return tuple(each for each in discover(str(self.index)) if self._mine(each))

    def loaded(self, *blocked: str) -> Installed:
        return load(self.discover(), frozenset(blocked))

    def _mine(self, entry: Entry) -> bool:
        return entry.location.startswith(str(self.folder))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    return Site(folder, tmp_path / "index.json")


def names(entries: tuple[Entry, ...]) -> list[str]:
    return [entry.name for entry in entries]


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


class TestLoading:
    def test_a_good_one_is_at_work(self, site: Site) -> None:
        site.install("good")
        installed = site.loaded()
        assert names(installed.loaded) == ["good"]
        assert installed.modules["good"].__name__ == "its_good"
        at_work = installed.hooks.implementations("multus_health")
        assert [each.plugin_name for each in at_work] == ["good"]

    def test_a_blocked_one_is_not_even_imported(self, site: Site) -> None:
        site.install("good")
        site.install("loud", f"open({str(site.folder / 'was-here')!r}, 'w')")
        installed = site.loaded("loud")
        assert (names(installed.loaded), names(installed.blocked)) == (["good"], ["loud"])
        assert not (site.folder / "was-here").exists()

    @pytest.mark.parametrize("name", ["loud-one", "multus-loud-one", "Multus_Loud.One", "LOUD_ONE"])
    def test_it_may_be_named_by_its_distribution_too(self, site: Site, name: str) -> None:
        site.install("good")
        site.install("loud-one", "raise ValueError")
        installed = site.loaded(name)
        assert (names(installed.blocked), installed.broken) == (["loud-one"], ())
        assert installed.unmatched([name]) == []

    def test_a_name_that_none_has_is_found(self, site: Site) -> None:
        site.install("good")
        site.install("bad", "raise ValueError")
        site.install("blocked")
        site.install("keyed", keys=("inventory",))
        installed = load(site.discover(), frozenset(["blocked", "lost"]), ["name"])
        every = ["good", "bad", "blocked", "keyed", "multus-good", "lost", "multus-lost"]
        assert installed.unmatched(every) == ["lost", "multus-lost"]

    BROKEN = {
        "ModuleNotFoundError": "import no_such_module",
        "its_bad": None,
        "SyntaxError": "def (",
        "ValueError: out of paper": "raise ValueError('out of paper')",
        "SystemExit": "raise SystemExit(3)",
        "Abandoned: stop": "class Abandoned(BaseException): ...\nraise Abandoned('stop')",
        "'multus_heath' is no hook": """
            from multus import hookimpl
            @hookimpl
            def multus_heath(conf): ...
        """,
        "Argument(s) {'colour'}": """
            from multus import hookimpl
            @hookimpl
            def multus_health(conf, colour): ...
        """,
        "HOOK_API 99": """
            from multus import hookimpl
            HOOK_API = 99
            @hookimpl
            def multus_health(conf): ...
        """,
        "no hook may be a wrapper": """
            from multus import hookimpl
            @hookimpl(wrapper=True)
            def multus_health(conf):
                return (yield)
        """,
    }

    @pytest.mark.parametrize("reason", BROKEN)
    def test_a_broken_one_is_told_with_its_distribution_and_takes_no_other_down(
        self, site: Site, reason: str
    ) -> None:
        site.install("bad", self.BROKEN[reason], version="0.7")
        site.install("good")
        installed = site.loaded()
        assert names(installed.loaded) == ["good"]
        (broken,) = installed.broken
        assert str(broken).startswith("plugin 'bad' of multus-bad 0.7: ")
        assert reason in str(broken)
        hooks = [each.plugin_name for each in installed.hooks.implementations("multus_health")]
        assert hooks == ["good"]

    def test_one_that_says_our_api_is_loaded(self, site: Site) -> None:
        site.install("good", f"HOOK_API = 1\n{GOOD}")
        assert names(site.loaded().loaded) == ["good"]

    def test_a_request_needs_the_owner_of_its_keys(self, site: Site) -> None:
        site.install("bad", "import no_such_module", keys=("inventory",))
        installed = site.loaded()
        assert installed.needed_but_broken({"name": "n"}) is None
        broken = installed.needed_but_broken({"name": "n", "inventory": "/x"})
        assert broken is not None and broken.entry.name == "bad"


class TestIndex:
    """What was found is remembered, and never believed when something changed."""

    def frozen(self, site: Site) -> bool:
        """Whether the next look is answered from the index, without asking anybody."""
        before = site.index.stat().st_mtime_ns
        discover(str(site.index))
        return site.index.stat().st_mtime_ns == before

    def test_nobody_is_asked_twice(self, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
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
        # Root may write anywhere but below a file.
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
    code = "import multus.registry.discovery as p; print(p._index_path()); print(len(p.discover()))"
    run = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True
    )
    path, count = run.stdout.split()
    assert os.path.exists(path) and os.path.basename(os.path.dirname(path)) == "__pycache__"
    assert int(count) == len({entry.name for entry in scan()})
