"""Metrics that are computed at each scrape: calls, workers, caches, queued writes, records."""

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

#: The API process's figures for each cache: metric, key of its report, and the figure of several
#: API servers' caches of the same objects, since a series must have one value; help.
_CACHES: tuple[tuple[str, str, Callable[[Iterable[float]], float], str], ...] = (
    ("objects", "objects", sum, "Objects in the cache"),
    ("synced", "synced", min, "1: complete, so that it answers requests"),
    ("stale", "stale", max, "1: may be out of date, so that requests go to the API server"),
    ("bytes", "bytes", sum, "Memory of the cached objects, in bytes"),
    ("skipped", "marked", sum, "Objects that are not cached: too large, or malformed"),
)


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
        yield _gauge("multus_server_calls", "Calls that wait or run", calls.admitted)
        yield _gauge("multus_server_queue", "Calls that wait", calls.waiting)
        text = "Connections whose message is not complete"
        yield _gauge("multus_server_connections", text, self._connections())
        yield from self._caches()
        yield from self._workers(calls.pool)
        yield _counter("multus_spool_replays", "Spooled DELs by outcome", "outcome", spool.outcomes)
        text = "Looks at running pods by outcome"
        yield _counter("multus_pod_looks", text, "outcome", calls.looked)
        yield _gauge("multus_spool_files", "Spooled DELs that wait", len(spool.waiting()))
        yield from self._healing()
        yield _gauge("multus_attachments", "Records of containers", _records(spool.cni_dirs))

    def _healing(self) -> Iterator[Metric]:
        healing = self._calls.healing
        if healing is None:
            return
        text = "Things without an owner that {}, by kind"
        for name, what, counts in (
            ("found", "a round found", healing.found),
            ("removed", "were removed", healing.removed),
            ("failed", "could not be removed", healing.failed),
        ):
            yield _counter(f"multus_healing_{name}", text.format(what), "kind", counts)
        rounds = CounterMetricFamily("multus_healing_rounds", "Rounds of healing")
        rounds.add_metric([], healing.rounds)
        yield rounds

    def _workers(self, pool: Pool) -> Iterator[Metric]:
        # One atomic copy: the metrics thread may call this while the supervisor changes the pool.
        every = list(pool)
        states = Counter(_state(each) for each in every)
        workers = GaugeMetricFamily("multus_workers", "Worker processes", labels=["state"])
        for state in ("idle", "stuck", "busy"):
            workers.add_metric([state], states[state])
        yield workers
        text = "Stuck workers, by the plugin whose code they run"
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
            "multus_cache_age_seconds", "Time since the last data of its watch", labels=["cache"]
        )
        for what, at in states.get("heard", {}).items():
            age.add_metric([what], now - at)
        yield age
        reported = states.get("states", ())
        for name, key, together, text in _CACHES:
            family = GaugeMetricFamily(f"multus_cache_{name}", text, labels=["cache"])
            for cache in dict.fromkeys(each["cache"] for each in reported):
                figures = [each[key] for each in reported if each["cache"] == cache]
                family.add_metric([cache], together(figures))
            yield family
        text = "Pod statuses and events that wait to be written"
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
    """The number of ``<container>:<interface>`` files."""
    return sum(_is_record(name) for folder in folders for name in _names(folder))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _is_record(name: str) -> bool:
    container, colon, ifname = name.partition(":")
    return bool(colon) and container[:1].isalnum() and ":" not in ifname
