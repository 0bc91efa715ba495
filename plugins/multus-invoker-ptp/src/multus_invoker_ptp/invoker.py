"""The invoker: ADD, DEL, CHECK, STATUS and GC of ptp attachments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from attrs import evolve

from multus import ipam
from multus.api.errors import CNIError, InvalidConfig
from multus.api.invoker import Invoker
from multus.api.result import Interface, Result
from multus.netlink import Transport
from multus_invoker_ptp import attach
from multus_invoker_ptp.attach import take_back
from multus_invoker_ptp.config import Config, masquerades

if TYPE_CHECKING:
    import socket

    from multus.api.network import Invocation
    from multus.ipam import Ipam
    from multus_invoker_ptp.attach import Ends, Pair


class Ptp(Invoker):
    """Creates a veth pair with its addresses, routes and rules, and deletes it.

    Modules that only some verbs or configurations need are imported in the methods, because a
    standalone ADD without rules is the common case.

    *transport* sends netlink messages to the kernel; tests inject faults with it.
    """

    name = "ptp"

    def __init__(self, transport: Callable[[socket.socket], Transport] = Transport) -> None:
        self._transport = transport

    def prepare(self, invocation: Invocation) -> None:
        _pool(invocation).prepare()

    def add(self, invocation: Invocation) -> Result:
        config, pool = Config.read(invocation), _pool(invocation)
        with ExitStack() as undo:
            ends = attach.ends(invocation, self._transport)
            given = pool.add()
            undo.callback(take_back, invocation, pool.delete)
            attach.require_usable(given)
            if config.masquerade:
                # Undone after the link: a rule is stale when its address is gone.
                undo.callback(take_back, invocation, self._remove_rules, [invocation])
            pair = self._connect(ends, invocation, config, given, undo)
            if config.masquerade:
                from multus.netlink import masquerade

                owner = masquerade.Owner.of(invocation)
                every = [ip.address for ip in given.ips]
                masquerade.add(owner, every, config.backend, invocation.inherited)
            undo.pop_all()
        return Result(
            interfaces=(
                Interface(pair.name, pair.near_mac),
                Interface(invocation.ifname, pair.far_mac, invocation.request.netns),
            ),
            ips=tuple(evolve(ip, interface=1) for ip in given.ips),
            routes=given.routes,
            dns=config.dns or given.dns,
        )

    def _connect(
        self,
        ends: Ends,
        invocation: Invocation,
        config: Config,
        given: Result,
        undo: ExitStack,
    ) -> Pair:
        pair = attach.make_pair(ends, invocation, config.mtu, undo)
        families = frozenset(ip.family for ip in given.ips)
        attach.prepare_host(ends, pair.name, families)
        attach.configure_container(ends, pair.far, invocation.ifname, given)
        attach.configure_host(ends.host, pair.near, given.ips)
        return pair

    def delete(self, invocations: Sequence[Invocation]) -> list[CNIError | None]:
        """Delete all links within one grace period; then the rules; then free the addresses."""
        from multus_invoker_ptp.detach import delete_links

        links = delete_links(invocations, self._transport)
        rules = self._without_rules(invocations)
        return [
            link or rule or self.attempted(_release, invocation)
            for invocation, link, rule in zip(invocations, links, rules, strict=True)
        ]

    def _without_rules(self, invocations: Sequence[Invocation]) -> list[CNIError | None]:
        """Remove the rules, all at once if possible; returns each one's error, or None."""
        together = self.attempted(self._remove_rules, invocations)
        if together is None or len(invocations) == 1:
            return [together] * len(invocations)
        return [self.attempted(self._remove_rules, [each]) for each in invocations]

    def delete_one(self, invocation: Invocation) -> None:
        error = self.delete([invocation])[0]
        if error is not None:
            raise error

    def check(self, invocation: Invocation) -> None:
        from multus_invoker_ptp.check import require_attached

        _pool(invocation).check()
        require_attached(invocation)

    def status(self, invocation: Invocation) -> None:
        config = Config.read(invocation)
        if config.masquerade:
            from multus.netlink import masquerade

            masquerade.require_usable(config.backend)
        _pool(invocation).status()

    def gc(self, invocation: Invocation) -> None:
        errors = [self.attempted(part, invocation) for part in (_collect_rules, _collect_addresses)]
        for error in filter(None, errors):
            raise error

    def _remove_rules(self, invocations: Sequence[Invocation]) -> None:
        masqueraded = [each for each in invocations if masquerades(each)]
        if masqueraded:
            from multus.netlink import masquerade
            from multus_invoker_ptp.detach import addresses_left

            owners = [masquerade.Owner.of(each) for each in masqueraded]
            netns = invocations[0].request.netns
            left = addresses_left(netns, self._transport)
            masquerade.remove(owners, left, invocations[0].inherited)


def _pool(invocation: Invocation) -> Ipam:
    pool = ipam.for_plugin(invocation)
    if pool is None:
        raise InvalidConfig(
            f"network {invocation.config.get('name')!r}: 'ipam' has no 'type': a ptp network needs"
            " addresses, for instance of type host-local"
        )
    return pool


def _release(invocation: Invocation) -> None:
    pool = ipam.for_plugin(invocation)
    if pool is not None:
        pool.delete()


def _collect_rules(invocation: Invocation) -> None:
    if masquerades(invocation):
        from multus.netlink import masquerade

        masquerade.collect(str(invocation.config["name"]), invocation.valid_attachments)


def _collect_addresses(invocation: Invocation) -> None:
    pool = ipam.for_plugin(invocation)
    if pool is not None:
        pool.gc()
