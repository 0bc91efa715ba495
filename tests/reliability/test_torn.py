"""A journal that a power cut truncated at any byte: networks in its readable part are removed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from reliability.conftest import Say
from reliability.ground import Ground
from reliability.recorder import DELETED
from reliability.state import Desk

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1200)]

NETWORKS = ("a", "b", "c")
INTERFACES = ["eth0", "net0", "net1"]


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk.make(tmp_path)


@pytest.fixture
def whole(desk: Desk) -> bytes:
    desk.done("ADD", desk.conf(*NETWORKS))
    return (desk.cni_dir / "c1:eth0").read_bytes()


def cuts(desk: Desk, whole: bytes) -> Iterator[tuple[int, list[str], bool]]:
    """The file truncated at every byte: its size, the networks in it, whether these are all."""
    ends = [place + 1 for place, byte in enumerate(whole) if byte == 10]
    for size in range(len(whole) + 1):
        (desk.cni_dir / "c1:eth0").write_bytes(whole[:size])
        (desk.cni_dir / "c1:eth0").chmod(0o600)
        lines = sum(end <= size for end in ends)
        named = INTERFACES[: max(0, min(len(INTERFACES), lines - 1))]
        yield size, named, lines > len(INTERFACES)


def settled(desk: Desk, size: int, sound: bool) -> None:
    """The record is gone; one that lacks networks is kept under another name, and is logged."""
    aside = desk.cni_dir / "c1:eth0:damaged"
    assert desk.files() == ([] if sound else [aside.name]), size
    if not sound:
        assert str(aside) in desk.log()
        aside.unlink()
    (desk.folder / "log").unlink(missing_ok=True)


def test_del_without_a_configuration_removes_what_is_named(
    desk: Desk, whole: bytes, say: Say
) -> None:
    for size, named, sound in cuts(desk, whole):
        desk.done("DEL", desk.conf())
        assert list(reversed(named)) == DELETED, size
        settled(desk, size, sound)
    say(f"journal cut at each of {len(whole) + 1} bytes: DEL removes all that is named")


def test_del_removes_the_rest_by_the_configuration(desk: Desk, whole: bytes) -> None:
    for size, _, sound in cuts(desk, whole):
        desk.done("DEL", desk.conf(*NETWORKS))
        assert sorted(set(DELETED)) == INTERFACES, size
        settled(desk, size, sound)


def test_gc_removes_what_is_named(desk: Desk, whole: bytes) -> None:
    collecting = desk.collecting(desk.conf(), [])
    for size, named, sound in cuts(desk, whole):
        desk.done("GC", collecting)
        assert list(reversed(named)) == DELETED, size
        settled(desk, size, sound)


def test_add_first_removes_what_is_named(desk: Desk, whole: bytes) -> None:
    for size, named, sound in cuts(desk, whole):
        desk.done("ADD", desk.conf("a"))
        assert list(reversed(named)) == DELETED, size
        assert (desk.cni_dir / "c1:eth0").read_bytes().count(b"\n") == 4
        (desk.cni_dir / "c1:eth0").unlink()
        settled(desk, size, sound)


def test_real_networks_of_a_torn_journal_are_removed(on_ground: Ground, say: Say) -> None:
    conf, container = on_ground.in_process(), on_ground.container("c1")
    nothing = {**conf, "delegates": []}
    for command in ("ADD", "DEL"):
        on_ground.done(command, conf, container)
    before = on_ground.state()
    path = Path(on_ground.cni_dir, "c1:eth0")
    tried = 0
    for back in range(20):
        on_ground.done("ADD", conf, container)
        whole = path.read_bytes()
        ends = [place + 1 for place, byte in enumerate(whole) if byte == 10]
        # Truncated at the end of each line and inside it, from the last line to the intent.
        line, inside = divmod(back, 2)
        if line >= len(ends) - 5:
            on_ground.done("DEL", conf, container)
            break
        size = ends[-1 - line] - (7 if inside else 0)
        path.write_bytes(whole[:size])
        on_ground.done("DEL", nothing, container)
        assert before.difference(on_ground.state()) == []
        tried += 1
    say(f"journal of four real networks cut at {tried} places: nothing left")
    assert tried >= 8
