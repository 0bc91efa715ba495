"""List what a namespace has, for commands and tests: links, addresses, routes, rules, firewall.

It uses pyroute2, whose import takes longer than an ADD: code on the path of a call must not use
this package.  ``multus doctor``, ``multus demo`` and the test kit use it::

    with Namespace.current() as host, inventory.opened(host) as there:
        for link in there.links():
            print(link.name, link.kind)
        there.firewall()

Values are those of `multus.netlink`: `Link`, `Address`, `Route`.  Needs pyroute2 (the extra
``netlink``) and CAP_SYS_ADMIN to enter a namespace; the firewall needs CAP_NET_ADMIN in it.

Source: rtnetlink(7), linux/fib_rules.h, linux/netfilter/nf_tables.h, iptables-save(8).
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from attrs import field, frozen

from multus.api.errors import KernelRefused, MissingPlugin
from multus.netlink import Namespace, routes
from multus.netlink._socket import socket
from multus.netlink.addresses import Address
from multus.netlink.inventory import _legacy
from multus.netlink.inventory import _read as read
from multus.netlink.inventory._read import FirewallEntry, PolicyRule
from multus.netlink.links import Link

__all__ = ["FirewallEntry", "Inventory", "PolicyRule", "opened"]

_FAMILIES = (socket.AF_INET, socket.AF_INET6)
#: The kernel's errors without nf_tables, and for a table that was deleted meanwhile.
_NOTHING_THERE = (errno.ENOENT, errno.EOPNOTSUPP, errno.EINVAL, errno.EPROTONOSUPPORT)


@contextmanager
def opened(namespace: Namespace) -> Iterator[Inventory]:
    """Open a namespace for listing.

    Raises `MissingPlugin` when pyroute2 is not installed, `KernelRefused` when this process lacks
    the permission.
    """
    try:
        from pyroute2.iproute.linux import IPRoute
    except ImportError as error:
        raise MissingPlugin(
            f"reading links and routes needs pyroute2 ({error})",
            fix="pip install 'multus[netlink]'",
        ) from error
    with namespace.entered():
        # A socket stays in the namespace where it was opened.
        route = IPRoute()
    try:
        yield Inventory(namespace, route)
    finally:
        route.close()


@frozen
class Inventory:
    """Lists of a namespace's objects; each call reads them again."""

    namespace: Namespace
    _route: Any = field(repr=False)

    def links(self) -> list[Link]:
        """Every interface, by index."""
        return sorted(map(read.link, self._dump("get_links")), key=lambda link: link.index)

    def addresses(self) -> list[Address]:
        """Every address of every interface."""
        return [read.address(each) for each in self._dump("get_addr")]

    def routes(self) -> list[routes.Route]:
        """The routes of all tables; a route with several next hops is listed once for each."""
        found = (each for family in _FAMILIES for each in self._dump("get_routes", family=family))
        return [route for each in found for route in read.routes_of(each)]

    def rules(self) -> list[PolicyRule]:
        """The policy rules that choose a packet's routing table (``ip rule``)."""
        found = (each for family in _FAMILIES for each in self._dump("get_rules", family=family))
        return [read.rule(each) for each in found]

    def firewall(self) -> list[FirewallEntry]:
        """Tables, chains, sets and rules of nftables and iptables; does not need ``nft``.

        What iptables has in its older interface is listed by ``iptables-legacy-save``, if that is
        installed.
        """
        from pyroute2.nftables.main import NFTables

        with self.namespace.entered():
            older = list(_legacy.entries())
            tables = NFTables(nfgen_family=socket.AF_UNSPEC)
        try:
            return older + [
                read.firewall_entry(kind, each)
                for kind in ("table", "chain", "set", "rule")
                for each in _listed(tables, f"get_{kind}s")
            ]
        finally:
            tables.close()

    def _dump(self, what: str, **chosen: int) -> list[Any]:
        try:
            return list(getattr(self._route, what)(**chosen))
        except Exception as error:  # noqa: BLE001  pyroute2 has no one class for what goes wrong
            raise KernelRefused(
                f"{what.removeprefix('get_')} of {self.namespace.path} cannot be listed: {error}"
            ) from error


def _listed(tables: Any, what: str) -> list[Any]:
    try:
        return list(getattr(tables, what)())
    except Exception as error:  # noqa: BLE001  as above
        if getattr(error, "code", None) in _NOTHING_THERE:
            return []
        raise KernelRefused(f"the firewall cannot be listed: {error}") from error
