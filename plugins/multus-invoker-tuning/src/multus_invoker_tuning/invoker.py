"""The invoker: sysctls of the container, and options of its interface."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.errors import RECREATE, CheckFailed, CNIError
from multus.inprocess import Chained, Ends, folder_of, forget
from multus.netlink import Channel, links, sysctl
from multus_invoker_tuning import backup
from multus_invoker_tuning.config import FOLDER, Config

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import Result
    from multus.netlink import Message
    from multus.netlink.links import Link


class Tuning(Chained):
    """Sets sysctls and options of the interface that an earlier plugin of the chain created.

    Interfaces that are deleted together are not restored before: it would only take time.
    """

    name = "tuning"

    def prepare(self, invocation: Invocation) -> None:
        Config.read(invocation)

    def add(self, invocation: Invocation) -> Result:
        config, before = Config.read(invocation), self.previous(invocation)
        ends = Ends.of(invocation, self._transport)
        with ends.pod.entered():
            for name, value in config.sysctls.items():
                sysctl.write(name, value)
        if not config.changes_link:
            return before
        link = self.link(invocation, ends.inside)
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
        before = backup.load(_path(invocation)) or {}

        def restore(inside: Channel) -> None:
            link = links.find(inside, invocation.ifname)
            if link is not None:
                inside.request(backup.restoring(link.index, before))

        try:
            if before:
                self.undo_inside(invocation, restore)
        except CNIError as error:
            # As with the reference plugin: the interface goes next.
            invocation.log.verbose("an interface is not restored", error=error)
        forget(_path(invocation))

    def check(self, invocation: Invocation) -> None:
        config = Config.read(invocation)
        self.previous(invocation)
        with self.container(invocation) as (pod, inside):
            with pod.entered():
                for name, value in config.sysctls.items():
                    now = sysctl.read(name)
                    if now.split() != value.split():
                        _differs(f"sysctl net/{name}", now, value)
            link = self.link(invocation, inside)
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


def _differs(what: str, now: object, wanted: object) -> None:
    raise CheckFailed(f"{what} is {now}, not {wanted}", fix=f"set it, or {RECREATE}")


def _path(invocation: Invocation) -> str:
    name = f"{invocation.request.container_id}_{invocation.ifname}.json"
    return f"{folder_of(invocation, FOLDER)}/{name}"
