"""A pod that a veth connects with a namespace that plays the host, for plugins that follow."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from attrs import frozen

from multus.api.invoker import Invoker
from multus.api.result import IP, Interface, Result
from multus.netlink import Namespace, addresses, create, links, routes
from multus.testing.invocation import Caller
from multus.testing.netns import Netns, Node
from multus.testing.session import new_session

_MODULES = {
    "bandwidth": "multus_invoker_bandwidth",
    **dict.fromkeys(("vrf", "sbr"), "multus_invoker_routes"),
}


@frozen
class Chain:
    """Both namespaces, and the result of what connected them."""

    node: Node
    pod: Netns
    before: Result

    def call(
        self,
        verb: str,
        config: dict[str, Any],
        result: Result | None = None,
        netns: str | None = None,
        ifname: str = "eth0",
    ) -> Result:
        """One verb on the network *config*; ADD and CHECK get the earlier result without one."""
        module = pytest.importorskip(_MODULES[config["type"]]) and import_module(
            _MODULES[config["type"]]
        )
        caller = Caller("chained1", self.pod.path if netns is None else netns, ifname)
        if verb != "DEL" and result is None:
            result = self.before
        with Namespace(self.node.path) as host, host.entered(), new_session() as session:
            invocation = caller.invocation(verb, config, result, session=session)
            invoker = module.multus_invoker(invocation.plugin, invocation.delegate, invocation.conf)
            assert isinstance(invoker, Invoker), invoker
            if verb == "ADD":
                invoker.prepare(invocation)
                return invoker.add(invocation)
            (invoker.check if verb == "CHECK" else invoker.delete_one)(invocation)
            return invocation.prev_result or Result()

    def rules(self) -> list[tuple[str, str]]:
        """The pod's rules that have a source: source and table."""
        return [
            (each["src"], each["table"])
            for version in ("-4", "-6")
            for each in self.pod.ip(version, "rule")
            if each["src"] != "all"
        ]

    def routes(self, table: str = "main") -> list[str]:
        """The pod's IPv4 routes in a table: destination, gateway, source."""
        shown = self.pod.ip("-4", "route", "show", "table", table) or []
        names = ("dst", "gateway", "prefsrc")
        return [" ".join(each[name] for name in names if name in each) for each in shown]


@pytest.fixture
def chain() -> Iterator[Chain]:
    node, pod = Node.create("chhost"), Netns.create("chpod")
    ips = ("10.7.0.2/24", "fd07::2/64")
    try:
        with Namespace(node.path) as host, Namespace(pod.path) as inside:
            with host.channel() as near, inside.channel() as far:
                near.request([create.veth("veth7", "eth0", peer_namespace=inside, up=True)])
                link = links.find(far, "eth0")
                assert link is not None
                added = [addresses.add(link.index, each, detect_duplicates=False) for each in ips]
                default = routes.add(link.index, "0.0.0.0/0", gateway="10.7.0.1")
                far.request([*added, links.set_up(link.index), default])
        interfaces = (Interface("veth7"), Interface("eth0", sandbox=pod.path))
        gateways = ("10.7.0.1", "fd07::1")
        given = (IP(ip, via, 1) for ip, via in zip(ips, gateways, strict=True))
        yield Chain(node, pod, Result(interfaces, tuple(given)))
    finally:
        pod.remove()
        node.remove()
