"""The invoker: queues at the host's end of the container's interface.

What goes into the container leaves the host's end, and is limited there.  The kernel limits only
what an interface sends, so what comes from the container is redirected to an interface of its own:

    host                                                          container
    veth1234abcd  tbf (ingress) ────────────────────────────────  eth0
                  redirects what it receives ─▶ bwp0123456789ab  tbf (egress)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api.errors import RECREATE, CheckFailed, CNIError, InvalidConfig
from multus.api.result import Interface, Result
from multus.inprocess import Chained, Ends
from multus.netlink import Channel, create, links, open_channel, queues
from multus_invoker_bandwidth.config import Config

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.netlink.links import Link
    from multus.netlink.queues import Limit

#: The longest name of an interface.
_LONGEST = 15


class Bandwidth(Chained):
    """Limits the traffic of a veth's end in the container, by the end on the host."""

    name = "bandwidth"

    def prepare(self, invocation: Invocation) -> None:
        Config.read(invocation)

    def add(self, invocation: Invocation) -> Result:
        config = Config.read(invocation)
        if config == (None, None):
            return invocation.prev_result or Result()
        before = self.previous(invocation)
        ends = Ends.of(invocation, self._transport)
        near = _host_end(self.link(invocation, ends.inside), before, ends.host)
        if config.ingress:
            ends.host.request([queues.limit(near.index, config.ingress)])
        if not config.egress:
            return before
        name = _ifb(invocation)
        made = create.plain(name, "ifb", mtu=near.mtu, up=True)
        # Its queue is the limit's.
        replies = ends.host.request([made, links.set_txqlen(name, 0), links.get(name)])
        ifb = links.read(replies[2])
        ends.host.request(
            [
                queues.receive(near.index),
                queues.redirect(near.index, ifb.index),
                queues.limit(ifb.index, config.egress),
            ]
        )
        return evolve(before, interfaces=(*before.interfaces, Interface(name, ifb.mac)))

    def host_links(self, invocation: Invocation) -> Sequence[str]:
        return [_ifb(invocation)]

    def delete(self, invocations: Sequence[Invocation]) -> list[CNIError | None]:
        """Delete the interfaces within one grace period; the queues go with the container's."""
        names = list(map(_ifb, invocations))

        def forget() -> None:
            with open_channel(transport=self._transport) as host:
                host.request(links.delete_many(names))

        return [self.attempted(forget)] * len(invocations)

    def delete_one(self, invocation: Invocation) -> None:
        error = self.delete([invocation])[0]
        if error is not None:
            raise error

    def check(self, invocation: Invocation) -> None:
        config, before = Config.read(invocation), self.previous(invocation)
        if config == (None, None):
            return
        with self.container(invocation) as (_, inside), open_channel() as host:
            near = _host_end(self.link(invocation, inside), before, host)
            if config.ingress:
                _require(host, near, config.ingress)
            if config.egress:
                ifb = links.find(host, _ifb(invocation))
                if ifb is None:
                    raise CheckFailed(
                        f"interface {_ifb(invocation)}, which limits what {invocation.ifname}"
                        " sends, is missing",
                        fix=RECREATE,
                    )
                _require(host, ifb, config.egress)


def _ifb(invocation: Invocation) -> str:
    """The name of the interface that what comes from the container is redirected to."""
    import hashlib

    whose = f"{invocation.config.get('name')}{invocation.request.container_id}"
    return f"bwp{hashlib.sha512(whose.encode()).hexdigest()}"[:_LONGEST]


def _host_end(link: Link, result: Result, host: Channel) -> Link:
    """The other end of the container's veth; raises ``InvalidConfig`` when it is none."""
    found = links.find(host, link.peer) if link.kind == "veth" else None
    names = [each.name for each in result.interfaces if not each.sandbox]
    if found is None or found.peer != link.index or found.name not in names:
        raise InvalidConfig(
            f"interface {link.name} of the container is of kind {link.kind or 'none'!r}, and its"
            " traffic can be limited only when it is a veth whose other end, on the host, is in"
            " 'prevResult'",
            fix="put bandwidth after a plugin like bridge or ptp",
        )
    return found


def _require(host: Channel, link: Link, wanted: Limit) -> None:
    found = queues.limit_of(host, link.index)
    if found != wanted:
        raise CheckFailed(
            f"what {link.name} sends is limited to {found or 'nothing'}, not to {wanted}",
            fix=RECREATE,
        )
