"""Tests do what a busy machine cannot upset: they use ``waiting`` and ``descriptors``."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).relative_to(ROOT)
#: A pattern of a line, what to do in its place, and the files that may have it.
HABITS = {
    r'listdir\("/proc/self/fd"\)': (
        "compare descriptors with descriptors.held(): other threads have some too",
        {
            "tests/descriptors.py",
            "tests/integration/daemon/services.py",  # looks for its own channel
            "tests/integration/daemon/test_front.py",  # lets the process have no more of them
        },
    ),
    r"def (wait_for|eventually|wait_until)\(": ("use waiting.eventually", {"tests/waiting.py"}),
    r"assert .*(monotonic|perf_counter|time)\(\) - \w+ < [\d.]+$": (
        "bound it by waiting.PATIENCE, and let what would be waited for last longer; or count the"
        " work with work.calls()",
        set(),
    ),
    r"\b(thread_time|process_time)\b": ("count the work with work.calls()", set()),
}


def sources() -> list[Path]:
    found = [*ROOT.glob("tests/**/*.py"), *ROOT.glob("plugins/*/tests/**/*.py")]
    return [each.relative_to(ROOT) for each in found if each.relative_to(ROOT) != HERE]


@pytest.mark.parametrize("habit", HABITS)
def test_no_test_depends_on_what_else_the_process_or_the_machine_does(habit: str) -> None:
    instead, allowed = HABITS[habit]
    pattern = re.compile(habit)
    found = [
        f"{path}:{number}: {line.strip()}"
        for path in sources()
        if str(path) not in allowed
        for number, line in enumerate((ROOT / path).read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert found == [], instead
