"""A fleet: the daemons of many nodes beside one API server, and pods that come and go there.

Each node is the real daemon with folders of its own.  All run in one network namespace, and a pod
has its own: what the nodes share is the API server, as in a cluster.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from multus_ipam_whereabouts.objects import API_VERSION
from reliability.processes import Uses, family_of
from waiting import PATIENCE

from integration.daemon.node import Daemon
from multus.api.jsontext import encode
from multus.cni import shim
from multus.testing.apiserver import ApiServer
from multus.testing.apiserver.store import Refused
from multus.testing.netns import Netns
from multus.testing.runtime import Container

#: The range of most pods, and one within it: what one of them has, the other must not give.
WIDE, NARROW = "10.128.0.0/16", "10.128.0.0/24"
#: How long a call waits for a daemon that restarts, and between two tries; seconds.
WAIT, PAUSE = "5", 0.1


@frozen
class Span:
    """An address that a pod certainly had, from its ADD's answer to its DEL's begin."""

    address: str
    pod: str
    since: float
    until: float


@frozen
class Held:
    """What an ADD gave, in which life of its node."""

    container: Container
    address: str
    life: int


@define
class History:
    """What happened, from many threads."""

    spans: list[Span] = field(factory=list)
    adds: list[float] = field(factory=list)
    refused: list[str] = field(factory=list)
    problems: list[str] = field(factory=list)
    kills: int = 0
    lost_nodes: int = 0
    lost_pods: int = 0

    def twice(self) -> list[str]:
        """The addresses that two pods had at the same time."""
        found, by_address = list[str](), dict[str, list[Span]]()
        for span in sorted(self.spans, key=lambda each: each.since):
            earlier = by_address.setdefault(span.address, [])
            for other in earlier:
                if other.pod != span.pod and other.until > span.since:
                    found.append(f"{span.address}: {other} and {span}")
            by_address[span.address] = [*(o for o in earlier if o.until > span.since), span]
        return found


@define
class Member:
    """A node: its daemon, and the lock that a kill and a restart take."""

    name: str
    folder: Path
    host: Netns
    kubeconfig: str
    settings: Mapping[str, Any]
    daemon: Daemon = field(init=False)
    #: How often the node was lost, with all that it had.
    lives: int = 0

    def __attrs_post_init__(self) -> None:
        keys = {"kubeconfig": self.kubeconfig, "nodeName": self.name, **self.settings}
        keys["cniDir"] = self.cni_dir
        self.daemon = Daemon(self.folder / "daemon", self.host, keys)

    @property
    def cni_dir(self) -> str:
        return str(self.folder / "cni")

    def conf(self, network: str) -> dict[str, Any]:
        """One network, whose addresses are of the range *network*."""
        ipam = {"type": "whereabouts", "range": network}
        return {
            "cniVersion": "1.1.0",
            "name": "node",
            "type": "multus",
            "standalone": False,
            "binDir": str(self.folder / "bin"),
            "cniDir": self.cni_dir,
            "kubeconfig": self.kubeconfig,
            "logToStderr": False,
            "delegates": [{"name": "lan", "type": "bridge", "bridge": "lan0", "ipam": ipam}],
        }

    def call(self, command: str, network: str, container: Container) -> tuple[int, Any]:
        """One call, as the shim sends it: its exit status, and its answer decoded."""
        conf = self.conf(network)
        environ = {"CNI_COMMAND": command, "CNI_PATH": conf["binDir"], "MULTUS_WAIT": WAIT}
        environ |= {**self.daemon.environ(), **container.environ()}
        raw = {key.encode(): value.encode() for key, value in environ.items()}
        answer = shim.ask(raw, encode(conf))
        assert not isinstance(answer, bytes), "a node with a daemon does nothing without it"
        status, stdout = answer
        return status, json.loads(stdout) if stdout.strip() else None

    def kill(self, chance: random.Random) -> None:
        """Kill the daemon, all its processes, or one of them."""
        family = family_of(self.daemon.pid)
        victims = chance.choice((family[:1], family, [chance.choice(family)]))
        for pid in victims:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if self.daemon.pid in victims:
            self.daemon.kill()

    def lose(self) -> None:
        """Lose the node with all its files; it comes back as a new one of this name."""
        self.end()
        self.lives += 1
        gone = self.folder.with_name(f"{self.name}-lost-{self.lives}")
        self.folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)

    def end(self) -> None:
        """Kill the daemon with all its processes, if it runs."""
        if self.daemon.process is not None:
            for pid in family_of(self.daemon.pid):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.daemon.kill()

    def waiting(self) -> list[str]:
        """The DELs and edits that are kept for later, without what killed writers have left."""
        folders = (Path(self.cni_dir, each) for each in (".spool", ".edits"))
        paths = (path for each in folders if each.is_dir() for path in each.iterdir())
        return [str(path) for path in paths if not path.name.startswith(".")]

    def records(self) -> list[str]:
        """What the journal has of containers."""
        return [each for each in os.listdir(self.cni_dir) if not each.startswith(".")]


@define
class Pod:
    """A pod as its kubelet sees it: created, attached, detached, deleted, again and again.

    Every other one keeps its name, as a StatefulSet's does.
    """

    api: ApiServer
    member: Member
    slot: int
    network: str
    chance: random.Random
    history: History
    #: How long it has its address, in seconds on average.
    stay: float
    number: int = 0

    @property
    def name(self) -> str:
        return f"{self.member.name}-{self.slot}" + (f"-{self.number}" if self.slot % 2 else "")

    def live(self, stop: threading.Event) -> None:
        """Come and go until *stop*; what is attached then is detached."""
        try:
            while not stop.is_set():
                self._once(stop)
        except Exception as error:  # noqa: BLE001  the test reports it
            self.history.problems.append(f"{self.name}: {type(error).__name__}: {error}")

    def _once(self, stop: threading.Event) -> None:
        self.number += 1
        wire = self.api.create_pod(self.name, node=self.member.name)
        held = self._attach(stop)
        if held is not None and self._stay(held, stop) and self.chance.random() < 0.2:
            # A sandbox that is replaced: its DEL comes after the new one's ADD.
            old, held = held, self._attach(stop)
            self._detach(old.container, old.life)
            if held is not None:
                self._stay(held, stop)
        if held is not None:
            self._detach(held.container, held.life)
        self.api.delete(wire)

    def _attach(self, stop: threading.Event) -> Held | None:
        """ADD until it succeeds, each time with a new container; None when it never did."""
        args = f"IgnoreUnknown=1;K8S_POD_NAMESPACE=default;K8S_POD_NAME={self.name}"
        while not stop.is_set():
            life, netns = self.member.lives, Netns.create("fleet")
            container, began = Container(netns.path, args=args), time.monotonic()
            status, answer = self.member.call("ADD", self.network, container)
            if status == 0 and life == self.member.lives:
                self.history.adds.append(time.monotonic() - began)
                address = str(answer["ips"][0]["address"]).partition("/")[0]
                return Held(container, address, life)
            if status:
                self.history.refused.append(f"{answer['code']} {answer['msg']}")
            self._detach(container, self.member.lives)
            time.sleep(PAUSE)
        return None

    def _stay(self, held: Held, stop: threading.Event) -> bool:
        """Have the address for a while; False when the node is lost meanwhile."""
        name, since = self.name, time.monotonic()
        self._require(held)
        ends = since + self.chance.expovariate(1 / self.stay)
        while time.monotonic() < ends and held.life == self.member.lives:
            if stop.wait(PAUSE):
                break
        self._require(held)
        if held.life != self.member.lives:
            self.history.lost_pods += 1
            return False
        self.history.spans.append(Span(held.address, name, since, time.monotonic()))
        return True

    def _require(self, held: Held) -> None:
        """The pool says that the pod has its address, and so does the reservation."""
        holders = holders_of(self.api, self.network, held.address)
        if set(holders) != {f"default/{self.name}"} and held.life == self.member.lives:
            said = f"{self.name} has {held.address}, which the API server has for {holders}"
            self.history.problems.append(said)

    def _detach(self, container: Container, life: int) -> None:
        """DEL until it succeeds, as a runtime does; a node that is lost has none."""
        ends = time.monotonic() + 4 * PATIENCE
        while self.member.lives == life:
            status, answer = self.member.call("DEL", self.network, container)
            if status == 0:
                break
            if time.monotonic() > ends:
                self.history.problems.append(f"DEL of {container.id} never succeeds: {answer}")
                break
            time.sleep(PAUSE)
        Netns(os.path.basename(container.netns)).remove()


def stored(api: ApiServer, plural: str) -> list[dict[str, Any]]:
    """The objects of a kind for addresses."""
    kind = api.store.kind("whereabouts.cni.cncf.io", "v1alpha1", plural)
    assert kind is not None
    return api.store.objects(kind, "kube-system", ())


def allocations(api: ApiServer) -> dict[tuple[str, str], str]:
    """The pod that has an address of a range, by the range and the address."""
    return {
        (pool["spec"]["range"], str(ip_network(pool["spec"]["range"])[int(distance)])): each[
            "podref"
        ]
        for pool in stored(api, "ippools")
        for distance, each in pool["spec"]["allocations"].items()
    }


def holders_of(api: ApiServer, network: str, address: str) -> tuple[str, str]:
    """The pod that has an address by the range's pool, and by its reservation.

    While another range tries the address, its pool has it too, until the reservation says no.
    """
    wire = {"apiVersion": API_VERSION, "kind": "OverlappingRangeIPReservation"}
    try:
        found = api.get({**wire, "metadata": {"name": address, "namespace": "kube-system"}})
    except Refused:
        found = {"spec": {"podref": ""}}
    return allocations(api).get((network, address), ""), found["spec"]["podref"]


def uses(members: list[Member]) -> tuple[int, int]:
    """The processes of all daemons, and their memory in MiB; shared pages count once."""
    roots = [each.daemon.pid for each in members if each.daemon.process is not None]
    count = sum(len(family_of(each)) for each in roots)
    return count, sum(Uses.of(each).memory for each in roots) // 1024
