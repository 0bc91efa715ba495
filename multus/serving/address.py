"""The address at which a page is served, as text: ``127.0.0.1:8470``, ``[::1]:8470``."""

from __future__ import annotations

import ipaddress

from multus.api.errors import InvalidConfig


def parsed(address: str) -> tuple[str, int]:
    """The IP address and the port in a text; raises ``InvalidConfig``."""
    host, colon, port = address.rpartition(":")
    try:
        ip = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        if not colon or not port.isdecimal() or int(port) > 65535:
            raise ValueError
    except ValueError as error:
        raise InvalidConfig(
            f"{address!r} is no IP address with a port", fix="write one such as 127.0.0.1:8470"
        ) from error
    return str(ip), int(port)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches *address*; raises ``InvalidConfig``."""
    return ipaddress.ip_address(parsed(address)[0]).is_loopback
