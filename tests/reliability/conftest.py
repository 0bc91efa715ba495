"""The reliability tests: they come in two sizes, and say at the end what they counted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from reliability.ground import Ground

_COUNTED = pytest.StashKey[list[str]]()

#: What a test says at the end of the session, such as how many moments it tried.
Say = Callable[[str], None]


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_COUNTED] = []


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    if config.stash[_COUNTED]:
        terminalreporter.section("reliability")
        for line in config.stash[_COUNTED]:
            terminalreporter.write_line(line)


@pytest.fixture
def say(request: pytest.FixtureRequest) -> Say:
    return request.config.stash[_COUNTED].append


@pytest.fixture
def on_ground(tmp_path: Path) -> Iterator[Ground]:
    """A node with pods, in whose namespace the test is; skips where none can be made."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces need root, at least of a user namespace")
    from reliability.ground import ground

    with ground(str(tmp_path)) as made:
        yield made
