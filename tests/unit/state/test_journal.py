"""The journal: which files there are, and which folders and names it refuses."""

from __future__ import annotations

import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from attrs import evolve
from unit.state.records import CONF, FOUR, attachment, found, names, request

from multus.api.errors import BadEnvironment, CNIError, IOFailure, StateDamaged
from multus.state import journal as module
from multus.state.journal import Journal
from multus.state.liveness import netns_identity
from multus.state.record import Record
from multus.state.recordfile import Writer


class TestFiles:
    def test_the_namespace_is_known_again(self, journal: Journal) -> None:
        own = "/proc/self/ns/net"
        journal.begin(evolve(request(), netns=own), CONF, FOUR)
        assert found(journal).netns_identity == netns_identity(own) != ""
        assert netns_identity("/run/netns/no such") == netns_identity("") == ""

    def test_lists_all_but_what_is_none(self, journal: Journal, whole: bytes) -> None:
        journal.begin(request("c0"), CONF, FOUR)
        journal.begin(request("c0", "net7"), CONF, FOUR)
        for name in ("c3", "c4:eth0:new", "c5:eth0:damaged", ".lock", "c6:", ":eth0", "ü:eth0"):
            Path(journal.folder, name).write_bytes(b"")
        keys = [each.key for each in journal.records() if isinstance(each, Record)]
        assert keys == [("c0", "eth0"), ("c0", "net7"), ("c1", "eth0")]
        assert journal.others() == ["c3"]
        assert journal.incomplete() == [("c4", "eth0")]
        assert journal.kept_aside() == [f"{journal.folder}/c5:eth0:damaged"]

    def test_of_a_folder_that_is_not_there_is_empty(self, tmp_path: Path) -> None:
        journal = Journal(str(tmp_path / "none"))
        assert list(journal.records()) == []
        assert journal.find("c1", "eth0") is None

    def test_files_are_roots_alone_whatever_the_umask(self, tmp_path: Path) -> None:
        before = os.umask(0)
        try:
            journal = Journal(str(tmp_path / "a" / "b" / "cni"))
            journal.prepare()
            writer = journal.begin(request(), CONF, FOUR)
        finally:
            os.umask(before)
        assert stat.S_IMODE(os.stat(writer.path).st_mode) == 0o600
        assert stat.S_IMODE(os.stat(journal.folder).st_mode) == 0o700
        assert stat.S_IMODE(os.stat(tmp_path / "a").st_mode) == 0o755

    def test_is_written_again_without_what_is_gone_and_says_the_same(
        self, journal: Journal
    ) -> None:
        given = [FOUR[0]._replace(delegate=evolve(FOUR[0].delegate, primary=True)), *FOUR[1:]]
        with closing(
            journal.begin(evolve(request(), netns="/proc/self/ns/net"), CONF, given)
        ) as writer:
            for index, each in enumerate(given):
                writer.attached(index, attachment(each))
            writer.finished(attachment(given[0]).result)
            before = found(journal)
            assert before.boot and journal.compact(before) == before
        with closing(Writer(before.path)) as writer:
            writer.detaching(2)
            writer.detached(2)
        assert names(journal.compact(found(journal))) == ["net0", "net1", "net3"]

    def test_is_kept_aside_under_a_name_that_is_no_record(
        self, journal: Journal, whole: bytes
    ) -> None:
        aside = journal.set_aside(found(journal).path)
        assert Path(aside).read_bytes() == whole
        assert journal.find("c1", "eth0") is None
        assert list(journal.records()) == []
        assert journal.kept_aside() == [aside]


class TestRefused:
    @pytest.mark.parametrize("mode", [0o770, 0o707, 0o777, 0o1777])
    def test_a_folder_that_others_may_write(
        self, journal: Journal, whole: bytes, mode: int
    ) -> None:
        os.chmod(journal.folder, mode)
        for attempt in (journal.prepare, lambda: journal.find("c1", "eth0"), journal.others):
            with pytest.raises(StateDamaged, match="0700"):
                attempt()

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
    def test_a_folder_of_another_user(self, journal: Journal) -> None:
        os.chown(journal.folder, 1234, 0)
        with pytest.raises(StateDamaged):
            journal.prepare()

    def test_a_folder_that_is_a_link_or_a_file(self, journal: Journal, tmp_path: Path) -> None:
        link, file = tmp_path / "link", tmp_path / "file"
        link.symlink_to(journal.folder)
        file.write_bytes(b"")
        for path in (link, file):
            with pytest.raises(StateDamaged):
                Journal(str(path)).prepare()

    def test_a_folder_that_cannot_be_made(self) -> None:
        with pytest.raises(IOFailure):
            Journal("/proc/cannot/be").prepare()

    @pytest.mark.parametrize(
        ("container_id", "ifname"),
        [("../etc/passwd", "eth0"), ("..", "eth0"), ("", "eth0"), ("a/b", "eth0"), ("c1", "../x")],
    )
    def test_names_that_leave_the_folder(
        self, journal: Journal, container_id: str, ifname: str
    ) -> None:
        attempts: list[Callable[[], object]] = [
            lambda: journal.find(container_id, ifname),
            lambda: journal.begin(request(container_id, ifname), CONF, FOUR),
            lambda: journal.remove_incomplete(container_id, ifname),
        ]
        for attempt in attempts:
            with pytest.raises(BadEnvironment):
                attempt()

    def test_a_container_id_that_fits_no_file_name(self, journal: Journal) -> None:
        longest = "c" * 231
        journal.begin(request(longest, "a" * 15), CONF, FOUR)
        assert os.path.exists(journal.set_aside(found(journal, longest, "a" * 15).path))
        with pytest.raises(BadEnvironment, match="231"):
            journal.begin(request(longest + "c"), CONF, FOUR)


def test_many_first_calls_make_the_folder_together(tmp_path: Path) -> None:
    for turn in range(50):
        journal = Journal(str(tmp_path / str(turn) / "state" / "multus"))
        together = threading.Barrier(8)

        def prepare(journal: Journal = journal, together: threading.Barrier = together) -> None:
            together.wait()
            journal.prepare()

        with ThreadPoolExecutor(8) as threads:
            for each in [threads.submit(prepare) for _ in range(8)]:
                each.result()


def test_a_stranger_in_the_folder_does_not_hide_the_records(journal: Journal, whole: bytes) -> None:
    Path(journal.folder, "c0:eth0").symlink_to("/nowhere")
    kinds = [type(each) for each in journal.records()]
    assert kinds == [StateDamaged, Record]


def test_errors_are_the_ones_that_may_cross_a_border() -> None:
    assert issubclass(StateDamaged, CNIError) and module.DAMAGED.startswith(":")
