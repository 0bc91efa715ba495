"""Hardware addresses in every form that Go's ``net.ParseMAC`` takes, and in no other."""

from __future__ import annotations

import pytest

from multus.api.hardware import hardware_address

TWENTY = "00:00:00:00:fe:80:00:00:00:00:00:00:02:00:5e:10:00:00:00:01"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("00:00:5e:00:53:01", 6),
        ("00-00-5E-00-53-01", 6),
        ("0000.5e00.5301", 6),
        ("02:00:5e:10:00:00:00:01", 8),
        ("02-00-5e-10-00-00-00-01", 8),
        ("0200.5e10.0000.0001", 8),
        (TWENTY, 20),
        (TWENTY.replace(":", "-"), 20),
        ("0000.0000.fe80.0000.0000.0000.0200.5e10.0000.0001", 20),
    ],
)
def test_addresses(text: str, size: int) -> None:
    found = hardware_address(text)
    assert found is not None
    assert len(found) == size
    assert found.hex() == "".join(char for char in text.lower() if char not in ":-.")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "02",
        "02:00",
        "00005e005301",
        "00:00:5e:00:53",
        "00:00:5e:00:53:01:",
        "00:00-5e:00:53:01",
        "0:0:5e:0:53:1",
        "00:00:5e:00:53:0g",
        "00:00:5e:00:53:01\n",
        " 00:00:5e:00:53:01",
        "000.05e.005.301",
        "00:00:5e:00:53:01:02",
        "00.00.5e.00.53.01",
    ],
)
def test_what_is_none(text: str) -> None:
    assert hardware_address(text) is None
