"""The paths of device information files."""

from __future__ import annotations

from pathlib import Path

import pytest

from multus.api.deviceinfo import of_device_plugin, remove


@pytest.mark.parametrize(
    ("resource", "device"),
    [("", "a"), ("r", ""), ("r", "a\0"), ("r", "a" * 255), ("r", "\ud800"), ("\ud800", "a")],
)
def test_there_is_no_file_whose_name_cannot_be(resource: str, device: str) -> None:
    assert of_device_plugin(resource, device) == ""


def test_the_name_has_resource_and_device() -> None:
    assert of_device_plugin("example.org/vf", "ü").endswith("/example.org-vf-ü-device.json")


def test_what_a_killed_writer_left_is_removed_with_the_file(tmp_path: Path) -> None:
    (tmp_path / "a.json").touch()
    (tmp_path / "a.json.new").touch()
    (tmp_path / "b.json").touch()
    for _twice in range(2):
        remove(f"{tmp_path}/a.json")
    assert [each.name for each in tmp_path.iterdir()] == ["b.json"]
