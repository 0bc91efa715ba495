"""A change of a running pod is killed at every moment; the next look finishes it, DEL removes it.

The moments are those of ``test_kill``.  The engine asks a stand-in for the API: a pod's annotation,
and the definitions that it names.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from attrs import define, evolve
from reliability import moments
from reliability.conftest import Say
from reliability.ground import Ground

from multus.api.conf import Conf
from multus.api.kubernetes import Annotate, PodEvent
from multus.api.request import Request
from multus.engine.changing import request_of
from multus.engine.pipeline import Engine
from multus.log import Log
from multus.netlink import Namespace, links
from multus.registry.index import discover
from multus.registry.loading import load
from multus.state.journal import Journal
from multus.testing.runtime import Container

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

STATUS = "k8s.v1.cni.cncf.io/network-status"


@define
class Definitions:
    """A pod whose ``networks`` may change, and what it names; writes end here."""

    configs: Mapping[str, Any]
    networks: str = ""
    status: str = ""

    def get_each(self, wanted: Sequence[Any], deadline: object) -> list[Any]:
        return [{"spec": {"config": json.dumps(self.configs[each.name])}} for each in wanted]

    def pod(self, namespace: str, name: str, deadline: object, uid: str = "") -> Any:
        annotations = {"k8s.v1.cni.cncf.io/networks": self.networks, STATUS: self.status}
        return {"annotations": annotations}

    def write(self, writes: Sequence[Annotate | PodEvent], seconds: float) -> None:
        for each in writes:
            if isinstance(each, Annotate):
                self.status = str(each.annotations[STATUS])


class Changing:
    """Pods of one node that get network ``plain``, and whose annotation then asks for another."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        macvlan = {"type": "macvlan", "master": "uplink", "ipam": ground.ipam(7)}
        configs = {
            "plain": {"cniVersion": "1.0.0", "type": "ptp", "ipam": ground.ipam(3)},
            "other": {"cniVersion": "1.0.0", **macvlan},
            "kept": {"cniVersion": "1.0.0", "type": "ptp", "ipam": ground.ipam(4)},
        }
        self.api = Definitions(configs)
        masq = {"name": "masq", "type": "ptp", "ipMasq": True, "ipam": ground.ipam(1)}
        raw = ground.conf(masq, kubeconfig="/none", tenantPaths={"dataDir": [ground.ipam_dir]})
        self.conf = Conf.from_wire(raw)
        self.engine = Engine(load(discover()), Log.from_conf(raw), api=self.api)  # type: ignore[arg-type]

    def add(self, name: str) -> Container:
        args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={name}"
        container = evolve(self.ground.container("pod"), id=name, args=args)
        self.api.networks = "plain,kept"
        self._call("ADD", container)
        self.api.networks = "other,kept"
        return container

    def change(self, container: Container) -> None:
        record = Journal(self.ground.cni_dir).find(container.id, container.ifname)
        assert record is not None
        request, conf = request_of(record, self.ground.environ("ADD", None))
        changes = self.engine.change(request, conf)
        assert changes.refused == ()

    def killed(self, container: Container, moment: int) -> moments.Run:
        def call() -> int:
            self.change(container)
            return 0

        return moments.start(call).run(moment)

    def check(self, container: Container) -> None:
        self._call("CHECK", container)

    def delete(self, container: Container) -> None:
        self._call("DEL", container)

    def _call(self, command: str, container: Container) -> None:
        from multus.cni import skel

        request = skel.request_of(command, self.ground.environ(command, container))
        verbs: dict[str, Callable[[Request, Conf], object]]
        verbs = {"ADD": self.engine.add, "CHECK": self.engine.check, "DEL": self.engine.delete}
        verbs[command](request, self.conf)

    def kinds(self, container: Container) -> dict[str, str]:
        """The pod's interfaces, with their kinds."""
        with Namespace(container.netns) as pod, pod.channel() as channel:
            return {each.name: each.kind for each in links.list_all(channel) if each.name != "lo"}


OLD = {"eth0": "veth", "net1": "veth", "net2": "veth"}
NEW = {"eth0": "veth", "net1": "macvlan", "net2": "veth"}


def test_the_next_look_finishes_a_change_that_was_killed_and_del_removes_it(
    on_ground: Ground, say: Say
) -> None:
    node = Changing(on_ground)
    warm = node.add("warm")  # create what the first calls create and later ones reuse
    node.change(warm)
    node.delete(warm)
    before = on_ground.state()
    finished = 0
    for moment in itertools.count(1):
        container = node.add(f"c{moment}")
        run = node.killed(container, moment)
        found = node.kinds(container)
        assert {**found, "net1": ""} == {**OLD, "net1": ""}, (moment, run.last, found)
        if moment % 2 or not run.killed:  # the others are left to their DEL as they are
            finished += found == NEW
            node.change(container)
            assert node.kinds(container) == NEW, (moment, run.last)
            node.check(container)
        node.delete(container)
        assert before.difference(on_ground.state()) == [], (moment, run.last)
        if not run.killed:
            assert run.status == 0, run.stderr
            break
    say(f"a change killed, then looked at or deleted: {moment - 1} moments, 0 left")
    assert moment > 20
    assert finished > 1
    assert os.listdir(on_ground.cni_dir) == [".lock"]
