"""Which records GC removes, and what it has the networks' plugins keep."""

from __future__ import annotations

import json
import time
from binascii import crc32
from pathlib import Path

import pytest
from attrs import evolve
from contract.given import Recorder, at_work, merger, source
from unit.values import conf_of, delegate_of, request_of

from multus.api.conf import Conf
from multus.api.errors import InvalidConfig, IOFailure, StateDamaged
from multus.api.network import Plugin, Provenance
from multus.api.request import Request
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.state import garbage
from multus.state.journal import Journal
from multus.state.lock import container_lock
from multus.state.record import Planned, Record, Step

NOW = 1_800_000_000.0


def record_of(container_id: str, started: float) -> Record:
    request = Request("DEL", container_id=container_id, ifname="eth0")
    return Record("/x", request, {"name": "n"}, started=started)


class TestBefore:
    BEFORE = garbage.Before(frozenset([("old", "eth0")]), NOW - 60)

    @pytest.mark.parametrize(
        ("container_id", "started", "spared"),
        [
            ("old", NOW - 3600, False),
            ("old", NOW - 60, False),
            ("old", NOW + 3600, False),  # written under a clock that was ahead
            ("old", NOW - 30, True),  # added once more, while GC waited
            ("new", NOW - 30, True),
            ("new", NOW - 7200, True),  # while GC waited, and the clock was set back
            ("new", NOW + 7200, True),
        ],
    )
    def test_what_came_since_is_spared(
        self, container_id: str, started: float, spared: bool
    ) -> None:
        assert self.BEFORE.spares(record_of(container_id, started), NOW) is spared


@pytest.fixture
def conf(tmp_path: Path) -> Conf:
    return conf_of(**{"cniDir": str(tmp_path / "state"), "cni.dev/valid-attachments": []})


def set_started(conf: Conf, moment: float) -> None:
    """As if the record of c1 had been written then."""
    path = Path(conf.cni_dir, "c1:eth0")
    first, *others = path.read_bytes().splitlines()
    wire = {**json.loads(first[9:]), "started": moment}
    text = json.dumps(wire).encode()
    path.write_bytes(b"\n".join([b"%08x %s" % (crc32(text), text), *others, b""]))


@pytest.mark.parametrize("ahead", [60.0, 86400.0, 10 * 365 * 86400.0])
def test_a_record_of_a_clock_that_was_ahead_is_collected(conf: Conf, ahead: float) -> None:
    recorder = Recorder()
    installed = at_work(source("a"), recorder.plugin(), merger())
    engine = Engine(installed, Log.from_conf({"logLevel": "error"}))
    engine.add(request_of(), conf)
    set_started(conf, time.time() + ahead)
    engine.collect_garbage(request_of("GC", container_id="", ifname=""), conf)
    assert recorder.said[1] == "DEL a eth0"
    assert Journal(conf.cni_dir).find("c1", "eth0") is None


def test_one_unfinished_file_that_cannot_be_removed_does_not_end_gc(conf: Conf) -> None:
    recorder = Recorder()
    installed = at_work(source("a"), recorder.plugin(), merger())
    engine = Engine(installed, Log.from_conf({"logLevel": "error"}))
    engine.add(request_of(), conf)
    Path(conf.cni_dir, "c0:eth0:new").mkdir()
    with pytest.raises(Exception, match="c0:eth0:new"):
        engine.collect_garbage(request_of("GC", container_id="", ifname=""), conf)
    assert Journal(conf.cni_dir).find("c1", "eth0") is None


def holding(container_id: str, *networks: str, network: str = "n") -> Record:
    """A complete record of a container with these networks, all of type x."""
    config = {"type": "x", "cniVersion": "1.0.0"}
    planned = {}
    for index, name in enumerate(networks):
        delegate = delegate_of(name, "x", ifname=f"net{index}", provenance=Provenance.NODE)
        planned[index] = Planned(delegate, (Step(Plugin(config), config, "recorder"),))
    request = Request("DEL", container_id=container_id, ifname="eth0")
    return Record("/x", request, {"name": network}, planned, len(planned))


