"""The reliability tests: they have two sizes, and print their figures at the end."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from reliability.ground import Ground

_COUNTED = "counted"

#: Adds a line to print at the end of the session, such as how many moments a test tried.
Say = Callable[[str], None]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    said = [
        line
        for reports in terminalreporter.stats.values()
        for report in reports
        if isinstance(report, pytest.TestReport) and report.when == "call"
        for name, line in report.user_properties
        if name == _COUNTED
    ]
    if said:
        terminalreporter.section("reliability")
        for line in said:
            terminalreporter.write_line(str(line))


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Say:
    # In the test's report, which may come from another process.
    return lambda line: request.node.user_properties.append((_COUNTED, line))


@pytest.fixture
def on_ground(tmp_path: Path) -> Iterator[Ground]:
    """A node with pods; the test runs in its namespace.  Skips where none can be created."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    from reliability.ground import ground

    with ground(str(tmp_path)) as made:
        yield made
