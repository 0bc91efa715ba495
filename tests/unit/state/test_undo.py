"""What a record names is detached, and what stays is written down."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from contract.given import Recorder
from unit.state.given import Desk, die, in_a_process_that_is_killed
from unit.values import delegate_of, request_of

from multus.api.errors import CNIError, InvalidConfig, IOFailure
from multus.api.network import Invocation
from multus.api.request import Request
from multus.state.plugins import Detached, joined
from multus.state.record import Record, restored
from multus.state.recordfile import Writer
from multus.state.stuck import ENOUGH
from multus.state.undo import remove_recorded, request_for, settle, with_undo_errors


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "state")


def remove(desk: Desk, others: Sequence[CNIError] = ()) -> list[CNIError]:
    with desk.begun("DEL") as (_, call):
        observers = call.installed.hooks.observers(call.session)
        return remove_recorded(desk.record(), desk.journal, call, observers, others)


class TestFinished:
    def test_all_are_detached_the_last_first_and_the_record_is_deleted(self, desk: Desk) -> None:
        desk.add()
        assert remove(desk) == []
        assert desk.recorder.said[3:] == ["DEL c net2", "DEL b net1", "DEL a net0"]
        assert desk.files() == []

    def test_before_the_first_is_detached_the_record_says_that_a_removal_began(
        self, tmp_path: Path
    ) -> None:
        class Looking(Recorder):
            def delete_one(self, invocation: Invocation) -> None:
                super().delete_one(invocation)
                assert looked.record().result is None

        looked = Desk(tmp_path / "state", Looking())
        looked.add()
        assert remove(looked) == []

    def test_those_that_are_gone_are_written_down_while_others_stay(self, desk: Desk) -> None:
        desk.add()
        desk.recorder.errors["DEL_net1"] = IOFailure("jammed")
        (error,) = remove(desk)
        assert error.msg == "network 'b-net', plugin 'b', interface net1: jammed"
        assert (desk.record().left(), desk.record().failures[1].times) == ([1], 1)
        desk.recorder.errors.clear()
        desk.recorder.calls.clear()
        assert remove(desk) == []
        assert desk.recorder.said == ["DEL b net1"] and desk.files() == []

    def test_on_a_full_disk_all_are_detached_all_the_same(
        self, desk: Desk, capfd: pytest.CaptureFixture[str]
    ) -> None:
        desk.add()
        size = os.stat(desk.record().path).st_size
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            assert remove(desk) == []
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        assert desk.files() == []
        assert "the journal does not say that" in capfd.readouterr().err


class TestUnfinished:
    """Each delegate by itself: one of them may have ended the process before."""

    def test_those_that_failed_least_often_come_first(self, desk: Desk) -> None:
        desk.add(finish=False)
        with closing(Writer(desk.record().path)) as writer:
            for _ in range(2):
                writer.failed(2, IOFailure("x"))
            writer.failed(0, IOFailure("x"))
        desk.recorder.calls.clear()
        assert remove(desk) == []
        assert desk.recorder.said == ["DEL b net1", "DEL a net0", "DEL c net2"]

    def test_one_that_ends_the_process_is_tried_last_the_next_time(self, tmp_path: Path) -> None:
        class Fatal(Recorder):
            def delete_one(self, invocation: Invocation) -> None:
                super().delete_one(invocation)
                if invocation.ifname == "net1":
                    die()

        Desk(tmp_path / "state").add(finish=False)
        killed = Desk(tmp_path / "state", Fatal())
        for _ in range(2):
            in_a_process_that_is_killed(lambda: remove(killed))
        desk = Desk(tmp_path / "state")
        record = desk.record()
        # After the first time, net0 was detached before net1 was tried once more.
        assert record.left() == [1]
        assert (record.failures[1].times, record.trying) == (2, frozenset({1}))
        assert remove(desk) == []
        assert desk.recorder.said == ["DEL b net1"]

    def test_beyond_the_limit_failures_are_not_written_down(self, desk: Desk) -> None:
        desk.add("a", finish=False)
        desk.recorder.errors["DEL_net0"] = IOFailure("jammed")
        for _ in range(ENOUGH + 3):
            assert len(remove(desk)) == 1
        assert desk.record().failures[0].times == ENOUGH


class TestDamaged:
    def damage(self, desk: Desk) -> None:
        path = Path(desk.record().path)
        path.write_bytes(path.read_bytes() + b"altered\n")

    def test_the_file_is_kept_once_all_that_it_names_is_detached(
        self, desk: Desk, capfd: pytest.CaptureFixture[str]
    ) -> None:
        desk.add()
        self.damage(desk)
        assert remove(desk) == []
        assert desk.files() == ["c1:eth0:damaged"]
        assert "line 9: it is torn" in capfd.readouterr().err

    @pytest.mark.parametrize("intent", [b"", bytes(4096)], ids=["empty", "zeros"])
    def test_what_an_earlier_boot_did_not_write_is_removed_with_the_rest(
        self, desk: Desk, intent: bytes, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        desk.add()
        Path(desk.record().path).write_bytes(intent)
        monkeypatch.setattr(time, "clock_gettime", lambda clock: -1.0)  # started in a second
        assert remove(desk) == []
        assert desk.files() == []

    def test_so_is_a_record_that_lacks_only_lines_after_its_intent(self, desk: Desk) -> None:
        desk.add()
        path = Path(desk.record().path)
        whole = path.read_bytes()
        path.write_bytes(whole[:-30] + bytes(30))
        assert remove(desk) == []
        assert desk.files() == []

    def test_it_stays_while_something_of_it_cannot_be_detached(self, desk: Desk) -> None:
        desk.add()
        self.damage(desk)
        desk.recorder.errors["DEL_net0"] = IOFailure("jammed")
        assert len(remove(desk)) == 1
        assert desk.files() == ["c1:eth0"]

    def test_it_stays_while_something_that_it_does_not_name_cannot_be_detached(
        self, desk: Desk
    ) -> None:
        desk.add()
        self.damage(desk)
        other = IOFailure("of the configuration")
        assert remove(desk, [other]) == [other]
        assert desk.files() == ["c1:eth0"]


class TestSettle:
    def test_an_error_while_writing_is_one_of_the_errors(self, tmp_path: Path) -> None:
        gone = Detached(0, delegate_of("a"))
        stays = Detached(1, delegate_of("b"), (IOFailure("jammed"),))
        with closing(Writer(str(tmp_path / "no such folder" / "c1:eth0"))) as writer:
            errors = settle([gone, stays], writer)
        assert [type(each) for each in errors] == [IOFailure, IOFailure]
        assert "cannot write the journal" in errors[1].msg


class TestRequest:
    """The DEL that undoes a record on behalf of today's request."""

    THEN = restored(Request("DEL", "c1", ifname="eth0"), "/run/netns/then", ("/a", "/b"), "A=1")

    def record(self, **values: Any) -> Record:
        return evolve(Record("/nowhere", self.THEN), **values)

    def test_looks_for_plugins_where_they_are_today_first(self) -> None:
        today = request_of("DEL", path=("/new", "/a"))
        found = request_for(self.record(conf={"binDir": "/bin"}), today)
        assert found.path == ("/new", "/a", "/bin", "/b")
        assert request_for(self.record(conf={"binDir": 5}), today).path == ("/new", "/a", "/b")

    def test_has_the_adds_arguments_and_todays_environment(self) -> None:
        today = request_of("DEL", args={"B": "2"}, environ={"HOME": "/root", "CNI_ARGS": "B=2"})
        found = request_for(self.record(), today)
        assert found.args == {"A": "1"}
        assert (found.environ["HOME"], found.environ["CNI_ARGS"]) == ("/root", "A=1")
        bare = evolve(self.record(), request=restored(self.THEN, "", (), ""))
        assert request_for(bare, today).args == {"B": "2"}

    def test_has_todays_namespace_and_no_other_ones(self) -> None:
        assert request_for(self.record(), request_of("DEL", netns="/now")).netns == "/now"
        # What is at the recorded path now is not the recorded namespace.
        assert request_for(self.record(), request_of("DEL", netns="")).netns == ""


def test_several_errors_are_one_with_the_others_in_its_details() -> None:
    errors = [IOFailure("a", "why"), InvalidConfig("b", "how"), InvalidConfig("c")]
    one = joined(errors)
    assert isinstance(one, IOFailure)
    assert (one.msg, one.number, one.details) == ("a", 5, "why; b: how; c")
    assert joined(errors[:1]) is errors[0]
    assert Detached(0, delegate_of("a")).error is None


def test_what_could_not_be_undone_is_in_the_details() -> None:
    error = InvalidConfig("no card", "enp9")
    assert with_undo_errors(error, []) is error
    told = with_undo_errors(error, [IOFailure("jammed"), IOFailure("stuck", "why")])
    assert isinstance(told, InvalidConfig) and told.msg == "no card"
    assert told.details == "enp9; could not be undone: jammed; could not be undone: stuck: why"
