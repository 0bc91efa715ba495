"""What cannot be removed again and again must not hold a container for ever."""

from __future__ import annotations

import json
import os
import resource
import time
from binascii import crc32
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import evolve
from contract.given import Recorder, at_work, merger, plugin_named, source
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.errors import CNIError, IOFailure
from multus.api.network import Element, Role, Selection
from multus.cli.attachments import others
from multus.cli.commands.doctor import state
from multus.cli.commands.doctor.places import Node, Places
from multus.cli.findings import ERROR, WARNING, Finding
from multus.engine.pipeline import Engine
from multus.ipam._hostlocal import HostLocal
from multus.log import Log
from multus.state.journal import Journal
from multus.state.stuck import ENOUGH, LONG_ENOUGH
from multus.testing.invocation import Caller

OWN_NETNS = f"/proc/{os.getpid()}/ns/net"
GONE = "/run/netns/none"


@pytest.fixture
def conf(tmp_path: Path) -> Conf:
    return conf_of(cniDir=str(tmp_path / "state"))


@pytest.fixture
def recorder() -> Recorder:
    return Recorder(DEL_net0=IOFailure("jammed"))


@pytest.fixture
def engine(recorder: Recorder) -> Engine:
    installed = at_work(source("a", "b", "c"), recorder.plugin(), merger())
    return Engine(installed, Log.from_conf({"logLevel": "error"}))


def planted(conf: Conf, count: int, ago: float, index: int = 1) -> None:
    """Write down that removing a delegate has failed so many times, *ago* seconds before now."""
    wire = {"kind": "failed", "delegate": index, "error": "jammed", "at": time.time() - ago}
    text = json.dumps(wire).encode()
    with open(f"{conf.cni_dir}/c1:eth0", "ab") as file:
        file.write(b"%08x %s\n" % (crc32(text), text) * count)


def files(conf: Conf) -> list[str]:
    return sorted(name for name in os.listdir(conf.cni_dir) if ":" in name)


def fails(engine: Engine, conf: Conf, netns: str = GONE) -> CNIError:
    with pytest.raises(IOFailure, match="jammed") as caught:
        engine.delete(request_of("DEL", netns=netns), conf)
    return caught.value


def found(conf: Conf) -> list[Finding]:
    return list(state._journal(Node(Places(), at_work(), conf)))


