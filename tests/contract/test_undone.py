from __future__ import annotations

from collections.abc import Callable

import pytest
from contract.given import Recorder, example, plugin_named, source
from unit.values import request_of

from multus.api.conf import Conf
from multus.api.errors import CNIError, InvalidConfig, IOFailure
from multus.api.network import Delegate
from multus.engine.pipeline import Engine


@pytest.fixture
def told() -> list[tuple[str, int | None]]:
    return []


@pytest.fixture
def failing(
    engine: Callable[..., Engine], recorder: Recorder, told: list[tuple[str, int | None]]
) -> Engine:
    """An engine whose third network cannot be attached."""

    def multus_undone(delegate: Delegate, error: CNIError | None) -> None:
        told.append((delegate.ifname, error.number if error else None))

    recorder.errors["ADD_net1"] = InvalidConfig("no such card")
    return engine(source("a", "b", "c", "d"), plugin_named("watching", multus_undone))


def test_the_example_tells_what_was_undone(
    engine: Callable[..., Engine],
    recorder: Recorder,
    conf: Conf,
    capfd: pytest.CaptureFixture[str],
) -> None:
    recorder.errors["ADD_eth0"] = InvalidConfig("no such card")
    with pytest.raises(InvalidConfig):
        engine(source("fake"), example("multus_undone")).add(request_of(), conf)
    assert "undid network 'fake-net': gone\n" in capfd.readouterr().err


def test_every_started_network_is_reported_the_last_first(
    failing: Engine, conf: Conf, told: list[tuple[str, int | None]]
) -> None:
    with pytest.raises(InvalidConfig):
        failing.add(request_of(), conf)
    assert told == [("net1", None), ("net0", None), ("eth0", None)]


def test_with_the_error_of_one_that_could_not_be_undone(
    failing: Engine, recorder: Recorder, conf: Conf, told: list[tuple[str, int | None]]
) -> None:
    recorder.errors["DEL_net0"] = IOFailure("the card is stuck")
    with pytest.raises(InvalidConfig) as caught:
        failing.add(request_of(), conf)
    assert told == [("net1", None), ("net0", 5), ("eth0", None)]
    assert "the card is stuck" in caught.value.details


def test_an_add_that_succeeds_undoes_nothing(
    failing: Engine, recorder: Recorder, conf: Conf, told: list[tuple[str, int | None]]
) -> None:
    recorder.errors.clear()
    failing.add(request_of(), conf)
    assert told == []
