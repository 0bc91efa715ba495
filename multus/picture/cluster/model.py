"""What the page of a cluster shows.

Values are frozen and hold what was read, unescaped: names and annotations come from tenants.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from attrs import asdict, field, frozen


@frozen(order=True)
class Holder:
    """An interface of a pod, ``NAMESPACE/NAME``; ``node`` is "" when that is not known."""

    pod: str
    interface: str = ""
    node: str = ""


@frozen
class Attached:
    """An entry of a pod's network-status annotation; ``addresses`` are without a prefix length."""

    network: str
    holder: Holder
    addresses: tuple[str, ...] = ()
    mac: str = ""


@frozen
class Duplicate:
    """An address that several pods have in one network."""

    network: str
    address: str
    holders: tuple[Holder, ...]


@frozen
class Waiting:
    """A pod on a node that asked for networks, and has no status; *asked* is its annotation.

    ``created`` is in RFC 3339, as the API server writes it.
    """

    holder: Holder
    asked: str
    created: str = ""


@frozen
class Cluster:
    """What was read of a cluster at ``moment``, in seconds since 1970.

    ``counts`` has the attachments of every node and network, ``attached`` those that are listed, in
    the order of ``in_order``: ``unlisted`` more had no room.  ``notes`` say what could not be read,
    and why.
    """

    name: str
    pods: int = 0
    counts: Mapping[str, Mapping[str, int]] = field(factory=dict)
    attached: tuple[Attached, ...] = ()
    duplicates: tuple[Duplicate, ...] = ()
    waiting: tuple[Waiting, ...] = ()
    unlisted: int = 0
    notes: tuple[str, ...] = ()
    moment: float = 0.0

    @property
    def nodes(self) -> tuple[str, ...]:
        """The nodes that have pods with a status, sorted."""
        return tuple(sorted(self.counts))

    @property
    def networks(self) -> tuple[str, ...]:
        """The networks, those with the most attachments first."""
        sums: dict[str, int] = {}
        for counts in self.counts.values():
            for network, count in counts.items():
                sums[network] = sums.get(network, 0) + count
        return tuple(sorted(sums, key=lambda name: (-sums[name], name)))

    @property
    def is_right(self) -> bool:
        """Whether all was read, and nothing is wrong."""
        return not (self.duplicates or self.waiting or self.notes or self.unlisted)

    def to_wire(self) -> dict[str, Any]:
        """As ``multus graph --kubeconfig FILE --json`` prints it."""
        found: dict[str, Any] = asdict(self)
        return found


def summary(cluster: Cluster) -> str:
    """What the cluster has, in one line."""
    from multus.picture.model import plural

    total = sum(sum(each.values()) for each in cluster.counts.values())
    parts = [
        plural(len(cluster.counts), "node"),
        plural(len(cluster.networks), "network"),
        plural(cluster.pods, "pod"),
        plural(total, "attachment"),
    ]
    return ", ".join(parts)


def rows(attached: Iterable[Attached]) -> Iterator[tuple[str, Attached]]:
    """Each address with its attachment; "-" for one without an address."""
    return ((address, each) for each in attached for address in each.addresses or ("-",))


def in_order(attached: Iterable[Attached]) -> tuple[Attached, ...]:
    """Sorted by network, first address (as a number) and pod."""
    return tuple(sorted(attached, key=lambda e: (e.network, _order(e.addresses), e.holder)))


def _order(addresses: tuple[str, ...]) -> tuple[int, int, str]:
    import ipaddress

    try:
        found = ipaddress.ip_address(addresses[0] if addresses else "")
    except ValueError:
        return (0, 0, addresses[0] if addresses else "")
    return (found.version, int(found), "")
