"""A plugin's exceptions and wrong answers are reported as its own, and do not affect others."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from contract.given import Recorder, plugin_named, source
from unit.values import conf_of, request_of

from multus.api import progress
from multus.api.conf import Conf
from multus.api.errors import CNIError, IncompatibleVersion, Interrupted
from multus.api.invoker import Invoker
from multus.api.network import Element, Invocation, Plugin, Role, Selection
from multus.api.result import DNS, IP, Interface, Result
from multus.cni import skel
from multus.engine.pipeline import Engine
from multus.registry.hooks import PluginFailed


class Silent(Exception):
    """An exception that cannot be shown."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Abandoned(BaseException):
    """An exception that some libraries use to cancel a task."""


RAISED: list[BaseException] = [
    ValueError("embedded null byte"),
    KeyError("name"),
    RecursionError("too deep"),
    MemoryError(),
    SystemExit(0),
    SystemExit("bye"),
    KeyboardInterrupt(),
    GeneratorExit(),
    Silent(),
    Abandoned("stop"),
]
by_class = pytest.mark.parametrize("raised", RAISED, ids=lambda each: type(each).__name__)


class Raising(Recorder):
    """Raises for the interfaces that it is given, at DEL, CHECK and GC."""

    name = "raising"

    def __init__(self, raised: BaseException, *ifnames: str) -> None:
        super().__init__()
        self.raised, self.ifnames = raised, ifnames

    def _record(self, invocation: Invocation) -> None:
        super()._record(invocation)
        if invocation.verb != "ADD" and invocation.ifname in self.ifnames:
            raise self.raised


class Batch(Raising):
    """Deletes many at once; one failure ends the whole batch."""

    name = "batch"

    def delete(self, invocations: Sequence[Invocation]) -> list[CNIError | None]:
        for each in invocations:
            self._record(each)
        return [None] * len(invocations)


def plugin_of(invoker: Invoker) -> Any:
    def multus_invoker(plugin: Plugin) -> Invoker:
        return invoker

    return plugin_named("theirs", multus_invoker)


