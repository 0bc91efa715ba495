"""A plugin of pytest: says of each file when all of its tests have ended, and how many are left.

The lines are the controller's, which has the reports of all machines; it is nothing to a machine.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence

import pytest


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Progress(config))


class Progress:
    """Counts tests that have ended, by file and outcome."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._began = time.monotonic()
        self._left: Counter[str] = Counter()  # by file
        self._outcomes: defaultdict[str, Counter[str]] = defaultdict(Counter)  # by file
        self._total = 0

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        """Each machine has collected the same tests; the first one that says so counts."""
        if not self._total:
            self._left.update(map(_file, ids))
            self._total = len(ids)
            self._say(f"{self._total} tests in {len(self._left)} files")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = _file(report.nodeid)
        if report.when == "call" or report.outcome != "passed":
            self._outcomes[file][report.outcome] += 1
        if report.when == "teardown":
            self._left[file] -= 1
            if not self._left[file]:
                counts = ", ".join(f"{n} {outcome}" for outcome, n in self._outcomes[file].items())
                self._say(f"{file}: {counts}")

    def _say(self, text: str) -> None:
        reporter = self._config.pluginmanager.get_plugin("terminalreporter")
        if reporter is not None:
            ended = self._total - self._left.total()
            minutes = (time.monotonic() - self._began) / 60
            reporter.ensure_newline()
            reporter.write_line(f"[{ended} of {self._total} after {minutes:.0f} min] {text}")


def _file(test: str) -> str:
    return test.partition("::")[0]
