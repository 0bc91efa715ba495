from __future__ import annotations

from collections.abc import Callable

import pytest
from contract.given import Recorder, example, plugin_named, source
from unit.values import conf_of, request_of

from multus.api.conf import Conf
from multus.api.errors import CNIError, IOFailure
from multus.api.network import Delegate
from multus.api.request import Request
from multus.engine.pipeline import Engine


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def watched(engine: Callable[..., Engine], told: list[str]) -> Engine:
    def multus_detached(delegate: Delegate, error: CNIError | None, request: Request) -> None:
        told.append(f"{request.container_id} {delegate.ifname} {error.number if error else 'gone'}")

    return engine(source("a", "b"), plugin_named("watching", multus_detached))


def test_the_example_tells_what_is_gone(
    engine: Callable[..., Engine], conf: Conf, capfd: pytest.CaptureFixture[str]
) -> None:
    telling = engine(source("fake"), example("multus_detached"))
    telling.add(request_of(), conf)
    telling.delete(request_of("DEL"), conf)
    assert "network 'fake-net': gone\n" in capfd.readouterr().err


def test_every_network_of_a_del_is_reported_the_last_first(
    watched: Engine, conf: Conf, told: list[str]
) -> None:
    watched.add(request_of(), conf)
    assert told == []
    watched.delete(request_of("DEL"), conf)
    assert told == ["c1 net0 gone", "c1 eth0 gone"]


def test_with_the_error_of_one_that_stays_until_it_is_gone(
    watched: Engine, recorder: Recorder, conf: Conf, told: list[str]
) -> None:
    watched.add(request_of(), conf)
    recorder.errors["DEL_eth0"] = IOFailure("stuck")
    with pytest.raises(CNIError, match="stuck"):
        watched.delete(request_of("DEL"), conf)
    recorder.errors.clear()
    watched.delete(request_of("DEL"), conf)
    assert told == ["c1 net0 gone", "c1 eth0 5", "c1 eth0 gone"]


def test_networks_that_gc_removes_are_reported_too(
    watched: Engine, conf: Conf, told: list[str]
) -> None:
    watched.add(request_of(), conf)
    collecting = conf_of(**{**conf.raw, "cni.dev/valid-attachments": []})
    watched.collect_garbage(request_of("GC", container_id="", ifname="", netns=""), collecting)
    assert told == ["c1 net0 gone", "c1 eth0 gone"]
