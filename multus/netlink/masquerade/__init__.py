"""Masquerading: packets that a container sends beyond its own network get the host's address.

In an invoker::

    owner = masquerade.Owner.of(invocation)             # network, container, interface
    masquerade.add(owner, ["10.1.2.3/24"])              # ADD
    masquerade.remove([owner])                          # DEL
    masquerade.collect("pods", invocation.valid_attachments)    # GC

The rules name their owner exactly as the reference plugins' rules do, in both backends, so either
program can remove the other's rules.  At removal the machine is searched for rules of both
backends, because the configuration may have changed.

All functions act in the calling thread's network namespace, the host's, and need CAP_NET_ADMIN
there.  They raise `KernelRefused` when the kernel or ``iptables-restore`` refuses, and
`MissingPlugin` when iptables is requested and not installed.

Source: containernetworking plugins 1.1.1 (iptables) and 1.9 (nftables), by what they leave in the
kernel.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from multus.api.errors import NotAvailable
from multus.netlink import iptables
from multus.netlink.masquerade import _iptables, _nftables
from multus.netlink.masquerade._owner import Owner

_USUAL = iptables.Programs()


def add(
    owner: Owner,
    addresses: Sequence[str],
    backend: str = "",
    programs: iptables.Programs = _USUAL,
) -> None:
    """Masquerade what comes from these addresses (with prefix) and goes beyond their networks.

    *backend* is iptables or nftables; "": iptables where it is installed, else nftables, as in the
    reference plugins.  With nftables, the rules replace the owner's old ones; with iptables, an
    existing rule is not added twice.  *programs* is how those of iptables are started.
    """
    if (backend or ("iptables" if iptables.installed() else "nftables")) == "iptables":
        _iptables.add(owner, addresses, programs)
    else:
        _nftables.add(owner, addresses)


def require_usable(backend: str) -> None:
    """Raise ``NotAvailable`` when the requested backend is not on this machine."""
    if backend == "iptables" and not iptables.installed():
        raise NotAvailable(
            "'ipMasqBackend' is iptables, which is not installed",
            fix="install it, or use nftables",
        )


def remove(
    owners: Sequence[Owner],
    kept: Collection[str] = (),
    programs: iptables.Programs = _USUAL,
) -> None:
    """Remove the rules of these owners; missing rules are ignored.

    The iptables rules of one container and network share a chain for all interfaces: rules for an
    address in *kept*, which the container still has, stay.
    """
    _iptables.remove(owners, kept, programs)
    _nftables.remove(owners)


def collect(
    network: str,
    valid: Iterable[Mapping[str, str]],
    programs: iptables.Programs = _USUAL,
) -> None:
    """Remove the rules of the network's attachments that are not in *valid*.

    *valid* has ``containerID`` and ``ifname`` of each, as `Invocation.valid_attachments`.
    """
    attachments = list(valid)
    _iptables.collect(network, {each["containerID"] for each in attachments}, programs)
    owners = [Owner(network, each["containerID"], each["ifname"]) for each in attachments]
    _nftables.collect(network, owners)


__all__ = ["Owner", "add", "collect", "remove", "require_usable"]
