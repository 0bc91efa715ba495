"""The host's side: the bridge itself, which all containers share, and its addresses."""

from __future__ import annotations

import errno
import time
from typing import TYPE_CHECKING

from multus.api.errors import InvalidConfig, KernelRefused
from multus.api.result import Interface
from multus.ipam.addresses import Network
from multus.netlink import Channel, Refused, addresses, bridges, create, links, sysctl
from multus.netlink.bridges import Vlans

if TYPE_CHECKING:
    from multus.inprocess import Job, Pair
    from multus.netlink import Message
    from multus.netlink.links import Link
    from multus_invoker_bridge.config import Config

#: Seconds that a port may take until it forwards, as in the reference plugin.
_PATIENCE = 2.5
_INTERVAL = 0.001


def ensure_bridge(host: Channel, config: Config) -> Link:
    """The bridge, created and set up where it is not.  It is never removed: others may use it.

    Raises ``InvalidConfig`` when another kind of interface has its name.
    """
    found = links.find(host, config.bridge)
    if found is None:
        _create(host, config)
        found = links.find(host, config.bridge)
    if found is None or found.kind != "bridge":
        raise InvalidConfig(
            f"is {config.bridge!r}, which is an interface of the host and not a bridge",
            key="bridge",
            fix="name another one",
        )
    messages = []
    if config.promiscuous and not found.promiscuous:
        messages.append(links.set_promiscuous(found.index))
    if not found.up:
        # Also after the process that created it was killed.  Routes are configured, not learned.
        sysctl.ensure_if_there(f"ipv6/conf/{config.bridge}/accept_ra", "0")
        messages.append(links.set_up(found.index))
    host.request(messages)
    return found


def _create(host: Channel, config: Config) -> None:
    made = create.bridge(config.bridge, vlan_filtering=config.filtering, mtu=config.mtu)
    _request(host, [made])


def give_gateways(job: Job[Config], bridge: Link) -> Interface | None:
    """Give the bridge, or its interface in the VLAN, the gateways' addresses; enable forwarding.

    Returns the interface in the VLAN, if there is one.
    """
    config, channel = job.config, job.ends.host
    holder = bridge if not config.vlan else _in_vlan(job, bridge)
    held = addresses.list_of(channel, holder.index)
    messages: list[Message] = []
    for ip in job.given.ips:
        wanted = f"{ip.gateway}/{ip.address.partition('/')[2]}"
        if not any(each.address == wanted for each in held):
            messages += _free(config, holder, wanted, held)
            messages.append(addresses.add(holder.index, wanted))
    if messages:
        # A bridge without a MAC of its own takes the smallest of its ports', or has none.
        now = links.read(channel.request([links.get(holder.index)])[0])
        _request(channel, [*messages, links.set_mac(now.index, now.mac)])
    job.ends.forward({ip.family for ip in job.given.ips})
    return Interface(holder.name, holder.mac) if config.vlan else None


def _request(channel: Channel, messages: list[Message]) -> None:
    try:
        channel.request(messages)
    except Refused as error:
        # Another pod's ADD did the same meanwhile.
        if any(each.errno != errno.EEXIST for each in error.refusals):
            raise


def _free(
    config: Config, holder: Link, wanted: str, held: list[addresses.Address]
) -> list[Message]:
    """Delete addresses that exclude the wanted one, or raise ``InvalidConfig``.

    An interface has one IPv4 gateway address; IPv6 ones have to be of different networks.
    """
    family = 6 if ":" in wanted else 4
    others = [
        each.address
        for each in held
        if (6 if ":" in each.address else 4) == family
        and (family == 4 or _overlap(each.address, wanted))
    ]
    if others and not config.force_address:
        raise InvalidConfig(
            f"{holder.name} has the address {others[0]}, and the gateway of this network is"
            f" {wanted}",
            key="isGateway",
            fix="use another bridge, the same gateway, or 'forceAddress'",
        )
    return [addresses.delete(holder.index, each, missing_ok=True) for each in others]


def _overlap(one: str, other: str) -> bool:
    first, second = Network.parse(one), Network.parse(other)
    if first is None or second is None:
        return False
    return first.first in second or second.first in first


def _in_vlan(job: Job[Config], bridge: Link) -> Link:
    """The host's interface in the port's VLAN: created when it is missing, never removed."""
    channel, name = job.ends.host, f"{bridge.name}.{job.config.vlan}"
    found = links.find(channel, name)
    if found is None:
        import os

        near = f"veth{os.urandom(4).hex()}"
        _request(channel, [create.veth(near, name, mtu=bridge.mtu, master=bridge.index)])
        found = links.find(channel, name)
    if found is None:
        raise KernelRefused(f"interface {name} disappeared", fix="try again")
    if found.kind == "veth" and not found.up:
        # Also after the process that created it was killed.
        _put_into_vlan(job, found)
    return found


def _put_into_vlan(job: Job[Config], made: Link) -> None:
    channel, port = job.ends.host, made.peer
    messages = []
    if not job.config.keep_default:
        now = next((each.vlans for each in bridges.list_ports(channel) if each.index == port), ())
        messages += [bridges.delete_vlans(port, now)] if now else []
    messages.append(bridges.add_vlans(port, [Vlans(job.config.vlan, pvid=True, untagged=True)]))
    channel.request([*messages, links.set_up(port), links.set_up(made.index)])


def wait_for_port(job: Job[Config], pair: Pair, bridge: Link) -> str:
    """Set the port up and wait until it forwards; returns the bridge's MAC.

    A bridge takes the MAC of a port when it has none of its own.
    """
    ends = time.monotonic() + job.invocation.session.remaining(_PATIENCE)
    messages = [links.set_up(pair.near), links.get(pair.near), links.get(bridge.index)]
    while True:
        port, now = map(links.read, job.ends.host.request(messages)[-2:])
        if port.state == "up" or job.config.down:
            return now.mac
        if time.monotonic() > ends:
            raise KernelRefused(
                f"port {port.name} of bridge {now.name} is {port.state} after {_PATIENCE:g} s",
                fix="see whether the bridge has STP, or other programs that set the port down",
            )
        time.sleep(_INTERVAL)
        messages = messages[-2:]
