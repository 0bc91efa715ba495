"""What every test can use, beside the fixtures of ``multus.testing.plugin``."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from multus.cli import engines

#: Where calls leave engines that name no other socket: the machine's own folder.
_ENGINES = "/run/multus"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full-size",
        action="store_true",
        help="run the tests that come in two sizes in the long one, as ./dev soak does",
    )
    parser.addoption("--site", metavar="FOLDER", help="the built documentation, for its tests")


def pytest_configure() -> None:
    # A shell without job control ignores SIGINT in what it starts in the background, and so would
    # the programs that tests start and send it to.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def full_size(request: pytest.FixtureRequest) -> bool:
    """Whether a test that comes in two sizes runs in the long one."""
    return bool(request.config.getoption("--full-size"))


@pytest.fixture
def every_process() -> None:
    """Skips in a container that has processes of its own: what nobody owns is not known there."""
    if os.readlink("/proc/self/ns/pid") != "pid:[4026531836]":
        pytest.skip("the node's processes are not seen from a container")


@pytest.fixture(autouse=True)
def _no_engine_is_left() -> Iterator[None]:
    yield
    left = [each.process for each in engines.found(_ENGINES) if _is_ours(each.process)]
    assert not left, "a call left a warm engine: name a MULTUS_SOCKET of the test, and end it"


def _is_ours(process: int) -> bool:
    """Whether a process is one of the interpreter that runs these tests."""
    try:
        command = Path(f"/proc/{process}/cmdline").read_bytes()
    except OSError:
        return False
    return command.startswith(os.fsencode(sys.executable) + b"\0")