class TestGivenUp:
    def test_after_many_failures_of_a_container_that_is_gone(
        self,
        engine: Engine,
        recorder: Recorder,
        conf: Conf,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        engine.add(request_of(netns=GONE), conf)
        planted(conf, ENOUGH - 2, LONG_ENOUGH + 1)
        fails(engine, conf)
        assert files(conf) == ["c1:eth0"]
        recorder.calls.clear()
        engine.delete(request_of("DEL", netns=GONE), conf)
        assert recorder.said == ["DEL b net0"]
        assert files(conf) == ["c1:eth0:stuck"]
        # From now on, all is as if it had never been.
        engine.delete(request_of("DEL", netns=GONE), conf)

        lines = [json.loads(each) for each in capfd.readouterr().err.splitlines()]
        (said,) = [each for each in lines if "given up" in each["msg"]]
        assert said["level"] == "error"
        assert (said["container"], said["network"], said["type"]) == ("c1", "b-net", "b")
        assert said["ifname"] == "net0" and "jammed" in said["error"]
        assert said["file"] == f"{conf.cni_dir}/c1:eth0:stuck"

    def test_the_doctor_and_the_list_name_it(self, engine: Engine, conf: Conf) -> None:
        engine.add(request_of(netns=GONE), conf)
        planted(conf, ENOUGH - 1, LONG_ENOUGH + 1)
        assert [each for each in found(conf) if "failed 9 times" in each.reason]
        engine.delete(request_of("DEL", netns=GONE), conf)
        (problem,) = [each for each in found(conf) if each.severity in (ERROR, WARNING)]
        assert problem.severity == ERROR
        for words in ("c1:eth0:stuck", "'b-net' (b, net0)", "container c1"):
            assert words in problem.reason
        assert "by hand" in problem.fix
        (listed,) = others(Journal(conf.cni_dir))
        assert listed["file"].endswith("c1:eth0:stuck") and listed["why"]

    def test_by_gc_which_then_asks_the_networks_plugins_too(
        self, engine: Engine, recorder: Recorder, conf: Conf
    ) -> None:
        engine.add(request_of(netns=GONE), conf)
        planted(conf, ENOUGH - 1, LONG_ENOUGH + 1)
        collecting = conf_of(**{**conf.raw, "cni.dev/valid-attachments": []})
        engine.collect_garbage(request_of("GC", container_id="", ifname=""), collecting)
        assert {each.verb for each in recorder.calls} == {"ADD", "DEL", "GC"}
        assert files(conf) == ["c1:eth0:stuck"]

    def test_one_of_two_while_the_other_still_has_its_tries(
        self, engine: Engine, recorder: Recorder, conf: Conf
    ) -> None:
        recorder.errors["DEL_net1"] = IOFailure("busy")
        engine.add(request_of(netns=GONE), conf)
        planted(conf, ENOUGH - 1, LONG_ENOUGH + 1)
        with pytest.raises(IOFailure, match="busy") as caught:
            engine.delete(request_of("DEL", netns=GONE), conf)
        assert "jammed" not in str(caught.value)
        assert files(conf) == ["c1:eth0", "c1:eth0:stuck"]
        recorder.errors.clear()
        recorder.calls.clear()
        engine.delete(request_of("DEL", netns=GONE), conf)
        assert recorder.said == ["DEL c net1"]
        assert files(conf) == ["c1:eth0:stuck"]

    def test_when_the_clock_was_set_back(self, engine: Engine, conf: Conf) -> None:
        engine.add(request_of(netns=GONE), conf)
        planted(conf, ENOUGH - 1, -86400)
        engine.delete(request_of("DEL", netns=GONE), conf)
        assert files(conf) == ["c1:eth0:stuck"]

    def test_its_addresses_are_free_again(self, tmp_path: Path, conf: Conf) -> None:
        """A pool must not run dry of what nobody can remove."""
        pool = {
            "type": "host-local",
            "subnet": "10.9.0.0/24",
            "dataDir": str(tmp_path / "networks"),
        }
        config = {"type": "b", "name": "n1", "cniVersion": "1.0.0", "ipam": pool}

        def multus_select() -> Selection:
            elements = (Element("n1", "the test", "s", config=config),)
            return Selection(Role.DEFAULT, elements, "s")

        conf = evolve(conf, tenant_paths={**conf.tenant_paths, "dataDir": (str(tmp_path),)})
        HostLocal(Caller(container_id="c1").invocation("ADD", config)).add()
        HostLocal(Caller(container_id="c2").invocation("ADD", config)).add()
        recorder = Recorder(DEL_eth0=IOFailure("jammed"))
        installed = at_work(plugin_named("s", multus_select), recorder.plugin(), merger())
        engine = Engine(installed, Log.from_conf({"logLevel": "error"}))
        engine.add(request_of(netns=GONE), conf)
        planted(conf, ENOUGH - 1, LONG_ENOUGH + 1, index=0)
        engine.delete(request_of("DEL", netns=GONE), conf)
        assert not (tmp_path / "networks/n1/10.9.0.2").exists()
        assert (tmp_path / "networks/n1/10.9.0.3").exists()


class TestHeld:
    @pytest.mark.parametrize(
        ("count", "ago", "netns"),
        [
            (ENOUGH - 2, LONG_ENOUGH + 1, GONE),
            (ENOUGH - 1, LONG_ENOUGH - 60, GONE),
            (ENOUGH - 1, LONG_ENOUGH + 1, OWN_NETNS),
        ],
        ids=["too few failures", "too soon", "the namespace lives"],
    )
    def test_it_is_tried_again(
        self, engine: Engine, conf: Conf, count: int, ago: float, netns: str
    ) -> None:
        engine.add(request_of(netns=netns), conf)
        planted(conf, count, ago)
        fails(engine, conf, netns)
        assert files(conf) == ["c1:eth0"]

    def test_also_when_today_gives_no_namespace_and_the_recorded_one_lives(
        self, engine: Engine, conf: Conf
    ) -> None:
        engine.add(request_of(netns=OWN_NETNS), conf)
        planted(conf, ENOUGH - 1, LONG_ENOUGH + 1)
        fails(engine, conf, netns="")
        assert files(conf) == ["c1:eth0"]

    def test_failures_are_counted_as_far_as_they_matter(self, engine: Engine, conf: Conf) -> None:
        engine.add(request_of(netns=OWN_NETNS), conf)
        for _ in range(ENOUGH + 5):
            fails(engine, conf, OWN_NETNS)
        record = Journal(conf.cni_dir).find("c1", "eth0")
        assert record is not None and not record.damage
        assert record.failures[1].times == ENOUGH
        assert time.time() - record.failures[1].first < 60

    def test_the_first_failure_may_be_that_of_the_undoing(
        self, engine: Engine, recorder: Recorder, conf: Conf
    ) -> None:
        recorder.errors["ADD_net1"] = IOFailure("no such card")
        with pytest.raises(IOFailure, match="no such card"):
            engine.add(request_of(netns=GONE), conf)
        record = Journal(conf.cni_dir).find("c1", "eth0")
        assert record is not None and record.failures[1].times == 1

    def test_a_full_disk_keeps_nobody_from_removing_the_others(
        self, engine: Engine, recorder: Recorder, conf: Conf
    ) -> None:
        engine.add(request_of(netns=GONE), conf)
        with full_at(os.path.getsize(f"{conf.cni_dir}/c1:eth0")):
            fails(engine, conf)
        assert recorder.said[3:] == ["DEL c net1", "DEL b net0", "DEL a eth0"]
        recorder.errors.clear()
        engine.delete(request_of("DEL", netns=GONE), conf)
        assert files(conf) == []

    def test_where_its_record_cannot_be_kept_it_is_not_given_up(
        self, engine: Engine, conf: Conf, capfd: pytest.CaptureFixture[str]
    ) -> None:
        engine.add(request_of(netns=GONE), conf)
        planted(conf, ENOUGH - 1, LONG_ENOUGH + 1)
        os.makedirs(f"{conf.cni_dir}/c1:eth0:stuck/in-the-way")
        fails(engine, conf)
        assert "cannot be removed cannot be kept" in capfd.readouterr().err
        assert "c1:eth0" in files(conf)


@contextmanager
def full_at(size: int) -> Iterator[None]:
    """No file of this process grows beyond *size* bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_container_without_a_namespace_is_given_up_too(
    engine: Engine, conf: Conf, recorder: Recorder
) -> None:
    engine.add(request_of(netns=""), conf)
    planted(conf, ENOUGH - 1, LONG_ENOUGH + 1)
    engine.delete(request_of("DEL", netns=""), conf)
    assert files(conf) == ["c1:eth0:stuck"]
