"""The exec invoker, on real programs."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from multus_invoker_exec import ExecInvoker
from waiting import PATIENCE

from multus.api.conf import Conf
from multus.api.errors import (
    CNIError,
    DecodingFailure,
    DelegateFailed,
    IncompatibleVersion,
    NotAvailable,
    NotStarted,
)
from multus.api.invoker import NothingDone
from multus.api.network import Delegate, Invocation, Plugin
from multus.api.result import IP, Interface, Result
from multus.log import Log
from multus.registry.index import discover
from multus.registry.loading import load
from multus.testing.delegates import BinDir, Reply, interface_result
from multus.testing.invocation import Caller
from multus.testing.session import new_session

OLD = {"cniVersion": "1.0.0", "supportedVersions": ["0.3.1", "0.4.0", "1.0.0"]}


@pytest.fixture
def folder(tmp_path: Path) -> BinDir:
    return BinDir(str(tmp_path / "bin"))


@pytest.fixture
def exec_() -> ExecInvoker:
    return ExecInvoker()


def invocation(folder: BinDir, verb: str, version: str = "1.1.0", **keys: Any) -> Invocation:
    caller = Caller(path=(folder.path,), args="IgnoreUnknown=1")
    return caller.invocation(verb, {"type": "fake", "cniVersion": version, **keys})


class TestAdd:
    def test_the_plugin_gets_everything_and_its_result_is_read(
        self, folder: BinDir, exec_: ExecInvoker
    ) -> None:
        folder.stand_in("fake", ADD=Reply.json(interface_result(["10.0.0.2/8"])))
        asked = invocation(folder, "ADD", big=2**70, deep={"é": [None, 1.5]})
        result = exec_.add(evolve(asked, prev_result=Result(ips=(IP("10.0.0.1/8"),))))
        assert result.ips == (IP("10.0.0.2/8", interface=0),)
        (call,) = folder.calls
        assert call.conf == {
            "type": "fake",
            "name": "net1",
            "cniVersion": "1.1.0",
            "big": 2**70,
            "deep": {"é": [None, 1.5]},
            "prevResult": {"cniVersion": "1.1.0", "ips": [{"address": "10.0.0.1/8"}], "dns": {}},
        }
        wanted = {
            "CNI_COMMAND": "ADD",
            "CNI_CONTAINERID": "c1",
            "CNI_IFNAME": "eth0",
            "CNI_NETNS": "/run/netns/none",
            "CNI_ARGS": "IgnoreUnknown=1",
            "CNI_PATH": f"/opt/cni/bin:{folder.path}",
        }
        assert {name: call.environ.get(name) for name in wanted} == wanted

    @pytest.mark.parametrize("nothing", ["", "null", " \n", "{}"])
    def test_nothing_printed_is_the_empty_result(
        self, folder: BinDir, exec_: ExecInvoker, nothing: str
    ) -> None:
        folder.stand_in("fake", ADD=Reply(nothing))
        assert exec_.add(invocation(folder, "ADD")) == Result()

    def test_a_result_without_a_version_is_of_the_one_spoken(
        self, folder: BinDir, exec_: ExecInvoker
    ) -> None:
        folder.stand_in("fake", ADD=Reply.json({"interfaces": [{"name": "eth0"}]}))
        result = exec_.add(invocation(folder, "ADD", "0.3.1"))
        assert result.interfaces == (Interface("eth0"),)

    @pytest.mark.parametrize("printed", ['"fine"', "[]", "5", "true"])
    def test_a_result_must_be_an_object(
        self, folder: BinDir, exec_: ExecInvoker, printed: str
    ) -> None:
        folder.stand_in("fake", ADD=Reply(printed))
        with pytest.raises(DelegateFailed, match="not an object"):
            exec_.add(invocation(folder, "ADD"))

    def test_a_result_that_is_wrong_cannot_be_decoded(
        self, folder: BinDir, exec_: ExecInvoker
    ) -> None:
        folder.stand_in("fake", ADD=Reply.json({"cniVersion": "1.0.0", "ips": [5]}))
        with pytest.raises(DecodingFailure):
            exec_.add(invocation(folder, "ADD"))

    @pytest.mark.parametrize("ips", [5, "x", [5], {"a": 1}])
    def test_a_key_that_its_version_does_not_have_is_ignored(
        self, folder: BinDir, exec_: ExecInvoker, ips: object
    ) -> None:
        folder.stand_in("fake", ADD=Reply.json({"cniVersion": "0.2.0", "ips": ips}))
        assert exec_.add(invocation(folder, "ADD")) == Result()

    def test_a_refused_version_raises_incompatible_version(
        self, folder: BinDir, exec_: ExecInvoker
    ) -> None:
        folder.stand_in("fake", ADD=Reply.error(1, "incompatible CNI versions"))
        with pytest.raises(IncompatibleVersion):
            exec_.add(invocation(folder, "ADD"))

    def test_a_result_of_an_unknown_version_is_not_a_version_refusal(
        self, folder: BinDir, exec_: ExecInvoker
    ) -> None:
        # It has attached something: it must not be asked once more in another version.
        folder.stand_in("fake", ADD=Reply.json({"cniVersion": "9.0.0"}))
        with pytest.raises(DelegateFailed, match=r"9\.0\.0"):
            exec_.add(invocation(folder, "ADD"))

    @pytest.mark.parametrize("content", [None, b"\x7fELF"])
    def test_what_never_ran_has_done_nothing(
        self, folder: BinDir, exec_: ExecInvoker, content: bytes | None
    ) -> None:
        if content:
            folder.file("fake", content)
        with pytest.raises(NothingDone, match="fake"):
            exec_.add(invocation(folder, "ADD"))

    def test_what_it_says_on_stderr_goes_to_the_log(
        self, folder: BinDir, exec_: ExecInvoker, tmp_path: Path
    ) -> None:
        folder.stand_in("fake", ADD=Reply("{}", stderr="the card is warm"))
        path = tmp_path / "log"
        log = Log.from_conf({"logFile": str(path), "logToStderr": False, "logLevel": "verbose"})
        exec_.add(evolve(invocation(folder, "ADD"), log=log))
        assert "the card is warm" in path.read_text()

    def test_the_lock_goes_with_it(
        self, folder: BinDir, exec_: ExecInvoker, tmp_path: Path
    ) -> None:
        script = f"#!/bin/sh\nreadlink /proc/self/fd/200 >{tmp_path}/held\necho null\n"
        folder.file("fake", script.encode())
        with open(tmp_path / "lock", "w") as lock:
            exec_.add(evolve(invocation(folder, "ADD"), inherited=(lock.fileno(),)))
        assert (tmp_path / "held").read_text().strip() == str(tmp_path / "lock")


class TestTime:
    def conf(self, seconds: float) -> Conf:
        return Conf.from_wire({"name": "n", "delegateTimeout": seconds})

    def test_the_configuration_bounds_it(self, folder: BinDir, exec_: ExecInvoker) -> None:
        folder.stand_in("fake", ADD=Reply(sleep=600))
        started = time.monotonic()
        with pytest.raises(DelegateFailed, match="delegateTimeout"):
            exec_.add(evolve(invocation(folder, "ADD"), conf=self.conf(0.5)))
        assert time.monotonic() - started < PATIENCE

    def test_the_callers_deadline_bounds_an_add(self, folder: BinDir, exec_: ExecInvoker) -> None:
        folder.stand_in("fake", ADD=Reply(sleep=600))
        asked = invocation(folder, "ADD")
        soon = new_session(deadline=time.monotonic() + 0.5)
        started = time.monotonic()
        with pytest.raises(DelegateFailed):
            exec_.add(evolve(asked, session=soon))
        assert time.monotonic() - started < PATIENCE

    def test_but_not_a_del(self, folder: BinDir, exec_: ExecInvoker) -> None:
        folder.stand_in("fake", DEL=Reply(sleep=0.5))
        asked = invocation(folder, "DEL")
        exec_.delete_one(evolve(asked, session=new_session(deadline=0.0)))


class TestOtherVerbs:
    def test_del_passes_its_error_on(self, folder: BinDir, exec_: ExecInvoker) -> None:
        folder.stand_in("fake", DEL=Reply.error(11, "later"))
        (error,) = exec_.delete([invocation(folder, "DEL")])
        assert error is not None and error.number == 11

    def test_many_are_deleted_in_order_past_errors(
        self, folder: BinDir, exec_: ExecInvoker
    ) -> None:
        folder.stand_in("fake", DEL=Reply.error(11, "later")).stand_in("good")
        good = Caller(path=(folder.path,)).invocation("DEL", {"type": "good"})
        errors = exec_.delete([invocation(folder, "DEL"), good])
        assert [error is None for error in errors] == [False, True]
        assert folder.commands("DEL") == ["DEL fake eth0", "DEL good eth0"]

    @pytest.mark.parametrize(("version", "asked"), [("0.3.1", 0), ("0.4.0", 1), ("1.1.0", 1)])
    def test_check_is_of_0_4_0(
        self, folder: BinDir, exec_: ExecInvoker, version: str, asked: int
    ) -> None:
        folder.stand_in("fake")
        exec_.check(invocation(folder, "CHECK", version))
        assert len(folder.calls) == asked

    @pytest.mark.parametrize("verb", ["STATUS", "GC"])
    @pytest.mark.parametrize(("version", "asked"), [("1.0.0", 0), ("1.1.0", 1)])
    def test_status_and_gc_are_of_1_1_0(
        self, folder: BinDir, exec_: ExecInvoker, verb: str, version: str, asked: int
    ) -> None:
        folder.stand_in("fake")
        getattr(exec_, verb.lower())(invocation(folder, verb, version))
        assert len(folder.calls) == asked

    @pytest.mark.parametrize("verb", ["STATUS", "GC"])
    def test_a_plugin_older_than_the_verb_is_not_an_error(
        self, folder: BinDir, exec_: ExecInvoker, verb: str
    ) -> None:
        # What the reference plugins of 2022 say to a command that they do not know.
        unknown = Reply.error(3, "missing containerID")
        folder.stand_in("fake", VERSION=Reply.json(OLD), **{verb: unknown})
        getattr(exec_, verb.lower())(invocation(folder, verb))

    @pytest.mark.parametrize("verb", ["STATUS", "GC"])
    def test_the_error_of_one_that_knows_it_stands(
        self, folder: BinDir, exec_: ExecInvoker, verb: str
    ) -> None:
        folder.stand_in("fake", **{verb: Reply.error(51, "no daemon")})
        with pytest.raises(CNIError, match="no daemon"):
            getattr(exec_, verb.lower())(invocation(folder, verb))

    @pytest.mark.parametrize("version", ["0.3.1", "1.1.0"])
    def test_a_missing_binary_is_not_available(
        self, folder: BinDir, exec_: ExecInvoker, version: str
    ) -> None:
        with pytest.raises(NotAvailable, match="'fake' is not found"):
            exec_.status(invocation(folder, "STATUS", version))

    def test_gc_hands_the_valid_attachments_on(self, folder: BinDir, exec_: ExecInvoker) -> None:
        folder.stand_in("fake")
        valid = ({"containerID": "c2", "ifname": "net1"},)
        exec_.gc(evolve(invocation(folder, "GC"), valid_attachments=valid))
        (call,) = folder.calls
        assert call.conf["cni.dev/valid-attachments"] == list(valid)


class TestVersions:
    @pytest.mark.parametrize(
        ("printed", "versions"),
        [
            (json.dumps(OLD), ("0.3.1", "0.4.0", "1.0.0")),
            ('{"cniVersion": "0.2.0"}', ("0.2.0",)),
            ('{"cniVersion": "0.2.0", "supportedVersions": null}', ("0.2.0",)),
            ('{"supportedVersions": ["1.0.0", 5]}', ("1.0.0",)),
            ("null", ("0.1.0",)),
            ("", ("0.1.0",)),
        ],
    )
    def test_are_what_the_plugin_says(
        self, folder: BinDir, exec_: ExecInvoker, printed: str, versions: tuple[str, ...]
    ) -> None:
        folder.stand_in("fake", VERSION=Reply(printed))
        assert exec_.versions(invocation(folder, "ADD")) == versions


class TestPrepare:
    def test_misses_the_binary_before_anything_is_done(
        self, folder: BinDir, exec_: ExecInvoker
    ) -> None:
        with pytest.raises(NotStarted, match="'fake'"):
            exec_.prepare(invocation(folder, "ADD"))
        folder.stand_in("fake")
        exec_.prepare(invocation(folder, "ADD"))
        assert folder.calls == []

    def test_leaves_its_addresses_to_the_plugin(self, folder: BinDir, exec_: ExecInvoker) -> None:
        # Some have their address management built in.
        folder.stand_in("fake")
        exec_.prepare(invocation(folder, "ADD", ipam={"type": "pool"}))


def test_it_takes_every_type_after_everybody_else() -> None:
    installed = load([each for each in discover() if each.name == "invoker-exec"])
    (at_work,) = installed.hooks.implementations("multus_invoker")
    assert at_work.plugin_name == "invoker-exec" and at_work.trylast
    conf = Conf.from_wire({"name": "n"})
    for kind in ("bridge", "anything"):
        plugin = Plugin({"type": kind})
        (offer,) = installed.hooks.invokers(plugin, Delegate("n", (plugin,), "1.0.0"), conf)
        assert isinstance(offer, ExecInvoker)


def test_a_real_plugin(exec_: ExecInvoker, tmp_path: Path) -> None:
    folder = BinDir(str(tmp_path / "real"))
    try:
        folder.real("static")
    except FileNotFoundError as error:
        pytest.skip(str(error))
    caller = Caller(path=(folder.path,))
    # An address manager needs no namespace.
    config = {"ipam": {"type": "static", "addresses": [{"address": "10.0.0.2/8"}]}}
    asked = caller.invocation("ADD", {"type": "static", "cniVersion": "1.0.0", **config})
    assert exec_.add(asked).ips == (IP("10.0.0.2/8"),)
    assert os.path.exists(f"{folder.path}/static")
