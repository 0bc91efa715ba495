"""A change of a running container, as plugins see it: sources are asked, observers told why."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from attrs import evolve
from contract.given import Recorder, plugin_named, source
from unit.values import request_of

from multus.api.conf import Conf
from multus.api.errors import CNIError, TryAgainLater, UnknownContainer
from multus.api.network import Attachment, Delegate, Element, Outcome, Role, Selection
from multus.api.request import Request
from multus.engine.changing import request_of as change_of
from multus.engine.pipeline import Engine
from multus.registry.entry import Entry
from multus.state.journal import Journal

HERE = f"/proc/{os.getpid()}/ns/net"
POD = {"K8S_POD_NAMESPACE": "default", "K8S_POD_NAME": "web"}
ARGS = ";".join(f"{key}={value}" for key, value in POD.items())


class Choice:
    """A source whose networks change: each is a plugin's type, perhaps with ``@interface``."""

    def __init__(self) -> None:
        self.names = ""
        self.error: CNIError | None = None

    def plugin(self, name: str = "chosen") -> Entry:
        def multus_select() -> Selection | None:
            if self.error is not None:
                raise self.error
            elements = [self._element(each) for each in self.names.split()]
            return Selection(Role.ADDED, tuple(elements), "the choice") if elements else None

        return plugin_named(name, multus_select)

    def _element(self, text: str) -> Element:
        kind, _, interface = text.partition("@")
        config = {"type": kind, "name": f"{kind}-net"}  # not the name that is asked for
        return Element(kind, "the choice", interface=interface, config=config)


@pytest.fixture
def choice() -> Choice:
    return Choice()


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def plugins(choice: Choice, told: list[str]) -> list[Entry]:
    def multus_attached(attachment: Attachment, reason: str) -> None:
        told.append(f"{reason}: {attachment.delegate.ifname} attached")

    def multus_detached(delegate: Delegate, reason: str) -> None:
        told.append(f"{reason}: {delegate.ifname} detached")

    def multus_finished(outcome: Outcome, request: Request) -> None:
        if outcome.changes is not None:
            made = outcome.changes
            there = " ".join(each.delegate.ifname for each in outcome.attachments)
            counts = f"-{len(made.removed)} +{len(made.added)} !{len(made.refused)}"
            told.append(f"{outcome.command} {request.pod}: {counts}, has {there}")
        elif outcome.error is not None:
            told.append(f"{outcome.command} failed: {outcome.error.said}")

    watching = plugin_named("watching", multus_attached, multus_detached, multus_finished)
    return [source("base"), choice.plugin(), watching]


@pytest.fixture
def running(
    engine: Callable[..., Engine], plugins: list[Entry], conf: Conf, told: list[str]
) -> Engine:
    """An engine that has attached a container to its default network."""
    made = engine(*plugins)
    environ = {"CNI_NETNS_OVERRIDE": "1", "CNI_ARGS": ARGS}
    made.add(request_of(netns=HERE, args=POD, environ=environ), conf)
    told.clear()
    return made


def change(engine: Engine, conf: Conf, *said: str) -> list[str]:
    """Change the container; the errors."""
    record = Journal(conf.cni_dir).find("c1", "eth0")
    assert record is not None
    changes = engine.change(*change_of(record, {"CNI_NETNS_OVERRIDE": "1"}), frozenset(said))
    return [str(each.error) for each in changes.refused]


def test_observers_are_told_of_each_network_with_the_reason(
    running: Engine, recorder: Recorder, conf: Conf, choice: Choice, told: list[str]
) -> None:
    choice.names = "one two@data"
    assert change(running, conf) == []
    added = ["change: net1 attached", "change: data attached"]
    assert told == [*added, "CHANGE default/web: -0 +2 !0, has eth0 net1 data"]
    told.clear()
    assert change(running, conf) == []
    assert told == ["CHANGE default/web: -0 +0 !0, has eth0 net1 data"]
    told.clear()
    choice.names = "two@data"
    assert change(running, conf) == []
    assert told == ["change: net1 detached", "CHANGE default/web: -1 +0 !0, has eth0 data"]
    assert recorder.said == ["ADD base eth0", "ADD one net1", "ADD two data", "DEL one net1"]
    told.clear()
    running.delete(request_of("DEL", netns=HERE), conf)
    assert told == ["delete: data detached", "delete: eth0 detached"]


def test_what_was_told_before_is_not_told_again(
    running: Engine, recorder: Recorder, conf: Conf, choice: Choice, told: list[str]
) -> None:
    recorder.errors["ADD_net1"] = CNIError("no such card")
    choice.names = "one"
    (error,) = change(running, conf)
    assert told == ["CHANGE default/web: -0 +0 !1, has eth0"]
    told.clear()
    assert change(running, conf, error) == [error]
    assert told == ["CHANGE default/web: -0 +0 !0, has eth0"]
    told.clear()
    choice.error = TryAgainLater("the API server is away")
    for said in ("", str(choice.error)):
        with pytest.raises(TryAgainLater):
            change(running, conf, said)
    assert told == ["CHANGE failed: the API server is away"]


def test_the_networks_of_a_source_that_is_not_loaded_stay(
    running: Engine,
    engine: Callable[..., Engine],
    conf: Conf,
    choice: Choice,
    recorder: Recorder,
) -> None:
    choice.names = "one"
    change(running, conf)
    without = engine(source("base"), Choice().plugin("other"))
    assert change(without, conf) == []
    assert recorder.said == ["ADD base eth0", "ADD one net1"]


def test_a_container_of_no_pod_and_one_that_has_ended_are_not_changed(
    running: Engine, recorder: Recorder, conf: Conf, choice: Choice
) -> None:
    choice.names = "one"
    record = Journal(conf.cni_dir).find("c1", "eth0")
    assert record is not None
    request, _ = change_of(record, {"CNI_NETNS_OVERRIDE": "1"})

    with pytest.raises(CNIError, match="is not the network namespace"):
        running.change(evolve(request, netns="/proc/self/ns/mnt"), conf)
    with pytest.raises(UnknownContainer, match="is gone"):
        running.foresee(evolve(request, netns="/run/netns/none"), conf)
    with pytest.raises(CNIError, match="belongs to no pod"):
        running.foresee(evolve(request, args={}), conf)
    assert recorder.said == ["ADD base eth0"]
