"""The cache of a store between calls, while another program changes the store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from multus.ipam import store
from multus.ipam._memory import Memory
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
    """Free an address and assign it to another container, as a program without this cache does."""
    (folder / text).unlink()
    (folder / text).write_text(str(owner))


def test_an_add_reads_no_file_twice(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    original = store.contents_of

    def written_down(name: str, folder: int) -> tuple[str, int]:
        read.append(name)
        return original(name, folder)

    monkeypatch.setattr(store, "contents_of", written_down)
    (folder / "10.1.0.4").write_text(str(THREE))
    assert held(folder, THREE, create=True) == ["10.1.0.4"]
    assert held(folder, Owner("four", "eth0"), create=True) == []
    assert set(read) == {"10.1.0.4"}


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
    # The contents that it read are cached.
    assert held(folder, THREE, create=True) == ["10.1.0.2"]


class TestMemory:
    """It is bounded in bytes, with many stores and with one."""

    @pytest.fixture
    def most(self, monkeypatch: pytest.MonkeyPatch) -> int:
        monkeypatch.setattr(Memory, "MOST", 100_000)
        return 100_000

    def test_many_stores_stay_within_it(self, most: int, tmp_path: Path) -> None:
        for number in range(most // 200):
            held(tmp_path / str(number), ONE, create=True)
            assert 0 < store._remembered.size <= most
        assert 0 < len(store._remembered) < most // 200

    def test_a_store_beyond_it_is_read_each_time(self, most: int, tmp_path: Path) -> None:
        for number in range(most // 240):
            (tmp_path / f"10.1.{number >> 8}.{number & 255}").write_text(str(TWO))
        held(tmp_path, ONE, create=True)
        assert (len(store._remembered), store._remembered.size) == (0, 0)
        assert len(held(tmp_path, TWO, create=True)) == most // 240

    def test_what_is_counted_is_what_it_takes(self, tmp_path: Path) -> None:
        import tracemalloc

        for number in range(5000):
            (tmp_path / f"10.1.{number >> 8}.{number & 255}").write_text(f"{number:064}\r\neth0")
        tracemalloc.start()
        held(tmp_path, ONE, create=True)
        taken, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert taken / 2 < store._remembered.size < 2 * taken
