"""``session.closing`` is always closed, and closing never changes the answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path

import pytest
from contract.given import Recorder, at_work, merger, plugin_named, source
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.errors import InvalidConfig
from multus.api.session import Session
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.state.journal import Journal


@pytest.fixture
def conf(tmp_path: Path) -> Conf:
    return conf_of(cniDir=str(tmp_path / "state"))


def engine_of(recorder: Recorder, leave: Callable[[ExitStack], object]) -> Engine:
    """An engine with a plugin that pushes something on ``closing``."""

    def multus_attached(session: Session) -> None:
        leave(session.closing)

    plugins = [source("a"), recorder.plugin(), merger(), plugin_named("leaves", multus_attached)]
    return Engine(at_work(*plugins), Log.from_conf({"logLevel": "error"}))


def fail() -> None:
    raise OSError("out of paper")


def leave_now() -> None:
    raise SystemExit(0)


@contextmanager
def failing_place() -> Iterator[None]:
    yield
    raise ValueError("left badly")


class Place:
    def __enter__(self) -> None: ...

    def __exit__(self, *raised: object) -> None:
        raise ValueError("left badly")


@pytest.mark.parametrize(
    ("leave", "named"),
    [
        (lambda closing: closing.callback(fail), "test_closing.fail"),
        (lambda closing: closing.callback(leave_now), "test_closing.leave_now"),
        (lambda closing: closing.enter_context(Place()), "test_closing.Place"),
        (lambda closing: closing.enter_context(failing_place()), "left badly"),
        (lambda closing: closing.push(Place()), "test_closing.Place"),
        (lambda closing: closing.push(lambda *raised: fail()), "out of paper"),
    ],
)
def test_an_error_while_closing_is_logged_and_a_finished_add_stays(
    conf: Conf,
    capfd: pytest.CaptureFixture[str],
    leave: Callable[[ExitStack], object],
    named: str,
) -> None:
    closed: list[str] = []

    def leave_three(closing: ExitStack) -> None:
        closing.callback(closed.append, "first")
        leave(closing)
        closing.callback(closed.append, "last")

    recorder = Recorder()
    engine_of(recorder, leave_three).add(request_of(), conf)
    assert closed == ["last", "first"]
    said = capfd.readouterr().err
    assert named in said and "failed while the request was closed" in said
    assert recorder.said == ["ADD a eth0"]
    record = Journal(conf.cni_dir).find("c1", "eth0")
    assert record is not None and record.result is not None


@pytest.mark.parametrize("manager", [suppress(Exception), nullcontext()])
def test_a_context_cannot_turn_a_failure_into_success(
    conf: Conf, manager: AbstractContextManager[object]
) -> None:
    recorder = Recorder(DEL_eth0=InvalidConfig("stuck"))

    def multus_detached(session: Session) -> None:
        session.closing.enter_context(manager)

    engine = engine_of(recorder, lambda closing: None)
    engine.add(request_of(), conf)
    engine.installed.hooks.manager.register(
        at_work(plugin_named("s", multus_detached)).modules["s"], name="s"
    )
    with pytest.raises(InvalidConfig, match="stuck"):
        engine.delete(request_of("DEL"), conf)


def test_it_is_used_as_an_exit_stack_is() -> None:
    with Session(Log.from_conf({})) as session:
        closing = session.closing
        assert closing.enter_context(nullcontext(5)) == 5
        assert closing.callback(print, end="") is print
