"""When delegates fail: what is undone, what is reported, and what stays for the next attempt."""

from __future__ import annotations

import os
import signal
import stat
import time
from typing import Any

import pytest
from waiting import PATIENCE

from integration.blackbox.program import Multus, refused
from multus.testing.delegates import Reply
from multus.testing.runtime import Container

NETNS = "/run/netns/none"


def chain_of(multus: Multus, *kinds: str, **keys: Any) -> dict[str, Any]:
    """A configuration with a stand-in for each of *kinds* that has none yet."""
    for kind in kinds:
        multus.bin.stand_in(kind)
    return multus.conf(*({"type": kind} for kind in kinds), **keys)


class TestAdd:
    def test_every_attempted_delegate_is_undone_in_reverse(self, multus: Multus) -> None:
        conf = chain_of(multus, "a", "b", "c", "d")
        multus.bin.stand_in("c", ADD=Reply.error(7, "no such card", "enp9 is not there"))
        refused(multus.add(conf, Container(NETNS)), 7, "no such card", "enp9 is not there", "net1")
        assert multus.bin.commands() == [
            *("ADD a eth0", "ADD b net0", "ADD c net1"),
            *("DEL c net1", "DEL b net0", "DEL a eth0"),
        ]
        assert multus.records() == []

    def test_the_primary_at_the_front_leaks_nothing_either(self, multus: Multus) -> None:
        conf = chain_of(multus, "a", "b")
        multus.bin.stand_in("a", ADD=Reply.error(11, "later"))
        refused(multus.add(conf, Container(NETNS)), 11, "later")
        assert multus.bin.commands() == ["ADD a eth0", "DEL a eth0"]

    def test_an_undo_that_fails_is_reported_and_its_record_kept(self, multus: Multus) -> None:
        conf = chain_of(multus, "a", "b", "c")
        multus.bin.stand_in("b", DEL=Reply.error(5, "the card is stuck"))
        multus.bin.stand_in("c", ADD=Reply.error(7, "no such card"))
        container = Container(NETNS)
        error = refused(multus.add(conf, container), 7, "no such card")
        assert "the card is stuck" in error["details"]
        assert multus.bin.commands("DEL") == ["DEL c net1", "DEL b net0", "DEL a eth0"]
        multus.bin.stand_in("b")
        multus.delete(conf, container).require()
        assert multus.bin.commands("DEL")[3:][0] == "DEL b net0"
        assert multus.records() == []

    def test_the_next_attempt_succeeds(self, multus: Multus) -> None:
        conf = chain_of(multus, "a", "b")
        multus.bin.stand_in("b", ADD=Reply.error(11, "later"))
        container = Container(NETNS)
        refused(multus.add(conf, container), 11)
        multus.bin.stand_in("b")
        multus.delete(conf, container, multus.add(conf, container).result).require()
        assert multus.records() == []


