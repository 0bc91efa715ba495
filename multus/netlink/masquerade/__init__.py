"""Masquerading: what a container sends beyond its own network leaves with the host's address.

In an invoker::

    owner = masquerade.Owner.of(invocation)             # network, container, interface
    masquerade.add(owner, ["10.1.2.3/24"])              # ADD
    masquerade.remove([owner])                          # DEL
    masquerade.collect("pods", invocation.valid_attachments)    # GC

The rules are the reference plugins', byte for byte where they name their owner, in both of their
backends; either can remove what the other made.  Which backend has rules is found out at removal
from the machine, not from the configuration, which may have changed.

All functions act in the calling thread's network namespace, the host's, and need CAP_NET_ADMIN
there.  They raise `KernelRefused` where the kernel or ``iptables-restore`` refuses, and
`MissingPlugin` where iptables is asked for and not installed.

Source: containernetworking plugins 1.1.1 (iptables) and 1.9 (nftables), by what they leave in the
kernel.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from multus.api.errors import NotAvailable
from multus.netlink.masquerade import _iptables as iptables
from multus.netlink.masquerade import _nftables as nftables
from multus.netlink.masquerade._owner import Owner


def add(
    owner: Owner, addresses: Sequence[str], backend: str = "", inherited: tuple[int, ...] = ()
) -> None:
    """Masquerade what comes from these addresses (with prefix) and goes beyond their networks.

    *backend* is iptables or nftables; "": iptables where it is installed, else nftables, as the
    reference does.  Of nftables, the rules take the place of what the owner had; of iptables, a
    rule that is there is not added twice.  A started program keeps the descriptors *inherited*.
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


def remove(
    owners: Sequence[Owner], kept: Collection[str] = (), inherited: tuple[int, ...] = ()
) -> None:
    """Remove the rules of these owners; what is not there is no error.

    The iptables rules of one container and network share a chain, whatever the interface: those
    that are for an address in *kept*, which the container still has, stay.
    """
    iptables.remove(owners, kept, inherited)
    nftables.remove(owners)


def collect(network: str, valid: Iterable[Mapping[str, str]]) -> None:
    """Remove the rules of the network's attachments that are not in *valid*.

    *valid* has ``containerID`` and ``ifname`` of each, as `Invocation.valid_attachments`.
    """
    attachments = list(valid)
    iptables.collect(network, {each["containerID"] for each in attachments})
    owners = [Owner(network, each["containerID"], each["ifname"]) for each in attachments]
    nftables.collect(network, owners)


__all__ = ["Owner", "add", "collect", "remove", "require_usable"]
