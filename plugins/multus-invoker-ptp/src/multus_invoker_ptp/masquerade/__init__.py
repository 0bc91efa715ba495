"""Masquerading: what a container sends beyond its own network leaves with the host's address.

The rules are the reference plugin's, byte for byte where they name their owner, in both of its
backends; either can remove what the other made.  Which backend is there at removal is asked of the
machine, not of the configuration, which may have changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from multus.api.errors import NotAvailable
from multus_invoker_ptp.masquerade import iptables, nftables
from multus_invoker_ptp.masquerade.owner import Owner


def add(
    owner: Owner, addresses: Sequence[str], backend: str, inherited: tuple[int, ...] = ()
) -> None:
    """Masquerade what comes from these addresses (with prefix) and goes beyond their networks.

    Backend "": iptables where it is installed, else nftables, as the reference does.  A started
    program keeps the descriptors *inherited*.
    """
    if (backend or ("iptables" if iptables.installed() else "nftables")) == "iptables":
        iptables.add(owner, addresses, inherited)
    else:
        nftables.add(owner, addresses)


def require_usable(backend: str) -> None:
    """Raise ``NotAvailable`` where the backend that is asked for is not on this machine."""
    if backend == "iptables" and not iptables.installed():
        raise NotAvailable(
            "'ipMasqBackend' is iptables, which is not installed",
            fix="install it, or set nftables",
        )


def remove(owners: Sequence[Owner], kept: Collection[str], inherited: tuple[int, ...] = ()) -> None:
    """Remove the rules of these owners; what is not there is no error.

    The iptables rules of one container and network share a chain, whatever the interface: those
    that are for an address in *kept*, which the container still has, stay.
    """
    iptables.remove(owners, kept, inherited)
    nftables.remove(owners)


def collect(network: str, valid: Iterable[Mapping[str, str]]) -> None:
    """Remove the rules of the network's attachments that are not in *valid*."""
    attachments = list(valid)
    iptables.collect(network, {each["containerID"] for each in attachments})
    owners = [Owner(network, each["containerID"], each["ifname"]) for each in attachments]
    nftables.collect(network, owners)


__all__ = ["Owner", "add", "collect", "remove", "require_usable"]
