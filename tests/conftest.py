"""What every test can use, beside the fixtures of ``multus.testing.plugin``."""

from __future__ import annotations

import pytest


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
