"""What a range of a whole cluster costs the API server: simulated nodes fill one pool.

Each node is a daemon's API process: it watches the kinds of `multus-ipam-whereabouts`, and makes
the edits that an ADD makes.  The API server is the stand-in::

    .venv/bin/python -m bench.fill --nodes 20 --pods 30 --used 2000

The second table is computed: what the measured sizes and requests become in a cluster of
`--cluster` nodes and pods, when one pool had to hold all of its addresses.  The third and the
fourth are the same with blocks.  With `--whole`, the cluster of the fourth is simulated node by
node.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from attrs import frozen
from multus_ipam_whereabouts import objects

from bench import fillblocks
from bench.watched import Watch, stored, watched
from multus.api.errors import TryAgainLater
from multus.api.kubernetes import Deadline, Edit
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.nodeapi import NodeApi
from multus.testing.apiserver import ApiServer
from multus.testing.apiserver.store import LARGEST, compact_json

_RANGE, _LAST = "10.0.0.0/8", 2**24 - 2
_NAMESPACE = "kube-system"
_POOL, _ALLOCATE = objects.pool(_NAMESPACE, _RANGE, ""), "multus_ipam_whereabouts.pool:allocate"
_RESERVE = {"first": "10.0.0.0", "namespace": _NAMESPACE, "name": "", "at_once": False}
_KINDS = (objects.POOLS, objects.RESERVATIONS)
_CACHED = {
    use.resource: use.cached for use in objects.uses() if use.cached and use.resource in _KINDS
}
#: How long one ADD tries by default, in seconds; then the runtime repeats it.
_CALL = 15.0


@frozen
class Figures:
    """What one filling took.

    ``reads`` and ``writes`` are requests, ``refused`` the writes that came too late, ``repeated``
    the calls that ran out of time.  ``watched`` is bytes of the watches of one node; ``pool`` and
    ``reservation`` are bytes of one object at the end, ``allocation`` of one address in the pool.
    """

    nodes: int
    pods: int
    addresses: tuple[int, ...]
    seconds: float
    reads: int
    writes: int
    refused: int
    repeated: int
    objects: int
    watched: int
    pool: int
    reservation: int
    allocation: float


@frozen
class Projection:
    """A cluster with one pool, computed: bytes, and how many addresses the pool can hold."""

    pool: int
    holds: int
    watched: int
    sent: int
    memory: int


def measure(nodes: int, pods: int, used: int = 0) -> Figures:
    """Let *nodes* nodes start *pods* pods each, on a range of which *used* addresses are in use."""
    with ExitStack() as stack:
        api = stack.enter_context(ApiServer())
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        api.create(_filled(used))
        found = [
            NodeApi(load_kubeconfig(api.write_kubeconfig(folder)), f"n{number}", _CACHED)
            for number in range(nodes)
        ]
        for each in found:
            stack.callback(each.close)
            each.start()
        while not all(state.synced for each in found for state in each.states()):
            time.sleep(0.01)
        watches = [stack.enter_context(watched(api, kind)) for kind in _CACHED]
        api.requests.clear()
        begin = time.perf_counter()
        filled = [_Node(each, number) for number, each in enumerate(found)]
        with ThreadPoolExecutor(nodes) as threads:
            each_node = list(threads.map(lambda node: node.fill(pods), filled))
        seconds = time.perf_counter() - begin
        version = api.store.version
        for watch in watches:
            watch.wait_for(version)
        return _figures(api, filled, each_node, used, watches, seconds)


class _Node:
    """A node, and how many of its calls ran out of time."""

    def __init__(self, api: NodeApi, number: int) -> None:
        self._api, self._number, self.repeated = api, number, 0

    def fill(self, pods: int) -> list[int]:
        """Start the pods, one after the other; returns the distances of their addresses."""
        return [self._add(number) for number in range(pods)]

    def _add(self, number: int) -> int:
        name = f"web-7d9c5b8f4-{self._number:04}{number:04}"
        owner = {
            "id": f"{self._number:032x}{number:032x}",
            "podref": f"default/{name}",
            "ifname": "net1",
        }
        given: dict[str, Any] = {
            **owner,
            "range": _RANGE,
            "spans": [[1, _LAST]],
            "wanted": [],
            "avoid": [],
            "sticky": False,
            "claim": False,
            "reserve": _RESERVE,
        }
        while True:
            distance, holder = self._edit(Edit(_POOL, _ALLOCATE, given))
            if not holder:
                return int(distance)
            given["avoid"] = [*given["avoid"], distance]

    def _edit(self, edit: Edit) -> Any:
        while True:
            try:
                return self._api.edit(edit, Deadline.after(_CALL))
            except TryAgainLater:
                self.repeated += 1


def _filled(used: int) -> dict[str, object]:
    """The pool with *used* addresses in use, of pods of other nodes."""
    return {
        "apiVersion": objects.API_VERSION,
        "kind": "IPPool",
        "metadata": {"namespace": _NAMESPACE, "name": _POOL.name},
        "spec": {
            "range": _RANGE,
            "allocations": {
                str(distance): {
                    "id": f"{distance:064x}",
                    "podref": f"default/old-6f5b7c9d8-{distance:08}",
                    "ifname": "net1",
                }
                for distance in range(1, used + 1)
            },
        },
    }


def _figures(
    api: ApiServer,
    nodes: Sequence[_Node],
    addresses: Sequence[Sequence[int]],
    used: int,
    watches: Sequence[Watch],
    seconds: float,
) -> Figures:
    asked = {"GET": 0, "POST": 0, "PATCH": 0, "DELETE": 0}
    for (method, path), count in api.requests.items():
        if f"/namespaces/{_NAMESPACE}/" in path:
            asked[method] += count
    writes = asked["POST"] + asked["PATCH"] + asked["DELETE"]
    sizes = [stored(api, kind) for kind in _CACHED]
    empty = len(compact_json(_filled(0)))
    started = [each for found in addresses for each in found]
    return Figures(
        nodes=len(nodes),
        pods=len(started),
        addresses=tuple(started),
        seconds=seconds,
        reads=asked["GET"],
        writes=writes,
        refused=writes - sum(watch.events for watch in watches),
        repeated=sum(each.repeated for each in nodes),
        objects=sum(map(len, sizes)),
        watched=sum(watch.bytes for watch in watches),
        pool=sizes[0][0],
        reservation=max(sizes[1], default=0),
        allocation=(sizes[0][0] - empty) / (len(started) + used),
    )


def project(found: Figures, nodes: int, pods: int) -> Projection:
    """What *found* becomes in a cluster of *nodes* nodes, with *pods* pods on one pool.

    Every write of the pool sends the pool to every node, so the bytes of watches grow with the
    square of the pods.  A node that starts its pods one after the other writes once for each.
    """
    one = found.allocation
    watched = int(one * pods * (pods + 1) / 2) + pods * found.reservation
    return Projection(
        pool=int(one * pods),
        holds=int(LARGEST / one),
        watched=watched,
        sent=watched * nodes,
        memory=pods * found.reservation,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print both tables."""
    options = _parser().parse_args(arguments)
    found = measure(options.nodes, options.pods, options.used)
    nodes, pods = options.cluster
    then = project(found, nodes, pods)
    if len(set(found.addresses)) != found.pods:
        print("an address was given out twice", file=sys.stderr)
        return 1
    print(f"{found.nodes} nodes, {found.pods} pods, {options.used} addresses in use before")
    _print("time to fill", f"{found.seconds:.1f} s")
    _print("API requests per pod", f"{(found.reads + found.writes) / found.pods:.2f}")
    _print("  writes that were made", f"{(found.writes - found.refused) / found.pods:.2f}")
    _print("  writes that were refused", f"{found.refused / found.pods:.2f}")
    _print("  reads", f"{found.reads / found.pods:.2f}")
    _print("calls that were repeated", str(found.repeated))
    _print("objects", str(found.objects))
    _print("watch traffic per node", _size(found.watched))
    _print("  per pod that is started", _size(found.watched / found.pods))
    _print("size of the pool", _size(found.pool))
    print(f"\n{nodes} nodes, {pods} pods on one pool (computed)")
    _print("objects", str(pods + 1))
    _print("size of the pool", f"{_size(then.pool)}; it can hold {then.holds} addresses")
    _print("watch traffic per node", _size(then.watched))
    _print("watch traffic of all nodes", _size(then.sent))
    _print("reservations in each daemon", _size(then.memory))
    blocks = fillblocks.measure(options.nodes, options.pods)
    print(f"\n{blocks.nodes} nodes, {blocks.pods} pods, in {fillblocks.NAME}")
    _print_blocks(blocks)
    if options.whole:
        print(f"\n{nodes} nodes, {pods} pods, in {fillblocks.NAME}")
        _print_blocks(fillblocks.measure(nodes, pods // nodes))
    else:
        print(f"\n{nodes} nodes, {pods} pods, in {fillblocks.NAME} (computed)")
        _print_blocks(fillblocks.project(blocks, nodes, pods), computed=True)
    return 0


def _print_blocks(found: fillblocks.Figures, *, computed: bool = False) -> None:
    if not computed:
        _print("time to fill", f"{found.seconds:.1f} s")
    _print("API requests per pod", f"{found.requests / found.pods:.3f}")
    _print("  creations, refused", f"{found.refused / found.pods:.3f}")
    _print("objects", str(found.objects))
    _print("size of a block", _size(found.block))
    _print("watch traffic per node", _size(found.watched))
    _print("watch traffic of all nodes", _size(found.watched * found.nodes))
    _print("blocks in each daemon", _size(found.memory))


def _print(what: str, value: str) -> None:
    print(f"  {what:<28}{value}")


def _size(count: float) -> str:
    """Bytes as a text for people: 1.5 MB."""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000
    return f"{count:.4g} PB"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.fill", description=__doc__)
    parser.add_argument("--nodes", type=int, default=8, help="that start pods at once (8)")
    parser.add_argument("--pods", type=int, default=10, help="of each node (10)")
    parser.add_argument("--used", type=int, default=0, help="addresses in use before (0)")
    parser.add_argument(
        "--cluster",
        type=int,
        nargs=2,
        default=[5000, 150_000],
        metavar=("NODES", "PODS"),
        help="of the second and fourth table (5000 150000)",
    )
    parser.add_argument("--whole", action="store_true", help="simulate the fourth table's cluster")
    return parser


if __name__ == "__main__":
    sys.exit(main())
