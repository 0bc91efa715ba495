"""Which records GC takes for dead."""

from __future__ import annotations

import json
import time
from binascii import crc32
from pathlib import Path

import pytest
from contract.given import Recorder, at_work, merger, source
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.request import Request
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.state import garbage
from multus.state.journal import Journal
from multus.state.record import Record

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
