"""What comes to a mapped port reaches the container, and what it must not see is masqueraded."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

import pytest

from multus.netlink import Namespace

if TYPE_CHECKING:
    from conftest import Place
    from multus.testing.netns import Netns

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


@contextmanager
def opened(netns: Netns, version: int, kind: int = socket.SOCK_STREAM) -> Iterator[socket.socket]:
    """A socket in this namespace."""
    with Namespace(netns.path) as there, there.entered():
        made = socket.socket(FAMILIES[version], kind)
    made.settimeout(10)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with made:
        yield made


def reached(place: Place, origin: Netns, version: int, target: str, port: int = 8080) -> str:
    """Connect to the target: the address that the server in the pod sees."""
    with opened(place.pod, version) as server, opened(origin, version) as client:
        server.bind((place.inner[version], 80))
        server.listen()
        client.connect((target, port))
        accepted, seen = server.accept()
        with accepted:
            return str(seen[0])


@pytest.mark.parametrize("version", FAMILIES)
def test_a_mapped_port_leads_into_the_container(place: Place, backend: str, version: int) -> None:
    config = place.config(backend, (8080, 80, "tcp"))
    with pytest.raises(ConnectionRefusedError):
        reached(place, place.client, version, place.near[version])
    place.add(config)
    assert reached(place, place.client, version, place.near[version]) == place.outer[version]
    assert reached(place, place.host, version, place.near[version]) == place.near[version]
    # The container itself would not accept its own address as the other end.
    assert reached(place, place.pod, version, place.near[version]) == place.gateway[version]
    if version == 4:
        assert reached(place, place.host, version, "127.0.0.1") == place.gateway[version]
    place.delete(config)
    with pytest.raises(ConnectionRefusedError):
        reached(place, place.client, version, place.near[version])


@pytest.mark.parametrize("version", FAMILIES)
def test_every_source_is_masqueraded_when_asked(place: Place, backend: str, version: int) -> None:
    place.add(place.config(backend, (8080, 80, "tcp"), masqAll=True))
    assert reached(place, place.client, version, place.near[version]) == place.gateway[version]


@pytest.mark.parametrize("version", FAMILIES)
def test_a_mapping_of_one_address_is_for_that_one_alone(
    place: Place, backend: str, version: int
) -> None:
    config = place.config(backend, (8080, 80, "tcp"))
    (mapping,) = config["runtimeConfig"]["portMappings"]
    config["runtimeConfig"] = {"portMappings": [{**mapping, "hostIP": place.near[version]}]}
    place.add(config)
    assert reached(place, place.client, version, place.near[version]) == place.outer[version]
    with pytest.raises(ConnectionRefusedError):
        reached(place, place.client, version, place.gateway[version])


def test_clients_of_udp_that_send_all_the_time_follow_the_rules(place: Place, backend: str) -> None:
    config = place.config(backend, (5353, 53, "udp"))
    kind = socket.SOCK_DGRAM
    with ExitStack() as stack:
        own = stack.enter_context(opened(place.host, 4, kind))
        pod = stack.enter_context(opened(place.pod, 4, kind))
        client = stack.enter_context(opened(place.client, 4, kind))
        own.bind((place.near[4], 5353))
        pod.bind((place.inner[4], 53))
        # Connections are tracked from now on.
        place.add(place.config(backend, (9999, 9, "udp")))
        client.sendto(b"before", (place.near[4], 5353))
        assert own.recv(10) == b"before"
        place.add(config)
        client.sendto(b"mapped", (place.near[4], 5353))
        assert pod.recv(10) == b"mapped"
        place.delete(config)
        client.sendto(b"after", (place.near[4], 5353))
        assert own.recv(10) == b"after"
