"""What a picture shows: pods, their interfaces, and the links of the node that these depend on.

Values are frozen and hold what was read, unescaped: names come from tenants.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

from attrs import asdict, frozen


class Kind(Enum):
    """What an interface of a pod is attached to."""

    #: A bridge of the node.
    BRIDGE = "bridge"
    #: A link of which the interface is a child (macvlan, ipvlan, VLAN).
    MASTER = "master"
    #: The physical function of an SR-IOV card.
    PHYSICAL = "physical function"
    #: The node's own routes: a veth without a bridge.
    ROUTED = "routes of the node"
    #: Nothing on the node: the device itself was moved into the pod.
    MOVED = "device in the pod"
    #: Nothing: an interface that exists in the pod alone (dummy, loopback).
    ALONE = "only in the pod"
    #: It could not be found out, or the interface is gone.
    UNKNOWN = "not known"


@frozen
class Range:
    """A range set from which addresses are allocated, as text, and how many are in use."""

    spans: str
    used: int
    size: int

    @property
    def share(self) -> float:
        """From 0.0 to 1.0."""
        return min(1.0, self.used / self.size) if self.size > 0 else 1.0


@frozen
class Network:
    """A network as it is attached to one parent.

    ``gateways`` are those of its results; ``count`` is how many interfaces it has there.
    """

    name: str
    types: tuple[str, ...]
    count: int = 0
    gateways: tuple[str, ...] = ()
    ranges: tuple[Range, ...] = ()


@frozen
class Parent:
    """What interfaces are attached to.

    ``name`` is the link's, or a text for people where there is no link.  ``on`` are the links below
    it, the nearest first (of ``eth0.100``: ``eth0``).  ``uplinks`` are ports of a bridge that lead
    to no pod, ``addresses`` are in CIDR form.
    """

    key: str
    name: str
    kind: Kind
    up: bool = True
    mtu: int = 0
    mac: str = ""
    addresses: tuple[str, ...] = ()
    on: tuple[str, ...] = ()
    uplinks: tuple[str, ...] = ()
    networks: tuple[Network, ...] = ()

    @property
    def is_link(self) -> bool:
        """Whether it is a link of the node."""
        return self.kind in (Kind.BRIDGE, Kind.MASTER, Kind.PHYSICAL)


@frozen
class Interface:
    """One attachment: an interface of a pod.

    ``parent`` is the key of what it is attached to.  ``end`` is the host's end: a veth, or the
    virtual function.  ``kind`` is the kernel's word for the link ("" for a card).  ``state`` is
    ``attached``, ``begun``, ``changing`` or ``detached``; ``problem`` says what is not as it was
    recorded.
    """

    name: str
    network: str
    parent: str
    types: tuple[str, ...] = ()
    state: str = "attached"
    invokers: tuple[str, ...] = ()
    kind: str = ""
    up: bool = True
    mac: str = ""
    mtu: int = 0
    addresses: tuple[str, ...] = ()
    gateways: tuple[str, ...] = ()
    end: str = ""
    device: str = ""
    problem: str = ""


@frozen
class Pod:
    """A container: ``namespace`` and ``name`` are its pod's, empty when the runtime named none.

    ``started`` is when its ADD began, in seconds since 1970.
    """

    container: str
    name: str = ""
    namespace: str = ""
    netns: str = ""
    alive: bool = True
    started: float = 0.0
    interfaces: tuple[Interface, ...] = ()
    problem: str = ""

    @property
    def title(self) -> str:
        """``namespace/name``, else the container's ID, cut."""
        if self.name:
            return f"{self.namespace}/{self.name}" if self.namespace else self.name
        return self.container if len(self.container) <= 16 else f"{self.container[:12]}…"


@frozen
class Node:
    """A node as it was read.  ``notes`` say what could not be read, and why."""

    name: str
    pods: tuple[Pod, ...] = ()
    parents: tuple[Parent, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def count(self) -> int:
        """How many interfaces it has."""
        return sum(len(each.interfaces) for each in self.pods)

    def parent(self, key: str) -> Parent:
        """The parent with this key."""
        return next(each for each in self.parents if each.key == key)

    def to_wire(self) -> dict[str, Any]:
        """As ``multus graph --json`` prints it."""
        found: dict[str, Any] = asdict(self, value_serializer=_plain)
        return found


def plural(count: int, word: str) -> str:
    """``1 pod``, ``2 pods``."""
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def summary(node: Node) -> str:
    """What the node has, in one line."""
    if not node.pods:
        return "what is attached is not known" if node.notes else "nothing is attached"
    return f"{plural(len(node.pods), 'pod')}, {plural(node.count, 'interface')}"


def described(parent: Parent) -> str:
    """What a parent is, in a few words: ``bridge, uplink eth1``."""
    words = [parent.kind.value] if parent.is_link else []
    words += [f"on {' on '.join(parent.on)}"] if parent.on else []
    if parent.uplinks:
        more = f" and {len(parent.uplinks) - 2} more" if len(parent.uplinks) > 2 else ""
        words.append(f"uplink {', '.join(parent.uplinks[:2])}{more}")
    words += [] if parent.up else ["down"]
    return ", ".join(words)


def _plain(_owner: Any, _field: Any, value: Any) -> Any:
    return value.value if isinstance(value, Enum) else value
