"""One pod after the other: every way in turn, round after round: all are disturbed alike."""

from __future__ import annotations

import os
import statistics
from collections.abc import Sequence

from attrs import frozen

from bench.pods import namespaces, settle_rules
from bench.ways import Way
from bench.workload import Workload
from multus.testing.netns import Netns


@frozen
class Figure:
    """One way's medians for networks of a kind, in seconds, and over direct execution."""

    kind: str
    way: str
    networks: int
    add: float
    delete: float
    add_ratio: float
    delete_ratio: float


def measure(
    each: Sequence[Way], kind: str, networks: int, rounds: int, folder: str
) -> list[Figure]:
    """ADD and DEL by every way; the first way is what the others are compared with."""
    times: dict[str, tuple[list[float], list[float]]] = {way.name: ([], []) for way in each}
    for turn in range(rounds + 1):
        with namespaces(len(each)) as pods:
            for place, (way, pod) in enumerate(zip(each, pods, strict=True)):
                # Each way has stores of its own: a used-up range of one must not slow another.
                work = Workload(networks, os.path.join(folder, kind, str(place)), kind)
                add, delete = round_trip(way, work, pod)
                way.settle()
                settle_rules()
                if turn:  # the first round only warms caches up
                    times[way.name][0].append(add)
                    times[way.name][1].append(delete)
    medians = {name: tuple(map(statistics.median, both)) for name, both in times.items()}
    add, delete = medians[each[0].name]
    return [
        Figure(kind, name, networks, ours[0], ours[1], ours[0] / add, ours[1] / delete)
        for name, ours in medians.items()
    ]


def round_trip(way: Way, work: Workload, pod: Netns) -> tuple[float, float]:
    """Seconds of an ADD and of a DEL for a pod that is new."""
    container = way.container(work, pod)
    try:
        return way.call("ADD", work, container), way.call("DEL", work, container)
    finally:
        way.forget(container)
