"""CHECK: compare the port and the bridge with the result."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus.api.errors import RECREATE, CheckFailed
from multus.netlink import Channel, links
from multus_invoker_bridge import spoofing

if TYPE_CHECKING:
    from multus.api.network import Invocation
    from multus.netlink.links import Link
    from multus_invoker_bridge.config import Config


def require_port(config: Config, invocation: Invocation, link: Link, host: Channel) -> None:
    """Raise ``CheckFailed`` with the first difference of the bridge or of the host's end."""
    bridge = links.find(host, config.bridge)
    if bridge is None or bridge.kind != "bridge":
        raise CheckFailed(f"bridge {config.bridge} is missing", fix=RECREATE)
    result = invocation.prev_result
    known = {} if result is None else {each.name: each.mac.lower() for each in result.interfaces}
    if known.get(bridge.name) not in (None, "", bridge.mac):
        raise CheckFailed(
            f"bridge {bridge.name} has MAC {bridge.mac}, the result says {known[bridge.name]}",
            fix=RECREATE,
        )
    if bridge.promiscuous is not config.promiscuous:
        is_now = "is" if bridge.promiscuous else "is not"
        raise CheckFailed(
            f"bridge {bridge.name} {is_now} promiscuous, the configuration says the opposite",
            fix="set it as the configuration says, or correct 'promiscMode'",
        )
    near = links.find(host, link.peer)
    if near is None or near.kind != "veth" or near.peer != link.index:
        raise CheckFailed(f"the host's end of {link.name} is missing", fix=RECREATE)
    if near.master != bridge.index:
        raise CheckFailed(f"{near.name} is not a port of bridge {bridge.name}", fix=RECREATE)
    if not near.up:
        raise CheckFailed(f"{near.name}, the host's end of {link.name}, is down", fix="set it up")
    if config.only_own_mac and not spoofing.is_guarded(invocation):
        raise CheckFailed(f"the rules of 'macspoofchk' for {near.name} are missing", fix=RECREATE)
