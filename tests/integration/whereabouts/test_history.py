"""Histories of many nodes: no address is held twice at a time, whatever is lost on the way.

The model: an address is certainly held from the end of the call that allocated it to the begin of
the call that gave it back.  Two such spans of one address must not overlap, whichever of two ranges
each is of, and at the end nothing is held.
"""

from __future__ import annotations

import os
import random
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from multus_ipam_whereabouts import objects
from waiting import PATIENCE

from integration.whereabouts.cluster import Node
from multus.api.kubernetes import Deadline, Edit
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.nodeapi import NodeApi
from multus.testing.apiserver import ApiServer, Fault

RANGES = ("10.7.0.0/24", "10.7.0.0/25")
CACHED = {use.resource: use.cached for use in objects.uses() if use.cached}
NODES, PODS, CALLS = 3, 10, 12


class Span(NamedTuple):
    """An address, who had it, and from when to when certainly; in seconds."""

    distance: int
    pod: str
    since: float
    until: float


def given(pod: str, container: str, at_once: bool) -> dict[str, Any]:
    reserve = {"first": "10.7.0.0", "namespace": "kube-system", "name": "", "at_once": at_once}
    return {
        "range": RANGES[int(pod[1:]) % 2],
        "spans": [[1, 3 * PODS]],
        "id": container,
        "podref": f"default/{pod}",
        "ifname": "net1",
        "wanted": [],
        "avoid": [],
        "sticky": pod.endswith("0"),
        "claim": False,
        "fence": False,
        "reserve": reserve,
    }


def add(api: NodeApi, wanted: dict[str, Any]) -> int:
    """Allocate and reserve an address; one that the other range has is passed over."""
    pool = objects.pool("kube-system", wanted["range"], "")
    while True:
        edit = Edit(pool, "multus_ipam_whereabouts.pool:allocate", wanted)
        distance, holder = api.edit(edit, Deadline.after(PATIENCE))
        if not holder:
            return int(distance)
        wanted = {**wanted, "avoid": [*wanted["avoid"], distance]}


def delete(api: NodeApi, wanted: dict[str, Any], reported: int) -> None:
    """Give back what the container has, and what its ADD reported, as DEL does."""
    pool = objects.pool("kube-system", wanted["range"], "")
    edit = Edit(pool, "multus_ipam_whereabouts.pool:release", wanted)
    freed = {int(each) for each in api.edit(edit, Deadline.after(PATIENCE))}
    for distance in {reported, *freed}:
        reservation = objects.reservation("kube-system", f"10.7.0.{distance}", "")
        function, known = "multus_ipam_whereabouts.reservation:forget", distance in freed
        api.edit(Edit(reservation, function, {**wanted, "freed": known}), Deadline.after(PATIENCE))


def live(api: NodeApi, pod: str, seed: int, spans: list[Span], at_once: bool) -> None:
    """Allocate and give back in turn, now and then twice; at the end nothing is held."""
    chance = random.Random(seed)
    for number in range(CALLS):
        wanted = given(pod, f"{pod}-{number}", at_once)
        for _ in range(chance.choice((1, 1, 2))):
            distance = add(api, wanted)
        since = time.monotonic()
        time.sleep(chance.random() * 0.01)
        spans.append(Span(distance, pod, since, time.monotonic()))
        for _ in range(chance.choice((1, 1, 2))):
            delete(api, wanted, distance)


@pytest.mark.parametrize("at_once", [False, True])
def test_no_address_is_held_twice_at_a_time(
    at_once: bool, api: ApiServer, node: Node, tmp_path: Path
) -> None:
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
                target=live,
                args=(nodes[n % NODES], f"p{n}", chance.randrange(1 << 32), spans, at_once),
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
    assert node.allocations() == node.allocations("10.7.0.0-25") == {}
    assert node.stored("overlappingrangeipreservations") == {}
