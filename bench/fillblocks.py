"""What a range with blocks costs the API server: `bench.fill`'s nodes, each with blocks of its own.

The blocks are in memory, as fsync would measure this machine's disk.  A few API processes, with a
watch each, stand for those of all nodes: many of them would measure this machine's cores.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

from attrs import frozen
from multus_ipam_whereabouts import objects
from multus_ipam_whereabouts.blockaddresses import BlockAddresses
from multus_ipam_whereabouts.blocktaking import Taking
from multus_ipam_whereabouts.nodeblocks import Home
from multus_ipam_whereabouts.ranges import Range

from bench.watched import stored, watched
from multus.api.errors import CNIError
from multus.api.kubernetes import Deadline, Edit, ObjectRef
from multus.api.reader import Reader
from multus.ipam.store import Owner
from multus.kube.kubeconfig import load_kubeconfig
from multus.kube.nodeapi import NodeApi
from multus.testing.apiserver import ApiServer

_LENGTH = 28
NAME = f"blocks of /{_LENGTH}"
_NAMESPACE = "kube-system"
_KINDS = (objects.POOLS, objects.BLOCKS)
_CACHED = {
    use.resource: use.cached for use in objects.uses() if use.cached and use.resource in _KINDS
}
#: The most API processes, and nodes that start pods at the same moment.
_APIS, _AT_ONCE = 4, 64
#: How many blocks a range has, at least, for each that is needed.
_SPARE = 1.5
_CALL = 60.0
_CREATION = ("POST", "addressblocks")


@frozen
class Figures:
    """What one filling took; all sizes are bytes.

    ``requests`` are all of the plugin's, ``refused`` of them the creations of a block that another
    node had taken.  ``watched`` is what the watches of one node get, ``block`` the largest block's
    object, ``memory`` what the cache of a daemon holds.
    """

    nodes: int
    pods: int
    seconds: float
    requests: int
    refused: int
    objects: int
    watched: int
    block: int
    memory: int


@frozen
class _Api:
    """One node's view of an API process that stands for several nodes' (``Api``, in part)."""

    shared: NodeApi
    node: str

    def get(self, wanted: ObjectRef, deadline: Deadline) -> dict[str, Any]:
        return self.shared.get(wanted, deadline)

    def lacking(self, wanted: Sequence[ObjectRef], deadline: Deadline) -> list[ObjectRef]:
        return self.shared.lacking(wanted, deadline)

    def edit(self, edit: Edit, deadline: Deadline) -> Any:
        return self.shared.edit(edit, deadline)

    def select(self, *given: Any, **named: Any) -> list[dict[str, Any]]:
        return self.shared.select(*given, **named)


@frozen
class _Node:
    """A node, and its folder."""

    api: _Api
    folder: str
    within: Range

    def fill(self, pods: int) -> list[int]:
        """Start the pods, one after the other; returns their addresses as numbers."""
        return [self._add(number) for number in range(pods)]

    def _add(self, number: int) -> int:
        pool = objects.pool(_NAMESPACE, str(self.within.network), "")
        home, deadline = Home.of(self.folder, pool), Deadline.after(_CALL)

        def taking(_: BlockAddresses) -> Taking:
            given = (self.within, pool, home, self.folder, "", deadline)
            return Taking(self.api, *given)  # type: ignore[arg-type]  # no more of it is used

        owner = Owner(f"{self.api.node}-{number:032x}", "net1")
        return BlockAddresses(home, self.within).allocate(owner, deadline, taking).value


def measure(nodes: int, pods: int) -> Figures:
    """Let *nodes* nodes start *pods* pods each, on a range that has enough blocks for them."""
    with ExitStack() as stack:
        api = stack.enter_context(ApiServer())
        memory = "/dev/shm" if os.path.isdir("/dev/shm") else None
        folder = stack.enter_context(tempfile.TemporaryDirectory(dir=memory))
        names = [f"worker-{number:05}.example" for number in range(nodes)]
        for name in names:
            api.create({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}})
        shared = list(_apis(api, folder, min(nodes, _APIS), stack))
        watches = [stack.enter_context(watched(api, kind)) for kind in _CACHED]
        within = _range(nodes * -(-pods // (1 << (32 - _LENGTH))))
        every = [
            _Node(_Api(shared[number % len(shared)], name), f"{folder}/{name}", within)
            for number, name in enumerate(names)
        ]
        api.requests.clear()
        begin = time.perf_counter()
        with ThreadPoolExecutor(min(nodes, _AT_ONCE)) as threads:
            found = [
                each for one in threads.map(lambda node: node.fill(pods), every) for each in one
            ]
        seconds = time.perf_counter() - begin
        if len(set(found)) != nodes * pods:
            raise CNIError("an address was given out twice", fix="report it")
        version = api.store.version
        for watch in watches:
            watch.wait_for(version)
        return _figures(api, nodes, pods, seconds, sum(each.bytes for each in watches), shared[0])


def _apis(api: ApiServer, folder: str, count: int, stack: ExitStack) -> Iterator[NodeApi]:
    kubeconfig = load_kubeconfig(api.write_kubeconfig(folder))
    for number in range(count):
        found = NodeApi(kubeconfig, f"n{number}", _CACHED)
        stack.callback(found.close)
        found.start()
        while not all(state.synced for state in found.states()):
            time.sleep(0.01)
        yield found


def _range(needed: int) -> Range:
    prefix = _LENGTH - 4
    while (1 << (_LENGTH - prefix)) < _SPARE * needed:
        prefix -= 1
    reader = Reader({"range": f"10.0.0.0/{prefix}", "block": _LENGTH}, "the range")
    return Range.read(reader, reader, ())


def _figures(
    api: ApiServer, nodes: int, pods: int, seconds: float, watched: int, one: NodeApi
) -> Figures:
    sizes = stored(api, objects.BLOCKS)
    ours = ("/addressblocks", "/ippools", "/nodes/")
    asked = {key: n for key, n in api.requests.items() if any(each in key[1] for each in ours)}
    created = sum(n for (method, path), n in asked.items() if (method, path[-13:]) == _CREATION)
    (kept,) = (each.bytes for each in one.states() if str(objects.BLOCKS) in each.what)
    return Figures(
        nodes=nodes,
        pods=nodes * pods,
        seconds=seconds,
        requests=sum(asked.values()),
        refused=created - len(sizes),
        objects=len(sizes) + len(stored(api, objects.POOLS)),
        watched=watched,
        block=max(sizes),
        memory=kept,
    )


def project(found: Figures, nodes: int, pods: int) -> Figures:
    """What *found* becomes in a cluster of *nodes* nodes with *pods* pods, no creation refused.

    A node asks once whether it exists, and creates each of its blocks.
    """
    blocks = nodes * -(-pods // (nodes * (1 << (32 - _LENGTH))))
    each = found.objects - 1
    return Figures(
        nodes=nodes,
        pods=pods,
        seconds=0.0,
        requests=blocks + nodes,
        refused=0,
        objects=blocks + 1,
        watched=found.watched * blocks // each,
        block=found.block,
        memory=found.memory * blocks // each,
    )
