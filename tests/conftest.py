"""What every test can use, beside the fixtures of ``multus.testing.plugin``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

#: Where calls leave engines that name no other socket: the machine's own folder.
_ENGINES = Path("/run/multus")


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
def _no_engine_is_left() -> Iterator[None]:
    before = set(_ENGINES.glob("warm.*"))
    yield
    left = set(_ENGINES.glob("warm.*")) - before
    assert not left, f"a warm engine is left: {left}: use a MULTUS_SOCKET of the test, and end it"
