"""``MULTUS_WAIT`` is bounded, and both shims parse it the same way."""

from __future__ import annotations

import json
import time

import pytest
from waiting import PATIENCE

from .conftest import Shim


@pytest.mark.parametrize(
    "text", ["nan", "NaN", "inf", "-inf", "infinity", "-1", "1e9", "0x7f", ".", "1.2.3", "1 2", "٣"]
)
def test_without_a_decimal_number_there_is_no_wait(run: Shim, text: str) -> None:
    began = time.monotonic()
    status, stdout = run("ADD", MULTUS_WAIT=text)
    assert (status, json.loads(stdout)["code"]) == (1, 11)
    assert time.monotonic() - began < PATIENCE


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0.0), ("0.3", 0.3), (".3", 0.3), ("00.4", 0.4)]
)
def test_a_decimal_number_is_the_wait(run: Shim, text: str, seconds: float) -> None:
    began = time.monotonic()
    assert run("ADD", MULTUS_WAIT=text)[0] == 1
    assert seconds <= time.monotonic() - began < seconds + PATIENCE


def test_a_large_number_is_limited_to_the_timeout_of_a_call() -> None:
    from multus.cni import shim

    assert shim._seconds(b"9" * 400) == shim._seconds(b"1000000") == shim.SERVE_S
