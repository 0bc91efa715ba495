"""Many pods at once: how many a second, and how long each waits."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from attrs import frozen

from bench.ways import Way
from bench.workload import Workload
from multus.testing.netns import Netns
from multus.testing.runtime import Container


@frozen
class Load:
    """One way under load: pods per second, and seconds of one call at the median and the worst 1 %.

    ``ratio`` is the throughput over direct execution's.
    """

    way: str
    verb: str
    networks: int
    at_once: int
    per_second: float
    p50: float
    p99: float
    ratio: float


def measure(each: Sequence[Way], networks: int, at_once: int, pods: int, folder: str) -> list[Load]:
    """*pods* pods by every way, *at_once* of them at a time; the first way is what counts as 1."""
    found: list[Load] = []
    for place, way in enumerate(each):
        work = Workload(networks, os.path.join(folder, f"load{place}"))
        namespaces = [Netns.create("load") for _ in range(pods)]
        try:
            containers = [way.container(work, pod) for pod in namespaces]
            for verb in ("ADD", "DEL"):
                seconds, times = _all(way, verb, work, containers, at_once)
                way.settle()
                base = next((x for x in found if x.verb == verb), None)
                rate = pods / seconds
                ratio = rate / base.per_second if base else 1.0
                p50, p99 = statistics.median(times), sorted(times)[int(len(times) * 0.99)]
                found.append(Load(way.name, verb, networks, at_once, rate, p50, p99, ratio))
            for container in containers:
                way.forget(container)
        finally:
            for pod in namespaces:
                pod.remove()
    return found


def _all(
    way: Way, verb: str, work: Workload, containers: Sequence[Container], at_once: int
) -> tuple[float, list[float]]:
    with ThreadPoolExecutor(at_once) as threads:
        begin = time.perf_counter()
        times = list(threads.map(lambda each: way.call(verb, work, each), containers))
        return time.perf_counter() - begin, times
