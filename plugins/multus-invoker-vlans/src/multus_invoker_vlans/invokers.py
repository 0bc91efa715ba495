"""The invokers: a link in the container on top of an interface of the host, or of nothing.

Source: the reference plugins of these names, 1.1.1 to 1.9, by their results and what they leave in
the kernel.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from multus.api.errors import RECREATE, CheckFailed
from multus.inprocess import Job, LinkInvoker, Made, naming
from multus.netlink import Channel, create, links, sysctl
from multus_invoker_vlans.config import Config, mode_of

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.api.result import DNS, Result
    from multus.netlink import Message
    from multus.netlink.links import Link

#: Why the kernel makes no link on an interface, by its errno: what to name in place of it.
_UNFIT = {
    errno.EINVAL: "name an Ethernet interface; for the mode passthru, one without other links",
    errno.EBUSY: "name one that is not a port of a bridge, and has no links of another type on it",
}
#: With these, the kernel announces the address when the link comes up.
_ANNOUNCING = ("ipv4/conf/{}/arp_notify", "ipv6/conf/{}/ndisc_notify")


class _Sublink(LinkInvoker[Config]):
    """What the four have in common."""

    announces = False

    def read(self, invocation: Invocation) -> Config:
        return Config.read(invocation)

    def dns_of(self, config: Config) -> DNS:
        return config.dns

    def result(self, job: Job[Config], made: Made) -> Result:
        from attrs import evolve

        # The reference plugins drop IPAM's DNS settings.
        return evolve(super().result(job, made), dns=job.config.dns)

    def message(self, job: Job[Config], parent: int) -> Message:
        """Creates the link on the interface with this index, in the container, down."""
        raise NotImplementedError

    def create(self, job: Job[Config]) -> Made:
        inside = job.config.in_container
        parent = job.config.parent(job.ends)
        with naming(job.config.reader, "master", _UNFIT):
            index = job.create_inside(self.message(job, parent), from_inside=inside)
        if self.announces and job.given.ips:
            with job.ends.pod.entered():
                for each in _ANNOUNCING:
                    sysctl.ensure_if_there(each.format(job.ifname), "1")
        job.apply(index, job.given)
        mac = job.config.mac or links.mac_of(job.ends.inside, index)
        return Made(index, (job.interface(mac),))


class Macvlan(_Sublink):
    """Type ``macvlan``."""

    name = kind = "macvlan"
    announces = True

    def message(self, job: Job[Config], parent: int) -> Message:
        config = job.config
        return create.macvlan(
            job.ifname,
            parent,
            namespace=job.ends.pod,
            mode=config.mode or "bridge",
            mtu=config.mtu,
            mac=config.mac,
        )

    def require_same(
        self, invocation: Invocation, link: Link, host: Channel, inside: Channel
    ) -> None:
        _require(link, "mode", create.macvlan_mode(link), mode_of(invocation) or "bridge")


class Ipvlan(_Sublink):
    """Type ``ipvlan``."""

    name = kind = "ipvlan"
    announces = needs_addresses = True

    def message(self, job: Job[Config], parent: int) -> Message:
        config = job.config
        return create.ipvlan(
            job.ifname, parent, namespace=job.ends.pod, mode=config.mode or "l2", mtu=config.mtu
        )

    def require_same(
        self, invocation: Invocation, link: Link, host: Channel, inside: Channel
    ) -> None:
        _require(link, "mode", create.ipvlan_mode(link), mode_of(invocation) or "l2")


class Vlan(_Sublink):
    """Type ``vlan``."""

    name = kind = "vlan"
    needs_addresses = True

    def message(self, job: Job[Config], parent: int) -> Message:
        config = job.config
        return create.vlan(job.ifname, parent, config.tag, namespace=job.ends.pod, mtu=config.mtu)

    def require_same(
        self, invocation: Invocation, link: Link, host: Channel, inside: Channel
    ) -> None:
        config = self.read(invocation)
        _require(link, "VLAN", create.vlan_tag(link), config.tag)
        _require(link, "MTU", link.mtu, config.mtu or link.mtu)


class Dummy(_Sublink):
    """Type ``dummy``."""

    name = kind = "dummy"
    needs_addresses = True

    def message(self, job: Job[Config], parent: int) -> Message:
        return create.plain(job.ifname, "dummy", namespace=job.ends.pod)


#: The invoker of each type.
OF = {each.kind: each for each in (Macvlan, Ipvlan, Vlan, Dummy)}


def _require(link: Link, what: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise CheckFailed(
            f"{link.name} has {what} {found or 'none'}, not {wanted}",
            fix=RECREATE,
        )