class TestInvokers:
    @by_class
    @pytest.mark.parametrize("kind", [Raising, Batch])
    def test_at_del_the_others_are_removed(
        self,
        engine: Callable[..., Engine],
        conf: Conf,
        kind: type[Raising],
        raised: BaseException,
    ) -> None:
        invoker = kind(raised, "net0")
        theirs = engine(source("a", "b", "c"), plugin_of(invoker))
        theirs.add(request_of(), conf)
        with pytest.raises(
            CNIError, match=rf"'b'.*'{invoker.name}' of {__name__} failed with"
        ) as caught:
            theirs.delete(request_of("DEL"), conf)
        assert type(raised).__name__ in str(caught.value)
        assert "'a'" not in str(caught.value) and "'c'" not in str(caught.value)
        # Only one network is left for the next DEL.
        invoker.calls.clear()
        invoker.ifnames = ()
        theirs.delete(request_of("DEL"), conf)
        assert invoker.said == ["DEL b net0"]

    @by_class
    def test_at_add_it_fails_the_request_and_is_undone(
        self,
        engine: Callable[..., Engine],
        recorder: Recorder,
        conf: Conf,
        raised: BaseException,
    ) -> None:
        class Hasty(Recorder):
            name = "hasty"

            def add(self, invocation: Invocation) -> Any:
                raise raised

        hasty = Hasty()

        def multus_invoker(plugin: Plugin) -> Invoker | None:
            return hasty if plugin.type == "hasty" else None

        both = engine(source("fake", "hasty"), plugin_named("h", multus_invoker))
        with pytest.raises(
            CNIError, match=rf"invoker 'hasty' of {__name__} failed with {type(raised).__name__}"
        ):
            both.add(request_of(), conf)
        assert recorder.said == ["ADD fake eth0", "DEL fake eth0"]

    @by_class
    def test_at_check_and_gc_the_others_are_asked_too(
        self, engine: Callable[..., Engine], conf: Conf, raised: BaseException
    ) -> None:
        invoker = Raising(raised, "eth0", "net0", "")
        theirs = engine(source("a", "b"), plugin_of(invoker))
        theirs.add(request_of(), conf)
        with pytest.raises(CNIError):
            theirs.check(request_of("CHECK"), conf)
        keys = {"cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}]}
        collecting = conf_of(**{**conf.raw, **keys})
        with pytest.raises(CNIError):
            theirs.collect_garbage(request_of("GC", container_id="", ifname=""), collecting)
        asked = [f"{each.verb} {each.plugin.type}" for each in invoker.calls[2:]]
        assert asked == ["CHECK a", "CHECK b", "GC a", "GC b"]

    @pytest.mark.parametrize(
        ("answer", "said"),
        [
            (None, "add returned None"),
            ("attached", "add returned 'attached'"),
            ({"ips": []}, "add returned {'ips': []}"),
            (Result, "add returned <class 'multus.api.result.Result'>"),
            (Result(interfaces=({"name": "x"},)), "a dict among its 'interfaces'"),  # type: ignore[arg-type]
            (Result(ips=(IP(None),)), "a IP whose 'address' is None"),  # type: ignore[arg-type]
            (Result((Interface("x", mac=b"y"),)), "a Interface whose 'mac' is b'y'"),  # type: ignore[arg-type]
            (
                Result((Interface("x"),), (IP("10.0.0.1/24", interface=1),)),
                "whose 'interface' is 1",
            ),
            (Result(ips=(IP("10.0.0.1/24", interface="x"),)), "whose 'interface' is 'x'"),  # type: ignore[arg-type]
            (Result(dns=DNS(nameservers=(5,))), "a DNS whose 'nameservers' is (5,)"),  # type: ignore[arg-type]
            (Result(dns=DNS(nameservers="8.8")), "a DNS whose 'nameservers' is '8.8'"),  # type: ignore[arg-type]
        ],
        ids=[
            *("None", "text", "dict", "class", "interfaces", "address", "mac", "no interface"),
            *("interface", "servers", "server"),
        ],
    )
    def test_an_add_that_answers_nonsense_is_undone(
        self, engine: Callable[..., Engine], conf: Conf, answer: Any, said: str
    ) -> None:
        class Odd(Recorder):
            name = "odd"

            def add(self, invocation: Invocation) -> Any:
                super().add(invocation)
                return answer

        odd = Odd()
        with pytest.raises(CNIError) as caught:
            engine(source("a"), plugin_of(odd)).add(request_of(), conf)
        assert f"invoker 'odd' of {__name__}: " in caught.value.msg
        assert said in caught.value.msg
        assert caught.value.msg.endswith(
            "return a Result, Result() when there is nothing to report"
        )
        assert odd.said == ["ADD a eth0", "DEL a eth0"]
        assert records_of(conf) == []

    @pytest.mark.parametrize("verb", ["prepare", "check", "status", "gc", "delete_one"])
    def test_an_error_that_is_returned_is_not_taken_for_success(
        self, engine: Callable[..., Engine], conf: Conf, verb: str
    ) -> None:
        class Odd(Recorder):
            name = "odd"

        def returning(self: Odd, invocation: Invocation) -> CNIError:
            return CNIError("out of paper")

        returning.__name__ = verb
        theirs = engine(source("a"), plugin_of(Odd()))
        calls: dict[str, Callable[[], object]] = {
            "prepare": lambda: theirs.add(request_of(), conf),
            "check": lambda: theirs.check(request_of("CHECK"), conf),
            "status": lambda: theirs.status(request_of("STATUS", container_id=""), conf),
            "gc": lambda: theirs.collect_garbage(
                request_of("GC", container_id="", ifname=""),
                conf_of(**{**conf.raw, "cni.dev/valid-attachments": []}),
            ),
            "delete_one": lambda: theirs.delete(request_of("DEL"), conf),
        }
        if verb in ("check", "delete_one"):
            theirs.add(request_of(), conf)
        setattr(Odd, verb, returning)
        with pytest.raises(CNIError, match=f"{verb} returned CNIError.*raise errors"):
            calls[verb]()

    @pytest.mark.parametrize("answer", [None, [], [None, None], ["gone"], CNIError("no"), 5])
    def test_a_joint_del_that_answers_nonsense_is_an_error_of_each(
        self, engine: Callable[..., Engine], conf: Conf, answer: Any
    ) -> None:
        class Odd(Recorder):
            name = "odd"

            def delete(self, invocations: Sequence[Invocation]) -> Any:
                return answer

        theirs = engine(source("a"), plugin_of(Odd()))
        theirs.add(request_of(), conf)
        with pytest.raises(CNIError, match=r"'odd' of .*: delete returned .*for each invocation"):
            theirs.delete(request_of("DEL"), conf)

    @pytest.mark.parametrize("known", [None, 5, ["1.0.0", 7]])
    def test_versions_that_are_none_cost_one_network(
        self, engine: Callable[..., Engine], conf: Conf, known: Any
    ) -> None:
        class Aged(Recorder):
            name = "aged"

            def delete_one(self, invocation: Invocation) -> None:
                self._record(invocation)
                if invocation.ifname == "net0":
                    raise IncompatibleVersion("too new")

            def versions(self, invocation: Invocation) -> Any:
                return known

        aged = Aged()
        theirs = engine(source("a", "b", "c"), plugin_of(aged))
        theirs.add(request_of(), conf)
        with pytest.raises(CNIError, match=r"'b'.*versions returned") as caught:
            theirs.delete(request_of("DEL"), conf)
        assert "'a'" not in str(caught.value)

    def test_an_interruption_passes_through(
        self, engine: Callable[..., Engine], conf: Conf
    ) -> None:
        invoker = Raising(Interrupted(), "eth0")
        theirs = engine(source("a"), plugin_of(invoker))
        theirs.add(request_of(), conf)
        with pytest.raises(Interrupted):
            theirs.delete(request_of("DEL"), conf)


def records_of(conf: Conf) -> list[str]:
    """The containers that have a record."""
    return [name for name in os.listdir(conf.cni_dir) if ":" in name.lstrip(":")]


class TestHooks:
    def test_a_configuration_that_is_not_json_is_its_sources(
        self, engine: Callable[..., Engine], recorder: Recorder, conf: Conf
    ) -> None:
        def multus_runtime_config() -> dict[str, object]:
            return {"mac": object()}

        config = {"type": "a", "name": "n", "capabilities": {"mac": True}}

        def multus_select() -> Selection:
            element = Element("a", "the test", "odd-source", config=config)
            return Selection(Role.DEFAULT, (element,), "the test")

        odd = plugin_named("odd", multus_select, multus_runtime_config)
        with pytest.raises(CNIError, match=r"network 'n': its configuration is not JSON.*odd-so"):
            engine(odd).add(request_of(), conf)
        assert recorder.said == []
        assert records_of(conf) == []

    def test_a_mergers_result_that_cannot_be_written_is_its_own(
        self, engine: Callable[..., Engine], recorder: Recorder, conf: Conf
    ) -> None:
        def multus_merge() -> Result:
            return Result((Interface("eth0", mac=b"x"),))  # type: ignore[arg-type]

        with pytest.raises(CNIError, match="'odd', hook 'multus_merge', answered with a"):
            engine(source("a"), plugin_named("odd", multus_merge)).add(request_of(), conf)
        assert recorder.said == ["ADD a eth0", "DEL a eth0"]

    def test_a_plugin_that_takes_more_than_a_second_is_logged_by_name(
        self, engine: Callable[..., Engine], conf: Conf, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def multus_select() -> None:
            time.sleep(1.1)

        quiet = engine(source("a"), plugin_named("slow", multus_select))
        quiet.log.level = "error"
        quiet.add(request_of(), conf)
        (line,) = capfd.readouterr().err.splitlines()
        told = json.loads(line)
        assert told["msg"].startswith("slow: multus_select of 'slow' took 1.")
        assert (told["plugin"], told["task"], told["container"]) == ("slow", "multus_select", "c1")

    def test_a_plugin_that_only_waits_is_not_logged_as_an_error(
        self, engine: Callable[..., Engine], conf: Conf, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def multus_select() -> None:
            with progress.step("the switch", 5.0, waits=True):
                time.sleep(1.1)

        engine(source("a"), plugin_named("slow", multus_select)).add(request_of(), conf)
        lines = map(json.loads, capfd.readouterr().err.splitlines())
        (told,) = [each for each in lines if each["msg"].startswith("slow")]
        assert (told["level"], told["waited"] > 1) == ("verbose", True)

    def test_every_traceback_is_in_the_log_when_several_fail(
        self, engine: Callable[..., Engine], conf: Conf, capfd: pytest.CaptureFixture[str]
    ) -> None:
        class Odd(Recorder):
            name = "odd"

            def delete_one(self, invocation: Invocation) -> None:
                raise ValueError(f"{invocation.plugin.type} is stuck")

        theirs = engine(source("a", "b"), plugin_of(Odd()))
        theirs.add(request_of(), conf)
        theirs.log.level = "error"
        with pytest.raises(CNIError):
            theirs.delete(request_of("DEL"), conf)
        text = capfd.readouterr().err
        for kind in ("a", "b"):
            assert any(
                f"ValueError: {kind} is stuck" in json.loads(line).get("traceback", "")
                for line in text.splitlines()
            )

    @by_class
    def test_a_hook_is_named(
        self, engine: Callable[..., Engine], conf: Conf, raised: BaseException
    ) -> None:
        def multus_select() -> None:
            raise raised

        with pytest.raises(PluginFailed, match="plugin 'odd', hook 'multus_select'"):
            engine(plugin_named("odd", multus_select)).add(request_of(), conf)

    @by_class
    def test_an_observer_changes_nothing(
        self,
        engine: Callable[..., Engine],
        conf: Conf,
        raised: BaseException,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        def multus_finished() -> None:
            raise raised

        engine(source("a"), plugin_named("odd", multus_finished)).add(request_of(), conf)
        assert "observer 'odd' failed in multus_finished" in capfd.readouterr().err

    @by_class
    def test_a_health_check_is_one_reason_among_others(
        self, engine: Callable[..., Engine], conf: Conf, raised: BaseException
    ) -> None:
        def failing() -> None:
            raise raised

        def telling() -> CNIError:
            return CNIError("no daemon", code=51)

        failing.__name__ = telling.__name__ = "multus_health"
        hooks = engine(plugin_named("a", failing), plugin_named("b", telling)).installed.hooks
        assert [each.number for each in hooks.health(conf)] == [999, 51]


CONFIGURATION = {"cniVersion": "1.1.0", "name": "n", "type": "multus"}
ENVIRON = {
    "CNI_CONTAINERID": "c1",
    "CNI_NETNS": "/run/netns/none",
    "CNI_IFNAME": "eth0",
    "CNI_PATH": "/opt/cni/bin",
}


def answered(command: str, engine_for: skel.EngineFor, **keys: Any) -> tuple[int, Any]:
    stdin = json.dumps({**CONFIGURATION, **keys}).encode()
    status, stdout = skel.answer({**ENVIRON, "CNI_COMMAND": command}, stdin, engine_for)
    return status, json.loads(stdout)


def test_a_hook_that_exits_still_leaves_an_answer(
    engine: Callable[..., Engine], conf: Conf
) -> None:
    def multus_select() -> None:
        raise SystemExit(0)

    exiting = engine(plugin_named("odd", multus_select))
    status, error = answered("ADD", lambda *_: exiting, cniDir=conf.cni_dir)
    assert (status, error["code"]) == (1, 999)
    assert "plugin 'odd', hook 'multus_select'" in error["msg"] and "SystemExit" in error["msg"]


def test_so_does_an_exit_anywhere_else() -> None:
    def engine_for(conf: Conf, deadline: float | None) -> Engine:
        raise SystemExit(0)

    status, error = answered("STATUS", engine_for)
    assert (status, error["code"]) == (1, 999)
    assert "SystemExit" in error["msg"]
