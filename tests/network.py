"""Whether the machine under the tests has a network beside its own loopback."""

from __future__ import annotations

import socket

import pytest

#: Addresses that no host has (RFC 5737, RFC 3849): only a default route leads to them.
_ELSEWHERE = ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1"))


def require_network() -> None:
    """Skip the test when no other host can be reached: pip has nowhere to install from."""
    if not reachable():
        pytest.skip("this machine has no route to other hosts, for pip")


def reachable() -> bool:
    """Whether other hosts may be reached."""
    return any(_has_route(*each) for each in _ELSEWHERE)


def _has_route(family: int, address: str) -> bool:
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            # Connecting a datagram socket looks up the route, and sends nothing.
            probe.connect((address, 9))
    except OSError:
        return False
    return True
