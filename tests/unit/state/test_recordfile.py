"""The file of a record: what it keeps through damage, and what is refused to be read or written."""

from __future__ import annotations

import os
import time
from binascii import crc32
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from unit.state.records import CONF, FOUR, attachment, found, names, planned, request

from multus.api.errors import InvalidConfig, IOFailure, StateDamaged
from multus.api.jsontext import decode_object, encode
from multus.api.network import Plugin
from multus.api.result import Interface, Result
from multus.state import liveness
from multus.state.journal import Journal
from multus.state.liveness import lives
from multus.state.record import Step
from multus.state.recordfile import Writer


class TestWhole:
    def test_reads_what_was_written(self, journal: Journal, whole: bytes) -> None:
        record = found(journal)
        assert [record.planned[index] for index in range(4)] == FOUR
        assert record.attachments() == tuple(map(attachment, FOUR))
        assert record.result == attachment(FOUR[0]).result
        assert (record.damage, record.complete, record.network) == ("", True, "node")
        assert record.request.netns == "/run/netns/x"
        assert record.request.args == {"K8S_POD_NAME": "web"}
        assert record.request.path == ("/bin",)

    def test_numbers_in_configurations_stay_as_they_stood(self, journal: Journal) -> None:
        text = b'{"type":"t","cniVersion":"1.0.0","n":1.10,"big":12345678901234567890123}'
        config = decode_object(text, "it")
        step = Step(Plugin(config, "exec"), config, "exec")
        one = FOUR[0]._replace(steps=(step,))
        journal.begin(request(), CONF, [one])
        assert encode(found(journal).planned[0].steps[0].config) == text

    def test_a_detached_delegate_is_not_left(self, journal: Journal, whole: bytes) -> None:
        with closing(Writer(found(journal).path)) as writer:
            writer.detached(2)
        assert names(found(journal)) == ["net0", "net1", "net3"]
        assert len(found(journal).attachments()) == 3

    def test_a_del_that_has_begun_leaves_no_finished_record(
        self, journal: Journal, whole: bytes
    ) -> None:
        with closing(Writer(found(journal).path)) as writer:
            writer.removing()
        assert found(journal).result is None
        assert (found(journal).damage, names(found(journal))) == ("", names(found(journal)))
        assert len(found(journal).attachments()) == 4

    def test_a_chain_under_way_is_known_but_does_not_stand(self, journal: Journal) -> None:
        chain = planned("chain", "eth0", "bridge", "portmap")
        half = evolve(attachment(chain), versions=("1.0.0",), invokers=("exec",))
        journal.begin(request(), CONF, [chain]).attached(0, half)
        assert found(journal).done[0] == half
        assert found(journal).attachments() == ()

    def test_deleting_twice_is_no_error(self, journal: Journal, whole: bytes) -> None:
        writer = Writer(found(journal).path)
        writer.delete()
        writer.delete()
        assert journal.find("c1", "eth0") is None