class TestDel:
    def test_goes_on_past_errors_and_reports_all(self, multus: Multus) -> None:
        conf = chain_of(multus, "a", "b", "c")
        container = Container(NETNS)
        result = multus.add(conf, container).result
        multus.bin.stand_in("a", DEL=Reply.error(5, "first is stuck"))
        multus.bin.stand_in("c", DEL=Reply.error(11, "third is stuck"))
        answer = multus.delete(conf, container, result)
        error = refused(answer, answer.error["code"], "first is stuck", "third is stuck")
        assert error["code"] in (5, 11)
        assert multus.bin.commands("DEL") == ["DEL c net1", "DEL b net0", "DEL a eth0"]
        assert multus.records() != []

    def test_what_failed_is_tried_again(self, multus: Multus) -> None:
        conf = chain_of(multus, "a", "b")
        container = Container(NETNS)
        result = multus.add(conf, container).result
        multus.bin.stand_in("a", DEL=Reply.error(5, "stuck"))
        refused(multus.delete(conf, container, result), 5, "stuck")
        multus.bin.stand_in("a")
        multus.delete(conf, container, result).require()
        assert multus.bin.commands("DEL")[-1] == "DEL a eth0"
        assert multus.records() == []

    def test_can_be_repeated(self, multus: Multus) -> None:
        conf = chain_of(multus, "a", "b")
        container = Container(NETNS)
        result = multus.add(conf, container).result
        for _ in range(3):
            multus.delete(conf, container, result).require()
        assert multus.records() == []

    @pytest.mark.parametrize("netns", [NETNS, ""])
    def test_of_a_container_that_never_was_succeeds(self, multus: Multus, netns: str) -> None:
        conf = chain_of(multus, "a", "b")
        answer = multus.delete(conf, Container(netns))
        assert (answer.status, answer.stdout) == (0, b"")

    def test_needs_no_namespace(self, multus: Multus) -> None:
        conf = chain_of(multus, "a", "b")
        added = Container(NETNS, id="c1")
        result = multus.add(conf, added).result
        multus.delete(conf, Container("", id="c1"), result).require()
        assert multus.bin.commands("DEL") == ["DEL b net0", "DEL a eth0"]

    def test_uses_what_add_used_whatever_the_configuration_says_now(self, multus: Multus) -> None:
        conf = chain_of(multus, "a", "b", "c")
        container = Container(NETNS)
        result = multus.add(multus.conf({"type": "a", "x": 1}, {"type": "b"}), container).result
        multus.delete(multus.conf({"type": "c"}), container, result).require()
        assert multus.bin.commands("DEL") == ["DEL b net0", "DEL a eth0"]
        assert multus.bin.calls[-1].conf["x"] == 1
        assert conf["delegates"][2] == {"type": "c"}

    def test_a_missing_binary_keeps_the_record_until_it_is_back(self, multus: Multus) -> None:
        conf = chain_of(multus, "a", "b")
        container = Container(NETNS)
        result = multus.add(conf, container).result
        multus.bin.remove("b")
        answer = multus.delete(conf, container, result)
        assert answer.status == 1 and "'b'" in answer.error["msg"] + answer.error["details"]
        assert multus.bin.commands("DEL") == ["DEL a eth0"]
        assert multus.records() != []
        multus.bin.stand_in("b")
        multus.delete(conf, container, result).require()
        assert multus.bin.commands("DEL")[-1] == "DEL b net0"
        assert multus.records() == []


def garbage() -> dict[str, Reply]:
    """Answers to ADD that are none, by what is wrong with them."""
    return {
        "prose": Reply("everything went fine"),
        "half an object": Reply('{"cniVersion": "1.0.0", "ips": ['),
        "two objects": Reply('{"cniVersion": "1.0.0"}{"cniVersion": "1.0.0"}'),
        "a list": Reply("[1, 2]"),
        "a string": Reply('"fine"'),
        "an unknown version": Reply('{"cniVersion": "9.0.0"}'),
        "interfaces no list": Reply('{"cniVersion": "1.0.0", "interfaces": 5}'),
        "an interface no object": Reply('{"cniVersion": "1.0.0", "interfaces": ["eth0"]}'),
        "a name no string": Reply('{"cniVersion": "1.0.0", "interfaces": [{"name": 5}]}'),
        "an address without its length": Reply(
            '{"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1"}]}'
        ),
        "an index that is no number": Reply(
            '{"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.1/8", "interface": "0"}]}'
        ),
        "a failure without a word": Reply(status=1),
        "a failure in prose": Reply("segmentation fault", status=2),
        "a failure on stderr": Reply(stderr="boom", status=1),
        "an error without a code": Reply('{"msg": "odd"}', status=1),
        "an error with a code of a wrong type": Reply('{"code": "x", "msg": 5}', status=1),
        "killed": Reply(signal=signal.SIGKILL),
        "crashed": Reply(signal=signal.SIGSEGV),
        "deep nesting": Reply('{"x":' * 5000 + "1" + "}" * 5000),
        "five megabytes": Reply('{"cniVersion": "1.0.0", "x": "' + "x" * 5_000_000 + '"}'),
    }


@pytest.mark.parametrize("kind", garbage())
def test_a_delegate_that_answers_nonsense_fails_the_call_and_is_undone(
    multus: Multus, kind: str
) -> None:
    conf = chain_of(multus, "good", "bad")
    multus.bin.stand_in("bad", ADD=garbage()[kind])
    answer = multus.add(conf, Container(NETNS))
    error = refused(answer, answer.error["code"], "bad", "net0")
    assert error["code"] >= 1
    assert len(error["msg"] + error.get("details", "")) < 20_000
    assert multus.bin.commands() == [
        *("ADD good eth0", "ADD bad net0"),
        *("DEL bad net0", "DEL good eth0"),
    ]
    assert multus.records() == []


