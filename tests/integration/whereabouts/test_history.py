"""Histories of many nodes: no address is held twice at a time, whatever is lost on the way.

The model: an address is certainly held from the end of the call that allocated it to the begin of
the call that gave it back.  Two such spans of one address must not overlap, and what is held at the
end is what the pool has.
"""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from multus_ipam_whereabouts import objects
from waiting import PATIENCE

from integration.whereabouts.cluster import Node
from multus.api.kubernetes import Deadline, Edit
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.nodeapi import NodeApi
from multus.testing.apiserver import ApiServer, Fault

POOL = objects.pool("kube-system", "10.7.0.0/24", "")
CACHED = {use.resource: use.cached for use in objects.uses() if use.cached}
NODES, PODS, CALLS = 3, 10, 12


class Span(NamedTuple):
    """An address, who had it, and from when to when certainly; in seconds."""

    distance: int
    pod: str
    since: float
    until: float


def given(pod: str, container: str) -> dict[str, object]:
    return {
        "range": "10.7.0.0/24",
        "spans": [[1, PODS]],
        "id": container,
        "podref": f"default/{pod}",
        "ifname": "net1",
        "wanted": [],
        "avoid": [],
        "sticky": pod.endswith("0"),
        "claim": False,
        "fence": False,
    }


def live(api: NodeApi, pod: str, seed: int, spans: list[Span]) -> None:
    """Allocate and give back in turn, now and then twice; at the end nothing is held."""
    chance = random.Random(seed)
    for number in range(CALLS):
        wanted = given(pod, f"{pod}-{number}")
        allocate = Edit(POOL, "multus_ipam_whereabouts.pool:allocate", wanted)
        release = Edit(POOL, "multus_ipam_whereabouts.pool:release", wanted)
        for _ in range(chance.choice((1, 1, 2))):
            distance: int = api.edit(allocate, Deadline.after(PATIENCE))
        since = time.monotonic()
        time.sleep(chance.random() * 0.01)
        spans.append(Span(distance, pod, since, time.monotonic()))
        for _ in range(chance.choice((1, 1, 2))):
            api.edit(release, Deadline.after(PATIENCE))


def test_no_address_is_held_twice_at_a_time(api: ApiServer, node: Node, tmp_path: Path) -> None:
    seed = 7104 if os.environ.get("CI") else random.randrange(1 << 32)
    print("seed", seed)
    kubeconfig, spans = load_kubeconfig(api.write_kubeconfig(tmp_path)), list[Span]()
    chance = random.Random(seed)
    for kind in ("truncate", "reset", "slow"):
        for _ in range(3):
            fault = Fault(kind, path="*/ippools/*", method="PATCH", seconds=0.05)
            api.faults.add(fault)
    with ExitStack() as stack:
        nodes = [NodeApi(kubeconfig, f"n{number}", CACHED) for number in range(NODES)]
        for each in nodes:
            stack.callback(each.close)
            each.start()
        threads = [
            threading.Thread(
                target=live, args=(nodes[n % NODES], f"p{n}", chance.randrange(1 << 32), spans)
            )
            for n in range(PODS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(spans) == len(threads) * CALLS, "a pod got no address"
    by_address: dict[int, list[Span]] = {}
    for span in sorted(spans, key=lambda each: each.since):
        before = by_address.setdefault(span.distance, [])
        assert not before or before[-1].until <= span.since, (before[-1], span)
        before.append(span)
    assert node.allocations() == {}
