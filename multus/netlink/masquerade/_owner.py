"""The owner of masquerading rules, with the reference plugin's names, so either finds the other's.

Source: containernetworking plugins 1.1.1 (iptables) and 1.9 (nftables), by what they leave in the
kernel.
"""

from __future__ import annotations

from hashlib import sha512
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from multus.api.network import Invocation


class Owner(NamedTuple):
    """The network's name, the container's ID, and the interface in it."""

    network: str
    container_id: str
    ifname: str

    @classmethod
    def of(cls, invocation: Invocation) -> Owner:
        """The owner of an invocation's rules."""
        return cls(
            network=str(invocation.config["name"]),
            container_id=invocation.request.container_id,
            ifname=invocation.ifname,
        )

    @property
    def chain(self) -> str:
        """The chain of the iptables rules; its name does not depend on the interface."""
        return f"CNI-{_hash(self.network + self.container_id)}"[:28]

    @property
    def comment(self) -> str:
        """The comment on iptables rules."""
        return f'name: "{self.network}" id: "{self.container_id}"'

    @property
    def mark(self) -> str:
        """The start of the comment on nftables rules."""
        attachment = _hash(f"{self.ifname}:{self.container_id}")[:16]
        return f"{network_mark(self.network)}-{attachment}"

    @property
    def description(self) -> str:
        """The comment on nftables rules: at most 128 characters."""
        text = f"net: {self.network}, if: {self.ifname}, id: {self.container_id}"
        return f"{self.mark}, {text}"[:128]


def network_mark(network: str) -> str:
    """The start of the comment on nftables rules of this network."""
    return _hash(network)[:16]


def _hash(text: str) -> str:
    return sha512(text.encode()).hexdigest()