def test_the_error_of_a_delegate_is_passed_on_with_its_code(multus: Multus) -> None:
    conf = chain_of(multus, "bad")
    multus.bin.stand_in("bad", ADD=Reply.error(117, "a code of its own", "more"))
    refused(multus.add(conf, Container(NETNS)), 117, "a code of its own", "more", "bad", "eth0")


def test_a_delegate_that_hangs_is_ended_in_time(multus: Multus) -> None:
    conf = chain_of(multus, "good", "slow", delegateTimeout=5)
    multus.bin.stand_in("slow", ADD=Reply(sleep=600))
    begin = time.monotonic()
    answer = multus.add(conf, Container(NETNS))
    assert time.monotonic() - begin < PATIENCE
    refused(answer, answer.error["code"], "slow", "net0")
    assert multus.bin.commands("DEL") == ["DEL slow net0", "DEL good eth0"]
    assert multus.records() == []


def test_a_delegate_whose_child_keeps_the_output_open_does_not_hold_the_answer(
    multus: Multus,
) -> None:
    chain_of(multus, "good")
    # The child outlives the delegate by some seconds, and would block a reader that waits for it.
    script = b'#!/bin/sh\nsleep 90 &\necho \'{"cniVersion": "1.0.0"}\'\n'
    multus.bin.file("forks", script)
    conf = multus.conf({"type": "good"}, {"type": "forks"}, delegateTimeout=20)
    begin = time.monotonic()
    multus.patient(120).add(conf, Container(NETNS))
    assert time.monotonic() - begin < PATIENCE


class TestBinariesThatCannotRun:
    @pytest.fixture
    def refuse(self, multus: Multus) -> Any:
        def attempt(*words: str) -> dict[str, Any]:
            multus.bin.stand_in("good")
            conf = multus.conf({"type": "good"}, {"type": "bad"})
            answer = multus.add(conf, Container(NETNS))
            error = refused(answer, answer.error["code"], "bad", *words)
            assert "ADD bad net0" not in multus.bin.commands()
            assert multus.bin.commands("ADD") in ([], ["ADD good eth0"])
            assert multus.bin.commands("DEL") in ([], ["DEL good eth0"])
            assert len(multus.bin.commands("DEL")) == len(multus.bin.commands("ADD"))
            assert multus.records() == []
            return error

        return attempt

    def test_missing(self, multus: Multus, refuse: Any) -> None:
        refuse(multus.bin.path)

    def test_not_executable(self, multus: Multus, refuse: Any) -> None:
        multus.bin.file("bad", b"#!/bin/sh\n", mode=0o644)
        refuse("execut")

    def test_a_folder(self, multus: Multus, refuse: Any) -> None:
        multus.bin.stand_in("good")
        (type(multus.bin)(f"{multus.bin.path}/bad")).file("x", b"")
        refuse()

    def test_no_program(self, multus: Multus, refuse: Any) -> None:
        multus.bin.file("bad", b"\x00\x01\x02 this is no program")
        refuse()

    def test_empty(self, multus: Multus, refuse: Any) -> None:
        multus.bin.file("bad", b"\x7fELF")
        refuse()

    def test_an_interpreter_that_is_not_there(self, multus: Multus, refuse: Any) -> None:
        multus.bin.file("bad", b"#!/no/such/interpreter\n")
        refuse()


class TestStateFolder:
    def test_one_that_cannot_be_made_attaches_nothing(self, multus: Multus) -> None:
        conf = chain_of(multus, "a", cniDir="/proc/multus")
        answer = multus.add(conf, Container(NETNS))
        refused(answer, answer.error["code"], "/proc/multus")
        assert multus.bin.commands() == []

    def test_a_file_in_its_place_attaches_nothing(self, multus: Multus, tmp_path: Any) -> None:
        (tmp_path / "file").write_text("")
        conf = chain_of(multus, "a", cniDir=str(tmp_path / "file"))
        answer = multus.add(conf, Container(NETNS))
        refused(answer, answer.error["code"], str(tmp_path / "file"))
        assert multus.bin.commands() == []

    def test_records_are_for_the_owner_only(self, multus: Multus) -> None:
        conf = chain_of(multus, "a")
        multus.add(conf, Container(NETNS)).require()
        for parent, folders, names in os.walk(multus.cni_dir):
            for folder in [parent, *(os.path.join(parent, each) for each in folders)]:
                assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700, folder
            for name in names:
                path = os.path.join(parent, name)
                assert stat.S_IMODE(os.stat(path).st_mode) == 0o600, path
        assert multus.records() != []
