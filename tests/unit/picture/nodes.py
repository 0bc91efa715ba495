"""Nodes of many kinds, as they would have been read."""

from __future__ import annotations

from multus.picture.model import Interface, Kind, Network, Node, Parent, Pod, Range

BRIDGE = "link cni0"
#: A name as long as Kubernetes allows, with what a tenant might put into one.
LONG = "a-name-that-is-as-long-as-kubernetes-allows-" + "x" * 19
HOSTILE = "<script>alert('1')</script>\x1b[31m&\"]]>\u202e"


def bridge(count: int, used: int = 3) -> Parent:
    """The bridge ``cni0`` with one network."""
    ranges = (Range("10.244.1.1-10.244.1.254", used, 253),)
    network = Network("pods", ("bridge",), count, ("10.244.1.1",), ranges)
    return Parent(
        BRIDGE,
        "cni0",
        Kind.BRIDGE,
        mtu=1500,
        mac="02:00:00:00:00:09",
        addresses=("10.244.1.1/24",),
        uplinks=("eth1",),
        networks=(network,),
    )


def on_bridge(number: int, name: str = "eth0") -> Interface:
    """An interface on ``cni0``."""
    return Interface(
        name,
        "pods",
        BRIDGE,
        types=("bridge",),
        invokers=("bridge",),
        kind="veth",
        mac=f"02:00:00:00:01:{number % 256:02x}",
        mtu=1500,
        addresses=(f"10.244.1.{number + 2}/24",),
        gateways=("10.244.1.1",),
        end=f"veth{number:08x}",
    )


def pod(number: int, *more: Interface, name: str = "", namespace: str = "shop") -> Pod:
    """A pod on ``cni0``, with *more* interfaces."""
    return Pod(
        f"c{number:016x}",
        name or f"web-{number}",
        namespace,
        f"/run/netns/{number}",
        started=1_700_000_000.0,
        interfaces=(on_bridge(number), *more),
    )


def many(count: int) -> Node:
    """A node with *count* pods on one bridge."""
    return Node("worker-1", tuple(map(pod, range(count))), (bridge(count, count),))


def star(count: int) -> Node:
    """One pod with *count* networks, each on a card of its own."""
    cards = [
        Parent(
            f"link eth{number}",
            f"eth{number}",
            Kind.MASTER,
            on=("bond0",) if number % 2 else (),
            networks=(Network(f"tenants/net-{number}", ("macvlan",), 1),),
        )
        for number in range(1, count)
    ]
    more = [
        Interface(
            f"net{number}",
            f"tenants/net-{number}",
            f"link eth{number}",
            kind="macvlan",
            addresses=(f"192.168.{number}.10/24", f"fd00:0:0:{number}::a/64"),
        )
        for number in range(1, count)
    ]
    return Node("worker-1", (pod(0, *more),), (bridge(1), *cards))


def troubled() -> Node:
    """Pods that are gone, begun, hostile, long, and one of each kind of parent."""
    function = Parent("link ens2f0", "ens2f0", Kind.PHYSICAL, up=False)
    routed = Parent(Kind.ROUTED.value, Kind.ROUTED.value, Kind.ROUTED)
    unknown = Parent(Kind.UNKNOWN.value, Kind.UNKNOWN.value, Kind.UNKNOWN)
    full = Network("storage", ("ptp",), 1, ("10.9.0.1",), (Range("10.9.0.1-10.9.0.6", 5, 5),))
    routed_with = Parent(routed.key, routed.name, routed.kind, networks=(full,))
    vf = Interface("net1", "fast", function.key, ("sriov",), end="VF 3", device="0000:3b:02.3")
    gone = Interface("eth0", "pods", unknown.key, problem="there is no interface 'eth0' in the pod")
    begun = Interface("net2", "storage", routed.key, state="begun", kind="veth", up=False)
    return Node(
        "worker-1",
        (
            pod(1, vf, begun, name=LONG, namespace=LONG),
            Pod("c" * 64, interfaces=(gone,), alive=False, problem="its network namespace is gone"),
            pod(2, Interface(HOSTILE[:15], HOSTILE, routed.key), name=HOSTILE, namespace=HOSTILE),
        ),
        (bridge(2), function, routed_with, unknown),
        (f"a record cannot be read: {HOSTILE}",),
    )


#: By name, for tests that draw each of them.
NODES = {"empty": Node("worker-1"), "40 pods": many(40), "16 networks": star(16)}
NODES |= {"troubled": troubled()}
