"""One version for everything, and a changelog that knows it."""

from __future__ import annotations

import configparser
import shutil
from pathlib import Path

import pytest
from repository import ROOT, distributions

from tools.release import version


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files of this checkout in which the version stands."""
    for name in (version.SOURCE, version.CHANGELOG, *_followers()):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def _followers() -> set[str]:
    found = (path for place in version.PLACES for path in version.files(place))
    return {str(path.relative_to(ROOT)) for path in found}


def _metadata(folder: Path) -> configparser.ConfigParser:
    read = configparser.ConfigParser(comment_prefixes=("#",))
    read.read(folder / "setup.cfg")
    return read


def test_every_place_has_the_version() -> None:
    assert list(version.stale()) == []


def test_the_changelogs_newest_section_is_of_the_version() -> None:
    newest, when = version.section()
    assert newest == version.current()
    assert when == version.UNRELEASED or version._DATE.fullmatch(when)


def test_a_new_version_is_written_everywhere(copy: Path) -> None:
    assert set(version.write("9.8.7", copy)) == {version.SOURCE, version.CHANGELOG, *_followers()}
    assert (list(version.stale(copy)), version.current(copy)) == ([], "9.8.7")
    for folder in copy.glob("plugins/*"):
        read = _metadata(folder)
        assert read["metadata"]["version"] == "9.8.7"
        needs = read["options"]["install_requires"].split()
        assert {each.partition("~=")[2] for each in needs if each.startswith("multus")} == {"9.8.7"}
    node = _metadata(copy)["options.extras_require"]
    assert "multus-invoker-ptp~=9.8.7" in node["cli"].split()
    example = _metadata(copy / "examples/multus-source-http")
    assert "multus>=9.8,<9.9" in example["options"]["install_requires"].split()
    assert version.write("9.8.7", copy) == []


def test_a_place_that_was_forgotten_is_named(copy: Path) -> None:
    metadata = copy / "plugins/multus-networks/setup.cfg"
    metadata.write_text(metadata.read_text().replace("multus[kube]~=", "multus[kube]>="))
    (wrong,) = version.stale(copy)
    assert wrong.startswith("plugins/multus-networks/setup.cfg: >=")


@pytest.mark.parametrize("text", ["1.0", "v1.0.0", "1.0.0.dev1", ""])
def test_what_is_no_version_is_refused(copy: Path, text: str) -> None:
    before = (copy / version.SOURCE).read_text()
    with pytest.raises(version.Wrong, match="is no version"):
        version.write(text, copy)
    assert (copy / version.SOURCE).read_text() == before


class TestChangelog:
    def log(self, copy: Path, text: str) -> None:
        (copy / version.CHANGELOG).write_text(f"# Changes\n\n{text}")

    def test_a_version_without_a_section_is_not_released(self, copy: Path) -> None:
        self.log(copy, "## 0.0.9, 2026-01-02\n\n- One.\n")
        with pytest.raises(version.Wrong, match=r"newest section is of 0\.0\.9"):
            version.released(copy)

    def test_nor_is_one_without_a_date(self, copy: Path) -> None:
        self.log(copy, f"## {version.current(copy)}, not released yet\n")
        with pytest.raises(version.Wrong, match="YYYY-MM-DD"):
            version.released(copy)

    def test_one_with_a_date_is(self, copy: Path) -> None:
        self.log(copy, f"## {version.current(copy)}, 2026-12-01\n\n- One.\n")
        assert version.released(copy) == "2026-12-01"

    def test_a_new_version_begins_a_section(self, copy: Path) -> None:
        self.log(copy, "## 0.0.9, 2026-01-02\n\n- One.\n")
        version.write("9.8.7", copy)
        assert (copy / version.CHANGELOG).read_text() == (
            "# Changes\n\n## 9.8.7, not released yet\n\n## 0.0.9, 2026-01-02\n\n- One.\n"
        )

    def test_or_renames_one_that_is_not_released(self, copy: Path) -> None:
        self.log(copy, "## 0.0.9, not released yet\n\n- One.\n")
        version.write("9.8.7", copy)
        assert (copy / version.CHANGELOG).read_text() == (
            "# Changes\n\n## 9.8.7, not released yet\n\n- One.\n"
        )


class TestExtras:
    def test_a_node_gets_every_plugin_and_the_daemon(self) -> None:
        extras = _metadata(ROOT)["options.extras_require"]
        assert set(extras["node"].split()) == {"multus[cli,daemon]"}
        listed = [*extras["cli"].split(), *extras["kubernetes"].split()]
        assert {each.partition("~=")[0] for each in listed} == distributions() | {
            "multus[terminal,kubernetes]",
            "multus[kube,certificate]",
        }

    def test_kubernetes_has_a_plugin_for_each_stage_that_an_add_needs(self) -> None:
        listed = _metadata(ROOT)["options.extras_require"]["kubernetes"]
        for kind in ("source-conffile", "source-nad", "invoker-exec", "merger-primary"):
            assert f"multus-{kind}~=" in listed

    def test_every_distribution_has_the_licence(self) -> None:
        text = (ROOT / "LICENSE").read_text()
        found = {path.parent.name for path in ROOT.glob("plugins/*/LICENSE")}
        assert found == distributions()
        assert {path.read_text() for path in ROOT.glob("plugins/*/LICENSE")} == {text}
