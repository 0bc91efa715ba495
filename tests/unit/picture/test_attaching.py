"""What an interface is attached to, from links as the kernel has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from attrs import evolve
from unit.state.records import attachment, planned, request
from work import calls

from multus.netlink import Namespace
from multus.netlink.links import Link
from multus.picture import parents
from multus.picture.attaching import Attached, attached, device_of
from multus.picture.model import Kind, Parent, described
from multus.picture.reading import read
from multus.picture.there import Card, There, card_of
from multus.state.journal import Journal
from multus.state.record import Record
from multus.testing import sriov
from multus.testing.netns import Netns, Node

#: The kernel's id of the node's namespace, seen from the pod.
HOST = 5


def link(index: int, name: str, kind: str = "", **keys: Any) -> Link:
    given = {"master": 0, "peer": 0, "peer_namespace": None, "up": True, **keys}
    fixed: dict[str, Any] = {
        "mac": "",
        "mtu": 1500,
        "txqlen": 0,
        "carrier": True,
        "state": "up",
        "group": 0,
    }
    return Link(index=index, name=name, kind=kind, alternative_names=(), **fixed, **given)


def there(*links: Link, host: int | None = None) -> There:
    return There({each.index: each for each in links}, {}, host)


NODE = there(
    link(2, "bond0", "bond"),
    link(3, "eth0", master=2),
    link(4, "bond0.100", "vlan", peer=2),
    link(5, "br0", "bridge"),
    link(6, "eth1", master=5),
    link(7, "veth7", "veth", peer=2, peer_namespace=1, master=5),
    link(8, "veth8", "veth", peer=2, peer_namespace=1),
    link(9, "ens2f0", up=False),
)
RECORD = Record("/x", request(), planned={0: planned("blue", "net1")})


def of(inside: Link | None, card: Card | None = None) -> Attached:
    """What *inside*, the link ``net1`` of a pod, is attached to on ``NODE``."""
    pod = there(link(1, "lo", loopback=True), *([inside] if inside else []), host=HOST)
    return attached(RECORD, 0, pod, NODE, card)


@pytest.mark.parametrize(
    ("inside", "card", "kind", "parent", "end"),
    [
        (link(2, "net1", "veth", peer=7, peer_namespace=HOST), None, Kind.BRIDGE, "br0", "veth7"),
        (link(2, "net1", "veth", peer=8, peer_namespace=HOST), None, Kind.ROUTED, "", "veth8"),
        # Another namespace's link with the same number is not the node's.
        (link(2, "net1", "veth", peer=7, peer_namespace=6), None, Kind.UNKNOWN, "", ""),
        (link(2, "net1", "veth", peer=7), None, Kind.UNKNOWN, "", ""),
        (
            link(2, "net1", "macvlan", peer=4, peer_namespace=HOST),
            None,
            Kind.MASTER,
            "bond0.100",
            "",
        ),
        (link(2, "net1", "ipvlan", peer=3, peer_namespace=HOST), None, Kind.MASTER, "eth0", ""),
        (link(2, "net1"), Card("ens2f0", 3), Kind.PHYSICAL, "ens2f0", "VF 3"),
        (link(2, "net1"), None, Kind.MOVED, "", ""),
        (link(2, "net1", "dummy"), None, Kind.ALONE, "", ""),
        (None, None, Kind.UNKNOWN, "", ""),
    ],
)
def test_the_kernel_says_what_an_interface_is_attached_to(
    inside: Link | None, card: Card | None, kind: Kind, parent: str, end: str
) -> None:
    found = of(inside, card)
    assert (found.kind, found.link.name if found.link else "") == (kind, parent)
    assert found.interface.end == end
    assert bool(found.interface.problem) == (inside is None)


def the(inside: Link, card: Card | None = None) -> Parent:
    (found,) = parents.of(NODE, [of(inside, card)], [])
    return found


def test_a_parent_says_what_is_below_it_and_where_else_it_leads() -> None:
    vlan = the(link(2, "net1", "macvlan", peer=4, peer_namespace=HOST))
    assert (vlan.on, described(vlan)) == (("bond0",), "master, on bond0")
    port = the(link(2, "net1", "macvlan", peer=3, peer_namespace=HOST))
    assert port.on == ("bond0",)
    bridge = the(link(2, "net1", "veth", peer=7, peer_namespace=HOST))
    # veth7 is the host's end of the pod; eth1 leads elsewhere.
    assert (bridge.uplinks, described(bridge)) == (("eth1",), "bridge, uplink eth1")
    card = the(link(2, "net1"), Card("ens2f0", 3))
    assert described(card) == "physical function, down"


def test_the_store_of_a_network_is_read_once_for_all_its_pods(tmp_path: Path) -> None:
    ipam = {"type": "host-local", "subnet": "10.7.0.0/24", "dataDir": str(tmp_path)}
    store = tmp_path / "blue"
    store.mkdir()
    for number in range(2, 202):
        (store / f"10.7.0.{number}").write_text("c1\r\neth0")
    step = planned("blue", "net1").steps[0]
    steps = (evolve(step, config={**step.config, "ipam": ipam}),)
    record = evolve(RECORD, planned={0: planned("blue", "net1")._replace(steps=steps)})
    one = attached(record, 0, there(link(2, "net1", "dummy"), host=HOST), NODE, None)
    ((network,),) = (each.networks for each in parents.of(NODE, [one], []))
    assert [(each.used, each.size) for each in network.ranges] == [(200, 253)]
    once = calls(lambda: parents.of(NODE, [one], []))
    assert calls(lambda: parents.of(NODE, [one] * 40, [])) < 3 * once


def test_the_device_is_the_reported_or_the_configured_one() -> None:
    assert device_of(RECORD, 0) == ""
    step = planned("blue", "net1").steps[0]
    given = {**step.config, "deviceID": "0000:03:02.1"}
    of_device = planned("blue", "net1")._replace(steps=(evolve(step, config=given),))
    assert device_of(Record("/x", request(), planned={0: of_device}), 0) == "0000:03:02.1"


def test_a_virtual_function_is_found_at_its_card(tmp_path: Path, cni_node: Node) -> None:
    card = sriov.Card.build(str(tmp_path), cni_node, pf="enp3s0")
    devices = str(tmp_path / "bus/pci/devices")
    assert card_of(card.vf(1), devices) == Card("enp3s0", 1)
    for other in (card.pci, "0000:99:00.0", "", "../../..", "*"):
        assert card_of(other, devices) is None


def test_a_pod_that_cannot_be_read_shows_what_is_recorded(tmp_path: Path) -> None:
    journal = Journal(str(tmp_path))
    one = planned("net0", "eth0")
    journal.prepare()
    writer = journal.begin(request(), {"name": "node"}, [one])
    writer.attached(0, attachment(one))
    node = read(str(tmp_path), "worker-1")
    (pod,) = node.pods
    assert (pod.alive, pod.problem) == (False, "its network namespace is gone")
    assert pod.interfaces[0].addresses == ("10.1.0.2/24",)
    assert node.parents[0].kind is Kind.UNKNOWN


def test_the_kernels_id_of_another_namespace_is_known_where_a_link_leads_there(
    cni_node: Node, cni_pod: Netns
) -> None:
    with Namespace(cni_node.path) as node, Namespace(cni_pod.path) as inner, inner.channel() as pod:
        assert There.of(pod, node).host is None
        peer = ("peer", "name", "net1", "netns", cni_pod.name)
        cni_node.ip("link", "add", "name", "host1", "type", "veth", *peer)
        seen = There.of(pod, node)
        inside = seen.named("net1")
        assert inside is not None
        assert inside.peer_namespace == seen.host is not None
