"""A container's networks as a whole or not at all, whatever fails and whenever it is killed."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest
from contract.given import Recorder
from descriptors import all_closed
from unit.state.given import OWN_NETNS, Desk, die, in_a_process_that_is_killed
from waiting import becomes

from multus.api.errors import (
    BadEnvironment,
    CNIError,
    InvalidConfig,
    IOFailure,
    StateDamaged,
    TryAgainLater,
    UnknownContainer,
)
from multus.api.invoker import NothingDone
from multus.api.network import Attachment, Invocation
from multus.api.result import Result


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path / "state")


class Fatal(Recorder):
    """Ends its process in the n-th call of a verb."""

    def __init__(self, verb: str, place: int) -> None:
        super().__init__()
        self.verb, self.place = verb, place

    def _record(self, invocation: Invocation) -> None:
        super()._record(invocation)
        if invocation.verb == self.verb:
            if self.place == 0:
                die()
            self.place -= 1


class TestBegin:
    def test_another_command_of_the_container_waits_and_then_gives_up(self, desk: Desk) -> None:
        with desk.begun():
            with pytest.raises(TryAgainLater, match="container c1 is busy"):
                with desk.begun("DEL", patience=0.05):
                    pass
            with desk.begun("DEL", container_id="c2"):
                pass  # another container's lock is free
        with desk.begun("DEL"):
            pass

    def test_it_has_the_lock_as_soon_as_the_other_ends(self, desk: Desk) -> None:
        entered = threading.Event()

        def other() -> None:
            with desk.begun("DEL", patience=30.0):
                entered.set()

        with desk.begun():
            waiting = threading.Thread(target=other)
            waiting.start()
            assert not entered.wait(0.1)
        assert entered.wait(30.0)
        waiting.join()

    def test_a_started_process_inherits_the_lock(self, desk: Desk) -> None:
        with desk.begun() as (_, call):
            (planned,) = desk.planned(call, "a")
            step = planned.steps[0]
            invocation = call.invocation("ADD", planned.delegate, step.plugin, step.config)
            (descriptor,) = invocation.inherited
            os.set_inheritable(descriptor, True)
            outliving = subprocess.Popen(["sleep", "60"], pass_fds=[descriptor])
        try:
            # The kernel closes what Popen waits for, and then renames the process.
            becomes(Path(f"/proc/{outliving.pid}/comm").read_text, "sleep\n")
            with pytest.raises(TryAgainLater, match=f"process {outliving.pid} 'sleep'"):
                with desk.begun("DEL"):
                    pass
        finally:
            outliving.kill()
            outliving.wait()
        with desk.begun("DEL"):
            pass

    def test_a_folder_that_others_may_write_is_refused_before_the_lock(self, desk: Desk) -> None:
        os.mkdir(desk.journal.folder)
        os.chmod(desk.journal.folder, 0o777)
        with pytest.raises(StateDamaged):
            with desk.begun():
                pass
        assert os.listdir(desk.journal.folder) == []


class TestAttempt:
    def test_the_intent_is_there_before_anything_is_attached(self, desk: Desk) -> None:
        with desk.begun() as (made, call):
            planned = desk.planned(call)
            attempt = made.attempt(planned)
            record = desk.record()
            assert (record.complete, record.result, record.done) == (True, None, {})
            written = [step.config for each in record.planned.values() for step in each.steps]
            assert written == [step.config for each in planned for step in each.steps]
            assert desk.recorder.calls == []
            with attempt:
                attempt.attach()
                attempt.finish(Result())

    def test_what_is_attached_is_written_down_one_by_one_and_told(self, desk: Desk) -> None:
        told: list[Attachment] = []

        def attached(attachment: Attachment) -> None:
            told.append(attachment)
            assert len(desk.record().done) == len(told)

        with desk.begun() as (made, call):
            attempt = made.attempt(desk.planned(call))
            with attempt:
                assert attempt.attach(attached) == tuple(told)
                assert desk.record().result is None
                attempt.finish(Result())
        assert desk.record().result == Result()
        assert [each.delegate.ifname for each in told] == ["net0", "net1", "net2"]

    def test_an_error_after_all_are_attached_undoes_all_the_last_first(self, desk: Desk) -> None:
        with desk.begun() as (made, call), pytest.raises(InvalidConfig, match=r"^no answer$"):
            attempt = made.attempt(desk.planned(call))
            with attempt:
                attempt.attach()
                raise InvalidConfig("no answer")
        assert desk.recorder.said[3:] == ["DEL c net2", "DEL b net1", "DEL a net0"]
        assert desk.files() == []

    def test_what_was_not_begun_is_not_undone(self, desk: Desk) -> None:
        desk.recorder.errors["ADD_net1"] = NothingDone("no binary")
        with pytest.raises(NothingDone):
            with desk.begun() as (made, call), made.attempt(desk.planned(call)) as attempt:
                attempt.attach()
        assert desk.recorder.said == ["ADD a net0", "ADD b net1", "DEL a net0"]
        assert desk.files() == []

    def test_what_cannot_be_undone_is_told_and_stays_recorded_alone(self, desk: Desk) -> None:
        desk.recorder.errors.update(
            ADD_net1=InvalidConfig("no card", "enp9"), DEL_net0=IOFailure("jammed")
        )
        with pytest.raises(InvalidConfig) as caught:
            with desk.begun() as (made, call), made.attempt(desk.planned(call)) as attempt:
                attempt.attach()
        assert caught.value.msg.endswith("no card")
        assert caught.value.details.startswith("enp9; could not be undone: network 'a-net'")
        assert (desk.record().left(), desk.record().failures[0].times) == ([0], 1)

    def test_an_interruption_undoes_too_and_what_stays_is_logged(
        self, desk: Desk, capfd: pytest.CaptureFixture[str]
    ) -> None:
        desk.recorder.errors["DEL_net2"] = IOFailure("jammed")
        with pytest.raises(KeyboardInterrupt):
            with desk.begun() as (made, call), made.attempt(desk.planned(call)) as attempt:
                attempt.attach()
                raise KeyboardInterrupt
        assert desk.record().left() == [2]
        lines = [json.loads(line) for line in capfd.readouterr().err.splitlines()]
        (line,) = [each for each in lines if each["msg"] == "could not be undone"]
        assert "jammed" in line["error"]

    def test_no_descriptor_stays_open(self, desk: Desk) -> None:
        desk.add()
        with all_closed():
            for _ in range(3):
                with desk.begun("DEL") as (made, _call):
                    made.remove()
                desk.add()


class TestKilled:
    """At every moment of an ADD and of a DEL: another process removes all that may be there."""

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_in_the_middle_of_an_attachment(self, tmp_path: Path, place: int) -> None:
        in_a_process_that_is_killed(Desk(tmp_path / "state", Fatal("ADD", place)).add)
        desk = Desk(tmp_path / "state")
        assert len(desk.record().done) == place and desk.record().result is None
        with desk.begun("DEL") as (made, _):
            assert made.remove() == []
        assert desk.recorder.said == ["DEL c net2", "DEL b net1", "DEL a net0"]
        assert desk.files() == []

    @pytest.mark.parametrize("place", [0, 1, 2])
    def test_in_the_middle_of_a_removal(self, tmp_path: Path, place: int) -> None:
        Desk(tmp_path / "state").add()
        killed = Desk(tmp_path / "state", Fatal("DEL", place))

        def remove() -> None:
            with killed.begun("DEL") as (made, _):
                made.remove()

        in_a_process_that_is_killed(remove)
        desk = Desk(tmp_path / "state")
        # A CHECK does not pass for a container of which networks may be gone.
        with desk.begun("CHECK") as (made, _), pytest.raises(UnknownContainer):
            made.finished_record()
        with desk.begun("DEL") as (made, _):
            assert made.remove() == []
        assert sorted(desk.recorder.said) == ["DEL a net0", "DEL b net1", "DEL c net2"]
        assert desk.files() == []

    def test_between_the_intent_and_the_first_attachment(self, tmp_path: Path) -> None:
        desk = Desk(tmp_path / "state")

        def work() -> None:
            with desk.begun() as (made, call):
                made.attempt(desk.planned(call))
                die()

        in_a_process_that_is_killed(work)
        with desk.begun() as (made, _):
            made.remove_leftovers()
        assert desk.recorder.said == ["DEL c net2", "DEL b net1", "DEL a net0"]
        assert desk.files() == []

    def test_while_the_intent_is_written(self, desk: Desk) -> None:
        desk.journal.prepare()
        Path(desk.journal.folder, "c1:eth0:new").write_bytes(b"0000")
        with desk.begun() as (made, _):
            made.remove_leftovers()
        assert (desk.files(), desk.recorder.said) == ([], [])


class TestLeftovers:
    def test_there_are_none_of_a_new_container(self, desk: Desk) -> None:
        with desk.begun() as (made, _):
            made.remove_leftovers()
        assert desk.recorder.said == []

    def test_a_container_that_has_its_networks_is_not_added_again(self, desk: Desk) -> None:
        desk.add(netns=OWN_NETNS)
        with desk.begun(netns=OWN_NETNS) as (made, _):
            with pytest.raises(BadEnvironment, match="DEL it before"):
                made.remove_leftovers()
        assert desk.record().result is not None

    def test_after_a_reboot_it_may_come_with_another_namespace(self, desk: Desk) -> None:
        desk.add(netns=OWN_NETNS)
        with desk.begun(netns="/run/netns/none") as (made, _):
            made.remove_leftovers()
        assert desk.files() == []

    def test_those_of_a_killed_add_are_removed_also_in_the_same_namespace(self, desk: Desk) -> None:
        desk.add(finish=False, netns=OWN_NETNS)
        with desk.begun(netns=OWN_NETNS) as (made, _):
            made.remove_leftovers()
        assert desk.files() == []

    def test_those_that_cannot_be_removed_are_an_error_to_try_again(self, desk: Desk) -> None:
        desk.add(finish=False)
        desk.recorder.errors["DEL_net1"] = IOFailure("jammed")
        with desk.begun() as (made, _), pytest.raises(TryAgainLater) as caught:
            made.remove_leftovers()
        assert "could not be undone: network 'b-net'" in caught.value.details
        assert desk.record().left() == [1]


class TestRemove:
    def test_the_recorded_networks_whatever_the_configuration_says_now(self, desk: Desk) -> None:
        desk.add("ab")
        desk.recorder.calls.clear()
        with desk.begun("DEL") as (made, _):
            assert made.remove() == []
        assert desk.recorder.said == ["DEL b net1", "DEL a net0"]

    def test_without_a_record_what_the_configuration_offers(self, desk: Desk) -> None:
        with desk.begun("DEL") as (made, _):
            assert made.remove() == []
        assert desk.recorder.said == ["DEL y net0", "DEL x eth0"]

    def test_of_a_record_that_lost_a_network_also_what_the_configuration_offers(
        self, desk: Desk
    ) -> None:
        desk.add("ab")
        path = Path(desk.record().path)
        lines = path.read_bytes().split(b"\n")
        path.write_bytes(b"\n".join([lines[0], b"x" + lines[1], *lines[2:]]))
        desk.recorder.calls.clear()
        with desk.begun("DEL") as (made, _):
            assert made.remove() == []
        assert desk.recorder.said == ["DEL y net0", "DEL x eth0", "DEL b net1"]
        assert desk.files() == ["c1:eth0:damaged"]

    def test_of_what_was_given_up_nothing_is_asked_again(self, desk: Desk) -> None:
        desk.add()
        os.rename(desk.record().path, f"{desk.journal.folder}/c1:eth0:stuck")
        desk.recorder.calls.clear()
        with desk.begun("DEL") as (made, _):
            assert made.remove() == []
        assert desk.recorder.said == []

    def test_a_record_of_the_go_multus_is_removed_as_ones_own(self, desk: Desk) -> None:
        desk.journal.prepare()
        theirs = Path(desk.journal.folder, "c1")
        theirs.write_text(json.dumps([{"type": "old", "masterplugin": True}]))
        theirs.chmod(0o600)
        desk.recorder.errors["DEL_eth0"] = IOFailure("jammed")
        with desk.begun("DEL") as (made, _):
            assert [type(each) for each in made.remove()] == [IOFailure]
        assert desk.files() == ["c1:eth0"] and not theirs.exists()
        desk.recorder.errors.clear()
        with desk.begun("DEL") as (made, _):
            assert made.remove() == []
        assert desk.recorder.said == ["DEL old eth0"] * 2 and desk.files() == []


class TestRemoveUnfinished:
    def test_leaves_a_container_alone_that_has_its_networks(self, desk: Desk) -> None:
        desk.add()
        desk.recorder.calls.clear()
        with desk.begun("DEL") as (made, _):
            assert made.remove_unfinished() == []
        assert desk.recorder.said == [] and desk.record().result is not None

    def test_removes_what_a_killed_add_left(self, desk: Desk) -> None:
        desk.add(finish=False)
        with desk.begun("DEL") as (made, _):
            assert made.remove_unfinished() == []
        assert desk.files() == []

    def test_asks_nothing_of_the_configuration(self, desk: Desk) -> None:
        with desk.begun("DEL") as (made, _):
            assert made.remove_unfinished() == []
        assert desk.recorder.said == []


class TestFinishedRecord:
    def test_is_that_of_a_container_with_all_its_networks(self, desk: Desk) -> None:
        desk.add()
        with desk.begun("CHECK") as (made, _):
            assert made.finished_record() == desk.record()

    @pytest.mark.parametrize("begun", [True, False])
    def test_there_is_none_before(self, desk: Desk, begun: bool) -> None:
        if begun:
            desk.add(finish=False)
        with desk.begun("CHECK") as (made, _), pytest.raises(CNIError) as caught:
            made.finished_record()
        assert isinstance(caught.value, UnknownContainer)
