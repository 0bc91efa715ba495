"""Whether a recorded namespace still exists, with real namespaces."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import evolve
from descriptors import none_left

from multus.api.request import Request
from multus.state.liveness import (
    Liveness,
    is_gone,
    is_nodes,
    lives,
    look,
    netns_identity,
    path_for_removal,
)
from multus.state.record import Record, restored
from multus.testing.netns import Netns

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")


@pytest.fixture
def pod() -> Iterator[Netns]:
    made = Netns.create("pod")
    yield made
    made.remove()


@pytest.fixture
def other() -> Iterator[Netns]:
    made = Netns.create("other")
    yield made
    made.remove()


def record_of(netns: str, identity: str | None = None) -> Record:
    """A record of a container that was attached in *netns*, with what is there now."""
    request = restored(Request("DEL", "c1", ifname="eth0"), netns, (), "")
    known = netns_identity(netns) if identity is None else identity
    return Record("/nowhere", request, netns_identity=known)


def moved(record: Record, path: str) -> Record:
    return evolve(record, request=evolve(record.request, netns=path))


class TestLook:
    def test_the_same_namespace(self, pod: Netns, tmp_path: Path) -> None:
        recorded = netns_identity(pod.path)
        assert look(pod.path, recorded) is Liveness.SAME
        (tmp_path / "link").symlink_to(pod.path)
        assert look(str(tmp_path / "link"), recorded) is Liveness.SAME

    def test_the_name_belongs_to_another_namespace_by_now(self, pod: Netns, other: Netns) -> None:
        assert look(other.path, netns_identity(pod.path)) is Liveness.OTHER

    def test_a_plain_file_is_left_of_an_unmounted_namespace(
        self, pod: Netns, tmp_path: Path
    ) -> None:
        recorded = netns_identity(pod.path)
        (tmp_path / "left").touch()
        assert look(str(tmp_path / "left"), recorded) is Liveness.OTHER

    @pytest.mark.parametrize("path", ["", "/run/netns/no such", "/run/netns/a\0b"])
    def test_nothing_is_there(self, path: str) -> None:
        assert look(path, "1:2") is Liveness.NOTHING
        assert look(path, "") is Liveness.NOTHING
        assert netns_identity(path) == ""

    def test_a_record_that_does_not_say(self, pod: Netns) -> None:
        assert look(pod.path, "") is Liveness.UNKNOWN


class TestLives:
    def test_while_its_own_namespace_is_there(self, pod: Netns, other: Netns) -> None:
        record = record_of(pod.path)
        assert lives(record)
        assert not lives(moved(record, other.path))
        assert not lives(moved(record, "/run/netns/gone"))

    def test_a_record_without_an_identity_lives_while_a_namespace_is_at_its_path(
        self, pod: Netns, tmp_path: Path
    ) -> None:
        (tmp_path / "left").touch()
        assert lives(record_of(pod.path, identity=""))
        assert not lives(record_of(str(tmp_path / "left"), identity=""))

    def test_of_a_container_without_a_namespace_none_is_found(self) -> None:
        assert not lives(record_of(""))

    def test_a_record_that_lost_its_first_line_is_taken_to_live(self) -> None:
        assert lives(Record("/nowhere", Request("DEL", "c1", ifname="eth0")))

    def test_seen_from_a_container_the_path_is_beneath_the_nodes_root(
        self, pod: Netns, tmp_path: Path
    ) -> None:
        record = record_of(pod.path, identity="1:2")  # in the node's own numbers
        assert not lives(record, root=str(tmp_path))
        seen = tmp_path / pod.path.lstrip("/")
        seen.parent.mkdir(parents=True)
        seen.touch()
        subprocess.run(["mount", "--bind", pod.path, str(seen)], check=True)
        try:
            assert lives(record, root=str(tmp_path))
        finally:
            subprocess.run(["umount", str(seen)], check=True)


class TestIsGone:
    def test_when_neither_the_recorded_nor_todays_path_is_the_namespace(
        self, pod: Netns, other: Netns
    ) -> None:
        record = moved(record_of(pod.path), "/run/netns/gone")
        assert is_gone(record)
        assert is_gone(record, "", other.path)
        assert not is_gone(record, pod.path)

    def test_without_an_identity_anything_at_a_path_counts(self, pod: Netns) -> None:
        assert not is_gone(record_of(pod.path, identity=""))
        assert is_gone(record_of("/run/netns/gone", identity=""), "")


class TestTheNodes:
    def test_are_this_processs_own_and_no_containers(self, pod: Netns) -> None:
        assert is_nodes(f"/proc/{os.getpid()}/ns/net")
        assert not is_nodes(pod.path)
        assert not is_nodes("/run/netns/gone")

    def test_in_a_container_also_that_of_the_nodes_first_process(
        self, pod: Netns, other: Netns, tmp_path: Path
    ) -> None:
        first = tmp_path / "proc/1/ns"
        first.mkdir(parents=True)
        (first / "net").symlink_to(pod.path)
        assert is_nodes(pod.path, str(tmp_path))
        assert is_nodes("/proc/1/ns/net", str(tmp_path))
        assert not is_nodes(other.path, str(tmp_path))

    def test_a_number_under_proc_is_the_nodes_not_the_containers(
        self, pod: Netns, tmp_path: Path
    ) -> None:
        own = f"proc/{os.getpid()}/ns"
        (tmp_path / own).mkdir(parents=True)
        (tmp_path / own / "net").symlink_to(pod.path)
        assert not is_nodes(f"/{own}/net", str(tmp_path))


class TestPathForRemoval:
    def test_is_the_recorded_one_while_it_is_the_same(self, pod: Netns, other: Netns) -> None:
        record = record_of(pod.path)
        assert path_for_removal(record) == pod.path
        assert path_for_removal(moved(record, other.path)) == ""
        assert path_for_removal(record_of(pod.path, identity="")) == ""

    def test_never_names_a_process(self, tmp_path: Path) -> None:
        own = f"/proc/{os.getpid()}/ns/net"
        (tmp_path / "link").symlink_to(own)
        assert look(str(tmp_path / "link"), netns_identity(own)) is Liveness.SAME
        assert look(own, netns_identity(own)) is Liveness.SAME
        assert path_for_removal(record_of(own)) == ""
        assert path_for_removal(record_of(str(tmp_path / "link"))) == ""


class TestNotSeen:
    """What this process may not look at, it does not call gone."""

    def test_without_a_descriptor(self, pod: Netns) -> None:
        record = record_of(pod.path)
        with none_left():
            assert lives(record)

    def test_without_the_right(self) -> None:
        """A path under /proc is read only with CAP_SYS_PTRACE."""
        code = (
            "from multus.state.liveness import look\n"
            "import sys; print(look(sys.argv[1], '4:5').name)"
        )
        less = ["setpriv", "--bounding-set", "-sys_ptrace", "--inh-caps", "-sys_ptrace"]
        path = f"/proc/{os.getpid()}/ns/net"
        argv = [*less, sys.executable, "-c", code, path]
        done = subprocess.run(argv, check=True, capture_output=True, text=True)
        assert done.stdout == "UNKNOWN\n"
