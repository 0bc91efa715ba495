"""The node's lease: what flannel writes about this node's subnet.

Source: flannel's documentation, "subnet.env".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from multus.api import regular
from multus.api.errors import DecodingFailure, IOFailure, TryAgainLater
from multus.ipam.addresses import Network

#: Where flannel writes it, unless ``subnetFile`` says it.
FILE = "/run/flannel/subnet.env"

_LARGEST = 64 * 1024
_KEYS = {
    "FLANNEL_NETWORK or FLANNEL_IPV6_NETWORK": ("FLANNEL_NETWORK", "FLANNEL_IPV6_NETWORK"),
    "FLANNEL_SUBNET or FLANNEL_IPV6_SUBNET": ("FLANNEL_SUBNET", "FLANNEL_IPV6_SUBNET"),
    "FLANNEL_MTU": ("FLANNEL_MTU",),
    "FLANNEL_IPMASQ": ("FLANNEL_IPMASQ",),
}
_FIX = "see the log of flannel on this node, which writes the file"


class Lease(NamedTuple):
    """The cluster's networks and the node's subnets (IPv4 first), the MTU in bytes.

    ``masquerades``: flannel itself masquerades what leaves the cluster's networks.
    """

    networks: tuple[str, ...] = ()
    subnets: tuple[str, ...] = ()
    mtu: int = 0
    masquerades: bool = False


def read(path: str) -> Lease:
    """The lease in the file at *path*.

    Raises ``TryAgainLater`` without the file, ``IOFailure`` and ``DecodingFailure``.
    """
    try:
        text = regular.read(path, _LARGEST, follow=True).decode()
    except FileNotFoundError as error:
        raise TryAgainLater(
            f"{path} does not exist: flannel has no subnet for this node yet",
            fix="see whether flannel runs on this node",
        ) from error
    except (OSError, ValueError) as error:
        raise IOFailure(f"{path} cannot be read: {error}", fix=_FIX) from error
    lines = (line.partition("=") for line in text.splitlines())
    found = {key: value for key, equals, value in lines if equals}
    missing = [words for words, keys in _KEYS.items() if found.keys().isdisjoint(keys)]
    if missing:
        raise DecodingFailure(f"{path} has no {', no '.join(missing)}", fix=_FIX)
    mtu = found["FLANNEL_MTU"]
    if not (mtu.isascii() and mtu.isdigit() and int(mtu[:10]) < 2**31):
        raise DecodingFailure(f"{path}: FLANNEL_MTU is not a number of bytes", fix=_FIX)
    return Lease(
        networks=tuple(dict.fromkeys(_networks(found, "NETWORK", path))),
        subnets=tuple(_networks(found, "SUBNET", path)),
        mtu=int(mtu),
        masquerades=found["FLANNEL_IPMASQ"] == "true",
    )


def _networks(found: dict[str, str], what: str, path: str) -> Iterator[str]:
    """The networks under both families' keys; only those of a NETWORK are lists."""
    for key in (f"FLANNEL_{what}", f"FLANNEL_IPV6_{what}"):
        if key not in found:
            continue
        for text in found[key].split(",") if what == "NETWORK" else [found[key]]:
            network = Network.parse(text)
            if network is None:
                raise DecodingFailure(f"{path}: {key} is not a network", fix=_FIX)
            yield f"{network.first}/{network.prefix}"
