"""The sbr invoker: packets from an address of the container use a routing table of their own.

Source: the reference plugin, 1.1.1 to 1.9, by its results and what it leaves in the kernel.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import RECREATE, CheckFailed, CNIError, InvalidConfig, KernelRefused
from multus.api.result import EVERYWHERE
from multus.inprocess import Chained, Ends, reader_of
from multus.ipam.addresses import Address, Network
from multus.netlink import Channel, Message, Refused, addresses, links, routes, rules

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.reader import Reader
    from multus.api.result import IP, Result
    from multus.netlink import Namespace
    from multus.netlink.routes import Route
    from multus.netlink.rules import Rule

#: The first table that is given to an address.
_FIRST_TABLE = 100
_TABLES = range(1, 2**32)
#: Seconds to wait for another process that chooses a table in the same container.
_PATIENCE = 30.0


class Config(NamedTuple):
    """The keys.  ``table``: one that exists, for all addresses; None: a new one for each.

    ``gateways``, by family (4, 6), precede those of the result.  ``source_hints``: the routes to
    the addresses' networks stay in the main table, with the address as the source.

    Source: the documentation of the reference plugin.
    """

    table: int | None
    gateways: dict[int, str]
    source_hints: bool

    @classmethod
    def read(cls, invocation: Invocation) -> Config:
        """Read the configuration; raises ``InvalidConfig`` with the key and the problem."""
        reader = reader_of(invocation)
        given = reader.raw.get("table") is not None
        table = reader.integer("table", within=_TABLES) if given else None
        return cls(table, _gateways(reader), reader.boolean("addSourceHints"))


class Sbr(Chained):
    """Moves the routes of an interface into tables that only packets from its addresses use."""

    name = "sbr"

    def prepare(self, invocation: Invocation) -> None:
        Config.read(invocation)

    def add(self, invocation: Invocation) -> Result:
        config, before = Config.read(invocation), self.previous(invocation)
        ips = self.addresses(invocation, before)
        if not ips:
            raise InvalidConfig(
                f"the plugin before gave {invocation.ifname} no address: sbr needs one",
                fix="give the network addresses ('ipam'), or remove sbr",
            )
        ends = Ends.of(invocation, self._transport)
        with _locked(ends.pod, invocation):
            if config.table is not None:
                ends.inside.request([rules.add(_alone(ip.address), config.table) for ip in ips])
            else:
                index = self.link(invocation, ends.inside).index
                _separate(ends.inside, index, ips, config, invocation)
        return before

    def delete_one(self, invocation: Invocation) -> None:
        table = invocation.config.get("table")

        def forget(inside: Channel) -> None:
            # With its link, the address may be gone already.
            result, link = invocation.prev_result, links.find(inside, invocation.ifname)
            known = self.addresses(invocation, result) if result else []
            texts = [ip.address for ip in known]
            if link is not None:
                texts += [each.address for each in addresses.list_of(inside, link.index)]
            ours = set(map(_alone, texts))
            gone = [
                rules.delete(each, missing_ok=True)
                for each in rules.list_all(inside)
                if each.source in ours and table in (None, each.table)
            ]
            inside.request(gone)

        self.undo_inside(invocation, forget)

    def check(self, invocation: Invocation) -> None:
        config, before = Config.read(invocation), self.previous(invocation)
        with self.container(invocation) as (_, inside):
            there = rules.list_all(inside)
        for ip in self.addresses(invocation, before):
            source = _alone(ip.address)
            if not any(
                each.source == source and config.table in (None, each.table) for each in there
            ):
                raise CheckFailed(
                    f"the rule for packets from {source} is missing",
                    fix=RECREATE,
                )


def _separate(
    inside: Channel, index: int, ips: list[IP], config: Config, invocation: Invocation
) -> None:
    """Give each address a table with a copy of the link's routes, and empty the main one."""
    there, existing = routes.list_all(inside), rules.list_all(inside)
    taken = {each.table for each in there} | {each.table for each in existing}
    tables = (each for each in count(_FIRST_TABLE) if each not in taken)
    main = [
        each
        for each in there
        if each.entry and each.index == index and each.table == routes.TABLE_MAIN
    ]
    messages: list[Message] = []
    for ip, table in zip(ips, tables, strict=False):
        messages.append(rules.add(_alone(ip.address), table))
        gateway = config.gateways.get(ip.family) or ip.gateway
        if gateway:
            everywhere = EVERYWHERE[ip.family]
            messages.append(routes.add(index, everywhere, gateway=gateway, table=table))
        messages += [routes.copy(each, table) for each in main if _concerns(each, ip)]
    ours = {_alone(ip.address) for ip in ips}
    with _once([each for each in existing if each.source in ours]):
        inside.request(messages)
    if config.source_hints:
        _hint(inside, index, ips, invocation)
        main = [each for each in main if each.scope != routes.SCOPE_LINK]
    inside.request([_delete(each) for each in main])


def _hint(inside: Channel, index: int, ips: list[IP], invocation: Invocation) -> None:
    for ip in ips:
        network, source = addresses.network_of(ip.address), ip.address.partition("/")[0]
        message = routes.add(index, network, source=source, scope=routes.SCOPE_LINK, replace=True)
        try:
            inside.request([message])
        except CNIError as error:
            # As with the reference plugin: packets from the address have their table anyway.
            invocation.log.verbose("a route has no source", error=error)


def _delete(route: Route) -> Message:
    where, gateway, priority = route.destination, route.gateway, route.priority
    return routes.delete(route.index, where, gateway=gateway, priority=priority, missing_ok=True)


def _concerns(route: Route, ip: IP) -> bool:
    """Whether a route is for packets from this address: by its source, or by its gateway."""
    if not route.source and not route.gateway:
        return True
    network = Network.parse(ip.address)
    near = map(Address.parse, (route.source, route.gateway))
    return network is not None and any(each is not None and each in network for each in near)


def _alone(address: str) -> str:
    """An address as the source of a rule: with the prefix length that means itself."""
    return addresses.network_of(address.partition("/")[0])


def _gateways(reader: Reader) -> dict[int, str]:
    found: dict[int, str] = {}
    for text in reader.texts("gateways"):
        address = Address.parse(text)
        if address is None:
            raise reader.error("gateways", f"has {text!r}, which is not an IP address")
        if address.family in found:
            raise reader.error(
                "gateways",
                f"has two of IPv{address.family}: {found[address.family]} and {text}",
                "name one for each family",
            )
        found[address.family] = str(address)
    return found


@contextmanager
def _once(existing: Sequence[Rule]) -> Iterator[None]:
    """Explain the kernel's refusal by the *existing* rules of the addresses, if there are some."""
    try:
        yield
    except Refused as error:
        if not existing:
            raise
        rule = existing[0]
        raise InvalidConfig(
            f"packets from {rule.source} have a rule already, for table {rule.table}: an earlier"
            " sbr made it",
            fix="name sbr once in the network's plugins, and no address twice in a container",
        ) from error


@contextmanager
def _locked(pod: Namespace, invocation: Invocation) -> Iterator[None]:
    """Alone among what chooses tables in this container, as the reference plugin does it."""
    import fcntl

    from multus.api import regular

    until = time.monotonic() + invocation.session.remaining(_PATIENCE)
    if not regular.locked(pod.fd, until):
        raise KernelRefused(
            f"{regular.holder(pod.fd)} holds the lock of {pod.path}", fix="see what it waits for"
        )
    try:
        yield
    finally:
        fcntl.flock(pod.fd, fcntl.LOCK_UN)
