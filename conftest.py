"""What holds for every test, of the core and of the plugins, and for every run of them.

A skipped test looks like a passed one in the last line of a run. So the reasons are counted at the
end, and ``--known-skips FILE`` makes a test fail that is skipped for a reason that FILE has not.
``--note-lacking FILE`` writes down what this kernel cannot run, for a run on another.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says more about what else the machine does than about the code.
settings.register_profile(
    "any-machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any-machine")

#: How a reason begins for which another kernel is needed.
LACKING = "this kernel lacks "

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--known-skips",
        metavar="FILE",
        help="fail what is skipped for a reason that matches no line of FILE (shell patterns)",
    )
    parser.addoption(
        "--note-lacking",
        metavar="FILE",
        help="write what is skipped since this kernel lacks something to FILE, one test a line",
    )
    parser.addoption(
        "--every",
        metavar="N",
        type=int,
        default=1,
        help="run each Nth test in the order of collection, from all files",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    every = config.getoption("--every")
    left_out = [item for number, item in enumerate(items) if number % every]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = items[::every]


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _failed_unless_known(item.config, (yield))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _failed_unless_known(collector.config, (yield))


def _failed_unless_known(config: pytest.Config, report: Report) -> Report:
    path = config.getoption("--known-skips")
    if path and report.skipped and not hasattr(report, "wasxfail"):
        reason = _reason(report)
        lines = (line.strip() for line in Path(config.rootpath, path).read_text().splitlines())
        if not any(fnmatchcase(reason, line) for line in lines if line and line[0] != "#"):
            report.outcome = "failed"
            report.longrepr = f"skipped for a reason that {path} does not have: {reason}"
    return report


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    # pytest has (path, line, text) for a skip.
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    skipped = terminalreporter.stats.get("skipped", ())
    path = config.getoption("--note-lacking")
    if path:
        lacking = [each.nodeid for each in skipped if _reason(each).startswith(LACKING)]
        Path(config.invocation_params.dir, path).write_text(
            "".join(f"{each}\n" for each in lacking)
        )
    counts = Counter(_reason(report) for report in skipped)
    if counts:
        terminalreporter.section("skipped, by reason")
        for reason, count in counts.most_common():
            terminalreporter.write_line(f"{count:6}  {reason}")
