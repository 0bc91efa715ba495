"""The invoker: sets the container's loopback interface up and down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus.api.errors import CheckFailed, InvalidConfig
from multus.api.invoker import Invoker
from multus.api.result import IP, Interface, Result
from multus.inprocess import Ends
from multus.ipam.addresses import Network
from multus.netlink import Namespace, NamespaceGone, Transport, addresses, links

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from socket import socket

    from multus.api.network import Invocation

_NAME = "lo"
_MAC = "00:00:00:00:00:00"
_LOOPBACK = {4: Network.parse("127.0.0.0/8"), 6: Network.parse("::1/128")}


class Loopback(Invoker):
    """Sets ``lo`` up; whichever name the network's interface has.

    *transport* sends netlink messages to the kernel; tests inject faults with it.
    """

    name = "loopback"

    def __init__(self, transport: Callable[[socket], Transport] = Transport) -> None:
        self._transport = transport

    def add(self, invocation: Invocation) -> Result:
        inside = Ends.of(invocation, self._transport).inside
        inside.request([links.set_up(_NAME)])
        link = links.find(inside, _NAME)
        held = addresses.list_of(inside, link.index) if link is not None else []
        ips = [_address(each.address, invocation) for each in held]
        if invocation.prev_result is not None:
            return invocation.prev_result
        return Result(
            interfaces=(Interface(_NAME, _MAC, invocation.request.netns),),
            ips=tuple(_first_of_each_family(ips)),
        )

    def delete_one(self, invocation: Invocation) -> None:
        if not invocation.request.netns:
            return
        try:
            with (
                Namespace(invocation.request.netns) as pod,
                pod.channel(transport=self._transport) as inside,
            ):
                # The container may have renamed it.
                if links.find(inside, _NAME) is not None:
                    inside.request([links.set_down(_NAME)])
        except NamespaceGone:
            pass

    def check(self, invocation: Invocation) -> None:
        with Namespace(invocation.request.netns) as pod, pod.channel() as inside:
            link = links.find(inside, _NAME)
        if link is None or not link.up:
            raise CheckFailed(
                f"interface {_NAME} in {invocation.request.netns} is down", fix="set it up"
            )


def _address(text: str, invocation: Invocation) -> IP:
    found, ip = Network.parse(text), IP(text, interface=0)
    allowed = _LOOPBACK[ip.family]
    if found is None or allowed is None or found.address not in allowed:
        raise InvalidConfig(
            f"interface {_NAME} in {invocation.request.netns} has the address {text}, which is no"
            " loopback address",
            fix="remove the address",
        )
    return ip


def _first_of_each_family(ips: Sequence[IP]) -> list[IP]:
    found: dict[int, IP] = {}
    for each in ips:
        found.setdefault(each.family, each)
    return [found[family] for family in sorted(found)]
