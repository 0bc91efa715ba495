"""The daemon as a plugin of its own engine: what it hears about every request, it counts."""

from __future__ import annotations

from multus import hookimpl
from multus.daemon.metrics import Metrics
from multus.errors import IOFailure, StateDamaged
from multus.model.network import Outcome


class Observer:
    """Registered beside the installed plugins."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    @hookimpl
    def multus_finished(self, outcome: Outcome) -> None:
        """Count the stages' times, and records that could not be read or written."""
        for stage, seconds in outcome.stages.items():
            self._metrics.stage(outcome.command, stage, seconds)
        if isinstance(outcome.error, (IOFailure, StateDamaged)):
            self._metrics.journal_error()