class TestSort:
    BEFORE = garbage.Before(frozenset((f"c{n}", "eth0") for n in range(5)), NOW)

    def test_dead_are_those_of_this_network_that_are_not_valid(self) -> None:
        broken = IOFailure("unreadable")
        valid, dead = holding("c1"), holding("c2")
        other, unsaid = holding("c3", network="other"), holding("c4", network="")
        found = garbage.sort(
            [valid, dead, broken, other, unsaid], "n", frozenset([valid.key]), self.BEFORE
        )
        assert found.dead == [dead, unsaid]
        assert found.kept == [valid, other]
        assert found.errors == [broken]

    def test_what_came_while_gc_waited_is_kept(self) -> None:
        late = holding("late")
        found = garbage.sort([late], "n", frozenset(), self.BEFORE)
        assert (found.dead, found.kept) == ([], [late])


class TestIncomplete:
    """A plugin frees what its list does not contain, so the list has to be whole."""

    def test_all_valid_attachments_are_known(self) -> None:
        kept = [holding("c1", "a"), holding("c2", "b")]
        assert garbage.incomplete(kept, frozenset(each.key for each in kept)) is None
        assert garbage.incomplete([], frozenset()) is None

    def test_a_valid_one_without_a_record(self) -> None:
        found = garbage.incomplete([holding("c1", "a")], frozenset([("c9", "eth0")]))
        assert isinstance(found, StateDamaged) and "container c9, interface eth0" in found.msg

    def test_one_whose_record_lost_a_network(self) -> None:
        lost = evolve(holding("c1", "a"), expected=2)
        found = garbage.incomplete([lost], frozenset([lost.key]))
        assert isinstance(found, StateDamaged) and found.details == "2 such"


class TestNetworks:
    def test_each_gets_the_valid_attachments_of_its_name(self) -> None:
        kept = [holding("c1", "a", "b"), evolve(holding("c2", "a", "b"), gone=frozenset([1]))]
        found = {d.name: list(valid) for d, valid in garbage.networks([], "n", kept, [])}
        assert found == {
            "a": [
                {"containerID": "c1", "ifname": "net0"},
                {"containerID": "c2", "ifname": "net0"},
            ],
            "b": [{"containerID": "c1", "ifname": "net1"}],
        }

    def test_also_those_of_another_multus_network_count_as_valid(self) -> None:
        theirs = holding("c1", "a", network="other")
        ((delegate, valid),) = garbage.networks([delegate_of("a", "x")], "n", [theirs], [])
        assert (delegate.name, len(valid)) == ("a", 1)

    def test_a_network_that_only_a_dead_container_had_is_asked_too(self) -> None:
        ((delegate, valid),) = garbage.networks([], "n", [], [holding("c1", "a")])
        assert (delegate.name, valid) == ("a", ())

    def test_it_is_asked_without_what_one_container_requested(self) -> None:
        offered = delegate_of(
            "a", "x", ifname="net0", runtime_config={"mac": "x"}, options={"mac": "x"}
        )
        ((delegate, _),) = garbage.networks([offered], "n", [], [])
        assert (delegate.ifname, delegate.runtime_config, delegate.options) == ("", {}, {})

    def test_a_step_that_leaves_nothing_is_not_asked(self) -> None:
        record = holding("c1", "a")
        (step,) = record.planned[0].steps
        planned = record.planned[0]._replace(steps=(step, evolve(step, leaves_nothing=True)))
        ((delegate, _),) = garbage.networks([], "n", [evolve(record, planned={0: planned})], [])
        assert len(delegate.plugins) == 1


class TestValidKeys:
    def test_without_a_list_nothing_is_collected(self) -> None:
        with pytest.raises(InvalidConfig, match="would remove everything"):
            garbage.valid_keys(conf_of())

    @pytest.mark.parametrize(("container", "ifname"), [("../x", "eth0"), ("c1", "a/b"), ("", "x")])
    def test_what_cannot_be_an_attachment(self, container: str, ifname: str) -> None:
        listed = [{"containerID": container, "ifname": ifname}]
        with pytest.raises(InvalidConfig, match="cannot be an attachment"):
            garbage.valid_keys(conf_of(**{"cni.dev/valid-attachments": listed}))


def test_an_intent_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path / "state"))
    journal.prepare()
    for container in ("c1", "c2"):
        Path(journal.folder, f"{container}:eth0:new").touch()
    with container_lock(journal.folder, "c1", 0.0):
        assert garbage.remove_incomplete(journal) == []
    assert journal.incomplete() == [("c1", "eth0")]
