from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from multus.api.conffiles import by_name, first_in, in_folder, load, plugins_in
from multus.api.errors import DecodingFailure, InvalidConfig, IOFailure

SEED = """\
{
"name": "seed", "type": "sriov",
#part of sriov plugin conf
"if0": "enp12s0f0"
}
"""


def write(path: Path, config: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(config if isinstance(config, str) else json.dumps(config))
    return path


def test_whole_lines_may_be_comments(tmp_path: Path) -> None:
    path = write(tmp_path / "a.conf", SEED)
    found = load(str(path))
    assert found.config == {"name": "seed", "type": "sriov", "if0": "enp12s0f0"}
    assert found.path == str(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(IOFailure, match=r"gone\.conf"):
        load(str(tmp_path / "gone.conf"))


def test_a_fifo_is_named_at_once(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    os.mkfifo(path)
    with pytest.raises(IOFailure, match=r"a\.conf: it is a FIFO") as caught:
        load(str(path))
    assert caught.value.fix == "put a regular file there, or remove it"
    with pytest.raises(IOFailure, match=r"a\.conf: it is a FIFO"):
        first_in(str(tmp_path))
    with pytest.raises(IOFailure, match=r"a\.conf: it is a FIFO"):
        by_name(str(tmp_path), "wanted")
    write(tmp_path / "b.conf", {"name": "wanted", "type": "x"})
    assert by_name(str(tmp_path), "wanted")


def test_a_link_to_a_regular_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.conf"
    path.symlink_to(write(tmp_path / "elsewhere", SEED))
    assert load(str(path)).config["name"] == "seed"


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00"])
def test_a_file_that_holds_no_configuration_is_named(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "bad.conf", text)
    with pytest.raises(DecodingFailure, match=r"bad\.conf"):
        load(str(path))


def test_a_folder_is_read_in_order_and_without_other_files(tmp_path: Path) -> None:
    for name in ("20-b.conflist", "10-a.conf", "README.md", "30.json", "c.conf.rpmsave", ".conf"):
        write(tmp_path / name, {"type": "x"})
    names = [Path(path).name for path in in_folder(str(tmp_path))]
    assert names == [".conf", "10-a.conf", "20-b.conflist", "30.json"]
    assert in_folder(str(tmp_path / "gone")) == []


def test_what_has_the_folders_name_and_is_no_folder_is_named(tmp_path: Path) -> None:
    file, link = write(tmp_path / "file", ""), tmp_path / "link"
    link.symlink_to(tmp_path / "gone")
    with pytest.raises(IOFailure, match="file: it is not a folder: make it a folder, or remove"):
        plugins_in(str(file))
    with pytest.raises(IOFailure, match="link: it is a link to nothing"):
        plugins_in(str(link))
    link.unlink()
    link.symlink_to(file)
    with pytest.raises(IOFailure, match="link: it is not a folder"):
        plugins_in(str(link))
    assert plugins_in(str(tmp_path / "gone")) == plugins_in(str(file / "below")) == []


def test_the_first_of_a_folder(tmp_path: Path) -> None:
    assert first_in(str(tmp_path)) is None
    write(tmp_path / "20.conf", {"type": "late"})
    write(tmp_path / "10.conf", {"type": "early"})
    found = first_in(str(tmp_path))
    assert found and found.config == {"type": "early"}


class TestByName:
    def test_the_name_in_the_file_counts_and_the_first_wins(self, tmp_path: Path) -> None:
        write(tmp_path / "wanted.conf", {"name": "other", "type": "x"})
        write(tmp_path / "b.conf", {"name": "wanted", "type": "second"})
        write(tmp_path / "a.conf", {"name": "wanted", "type": "first"})
        found = by_name(str(tmp_path), "wanted")
        assert found and found.config["type"] == "first"
        assert by_name(str(tmp_path), "nobody") is None
        assert by_name(str(tmp_path / "gone"), "nobody") is None

    def test_some_endings_can_be_left_out(self, tmp_path: Path) -> None:
        write(tmp_path / "a.conf", {"name": "wanted", "type": "x"})
        write(tmp_path / "b.conflist", {"name": "wanted", "plugins": [{"type": "x"}]})
        found = by_name(str(tmp_path), "wanted", (".conflist",))
        assert found and found.path.endswith("b.conflist")

    def test_a_broken_file_does_not_hide_a_good_one(self, tmp_path: Path) -> None:
        write(tmp_path / "a.conf", "{")
        write(tmp_path / "b.conf", {"name": "wanted", "type": "x"})
        assert by_name(str(tmp_path), "wanted")

    def test_a_broken_file_may_be_the_wanted_one(self, tmp_path: Path) -> None:
        write(tmp_path / "a.conf", "{")
        with pytest.raises(DecodingFailure, match=r"a\.conf"):
            by_name(str(tmp_path), "wanted")


class TestFolderOfAList:
    """CNI 1.1: plugins in the folder with the list's name are appended to the list."""

    def types(self, path: Path) -> list[str]:
        return [each["type"] for each in load(str(path)).config["plugins"]]

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        write(tmp_path / "net" / "20-b.conf", {"type": "b"})
        write(tmp_path / "net" / "10-a.conf", {"type": "a"})
        write(tmp_path / "net" / "00.conflist", {"name": "x", "plugins": [{"type": "c"}]})
        return tmp_path

    def test_they_come_after_its_own(self, folder: Path) -> None:
        path = write(folder / "net.conflist", {"name": "net", "plugins": [{"type": "own"}]})
        assert self.types(path) == ["own", "a", "b"]

    def test_they_may_be_all(self, folder: Path) -> None:
        assert self.types(write(folder / "net.conflist", {"name": "net"})) == ["a", "b"]

    @pytest.mark.parametrize("value", [True, "true"])
    def test_they_are_left_out_when_it_says_so(self, folder: Path, value: Any) -> None:
        config = {"name": "net", "plugins": [{"type": "own"}], "loadOnlyInlinedPlugins": value}
        assert self.types(write(folder / "net.conflist", config)) == ["own"]

    def test_a_single_plugins_configuration_takes_none(self, folder: Path) -> None:
        path = write(folder / "net.conf", {"name": "net", "type": "own"})
        assert "plugins" not in load(str(path)).config

    @pytest.mark.parametrize("name", ["../net", "a/b", ".."])
    def test_a_name_never_leads_elsewhere(self, folder: Path, name: str) -> None:
        path = write(folder / "x" / "net.conflist", {"name": name, "plugins": [{"type": "own"}]})
        with pytest.raises(InvalidConfig, match="network name"):
            load(str(path))
