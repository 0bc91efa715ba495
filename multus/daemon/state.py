"""What is known only when it is asked for: calls, workers, caches, queued writes, records."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from multus.daemon.metrics import Values

if TYPE_CHECKING:
    from multus.daemon.board import Sight
    from multus.daemon.calls import Calls
    from multus.daemon.generations import Generations
    from multus.daemon.handle import Worker
    from multus.daemon.pool import Pool
    from multus.daemon.spool import Spool

#: What the process for Kubernetes tells of each cache.
_CACHES = {
    "objects": "What is known",
    "synced": "1: complete, and answered from",
    "stale": "1: may be out of date, so that the API server is asked",
    "bytes": "Bytes that the objects take",
    "marked": "Objects that are not kept: too large, or malformed",
}


class State:
    """A collector for the daemon's registry."""

    def __init__(
        self, generations: Generations, calls: Calls, spool: Spool, connections: Callable[[], int]
    ) -> None:
        self._generations = generations
        self._calls = calls
        self._spool = spool
        self._connections = connections
        self._plugins, self._tasks = Values(), Values()

    def collect(self) -> Iterator[Metric]:
        calls, spool = self._calls, self._spool
        yield _gauge("multus_server_calls", "Calls that wait or are carried out", calls.admitted)
        yield _gauge("multus_server_queue", "Calls that wait", calls.waiting)
        yield _gauge("multus_server_connections", "Connections still sending", self._connections())
        yield from self._caches()
        yield from self._workers(calls.pool)
        yield _counter("multus_spool_replays", "Spooled DELs by outcome", "outcome", spool.outcomes)
        yield _gauge("multus_spool_files", "DELs that wait", len(spool.waiting()))
        yield _gauge("multus_attachments", "Records of containers", _records(spool.cni_dirs))

    def _workers(self, pool: Pool) -> Iterator[Metric]:
        # A copy, made at once: this may be another thread than the one that serves.
        every = list(pool)
        states = Counter(_state(each) for each in every)
        workers = GaugeMetricFamily("multus_workers", "Worker processes", labels=["state"])
        for state in ("idle", "stuck", "busy"):
            workers.add_metric([state], states[state])
        yield workers
        text = "Workers that are stuck, by whose code they run"
        blocked = GaugeMetricFamily("multus_workers_blocked", text, labels=["plugin", "task"])
        seen = (each.seen for each in every if each.stuck)
        for (plugin, task), number in Counter(map(self._whose, seen)).items():
            blocked.add_metric([plugin, task], number)
        yield blocked
        yield _counter(
            "multus_worker_replacements", "Workers that were replaced", "reason", pool.replaced
        )

    def _whose(self, seen: Sight) -> tuple[str, str]:
        if not seen.plugin:
            return "", ""
        return self._plugins.bounded(seen.plugin), self._tasks.bounded(seen.task)

    def _caches(self) -> Iterator[Metric]:
        states, now = self._generations.states, time.monotonic()
        age = GaugeMetricFamily(
            "multus_cache_age_seconds", "Since the API server was heard of", labels=["cache"]
        )
        for what, at in states.get("heard", {}).items():
            age.add_metric([what], now - at)
        yield age
        for key, text in _CACHES.items():
            family = GaugeMetricFamily(f"multus_cache_{key}", text, labels=["cache"])
            for state in states.get("states", ()):
                family.add_metric([state["cache"]], state[key])
            yield family
        text = "Statuses and events not written yet"
        yield _gauge("multus_queued_writes", text, states.get("queuedWrites", 0))


def _state(worker: Worker) -> str:
    if worker.stuck:
        return "stuck"
    return "idle" if worker.ready and worker.job is None else "busy"


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(name, text, value)


def _counter(name: str, text: str, label: str, values: dict[str, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=[label])
    for value, number in list(values.items()):
        family.add_metric([value], number)
    return family


def _records(folders: Iterable[str]) -> int:
    """How many ``<container>:<interface>`` files there are."""
    return sum(_is_record(name) for folder in folders for name in _names(folder))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _is_record(name: str) -> bool:
    container, colon, ifname = name.partition(":")
    return bool(colon) and container[:1].isalnum() and ":" not in ifname
