"""pyroute2 and this project's own reader list the same objects of a namespace."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from kernel import require_nftables

from multus.api.errors import MissingPlugin
from multus.netlink import (
    Channel,
    Namespace,
    addresses,
    create,
    inventory,
    links,
    masquerade,
    routes,
)
from multus.testing.netns import Netns


@pytest.fixture
def pod() -> Iterator[Namespace]:
    netns = Netns.create("inv")
    with Namespace(netns.path) as opened:
        yield opened
    netns.remove()


@pytest.fixture
def furnished(channel: Channel, netns: Netns, pod: Namespace) -> None:
    channel.request(
        [
            create.bridge("br0", up=True),
            create.veth("near", "far", peer_namespace=pod, mtu=1400, txqlen=7),
            create.veth("card", "wire", up=True),
            links.set_up("wire"),
            links.add_alternative_name("card", "the-first-card-of-this-machine"),
        ]
    )
    card = index_of(channel, "card")
    channel.request(
        [
            create.macvlan("mv0", card),
            links.set_group("mv0", 42),
            links.set_master("near", index_of(channel, "br0")),
            addresses.add(card, "10.1.2.3/24"),
            *addresses.add_settled(card, "fd01::3/64"),
            routes.add(card, "0.0.0.0/0", gateway="10.1.2.1", mtu=1300, advmss=1200),
            routes.add(card, "10.9.0.0/16", gateway="10.1.2.7", table=999, priority=5),
            routes.add(card, "fd09::/48", gateway="fd01::7"),
            routes.add(card, "fd09::/48", gateway="fd01::8", exclusive=False),
        ]
    )
    netns.ip(
        "route", "add", "10.8.0.0/16", "nexthop", "via", "10.1.2.7", "nexthop", "via", "10.1.2.8"
    )
    netns.ip("route", "add", "blackhole", "10.7.0.0/16")


def index_of(channel: Channel, name: str) -> int:
    link = links.find(channel, name)
    assert link is not None
    return link.index


@pytest.mark.usefixtures("furnished")
def test_it_reads_what_our_own_reader_reads(channel: Channel, namespace: Namespace) -> None:
    with inventory.opened(namespace) as there:
        assert there.links() == links.list_all(channel)
        assert there.addresses() == addresses.list_of(channel)
        ours = routes.list_all(channel)
        assert sorted(map(str, there.routes())) == sorted(map(str, ours))
        assert len(ours) > 12


def test_rules_are_distinguished(namespace: Namespace, netns: Netns) -> None:
    with inventory.opened(namespace) as there:
        before = there.rules()
        netns.ip("rule", "add", "from", "10.1.2.0/24", "table", "99", "priority", "77")
        netns.ip("-6", "rule", "add", "iif", "lo", "table", "98", "priority", "78")
        more = [each for each in there.rules() if each not in before]
        netns.ip("rule", "delete", "priority", "77")
        netns.ip("-6", "rule", "delete", "priority", "78")
        assert there.rules() == before
    assert [(each.family, each.priority, each.table) for each in more] == [(4, 77, 99), (6, 78, 98)]
    assert "10.1.2.0" in more[0].text
    assert "=lo" in more[1].text


@pytest.mark.parametrize("backend", ["nftables", "iptables"])
def test_the_firewall_has_rules_with_their_owners(
    namespace: Namespace, netns: Netns, backend: str
) -> None:
    if backend == "nftables":
        require_nftables()
    owner = masquerade.Owner("pods", "container1", "eth0")
    with inventory.opened(namespace) as there:
        assert there.firewall() == []
        with namespace.entered():
            masquerade.add(owner, ["10.1.2.3/24"], backend)
        found = there.firewall()
        again = there.firewall()
        with namespace.entered():
            masquerade.add(masquerade.Owner("pods", "c2", "eth0"), ["10.1.2.4/24"], backend)
        more = there.firewall()
    assert found == again
    # The tables of iptables' older interface are always there, and not listed.
    assert {each.kind for each in found} >= {"chain", "rule"}
    told = {each.comment for each in found if each.kind == "rule"}
    assert (owner.description if backend == "nftables" else owner.comment) in told
    assert set(found) < set(more)


@pytest.mark.parametrize(("program", "family"), [("iptables", "ip"), ("ip6tables", "ip6")])
def test_what_iptables_has_in_its_older_interface(
    namespace: Namespace, netns: Netns, program: str, family: str
) -> None:
    nat = (f"{program}-legacy", "-t", "nat")
    with inventory.opened(namespace) as there:
        assert there.firewall() == []
        netns.run(*nat, "-N", "OURS")
        netns.run(
            *nat, "-A", "OURS", "-m", "comment", "--comment", 'a "word" or two', "-j", "RETURN"
        )
        netns.run(*nat, "-A", "OUTPUT", "-m", "comment", "--comment", "one", "-j", "OURS")
        found = there.firewall()
    assert [
        (each.kind, each.family, each.table, each.chain, each.name, each.comment) for each in found
    ] == [
        ("chain", family, "nat", "", "OURS", ""),
        ("rule", family, "nat", "OUTPUT", "", "one"),
        ("rule", family, "nat", "OURS", "", 'a "word" or two'),
    ]


def test_sets_and_counters(namespace: Namespace, netns: Netns) -> None:
    require_nftables()
    script = (
        'add table ip t; add set ip t s { type ipv4_addr; comment "a set"; };'
        " add chain ip t c { type filter hook input priority 0; };"
        ' add rule ip t c ip saddr @s counter accept comment "a rule"'
    )
    netns.run("nft", script)
    with inventory.opened(namespace) as there:
        found = there.firewall()
    assert [each.kind for each in found] == ["table", "chain", "set", "rule"]
    assert [each.comment for each in found] == ["", "", "a set", "a rule"]


def test_without_pyroute2_it_says_what_to_install(
    namespace: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyroute2.iproute.linux", None)
    with pytest.raises(MissingPlugin, match=r"multus\[netlink\]"), inventory.opened(namespace):
        pass


def test_importing_it_imports_no_library() -> None:
    code = "import sys, multus.netlink.inventory; print('pyroute2' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
