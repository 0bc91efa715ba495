"""The invoker: sysctls of the container, and options of its interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.errors import CheckFailed, CNIError, InvalidConfig
from multus.api.invoker import Invoker
from multus.inprocess import Ends, LinkInvoker
from multus.netlink import Namespace, NamespaceGone, Transport, links, sysctl
from multus_invoker_tuning import backup
from multus_invoker_tuning.config import Config, folder_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from multus.api.network import Invocation
    from multus.api.result import Result
    from multus.netlink import Message
    from multus.netlink.links import Link


class Tuning(Invoker):
    """Sets sysctls and options of the interface that an earlier plugin of the chain created.

    *transport* sends netlink messages to the kernel; tests inject faults with it.
    """

    name = "tuning"
    # Restoring an interface that is deleted anyway would only take time.
    before_delete = staticmethod(LinkInvoker.before_delete)

    def __init__(self, transport: Callable[[socket], Transport] = Transport) -> None:
        self._transport = transport

    def prepare(self, invocation: Invocation) -> None:
        Config.read(invocation)

    def add(self, invocation: Invocation) -> Result:
        config, before = Config.read(invocation), _before(invocation)
        ends = Ends.of(invocation, self._transport)
        with ends.pod.entered():
            for name, value in config.sysctls.items():
                sysctl.write(name, value)
        if not config.changes_link:
            return before
        link = _link(links.find(ends.inside, invocation.ifname), invocation)
        backup.save(_path(invocation), config, link)
        ends.inside.request(_changes(link.index, config))
        if not config.mac:
            return before
        interfaces = (
            evolve(each, mac=config.mac) if each.name == invocation.ifname else each
            for each in before.interfaces
        )
        return evolve(before, interfaces=tuple(interfaces))

    def delete_one(self, invocation: Invocation) -> None:
        before = backup.load(_path(invocation))
        if before is not None and invocation.request.netns:
            try:
                self._restore(invocation, before)
            except NamespaceGone:
                pass
            except CNIError as error:
                # As with the reference plugin: the interface goes next.
                invocation.log.verbose("an interface is not restored", error=error)
        backup.forget(_path(invocation))

    def _restore(self, invocation: Invocation, before: dict[str, object]) -> None:
        with (
            Namespace(invocation.request.netns) as pod,
            pod.channel(transport=self._transport) as inside,
        ):
            link = links.find(inside, invocation.ifname)
            if link is not None:
                inside.request(backup.restoring(link.index, before))

    def check(self, invocation: Invocation) -> None:
        config = Config.read(invocation)
        _before(invocation)
        with Namespace(invocation.request.netns) as pod:
            with pod.entered():
                for name, value in config.sysctls.items():
                    now = sysctl.read(name)
                    if now.split() != value.split():
                        _differs(f"sysctl net/{name}", now, value)
            with pod.channel() as inside:
                link = _link(links.find(inside, invocation.ifname), invocation)
        for what, now_is, wanted in _compared(link, config):
            if wanted is not None and now_is != wanted:
                _differs(f"{what} of {link.name}", now_is, wanted)


def _changes(index: int, config: Config) -> list[Message]:
    messages: list[Message] = []
    if config.mac:
        messages.append(links.set_mac(index, config.mac))
    if config.promiscuous:
        messages.append(links.set_promiscuous(index))
    if config.mtu:
        messages.append(links.set_mtu(index, config.mtu))
    if config.allmulti is not None:
        messages.append(links.set_allmulti(index, config.allmulti))
    if config.txqlen is not None:
        messages.append(links.set_txqlen(index, config.txqlen))
    return messages


def _compared(link: Link, config: Config) -> list[tuple[str, object, object]]:
    return [
        ("the MAC", link.mac, config.mac or None),
        ("the promiscuous mode", link.promiscuous, config.promiscuous),
        ("the MTU", link.mtu, config.mtu or None),
        ("the all-multicast mode", link.allmulti, config.allmulti),
        ("the transmit queue", link.txqlen, config.txqlen),
    ]


def _before(invocation: Invocation) -> Result:
    if invocation.prev_result is None:
        raise InvalidConfig(
            f"{invocation} has no 'prevResult'",
            fix="put tuning after the plugin that creates the interface",
        )
    return invocation.prev_result


def _link(found: Link | None, invocation: Invocation) -> Link:
    if found is None:
        raise CheckFailed(
            f"interface {invocation.ifname} does not exist in {invocation.request.netns}",
            fix="put tuning after the plugin that creates it",
        )
    return found


def _differs(what: str, now: object, wanted: object) -> None:
    raise CheckFailed(
        f"{what} is {now}, not {wanted}", fix="set it, or delete the container and create it again"
    )


def _path(invocation: Invocation) -> str:
    name = f"{invocation.request.container_id}_{invocation.ifname}.json"
    return f"{folder_of(invocation)}/{name}"
