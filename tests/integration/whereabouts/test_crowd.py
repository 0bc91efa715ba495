"""Many pods of many nodes at once, on one pool: each node's API process, one API server."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from multus_ipam_whereabouts import objects
from waiting import PATIENCE, eventually

from multus.api.kubernetes import Deadline, Edit
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.nodeapi import NodeApi
from multus.testing.apiserver import ApiServer

POOL = objects.pool("kube-system", "10.9.0.0/16", "")
CACHED = {use.resource: use.cached for use in objects.uses() if use.cached}
NODES, PODS = 8, 200


@pytest.fixture
def crowd(api: ApiServer, tmp_path: Path) -> Iterator[list[NodeApi]]:
    kubeconfig = load_kubeconfig(api.write_kubeconfig(tmp_path))
    with ExitStack() as stack:
        found = [NodeApi(kubeconfig, f"n{number}", CACHED) for number in range(NODES)]
        for each in found:
            stack.callback(each.close)
            each.start()
        eventually(lambda: all(state.synced for each in found for state in each.states()))
        yield found


def test_they_get_different_addresses_by_less_than_a_write_each(
    api: ApiServer, crowd: list[NodeApi]
) -> None:
    def add(number: int) -> int:
        given = {
            "range": "10.9.0.0/16",
            "spans": [[1, 65534]],
            "id": f"c{number}",
            "podref": f"default/p{number}",
            "ifname": "net1",
            "wanted": [],
            "avoid": [],
            "sticky": False,
            "claim": False,
            "reserve": None,
        }
        edit = Edit(POOL, "multus_ipam_whereabouts.pool:allocate", given)
        found: int = crowd[number % NODES].edit(edit, Deadline.after(PATIENCE))
        return found

    def delete(number: int) -> int:
        given = {"range": "10.9.0.0/16", "id": f"c{number}", "ifname": "net1", "fence": False}
        edit = Edit(POOL, "multus_ipam_whereabouts.pool:release", given)
        return len(crowd[number % NODES].edit(edit, Deadline.after(PATIENCE)))

    with ThreadPoolExecutor(PODS) as threads:
        addresses = list(threads.map(add, range(PODS)))
        written = sum(n for (method, _), n in api.requests.items() if method in ("POST", "PATCH"))
        assert sorted(addresses) == list(range(1, PODS + 1))
        assert written < PODS
        assert list(threads.map(delete, range(PODS))) == [1] * PODS
