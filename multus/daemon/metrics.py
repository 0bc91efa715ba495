"""The daemon's metrics, in Prometheus' text format.

``multus_server_request_total{handler,code,method}`` has the usual labels of a request counter:
handler is ``/cni``, method the CNI command, code the CNI error code or 0.  A request over HTTP has
the labels that the Go Multus' daemon gives it: handler is its path, or ``NotFound``, method HTTP's
in small letters, code HTTP's status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    GCCollector,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

if TYPE_CHECKING:
    from multus.daemon.said import Report

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_COMMANDS = frozenset(("ADD", "DEL", "CHECK", "STATUS", "GC", "VERSION"))
_METHODS = _COMMANDS | {"get", "post", "head", "put", "delete"}

#: The stages that are timed (``multus.engine.pipeline``).
_STAGES = frozenset(("resolve", "order", "journal", "invoke", "merge"))

#: Limits: different values of one label, and combinations of labels in all.
_MOST_VALUES, _MOST_PARTS = 64, 2048
OTHER = "other"


class Values:
    """Limits the values of a label, since configurations, plugins and clients choose them.

    The first ones are kept, all further ones become ``other``.
    """

    def __init__(self) -> None:
        self._known: set[str] = set()

    def bounded(self, value: str) -> str:
        """*value*, or ``other``."""
        if value not in self._known:
            if len(self._known) >= _MOST_VALUES:
                return OTHER
            self._known.add(value)
        return value


class Metrics:
    """One daemon's metrics, in their own registry."""

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
            "Time from the connection to the answer, including the queue",
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
        self._plugin_seconds = Histogram(
            "multus_plugin_seconds",
            "Time of one plugin's hook, or of one invoker's verb, in one request",
            ("plugin", "task"),
            registry=registry,
            buckets=_SECONDS,
        )
        self._codes, self._types = Values(), Values()
        self._plugins, self._tasks = Values(), Values()
        self._parts: dict[tuple[Any, ...], Any] = {}
        self._journal_errors = Counter(
            "multus_journal_errors_total",
            "Requests that failed because state on disk could not be read or written",
            registry=registry,
        )

    def count(self, handler: str, method: str, code: str) -> None:
        """Count a request that was answered."""
        method = method if method in _METHODS else OTHER
        self._of(self._requests, handler, self._codes.bounded(code), method).inc()

    def took(self, command: str, seconds: float) -> None:
        """Add the time of a call."""
        command = command if command in _COMMANDS else OTHER
        self._of(self._request_seconds, command).observe(seconds)

    def stage(self, verb: str, stage: str, seconds: float) -> None:
        """Add the time of one stage of a request."""
        verb = verb if verb in _COMMANDS else OTHER
        stage = stage if stage in _STAGES else OTHER
        self._of(self._stage_seconds, verb, stage).observe(seconds)

    def delegate(self, verb: str, kind: str, seconds: float) -> None:
        """Add the time of a delegate of type *kind*."""
        verb = verb if verb in _COMMANDS else OTHER
        self._of(self._delegate_seconds, verb, self._types.bounded(kind)).observe(seconds)

    def plugin(self, plugin: str, task: str, seconds: float) -> None:
        """Add the time of a plugin's *task* (a hook or a verb) in one request."""
        plugin, task = self._plugins.bounded(plugin), self._tasks.bounded(task)
        self._of(self._plugin_seconds, plugin, task).observe(seconds)

    def reported(self, report: Report) -> None:
        """Add the times and the errors of a worker's report."""
        for verb, stage, seconds in report.stages:
            self.stage(verb, stage, seconds)
        for verb, kind, seconds in report.delegates:
            self.delegate(verb, kind, seconds)
        for plugin, task, seconds in report.plugins:
            self.plugin(plugin, task, seconds)
        for _ in range(report.journal_errors):
            self.journal_error()

    def _of(self, metric: Any, *labels: str) -> Any:
        """The child of *metric* with these labels, cached: the look-up costs more than counting."""
        key = (metric, *labels)
        found = self._parts.get(key)
        if found is None:
            if len(self._parts) >= _MOST_PARTS:
                return metric.labels(*(OTHER for _ in labels))
            found = self._parts[key] = metric.labels(*labels)
        return found

    def journal_error(self) -> None:
        """Count a record that could not be read or written."""
        self._journal_errors.inc()

    def text(self) -> bytes:
        """All metrics, in the text format."""
        return bytes(generate_latest(self.registry))
