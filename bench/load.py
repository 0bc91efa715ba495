"""Many pods at once: how many a second, and how long each waits."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from attrs import frozen

from bench.pods import namespaces
from bench.ways import Way
from bench.workload import Workload
from multus.testing.runtime import Container


@frozen
class Load:
    """One way under load: pods per second, and seconds of one call at the median and the worst 1 %.

    ``ratio`` is the throughput over direct execution's.
    """

    way: str
    verb: str
    at_once: int
    per_second: float
    p50: float
    p99: float
    ratio: float


_ROUNDS = 3

#: The pods' networks.
KIND, NETWORKS = "mixed", 4


def measure(each: Sequence[Way], at_once: int, pods: int, folder: str) -> list[Load]:
    """*pods* pods by every way, *at_once* of them at a time; the first way is what counts as 1.

    All ways take their turn, three times, with the same namespaces.
    """
    seconds: dict[tuple[str, str], list[float]] = {}
    times: dict[tuple[str, str], list[float]] = {}
    with namespaces(pods) as made:
        for _ in range(_ROUNDS):
            for place, way in enumerate(each):
                work = Workload(NETWORKS, os.path.join(folder, f"load{place}"), KIND)
                containers = [way.container(work, pod) for pod in made]
                for verb in ("ADD", "DEL"):
                    all_of_them, of_each = _all(way, verb, work, containers, at_once)
                    way.settle()
                    seconds.setdefault((way.name, verb), []).append(all_of_them)
                    times.setdefault((way.name, verb), []).extend(of_each)
                for container in containers:
                    way.forget(container)
    rates = {key: pods / statistics.median(found) for key, found in seconds.items()}
    return [
        Load(
            way=name,
            verb=verb,
            at_once=at_once,
            per_second=rate,
            p50=statistics.median(times[name, verb]),
            p99=sorted(times[name, verb])[int(len(times[name, verb]) * 0.99)],
            ratio=rate / rates[each[0].name, verb],
        )
        for (name, verb), rate in rates.items()
    ]


def _all(
    way: Way, verb: str, work: Workload, containers: Sequence[Container], at_once: int
) -> tuple[float, list[float]]:
    with ThreadPoolExecutor(at_once) as threads:
        begin = time.perf_counter()
        times = list(threads.map(lambda each: way.call(verb, work, each), containers))
        return time.perf_counter() - begin, times
