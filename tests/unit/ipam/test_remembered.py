"""What is remembered of a store between calls, while another program changes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from multus.ipam import store
from multus.ipam.addresses import Address
from multus.ipam.store import Owner, Store

ONE, TWO, THREE = Owner("one", "eth0"), Owner("two", "eth0"), Owner("three", "eth0")


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    store._remembered.clear()
    yield
    store._remembered.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A store in which ONE holds 10.1.0.2 and TWO holds 10.1.0.3, as an ADD left it."""
    with Store(str(tmp_path)).locked(create=True) as ledger:
        assert ledger is not None
        for text, owner in (("10.1.0.2", ONE), ("10.1.0.3", TWO)):
            address = Address.parse(text)
            assert address is not None
            assert ledger.reserve(address, owner)
    return tmp_path


def held(folder: Path, owner: Owner, *, create: bool) -> list[str]:
    with Store(str(folder)).locked(create=create) as ledger:
        assert ledger is not None
        return ledger.held_by(owner)


def hand_over(folder: Path, text: str, owner: Owner) -> None:
    """Free an address and hand it to another, as a program without our memory does."""
    (folder / text).unlink()
    (folder / text).write_text(str(owner))


def test_an_add_reads_no_file_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = store._read

    def written_down(path: str) -> str:
        read.append(path)
        return original(path)

    monkeypatch.setattr(store, "_read", written_down)
    (folder / "10.1.0.4").write_text(str(THREE))
    assert held(folder, THREE, create=True) == ["10.1.0.4"]
    assert held(folder, Owner("four", "eth0"), create=True) == []
    assert {Path(path).name for path in read} == {"10.1.0.4"}


def test_who_lost_an_address_meanwhile_is_not_said_to_hold_it(folder: Path) -> None:
    hand_over(folder, "10.1.0.2", THREE)
    assert held(folder, ONE, create=True) == []


def test_an_address_taken_or_freed_meanwhile_is_known(folder: Path) -> None:
    (folder / "10.1.0.2").unlink()
    (folder / "10.1.0.9").write_text(str(THREE))
    with Store(str(folder)).locked(create=True) as ledger:
        assert ledger is not None
        assert ledger.holders == {"10.1.0.3": str(TWO), "10.1.0.9": str(THREE)}


@pytest.mark.parametrize("again", [1, 2])
def test_whatever_frees_addresses_reads_every_file(folder: Path, again: int) -> None:
    hand_over(folder, "10.1.0.2", THREE)
    for _ in range(again):
        assert held(folder, THREE, create=False) == ["10.1.0.2"]
    # And what it read is remembered.
    assert held(folder, THREE, create=True) == ["10.1.0.2"]


def test_no_more_stores_are_remembered_than_a_node_has(tmp_path: Path) -> None:
    for number in range(store._MOST_REMEMBERED + 10):
        held(tmp_path / str(number), ONE, create=True)
    assert 0 < len(store._remembered) <= store._MOST_REMEMBERED


def test_a_node_with_as_many_stores_as_are_remembered_forgets_none(tmp_path: Path) -> None:
    for number in range(store._MOST_REMEMBERED):
        held(tmp_path / str(number), ONE, create=True)
    held(tmp_path / "0", ONE, create=True)
    assert len(store._remembered) == store._MOST_REMEMBERED
