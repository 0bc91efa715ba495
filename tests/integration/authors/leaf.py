"""An invoker as the pages teach it: networks of type "leaf" are macvlans with addresses of IPAM.

It imports public modules only; `test_written.py` holds it to that.
"""

from __future__ import annotations

from contextlib import ExitStack

from attrs import evolve

from multus import hookimpl
from multus.api.errors import CheckFailed, InvalidConfig, UnknownContainer
from multus.api.invoker import Declined, Invoker
from multus.api.keys import INTEGER, TEXT, Key
from multus.api.network import Invocation, Plugin
from multus.api.reader import Reader
from multus.api.result import Interface, Result

KEYS = frozenset({"master", "mtu", "ipam"})


@hookimpl
def multus_keys() -> list[Key]:
    return [
        Key("master", TEXT, "The parent's name.", of="leaf", required=True),
        Key("mtu", INTEGER, "The MTU.", of="leaf"),
    ]


@hookimpl
def multus_invoker(plugin: Plugin) -> Invoker | Declined | None:
    if plugin.type != "leaf":
        return None
    unknown = plugin.unknown_keys(KEYS)
    return Declined("leaf", f"key {unknown[0]!r}") if unknown else Leaf()


class Leaf(Invoker):
    name = "leaf"

    def add(self, invocation: Invocation) -> Result:
        from multus import ipam
        from multus.netlink import Namespace, create, links, results

        reader = Reader(invocation.config, str(invocation))
        master, name = reader.text("master"), invocation.ifname
        with ExitStack() as stack, ExitStack() as undo:
            host = stack.enter_context(stack.enter_context(Namespace.current()).channel())
            pod = stack.enter_context(Namespace(invocation.request.netns))
            inside = stack.enter_context(pod.channel())
            parent = links.find(host, master)
            if parent is None:
                raise InvalidConfig(f"{invocation}: 'master': interface {master!r} is missing")
            pool = ipam.for_plugin(invocation)
            given = pool.add() if pool else Result()
            if pool:
                undo.callback(pool.delete)
            undo.callback(inside.request, [links.delete(name, missing_ok=True)])
            mtu = reader.integer("mtu")
            host.request(
                [create.macvlan(name, parent.index, namespace=pod, mode="bridge", mtu=mtu)]
            )
            link = links.find(inside, name)
            assert link is not None
            results.apply(
                given, namespace=pod, channel=inside, index=link.index, name=name, alone=True
            )
            undo.pop_all()
        there = Interface(name, link.mac, invocation.request.netns)
        ips = tuple(evolve(ip, interface=0) for ip in given.ips)
        return evolve(given, interfaces=(there,), ips=ips)

    def delete_one(self, invocation: Invocation) -> None:
        from multus import ipam
        from multus.netlink import Namespace, NamespaceGone, links

        try:
            with Namespace(invocation.request.netns) as pod, pod.channel() as inside:
                inside.request([links.delete(invocation.ifname, missing_ok=True)])
        except NamespaceGone:
            pass  # the interface went with it
        pool = ipam.for_plugin(invocation)
        if pool:
            pool.delete()

    def check(self, invocation: Invocation) -> None:
        from multus import ipam
        from multus.netlink import Namespace, results

        reported = invocation.prev_result
        if reported is None:
            return
        try:
            with Namespace(invocation.request.netns) as pod, pod.channel() as inside:
                results.check(reported, 0, inside, kind="macvlan")
        except UnknownContainer as error:
            raise CheckFailed(error.msg) from error
        pool = ipam.for_plugin(invocation)
        if pool:
            pool.check()
