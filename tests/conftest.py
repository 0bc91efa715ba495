"""What every test can use, beside the fixtures of ``multus.testing.plugin``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

#: A daemon's mark in the default ``cniDir``: every configuration without one would wait for it.
_MARK = Path("/var/lib/cni/multus/.daemon")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full-size",
        action="store_true",
        help="run the tests that come in two sizes in the long one, as ./dev soak does",
    )


@pytest.fixture(scope="session")
def full_size(request: pytest.FixtureRequest) -> bool:
    """Whether a test that comes in two sizes runs in the long one."""
    return bool(request.config.getoption("--full-size"))


@pytest.fixture(autouse=True)
def _no_mark_is_left() -> Iterator[None]:
    before = _MARK.exists()
    yield
    assert _MARK.exists() is before, f"{_MARK} came or went: use a cniDir of the test"