class TestDamage:
    def test_cut_at_every_byte_the_readable_part_counts(
        self, journal: Journal, small: bytes
    ) -> None:
        path = Path(journal.folder, "c1:eth0")
        ends = [index + 1 for index, byte in enumerate(small) if byte == 10]
        assert len(ends) == 5  # the intent, two delegates, two outcomes
        for size in range(len(small)):
            path.write_bytes(small[:size])
            record, lines = found(journal), sum(end <= size for end in ends)
            assert names(record) == ["net0", "net1"][: max(0, lines - 1)]
            assert record.complete == (lines >= 3)
            assert len(record.attachments()) == max(0, lines - 3)
            assert bool(record.damage) == (not record.complete), size
            assert not record.unbegun
        assert path.write_bytes(small) and found(journal).damage == ""

    def test_a_bit_flipped_in_any_byte_costs_one_line_at_most(
        self, journal: Journal, small: bytes
    ) -> None:
        path = Path(journal.folder, "c1:eth0")
        for place in range(len(small)):
            flipped = bytearray(small)
            flipped[place] ^= 1 << place % 8
            path.write_bytes(flipped)
            record = found(journal)
            # A newline that is gone joins two lines.
            lost = 2 if small[place] == 10 else 1
            assert len(record.planned) >= 2 - lost
            assert len(record.attachments()) >= 2 - lost
            # Without its newline, the last line is a torn one.
            assert record.damage or place == len(small) - 1, place

    def test_without_the_intent_the_file_name_says_whose_it_is(
        self, journal: Journal, whole: bytes
    ) -> None:
        path = Path(journal.folder, "c1:eth0")
        path.write_bytes(b"x" + whole)
        record = found(journal)
        assert names(record) == ["net0", "net1", "net2", "net3"]
        assert (record.key, record.network, record.complete) == (("c1", "eth0"), "", False)

    def test_zeros_of_a_power_cut_in_the_intent_are_damage(
        self, journal: Journal, whole: bytes
    ) -> None:
        path = Path(journal.folder, "c1:eth0")
        intent = 5  # lines
        end = len(b"\n".join(whole.split(b"\n")[:intent])) + 1
        for start, count in ((100, 10), (100, len(whole)), (end - 40, 100)):
            path.write_bytes(whole[:start] + bytes(count) + whole[start + count :])
            record = found(journal)
            assert record.damage and not record.complete and not record.unbegun

    def test_zeros_of_a_power_cut_after_the_intent_are_none(
        self, journal: Journal, whole: bytes
    ) -> None:
        path = Path(journal.folder, "c1:eth0")
        ends = [index + 1 for index, byte in enumerate(whole) if byte == 10]
        holes = ((len(whole), 4096), (ends[4], len(whole)), (ends[4] + 9, 100), (ends[5] - 1, 1))
        for start, count in holes:
            path.write_bytes(whole[:start] + bytes(count) + whole[start + count :])
            record = found(journal)
            assert record.complete and record.damage == "", start
            assert names(record) == ["net0", "net1", "net2", "net3"]

    def test_a_file_that_an_earlier_boot_did_not_write_says_nothing(
        self, journal: Journal, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        journal.prepare()
        path = Path(journal.folder, "c1:eth0")
        for data in (b"", bytes(5000)):
            path.write_bytes(data)
            path.chmod(0o600)
            # In this boot it was emptied by somebody: its container may live.
            assert found(journal).damage and not found(journal).unbegun and lives(found(journal))
            with monkeypatch.context() as patch:
                patch.setattr(time, "clock_gettime", lambda clock: -1.0)  # started in a second
                assert found(journal).unbegun and found(journal).damage
                assert not lives(found(journal))

    def test_of_an_earlier_boot_neither_does_the_beginning_of_an_intent(
        self, journal: Journal, whole: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = Path(journal.folder, "c1:eth0")
        ends = [index + 1 for index, byte in enumerate(whole) if byte == 10]
        monkeypatch.setattr(liveness, "boot", lambda: "another")
        monkeypatch.setattr(time, "clock_gettime", lambda clock: -1.0)  # started in a second
        for size in (ends[0], ends[0] + 50, ends[3], ends[4] - 1):
            for hole in (0, 3000):
                path.write_bytes(whole[:size] + bytes(hole))
                assert found(journal).unbegun and not lives(found(journal)), size
        # What is altered in other ways, and what has begun, is kept for people.
        for damaged in (whole[: ends[3]] + b"x\n", whole[ends[0] :], b"x" + whole):
            path.write_bytes(damaged)
            assert found(journal).damage and not found(journal).unbegun
        path.write_bytes(b"".join([whole[: ends[3]], bytes(9), whole[ends[4] :]]))
        assert found(journal).damage and not found(journal).unbegun

    def test_the_next_line_replaces_a_torn_one(self, journal: Journal, whole: bytes) -> None:
        path = Path(journal.folder, "c1:eth0")
        for tail in (b"", bytes(300)):
            path.write_bytes(whole[:-20] + tail)
            with closing(Writer(str(path))) as writer:
                writer.detached(3)
            assert names(found(journal)) == ["net0", "net1", "net2"]
            assert found(journal).damage == "" and found(journal).result is None
            assert bytes(1) not in path.read_bytes()

    def test_another_containers_intent_is_not_taken_for_ones_own(
        self, journal: Journal, whole: bytes
    ) -> None:
        Path(journal.folder, "c2:eth0").write_bytes(whole)
        Path(journal.folder, "c2:eth0").chmod(0o600)
        record = found(journal, "c2")
        assert record.network == "" and not record.complete and "'c1'" in record.damage

    @pytest.mark.parametrize(
        "line",
        [
            {"kind": "delegate", "delegate": 0},
            {"kind": "delegate", "delegate": -1, "name": "x"},
            {"kind": "delegate", "delegate": "0"},
            {"kind": "delegate", "delegate": 0, "name": 5, "steps": [{}]},
            {"kind": "attached", "delegate": 9},
            {"kind": "attached", "delegate": 0, "versions": ["1.0.0"] * 7, "invokers": ["x"] * 7},
            {"kind": "attached", "delegate": 0, "versions": [], "invokers": []},
            {"kind": "attached", "delegate": True},
            {"kind": "finished", "result": []},
            {"kind": "finished", "result": {"cniVersion": "9.9.9"}},
            {"kind": "unheard of"},
            {"kind": ["intent"]},
            {},
        ],
    )
    def test_a_forged_line_with_a_right_sum_is_damage(
        self, journal: Journal, whole: bytes, line: dict[str, Any]
    ) -> None:
        text = encode(line)
        forged = b"%08x %s\n" % (crc32(text), text)
        Path(journal.folder, "c1:eth0").write_bytes(whole + forged)
        record = found(journal)
        assert "line 11" in record.damage
        assert names(record) == ["net0", "net1", "net2", "net3"]
        assert len(record.attachments()) == 4


class TestRefused:
    def test_a_format_of_another_program_is_neither_read_nor_moved(
        self, journal: Journal, whole: bytes
    ) -> None:
        text = whole.split(b"\n")[0][9:].replace(b'"format":1', b'"format":2')
        path = Path(journal.folder, "c1:eth0")
        path.write_bytes(b"%08x %s\n" % (crc32(text), text))
        with pytest.raises(StateDamaged, match="format 2"):
            journal.find("c1", "eth0")
        assert path.exists()

    def refused(self, journal: Journal) -> StateDamaged:
        with pytest.raises(StateDamaged) as caught:
            journal.find("c1", "eth0")
        listed = list(journal.records())
        assert [type(each) for each in listed] == [StateDamaged]
        return caught.value

    def test_a_symbolic_link(self, journal: Journal, whole: bytes, tmp_path: Path) -> None:
        path = Path(journal.folder, "c1:eth0")
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
        assert "symbolic link" in self.refused(journal).msg

    def test_a_pipe_is_refused_without_waiting_for_its_other_end(self, journal: Journal) -> None:
        os.mkfifo(Path(journal.folder, "c1:eth0"), 0o600)
        self.refused(journal)

    def test_a_folder_in_place_of_a_file(self, journal: Journal) -> None:
        Path(journal.folder, "c1:eth0").mkdir()
        self.refused(journal)

    @pytest.mark.parametrize("mode", [0o620, 0o602])
    def test_a_file_that_others_may_write(self, journal: Journal, whole: bytes, mode: int) -> None:
        Path(journal.folder, "c1:eth0").chmod(mode)
        self.refused(journal)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_a_file_of_another_user(self, journal: Journal, whole: bytes) -> None:
        os.chown(Path(journal.folder, "c1:eth0"), 1234, 0)
        self.refused(journal)

    def test_a_file_that_is_larger_than_any_of_ours(self, journal: Journal, whole: bytes) -> None:
        with open(Path(journal.folder, "c1:eth0"), "ab") as file:
            file.truncate(1 << 33)  # sparse: eight gigabytes that must not be read
        assert "8589934592 bytes" in self.refused(journal).msg


class TestSizes:
    def test_a_configuration_that_could_not_be_read_again_is_not_written(
        self, journal: Journal
    ) -> None:
        # Two bytes of UTF-8 become six of JSON.
        config = {"type": "t", "cniVersion": "1.0.0", "text": "é" * 1_000_000}
        step = Step(Plugin(config, "exec"), config, "exec")
        with pytest.raises(InvalidConfig):
            journal.begin(request(), CONF, [FOUR[0]._replace(steps=(step,))])
        assert os.listdir(journal.folder) == []

    def test_too_many_large_configurations(self, journal: Journal) -> None:
        config = {"type": "t", "cniVersion": "1.0.0", "text": "x" * 3_000_000}
        step = Step(Plugin(config, "exec"), config, "exec")
        with pytest.raises(InvalidConfig):
            journal.begin(request(), CONF, [each._replace(steps=(step,)) for each in FOUR])
        assert os.listdir(journal.folder) == []

    def test_results_are_refused_before_the_file_is_too_large_to_be_read(
        self, journal: Journal
    ) -> None:
        many = [planned(f"net{number}", f"eth{number}") for number in range(8)]
        writer = journal.begin(request(), CONF, many)
        large = Result(interfaces=(Interface("x" * 3_000_000),))
        with pytest.raises(InvalidConfig, match="results"):
            for index, each in enumerate(many):
                writer.attached(index, evolve(attachment(each), result=large))
        for index in range(8):
            writer.detached(index)  # what is undone still has room
        assert (found(journal).left(), found(journal).damage) == ([], "")


class TestNoSpace:
    """RLIMIT_FSIZE makes write(2) fail with EFBIG where a full disk makes it fail with ENOSPC."""

    @pytest.fixture
    def limit(self) -> Any:
        import resource
        import signal

        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

        def limit(size: int) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

        yield limit
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)

    def test_an_intent_that_cannot_be_written_leaves_nothing(
        self, journal: Journal, limit: Callable[[int], None]
    ) -> None:
        for size in (0, 100, 1000):
            limit(size)
            with pytest.raises(IOFailure):
                journal.begin(request(), CONF, FOUR)
            assert os.listdir(journal.folder) == []

    def test_an_outcome_that_cannot_be_written_spoils_nothing(
        self, journal: Journal, whole: bytes, limit: Callable[[int], None]
    ) -> None:
        for more in range(60):
            limit(len(whole) + more)
            try:
                with closing(Writer(f"{journal.folder}/c1:eth0")) as writer:
                    writer.detached(0)
            except IOFailure:
                assert Path(journal.folder, "c1:eth0").read_bytes() == whole
            else:
                break
        else:
            raise AssertionError("it never fitted")
        assert more > 20 and names(found(journal)) == ["net1", "net2", "net3"]
