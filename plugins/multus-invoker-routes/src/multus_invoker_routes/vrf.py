"""The vrf invoker: the container's interface becomes a port of a VRF, and uses its table.

Source: the reference plugin, 1.1.1 to 1.9, by its results and what it leaves in the kernel; Linux'
Documentation/networking/vrf.rst.
"""

from __future__ import annotations

import errno
from itertools import count
from typing import TYPE_CHECKING, NamedTuple

from multus.api.errors import RECREATE, CheckFailed, InvalidConfig
from multus.inprocess import Chained, Ends, reader_of
from multus.netlink import Channel, Refused, addresses, create, links, routes

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import Result
    from multus.netlink.links import Link

_IPV6 = 10
_TABLES = range(2**32)
#: Seconds that IPv6 addresses may take until they are usable, as in the reference plugin.
_PATIENCE = 2.5


class Config(NamedTuple):
    """The keys.  ``table`` 0: that of the VRF which exists, or the first one without a VRF.

    Source: the documentation of the reference plugin.
    """

    vrf: str
    table: int

    @classmethod
    def read(cls, invocation: Invocation) -> Config:
        """Read the configuration; raises ``InvalidConfig`` with the key and the problem."""
        reader = reader_of(invocation)
        name = reader.text("vrfname")
        if not name:
            raise reader.error("vrfname", "is missing", "name the VRF")
        return cls(name, reader.integer("table", within=_TABLES))


class Vrf(Chained):
    """Makes the interface a port of a VRF, which is created with its first port."""

    name = "vrf"

    def prepare(self, invocation: Invocation) -> None:
        Config.read(invocation)

    def add(self, invocation: Invocation) -> Result:
        config, before = Config.read(invocation), self.previous(invocation)
        inside = Ends.of(invocation, self._transport).inside
        vrf = _ensure(inside, config)
        _enslave(inside, self.link(invocation, inside), vrf, invocation)
        return before

    def delete_one(self, invocation: Invocation) -> None:
        def release(inside: Channel) -> None:
            every = links.list_all(inside)
            vrf = next((each for each in every if _is(each, invocation)), None)
            if vrf is None:
                return
            ports = [each for each in every if each.master == vrf.index]
            ours = [each for each in ports if each.name == invocation.ifname]
            messages = [links.set_master(each.index, 0) for each in ours]
            if ports == ours:
                messages.append(links.delete(vrf.index, missing_ok=True))
            inside.request(messages)

        self.undo_inside(invocation, release)

    def check(self, invocation: Invocation) -> None:
        config = Config.read(invocation)
        self.previous(invocation)
        with self.container(invocation) as (_, inside):
            link, vrf = self.link(invocation, inside), links.find(inside, config.vrf)
        if vrf is None or vrf.kind != "vrf" or link.master != vrf.index:
            raise CheckFailed(
                f"{link.name} is not a port of VRF {config.vrf}",
                fix=RECREATE,
            )


def _is(link: Link, invocation: Invocation) -> bool:
    return link.kind == "vrf" and link.name == invocation.config.get("vrfname")


def _ensure(inside: Channel, config: Config) -> Link:
    """The VRF, created where there is none of its name.

    Raises ``InvalidConfig`` when another kind of interface has the name, or it has another table.
    """
    found = links.find(inside, config.vrf)
    if found is None:
        message = create.vrf(config.vrf, config.table or _free_table(inside), up=True)
        try:
            inside.request([message])
        except Refused as error:
            if error.errno != errno.EEXIST:  # another attachment was first
                raise
        found = links.find(inside, config.vrf)
    if found is None or found.kind != "vrf":
        raise InvalidConfig(
            f"is {config.vrf!r}, which is an interface of the container and not a VRF",
            key="vrfname",
            fix="use another name",
        )
    table = create.vrf_table(found)
    if config.table not in (0, table):
        raise InvalidConfig(
            f"is {config.table}, and VRF {config.vrf} has {table}",
            key="table",
            fix="use the same table for all interfaces of a VRF, or remove the key",
        )
    return found


def _free_table(inside: Channel) -> int:
    taken = {create.vrf_table(each) for each in links.list_all(inside)}
    return next(each for each in count(1) if each not in taken)


def _enslave(inside: Channel, link: Link, vrf: Link, invocation: Invocation) -> None:
    """Make the link a port of the VRF; its addresses and routes are kept.

    The kernel deletes the routes, and IPv6 addresses unless they are kept on a link that is down.
    """
    if link.master:
        master = links.find(inside, link.master)
        raise InvalidConfig(
            f"interface {link.name} is a port of {master.name if master else link.master} already",
            fix="remove one of the plugins that give it a master",
        )
    held = _addresses(inside, link)
    moved = [
        each
        for each in routes.list_all(inside, index=link.index)
        if each.entry and each.table == routes.TABLE_MAIN and each.scope == routes.SCOPE_UNIVERSE
    ]
    inside.request([links.set_master(link.index, vrf.index)])
    if held:
        lost = held - _addresses(inside, link)
        inside.request([addresses.add(link.index, each) for each in sorted(lost)])
        addresses.settle(inside, link.index, invocation.session.remaining(_PATIENCE))
    table = create.vrf_table(vrf)
    inside.request([routes.copy(each, table) for each in moved])


def _addresses(inside: Channel, link: Link) -> set[str]:
    """The IPv6 addresses of the link that are not link-local."""
    listed = addresses.list_of(inside, link.index, _IPV6)
    return {each.address for each in listed if each.scope == routes.SCOPE_UNIVERSE}
