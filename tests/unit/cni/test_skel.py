"""The front, on engines of plugins made here: what it refuses, in which order, what it prints."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contract.given import Recorder, at_work, merger, plugin_named, source
from descriptors import all_closed
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.values import delegate_of, objects, request_of

from multus.api.conf import Conf
from multus.api.errors import Interrupted, InvalidConfig, IOFailure, error_of
from multus.api.versions import SUPPORTED
from multus.cni import skel
from multus.cni.confs import Confs
from multus.engine.invoke.carrier import Carrier
from multus.engine.invoke.plan import plan
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.registry.entry import Entry
from multus.state.journal import Journal
from multus.testing.session import new_session

CONTAINER = {
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/none",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
    "CNI_NETNS_OVERRIDE": "1",
}
COMMANDS = ("ADD", "CHECK", "DEL", "GC", "STATUS", "VERSION")


def never(conf: Conf, deadline: float | None) -> Engine:
    raise AssertionError("no engine is needed for this")


def asked(
    command: str,
    conf: Any = None,
    engine_for: skel.EngineFor = never,
    **environ: str | None,
) -> tuple[int, Any]:
    """The exit status, and stdout decoded (None when it is empty)."""
    given = {**CONTAINER, "CNI_COMMAND": command, **environ}
    stdin = conf if isinstance(conf, bytes) else json.dumps(conf or {}).encode()
    status, out = skel.answer({k: v for k, v in given.items() if v is not None}, stdin, engine_for)
    return status, json.loads(out) if out else None


def refused(code: int, *arguments: Any, **keys: Any) -> str:
    """The message of an answer that is an error with this code."""
    status, error = asked(*arguments, **keys)
    assert status == 1 and set(error) == {"cniVersion", "code", "msg", "details"}
    assert error["code"] == code, error
    return str(error["msg"])


def logged(capfd: pytest.CaptureFixture[str], msg: str) -> dict[str, Any]:
    """The one line on stderr."""
    (line,) = capfd.readouterr().err.splitlines()
    found: dict[str, Any] = json.loads(line)
    assert (found["level"], found["msg"]) == ("error", msg)
    return found


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def engine_for(recorder: Recorder) -> Callable[..., skel.EngineFor]:
    """Makes engines of two networks and these plugins."""

    def make(*entries: Entry) -> skel.EngineFor:
        installed = at_work(source("a", "b"), recorder.plugin(), merger(), *entries)
        return lambda conf, deadline: Engine(installed, Log.from_conf(conf.raw))

    return make


@pytest.fixture
def conf(tmp_path: Path) -> dict[str, Any]:
    return {
        "cniVersion": "1.1.0",
        "name": "n",
        "type": "multus",
        "cniDir": str(tmp_path / "state"),
        "cni.dev/valid-attachments": [],
    }


class Old:
    """A node with the record of an attachment called ``x%d``, which none may be called today."""

    def __init__(self, folder: Path) -> None:
        self.recorder = Recorder()
        installed = at_work(self.recorder.plugin(), merger())
        self.engine = Engine(installed, Log.from_conf({"logLevel": "panic"}))
        self.wire = {"cniVersion": "1.1.0", "name": "n", "type": "multus", "cniDir": str(folder)}
        conf = Conf.from_wire(self.wire)
        request = request_of(ifname="x%d", environ=CONTAINER)
        call = Carrier(installed, new_session(), request, conf)
        planned = plan([delegate_of("a", "a", ifname="x%d", primary=True)], call)
        Journal(str(folder)).prepare()
        Journal(str(folder)).begin(request, self.wire, planned).close()

    def engine_for(self, conf: Conf, deadline: float | None) -> Engine:
        return self.engine


@pytest.fixture
def old(tmp_path: Path) -> Old:
    return Old(tmp_path / "state")


class TestOrderOfChecks:
    """First the environment (4), then the JSON (6), then the configuration (7, 1)."""

    def test_a_missing_variable_before_bad_json(self) -> None:
        assert "CNI_IFNAME" in refused(4, "ADD", b"{", CNI_IFNAME=None)

    def test_bad_json_before_a_missing_name(self) -> None:
        refused(6, "ADD", b"{")
        refused(6, "ADD", b"[]")

    def test_a_missing_name_before_a_bad_container(self) -> None:
        assert "name" in refused(7, "ADD", {}, CNI_CONTAINERID="../x")

    def test_a_bad_name_before_a_bad_version(self) -> None:
        refused(7, "ADD", {"name": "-", "cniVersion": "9.0.0"})
        refused(1, "ADD", {"name": "n", "cniVersion": "9.0.0"})

    def test_a_bad_version_before_a_bad_container(self) -> None:
        refused(1, "ADD", {"name": "n", "cniVersion": "9.0.0"}, CNI_CONTAINERID="../x")


class TestEnvironment:
    NEEDED = {
        "ADD": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
        "CHECK": ("CNI_CONTAINERID", "CNI_NETNS", "CNI_IFNAME", "CNI_PATH"),
        "DEL": ("CNI_CONTAINERID", "CNI_IFNAME", "CNI_PATH"),
        "GC": ("CNI_PATH",),
        "STATUS": ("CNI_PATH",),
    }

    @given(st.sampled_from(sorted(NEEDED)), st.sets(st.sampled_from(sorted(CONTAINER))))
    def test_all_that_is_missing_is_named_at_once(self, command: str, lacking: set[str]) -> None:
        needed = [name for name in self.NEEDED[command] if name in lacking]
        status, error = asked(command, b"{", never, **dict.fromkeys(lacking, ""))
        assert status == 1
        if needed:
            assert error["code"] == 4
            assert error["msg"] == f"required env variables [{','.join(needed)}] missing"
        else:
            assert error["code"] == 6

    @pytest.mark.parametrize("command", ["", "add", "ADD ", "UPDATE"])
    def test_an_unknown_command(self, command: str) -> None:
        assert "CNI_COMMAND" in refused(4, command)

    @pytest.mark.parametrize("name", ["../x", "-a", "a b", "a\n", "é"])
    def test_a_bad_container(self, name: str) -> None:
        for command in ("ADD", "DEL", "CHECK"):
            message = refused(
                4, command, {"name": "n", "cniVersion": "1.1.0"}, CNI_CONTAINERID=name
            )
            assert "CNI_CONTAINERID" in message

    @pytest.mark.parametrize("name", ["a" * 16, ".", "a/b", "a b"])
    def test_a_bad_interface(self, name: str) -> None:
        for command in ("ADD", "DEL", "CHECK"):
            message = refused(4, command, {"name": "n", "cniVersion": "1.1.0"}, CNI_IFNAME=name)
            assert "CNI_IFNAME" in message

    @pytest.mark.parametrize("name", ["x%d", "%", "eth%"])
    def test_a_pattern_of_the_kernels_is_no_interface_to_make(self, name: str) -> None:
        assert "'%'" in refused(4, "ADD", {"name": "n", "cniVersion": "1.1.0"}, CNI_IFNAME=name)

    def test_what_an_older_program_made_of_one_is_removed(self, old: Old) -> None:
        """Its record is of that name, whatever the kernel called the interface."""
        for _ in range(2):
            assert asked("DEL", old.wire, old.engine_for, CNI_IFNAME="x%d") == (0, None)
        assert old.recorder.said == ["DEL a x%d"]
        assert Journal(old.wire["cniDir"]).find("c1", "x%d") is None

    def test_gc_keeps_and_removes_it_by_its_record(self, old: Old) -> None:
        valid = [{"containerID": "c1", "ifname": "x%d"}]
        for still, left in ((valid, True), ([], False)):
            keys = {**old.wire, "cni.dev/valid-attachments": still}
            assert asked("GC", keys, old.engine_for) == (0, None)
            assert (Journal(old.wire["cniDir"]).find("c1", "x%d") is not None) is left

    @pytest.mark.parametrize("args", ["x", "A=1;x"])
    def test_bad_arguments(self, args: str) -> None:
        assert "CNI_ARGS" in refused(4, "ADD", {"name": "n"}, CNI_ARGS=args)

    @pytest.mark.parametrize(
        ("path", "folders"),
        [
            ("bin", ["/here/bin"]),
            ("/opt/cni/bin:./bin/:", ["/opt/cni/bin", "/here/bin"]),
            ("../x", ["/x"]),
        ],
    )
    def test_a_relative_path_is_one_of_the_working_folder(
        self, path: str, folders: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(os, "getcwd", lambda: "/here")
        environ = {**CONTAINER, "CNI_PATH": path}
        found = skel.request_of("ADD", {k: v for k, v in environ.items() if v is not None})
        assert list(found.path) == folders


class TestWithin:
    """A plugin that Multus started calls Multus: it would wait for itself."""

    @pytest.mark.parametrize("command", ["ADD", "CHECK", "STATUS"])
    def test_it_is_refused_before_anything_is_read(self, command: str) -> None:
        message = refused(7, command, b"no JSON", MULTUS_WITHIN="c1")
        assert "Multus would call itself" in message

    @pytest.mark.parametrize("command", ["DEL", "GC"])
    def test_there_is_nothing_to_remove(self, command: str) -> None:
        assert asked(command, b"no JSON", MULTUS_WITHIN="c1") == (0, None)

    def test_its_version_is_told(self) -> None:
        assert asked("VERSION", b"", MULTUS_WITHIN="c1")[0] == 0


class TestVersions:
    @pytest.mark.parametrize("stdin", [b"", b" \n", b"{}", b'{"cniVersion": "0.4.0", "name": "-"}'])
    def test_version_needs_nothing(self, stdin: bytes) -> None:
        status, answer = asked("VERSION", stdin, never, **dict.fromkeys(CONTAINER, None))
        assert (status, answer["supportedVersions"]) == (0, list(SUPPORTED))
        assert answer["cniVersion"] == ("0.4.0" if b"0.4.0" in stdin else "1.1.0")

    @pytest.mark.parametrize(
        ("command", "since"), [("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0")]
    )
    def test_a_command_is_of_its_version(self, command: str, since: str) -> None:
        for version in SUPPORTED[: SUPPORTED.index(since)]:
            message = refused(1, command, {"name": "n", "cniVersion": version})
            assert since in message and version in message

    def test_an_error_is_of_the_configurations_version(self) -> None:
        for version in SUPPORTED:
            _, error = asked("ADD", {"cniVersion": version})
            assert error["cniVersion"] == version

    @pytest.mark.parametrize("version", [5, "9.0.0", ["1.0.0"], None, {}])
    def test_an_error_about_the_version_is_of_one_that_there_is(self, version: Any) -> None:
        _, error = asked("ADD", {"cniVersion": version})
        assert error["cniVersion"] in SUPPORTED

    @pytest.mark.parametrize("version", SUPPORTED)
    def test_the_result_is_of_the_configurations_version(
        self, engine_for: Callable[..., skel.EngineFor], conf: dict[str, Any], version: str
    ) -> None:
        status, result = asked("ADD", {**conf, "cniVersion": version}, engine_for())
        assert (status, result["cniVersion"]) == (0, version)


@pytest.mark.parametrize("command", ["CHECK", "DEL", "GC", "STATUS"])
def test_only_add_and_version_say_something(
    engine_for: Callable[..., skel.EngineFor],
    conf: dict[str, Any],
    command: str,
) -> None:
    netns = "/proc/self/ns/net"
    assert asked("ADD", conf, engine_for(), CNI_NETNS=netns)[0] == 0
    assert asked(command, conf, engine_for(), CNI_NETNS=netns) == (0, None)


class TestBugs:
    """An internal error is one error object, and its traceback is in the log at every level."""

    def odd(self, error: BaseException) -> Entry:
        def multus_validate() -> None:
            raise error

        return plugin_named("odd", multus_validate)

    def test_of_a_plugin(
        self,
        engine_for: Callable[..., skel.EngineFor],
        conf: dict[str, Any],
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        message = refused(999, "ADD", conf, engine_for(self.odd(ZeroDivisionError("x"))))
        assert "'odd'" in message and "ZeroDivisionError" in message
        assert "in multus_validate" in logged(capfd, "ADD: internal error")["traceback"]

    def test_of_our_own(self, conf: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
        def broken(conf: Conf, deadline: float | None) -> Engine:
            raise RuntimeError("out of paper")

        message = refused(999, "ADD", conf, broken)
        assert "out of paper" in message
        line = logged(capfd, "internal error")
        assert "out of paper" in line["error"]
        assert "in broken" in line["traceback"]

    def test_a_delegates_own_999_is_no_error_of_ours(
        self,
        engine_for: Callable[..., skel.EngineFor],
        conf: dict[str, Any],
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        refused(101, "ADD", conf, engine_for(self.odd(error_of(999, "the bridge is full"))))
        # The request's own line is all there is.
        assert [json.loads(each)["msg"] for each in capfd.readouterr().err.splitlines()] == ["ADD"]

    def test_what_is_refused_before_the_engine_is_logged_too(
        self, conf: dict[str, Any], capfd: pytest.CaptureFixture[str]
    ) -> None:
        refused(7, "ADD", {**conf, "name": "/"}, never)
        assert logged(capfd, "ADD")["code"] == 7
        status, _ = skel.answer({"CNI_COMMAND": "ADD"}, b"{}", never)
        assert status == 1
        assert logged(capfd, "ADD")["code"] == 4

    def test_ctrl_c_is_none(
        self,
        engine_for: Callable[..., skel.EngineFor],
        conf: dict[str, Any],
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        refused(11, "ADD", conf, engine_for(self.odd(Interrupted())))
        line = logged(capfd, "ADD")
        assert (line["code"], "traceback" in line) == (11, False)

    def test_no_descriptor_is_left_open(
        self, conf: dict[str, Any], tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def broken(conf: Conf, deadline: float | None) -> Engine:
            raise RuntimeError("out of paper")

        conf |= {"logFile": str(tmp_path / "log"), "logToStderr": False}
        with all_closed():
            for _ in range(50):
                refused(999, "ADD", conf, broken)
                asked("DEL", {**conf, "naming": 5}, broken)  # goes on without the key, and says so
        lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
        assert [each["msg"] for each in lines].count("internal error") == 100
        assert len(lines) == 150

    def test_an_error_of_the_request_leaves_no_traceback(
        self,
        engine_for: Callable[..., skel.EngineFor],
        conf: dict[str, Any],
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        refused(7, "ADD", conf, engine_for(self.odd(InvalidConfig("wrong"))))
        assert "Traceback" not in capfd.readouterr().err


@given(st.binary(max_size=80) | objects.map(lambda each: json.dumps(each).encode()))
def test_any_input_gets_one_object_and_a_status(stdin: bytes) -> None:
    for command in COMMANDS:
        status, answer = asked(command, stdin or b" ")
        assert status in (0, 1) and isinstance(answer, dict)


@settings(suppress_health_check=list(HealthCheck), max_examples=60)
@given(keys=objects)
def test_any_key_of_a_configuration_is_done_or_refused(
    keys: dict[str, Any], engine_for: Callable[..., skel.EngineFor], conf: dict[str, Any]
) -> None:
    engine = engine_for()
    for command in ("ADD", "DEL"):
        status, answer = asked(command, {**keys, **conf}, engine)
        assert status == 0 or answer["code"] in (1, 4, 6, 7)


class TestValidatedOnce:
    """A daemon gets the same configuration for pod after pod."""

    @pytest.fixture
    def add(
        self, engine_for: Callable[..., skel.EngineFor], conf: dict[str, Any], seen: list[str]
    ) -> Callable[..., int]:
        def multus_validate(conf: Conf) -> None:
            seen.append(conf.name)
            if conf.name == "bad":
                raise InvalidConfig("it is bad")

        confs, engines = Confs(), engine_for(plugin_named("validating", multus_validate))

        def add(container: str, **keys: Any) -> int:
            environ = {**CONTAINER, "CNI_COMMAND": "ADD", "CNI_CONTAINERID": container}
            stdin = json.dumps({**conf, **keys}).encode()
            return skel.answer(environ, stdin, engines, confs=confs)[0]

        return add

    @pytest.fixture
    def seen(self) -> list[str]:
        return []

    def test_the_plugins_are_asked_about_the_same_bytes_once(
        self, add: Callable[..., int], seen: list[str]
    ) -> None:
        assert [add("c1"), add("c2"), add("c3", name="other"), add("c4")] == [0, 0, 0, 0]
        assert seen == ["n", "other"]

    def test_one_that_was_refused_is_refused_again(
        self, add: Callable[..., int], seen: list[str]
    ) -> None:
        assert [add("c1", name="bad"), add("c1", name="bad")] == [1, 1]
        assert seen == ["bad", "bad"]

    def test_one_whose_add_failed_is_validated_again(
        self, add: Callable[..., int], seen: list[str], recorder: Recorder
    ) -> None:
        recorder.errors["ADD_eth0"] = IOFailure("no")
        assert add("c1") == 1
        recorder.errors.clear()
        assert [add("c1"), add("c2")] == [0, 0]
        assert seen == ["n", "n"]
