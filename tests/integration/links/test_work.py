"""What an ADD asks of the kernel, counted."""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from attrs import evolve

from integration.links.conftest import invoker_of
from multus.inprocess import LinkInvoker
from multus.netlink import Transport
from multus.testing.invocation import Caller
from multus.testing.session import new_session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from integration.links.conftest import Host

_HEADER = struct.Struct("=IHHII")
_LINK = struct.Struct("=BxHiII")
_NEWLINK, _SETLINK = 16, 19
_IFF_UP = 1


class Recording(Transport):
    """Keeps every datagram, as a list of messages."""

    def __init__(self, sock: Any, sent: list[list[bytes]]) -> None:
        super().__init__(sock)
        self._sent = sent

    def send(self, messages: Sequence[bytes]) -> None:
        self._sent.append(list(messages))
        super().send(messages)


def _sent(host: Host, network: str, **more: Any) -> list[list[bytes]]:
    """The datagrams of the second ADD of a network; the first one may create a bridge.

    How often an ADD repeats a question, until a port forwards, is a matter of the kernel's time.
    """
    config = {**host.config(network), **more}
    sent: list[list[bytes]] = []
    for _ in range(2):
        sent.clear()
        result = host.add(config, invoker_of(config, lambda sock: Recording(sock, sent)))
        host.delete(config, result)
    return [now for before, now in pairwise([[], *sent]) if not _repeats(now, before)]


def _repeats(datagram: list[bytes], before: list[bytes]) -> bool:
    return {_unnumbered(each) for each in datagram} <= {_unnumbered(each) for each in before}


def _unnumbered(message: bytes) -> bytes:
    length, kind, flags, _number, port = _HEADER.unpack_from(message)
    return _HEADER.pack(length, kind, flags, 0, port) + message[_HEADER.size :]


@pytest.mark.parametrize(
    ("network", "datagrams"), [("ptp", 3), ("bridge", 5), ("bridge port", 5), ("macvlan", 5)]
)
def test_an_add_takes_few_datagrams(host: Host, network: str, datagrams: int) -> None:
    assert len(_sent(host, network, ipMasq=False)) == datagrams


def test_the_parent_of_a_requests_networks_is_looked_up_once(host: Host) -> None:
    sent: list[list[bytes]] = []
    with host.inside.entered(), new_session() as session:
        for ifname in ("net1", "net2"):
            config = {**host.config("macvlan"), "name": ifname}
            invoker = invoker_of(config, lambda sock: Recording(sock, sent))
            caller = evolve(host.caller, ifname=ifname)
            invoker.add(caller.invocation("ADD", config, session=session))
    assert len(sent) == 5 + 4


@pytest.mark.parametrize("network", ["ptp", "bridge"])
def test_no_end_of_a_pair_is_set_up_twice_nor_created_up(host: Host, network: str) -> None:
    # An end that is up while its peer is down costs a grace period at the next request for it.
    messages = [each for datagram in _sent(host, network) for each in datagram]
    changed = [each for each in messages if _HEADER.unpack_from(each)[1] in (_NEWLINK, _SETLINK)]
    flags = [_LINK.unpack_from(each, _HEADER.size)[3] & _IFF_UP for each in changed]
    assert flags[0] == 0
    assert flags.count(_IFF_UP) == 2


def test_a_pair_has_one_queue_each_way(host: Host) -> None:
    config = host.config("ptp")
    host.add(config, invoker_of(config))
    (link,) = host.pod.ip("link", "show", "eth0")
    # A kernel without receive packet steering has one to receive, and does not say so.
    assert (link["num_tx_queues"], link.get("num_rx_queues", 1)) == (1, 1)
    host.delete(config)


def test_a_del_of_several_networks_deletes_their_links_together(host: Host) -> None:
    """Also that of a delegated plugin; an interface that moves back is not deleted."""
    networks = {"eth0": "flannel", "net1": "ptp", "net2": "macvlan", "net3": "host-device"}
    deletions = []
    for at, (ifname, network) in enumerate(networks.items()):
        config = host.config(network, subnet=f"10.{90 + at}.0.0/24", name=network)
        result = host.add(config, ifname=ifname)
        caller = Caller("container1", host.pod.path, ifname)
        deletions.append((invoker_of(config), caller.invocation("DEL", config, result)))
    with host.inside.entered():
        LinkInvoker.before_delete(deletions)
    assert list(host.pod.links()) == ["net3"]
    with host.inside.entered():
        for invoker, invocation in deletions:
            invoker.delete_one(invocation)
    assert (host.left(), host.pod.links()) == ([], {})
