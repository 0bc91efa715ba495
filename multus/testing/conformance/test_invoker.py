"""Tests for invokers: attach, detach after any failure, leave nothing behind."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from attrs import frozen

from multus.api.conf import Conf
from multus.api.errors import CNIError
from multus.api.invoker import Invoker
from multus.api.network import Delegate, Plugin, Provenance
from multus.api.request import Request
from multus.api.versions import SUPPORTED
from multus.engine.pipeline import Engine
from multus.registry.entry import Entry
from multus.registry.loading import load
from multus.testing.conformance.subject import Sample, Subject
from multus.testing.delegates import SYSTEM_FOLDERS, BinDir, Reply
from multus.testing.netns import HostState, Netns, Node, inside
from multus.testing.sriov import Card


@frozen
class Attaching:
    """An engine, a configuration with only the sample's network, and a container.

    ``card`` is the name of the node's stand-in card, if there is one.
    """

    engine: Engine
    conf: Conf
    pod: Netns
    node: Node
    folder: str
    card: str

    def request(self, command: str, pod: Netns | None = None) -> Request:
        return Request(
            command=command,
            container_id="conformance-first" if pod else "conformance",
            netns=(pod or self.pod).path,
            ifname="eth0",
            path=SYSTEM_FOLDERS,
            environ=dict(os.environ),
        )

    def state(self) -> HostState:
        return self.node.state(self.folder)

    def serve_first(self) -> None:
        """Attach and detach another container, for what the plugin leaves for all of them."""
        pod = Netns.create("pod")
        try:
            self.engine.add(self.request("ADD", pod), self.conf)
            self.engine.delete(self.request("DEL", pod), self.conf)
        finally:
            pod.remove()

    def remove_pod(self) -> None:
        """Remove the network namespace of the container."""
        for link in self.pod.links() if self.card else ():
            # The kernel returns a card's interface to the host; a stand-in's link would be deleted.
            self.pod.ip("link", "set", link, "down")
            self.pod.ip("link", "set", link, "name", f"{self.card}v0")
            self.pod.ip("link", "set", f"{self.card}v0", "netns", self.node.name)
        self.pod.remove()


@pytest.fixture
def attaching(
    subject: Subject,
    sample: Sample,
    engine: Engine,
    conf_with: Callable[..., Conf],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Attaching]:
    if sample.plugin is None:
        pytest.skip("the sample has no 'plugin' to attach")
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    BinDir(str(tmp_path / "bin"))
    conf = conf_with(**sample.conf)
    offered = _offered(subject, sample.plugin, conf)
    assert offered is not None, "it does not offer to carry out the sample's 'plugin'"
    wanted = {**sample.plugin, "invoker": offered.name}
    chain = {"name": "conformance", "plugins": [*sample.chain, wanted]}
    conf = conf_with(**{**sample.conf, "delegates": [chain if sample.chain else wanted]})
    node, pod = Node.create(), Netns.create("pod")
    try:
        if sample.card:
            engine = _on_card(engine, sample.card, node, str(tmp_path), monkeypatch)
        with inside(node):
            made = Attaching(engine, conf, pod, node, str(tmp_path), sample.card)
            if sample.leaves_shared:
                made.serve_first()
            yield made
    finally:
        pod.remove()
        node.remove()


def _on_card(
    engine: Engine, name: str, node: Node, folder: str, monkeypatch: pytest.MonkeyPatch
) -> Engine:
    """An engine whose SR-IOV invoker uses a stand-in card on *node*."""
    module = Card.build(f"{folder}/sys", node, pf=name).install_plugin(f"{folder}/site")
    monkeypatch.syspath_prepend(f"{folder}/site")
    # Each test has its own card, but the module has the same name.
    monkeypatch.delitem(sys.modules, module, raising=False)
    stand_in = Entry(module, module, "multus.testing", "")
    return Engine(load([*engine.installed.loaded, stand_in]), engine.log)


def left(before: HostState, attaching: Attaching) -> list[str]:
    """The differences to *before*, without locks and records."""
    kept = (".lock", ".messages", ".trace", ".trace.before")
    return [
        line
        for line in before.difference(attaching.state())
        if not line.endswith(kept) and "stand-ins" not in line
    ]


def test_add_and_del_leave_nothing(attaching: Attaching) -> None:
    before = attaching.state()
    result = attaching.engine.add(attaching.request("ADD"), attaching.conf)
    assert result.interfaces or result.ips, "its result has neither interfaces nor addresses"
    for version in SUPPORTED:
        result.to_wire(version)
    attaching.engine.check(attaching.request("CHECK"), attaching.conf)
    attaching.engine.delete(attaching.request("DEL"), attaching.conf)
    assert left(before, attaching) == []
    assert attaching.pod.links() == {}


def test_del_can_be_repeated_and_needs_no_add(attaching: Attaching) -> None:
    attaching.engine.delete(attaching.request("DEL"), attaching.conf)
    attaching.engine.add(attaching.request("ADD"), attaching.conf)
    for _ in range(2):
        attaching.engine.delete(attaching.request("DEL"), attaching.conf)


def test_del_after_the_netns_is_gone_leaves_nothing(attaching: Attaching) -> None:
    before = attaching.state()
    attaching.engine.add(attaching.request("ADD"), attaching.conf)
    attaching.remove_pod()
    attaching.engine.delete(attaching.request("DEL"), attaching.conf)
    # The kernel deletes a namespace's links, and their peers here, some time after its path.
    ends = time.monotonic() + 30.0
    while left(before, attaching) and time.monotonic() < ends:
        time.sleep(0.05)
    assert left(before, attaching) == []


def test_it_is_undone_when_a_later_network_fails(
    attaching: Attaching, conf_with: Callable[..., Conf], tmp_path: Path
) -> None:
    BinDir(str(tmp_path / "bin")).stand_in("unlucky", ADD=Reply.error(150, "no such luck"))
    delegates = [*attaching.conf.raw["delegates"], {"type": "unlucky", "invoker": "exec"}]
    conf = conf_with(**{**attaching.conf.raw, "delegates": delegates})
    before = attaching.state()
    with pytest.raises(CNIError) as caught:
        attaching.engine.add(attaching.request("ADD"), conf)
    assert caught.value.number == 150
    assert left(before, attaching) == []
    assert attaching.pod.links() == {}


def test_a_key_that_it_does_not_know_is_not_ignored(
    subject: Subject, sample: Sample, attaching: Attaching
) -> None:
    if sample.takes_all:
        pytest.skip("it passes every key on")
    assert sample.plugin is not None
    for config, offered in ((sample.plugin, True), ({**sample.plugin, "no-such-key": 1}, False)):
        assert (_offered(subject, config, attaching.conf) is not None) is offered


def _offered(subject: Subject, config: Mapping[str, Any], conf: Conf) -> Invoker | None:
    """The invoker with which the plugin offers to carry this configuration out."""
    plugin = Plugin(config)
    delegate = Delegate(
        "conformance", (plugin,), "1.1.0", ifname="eth0", provenance=Provenance.NODE
    )
    answers = subject.alone.hooks.invokers(plugin, delegate, conf)
    return next((each for each in answers if isinstance(each, Invoker)), None)
