"""Where the page is served: what an address that cannot be bound is answered."""

from __future__ import annotations

import pytest

from multus.api.errors import IOFailure
from multus.picture import serving


def test_an_address_of_another_host_is_not_blamed_on_the_port() -> None:
    with pytest.raises(IOFailure, match="choose an address that this host has"):
        serving.listening("192.0.2.1:8470")


def test_a_port_in_use_is_named() -> None:
    with (
        serving.listening("127.0.0.1:0") as taken,
        pytest.raises(IOFailure, match="choose another port"),
    ):
        serving.listening(f"127.0.0.1:{taken.getsockname()[1]}")
