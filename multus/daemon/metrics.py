"""What the daemon counts and measures, in Prometheus' text format.

``multus_server_request_total{handler,code,method}`` has the labels that dashboards know: handler
``/cni``, method the CNI command, code the CNI error code or 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_COMMANDS = frozenset(("ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"))

#: Types of delegates that are told apart; and all combinations of labels.
_MOST_TYPES, _MOST_PARTS = 64, 2048


class Metrics:
    """One daemon's metrics, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        self._requests = Counter(
            "multus_server_request_total",
            "Requests by handler, CNI error code (0: success) and CNI command",
            ("handler", "code", "method"),
            registry=registry,
        )
        self._request_seconds = Histogram(
            "multus_server_request_seconds",
            "From the connection to the answer, waiting included",
            ("method",),
            registry=registry,
            buckets=_SECONDS,
        )
        self._stage_seconds = Histogram(
            "multus_stage_seconds",
            "Time in one stage of the pipeline",
            ("verb", "stage"),
            registry=registry,
            buckets=_SECONDS,
        )
        self._delegate_seconds = Histogram(
            "multus_delegate_seconds",
            "Time of one delegate",
            ("verb", "type"),
            registry=registry,
            buckets=_SECONDS,
        )
        self._types: set[str] = set()
        self._parts: dict[tuple[Any, ...], Any] = {}
        self._gauges: dict[str, Gauge] = {}
        self._journal_errors = Counter(
            "multus_journal_errors_total",
            "Requests that failed because state on disk could not be read or written",
            registry=registry,
        )

    def request(self, handler: str, method: str, code: str, seconds: float) -> None:
        """A request was answered."""
        # What a client sends must not become label values without end.
        method = method if method in _COMMANDS else "other"
        self._of(self._requests, handler, code, method).inc()
        self._of(self._request_seconds, method).observe(seconds)

    def stage(self, verb: str, stage: str, seconds: float) -> None:
        """A stage of a request ended."""
        self._of(self._stage_seconds, verb, stage).observe(seconds)

    def delegate(self, verb: str, kind: str, seconds: float) -> None:
        """A delegate of type *kind* was carried out."""
        # Whoever writes a definition chooses the type.
        if kind not in self._types and len(self._types) >= _MOST_TYPES:
            kind = "other"
        self._types.add(kind)
        self._of(self._delegate_seconds, verb, kind).observe(seconds)

    def _of(self, metric: Any, *labels: str) -> Any:
        """The part of *metric* with these labels; looking it up costs more than counting."""
        key = (metric, *labels)
        found = self._parts.get(key)
        if found is None:
            if len(self._parts) >= _MOST_PARTS:
                return metric.labels(*("other" for _ in labels))
            found = self._parts[key] = metric.labels(*labels)
        return found

    def journal_error(self) -> None:
        """A record could not be read or written."""
        self._journal_errors.inc()

    def follow(
        self,
        calls: Callable[[], float],
        waiting: Callable[[], float],
        connections: Callable[[], float],
    ) -> None:
        """Show how much the server has to do."""
        self.gauge("multus_server_calls", "Calls that wait or are carried out", calls)
        self.gauge("multus_server_queue", "Calls that wait", waiting)
        self.gauge("multus_server_connections", "Connections still sending", connections)

    def gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Show *value*, asked whenever somebody reads the metrics."""
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, text, registry=self.registry)
        self._gauges[name].set_function(value)

    def text(self) -> bytes:
        """All of them, in the text format."""
        return bytes(generate_latest(self.registry))
