"""Rules over netlink are those that nft makes of text, and are found and removed again."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator

import pytest
from kernel import require_nftables

from multus.api.errors import InvalidConfig
from multus.netlink import (
    Channel,
    Message,
    Refused,
    iptables,
    nftables,
)
from multus.netlink import nftexpressions as nft
from multus.testing.faults import dies
from multus.testing.iptables import using
from multus.testing.netns import Node, inside

V4, V6 = nftables.Table(nftables.IPV4, "mine"), nftables.Table(nftables.IPV6, "mine")
FRAMES = nftables.Table(nftables.BRIDGE, "mine")

#: Each rule as expressions, and as text for nft.
RULES: dict[nftables.Table, list[tuple[list[bytes], str]]] = {
    V4: [
        (nft.address("source", "10.1.0.0/20"), "ip saddr 10.1.0.0/20"),
        (nft.address("source", "0.0.0.0/0"), "ip saddr 0.0.0.0/0"),
        (nft.address("destination", "10.1.2.3", inside=False), "ip daddr != 10.1.2.3"),
        ([*nft.to_this_host(), nft.jump("other")], "fib daddr type local jump other"),
        (
            [*nft.port("sctp", 80), *nft.translate_to("10.1.2.3", 8080)],
            "sctp dport 80 dnat to 10.1.2.3:8080",
        ),
        ([nft.leave()], "return"),
    ],
    V6: [
        (
            [*nft.port("udp", 80), *nft.translate_to("fd00::2", 53)],
            "udp dport 80 dnat to [fd00::2]:53",
        ),
        ([nft.drop()], "drop"),
    ],
    FRAMES: [
        ([*nft.from_interface("veth1"), nft.goto("other")], "iifname veth1 goto other"),
        (nft.from_mac(b"\2\0\0\0\0\1"), "ether saddr 02:00:00:00:00:01"),
    ],
}
FAMILIES = {V4: "ip", V6: "ip6", FRAMES: "bridge"}


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node.create("nft")
    yield node
    node.remove()


def described(node: Node, table: nftables.Table) -> list[str]:
    words = ("list", "table", FAMILIES[table], table.name)
    lines = node.run("nft", "--debug=netlink", *words).splitlines()
    return [re.sub(r"^(\S+ mine \S+)( \d+)+$", r"\1", line) for line in lines]


def chains(table: nftables.Table) -> list[Message]:
    kind = "filter" if table is FRAMES else "nat"
    hooked = table.add_base_chain(
        "hooked", kind=kind, hook=nftables.PREROUTING, priority=nftables.DESTINATION_NAT
    )
    return [table.add(), table.add_chain("other"), hooked]


@pytest.mark.parametrize("table", [V4, V6, FRAMES], ids=["IPv4", "IPv6", "bridge"])
def test_rules_are_those_that_nft_makes_of_the_same_text(node: Node, table: nftables.Table) -> None:
    if table is not FRAMES:
        require_nftables()
    place = f"{FAMILIES[table]} {table.name} hooked"
    with inside(node), nftables.channel() as channel:
        added = [table.add_rule("hooked", made, "a comment") for made, _words in RULES[table]]
        nftables.commit(channel, [*chains(table), *added])
    ours = described(node, table)
    text = f"flush chain {place}\n" + "".join(
        f'add rule {place} {words} comment "a comment"\n' for _made, words in RULES[table]
    )
    subprocess.run(node.command(["nft", "-f", "-"]), input=text, text=True, check=True)
    assert ours == described(node, table)


def test_a_rule_is_found_by_what_it_has_and_deleted(node: Node) -> None:
    require_nftables()
    with inside(node), nftables.channel() as channel:
        assert V4.list_rules(channel, "hooked") == []
        match = nft.address("source", "10.1.2.3")
        nftables.commit(
            channel,
            [
                *chains(V4),
                V4.add_rule("hooked", [*match, nft.jump("other")], "x" * 200),
                V4.add_rule("hooked", [nft.leave()]),
            ],
        )
        first, second = V4.list_rules(channel, "hooked")
        assert (first.comment, second.comment) == (nftables.comment_of("x" * 200), "")
        assert (first.targets(), first.jumps_to("other")) == (["other"], True)
        assert (second.targets(), second.jumps_to("other")) == ([], False)
        assert (first.compared(), second.compared()) == ([bytes([10, 1, 2, 3])], [])
        with pytest.raises(Refused):  # the chain is in use: the rule's deletion is taken back too
            gone = V4.delete_rule("hooked", second.handle)
            nftables.commit(channel, [gone, V4.delete_chain("other")])
        assert len(V4.list_rules(channel, "hooked")) == 2
        gone = V4.delete_rule("hooked", first.handle)
        nftables.commit(channel, [gone, V4.flush("other"), V4.delete_chain("other")])
        assert channel.request([V4.get_chain("other"), V4.get_chain("hooked")])[0] is None
        assert [rule.handle for rule in V4.list_rules(channel, "hooked")] == [second.handle]


def test_names_that_the_kernel_has_no_room_for_are_refused() -> None:
    with pytest.raises(InvalidConfig, match="icmp"):
        nft.port("icmp", 1)
    with pytest.raises(InvalidConfig, match="longer"):
        nft.from_interface("x" * 16)


@pytest.mark.parametrize("kind", ["nft", "legacy"])
def test_chains_of_iptables_are_found_and_removed_with_their_jumps(node: Node, kind: str) -> None:
    if kind == "nft":
        require_nftables()
    said = 'name: "a\\b" id: "c"'

    def targets() -> list[str]:
        lines = (line.split() for line in iptables.saved(4) if line.startswith("-A ENTRY"))
        return [line[-1] for line in lines]

    other = "-A OUTPUT -d 10.9.9.9/32 -j ACCEPT"
    with using(kind), inside(node):
        iptables.restore(4, ["-N ENTRY", other, "-A OUTPUT -j ENTRY"])
        before = iptables.saved(4)[2:-2]
        iptables.restore(
            4,
            [
                *("-N ONE", "-N TWO", "-A ONE -d 10.1.2.3/32 -j ACCEPT"),
                "-A ENTRY -s 10.1.2.3/32 -m comment --comment plain -j ONE",
                "-A ENTRY -s 10.1.2.4/32 -j ONE",
                f"-A ENTRY -m comment --comment {iptables.quoted(said)} -j TWO",
            ],
        )
        iptables.remove_chains({"ONE": "ENTRY", "NEVER": "ENTRY"}, kept=["10.1.2.4"])
        assert targets() == ["ONE", "TWO"]
        iptables.remove_chains({"ONE": "ENTRY"})
        assert targets() == ["TWO"]
        iptables.remove_jumped_to("ENTRY", lambda comment: comment == "not this")
        assert targets() == ["TWO"]
        iptables.remove_jumped_to("ENTRY", lambda comment: comment == said)
        assert iptables.saved(4)[2:-2] == before


@pytest.mark.parametrize("text", ["two\nlines", "a\0b", "\x1b[m"])
def test_an_argument_of_iptables_is_one_line(text: str) -> None:
    with pytest.raises(InvalidConfig):
        iptables.quoted(text)


def test_a_channel_is_kept_for_the_next_use_in_its_namespace_alone(node: Node) -> None:
    require_nftables()
    with inside(node):
        with nftables.channel() as first:
            nftables.commit(first, chains(V4))
        with nftables.channel() as second, nftables.channel() as third:
            assert second is first and third is not first
            assert V4.list_rules(third, "hooked") == []
        with pytest.raises(Refused), nftables.channel() as fourth:
            nftables.commit(fourth, [V4.delete_chain("never")])
        with nftables.channel() as fifth:
            assert fifth is not fourth
            # A child has the same socket, and must not take its parent's answers.
            assert not dies(lambda: _use_another(fifth))
    with nftables.channel() as elsewhere:
        assert elsewhere is not fifth
        assert V4.list_rules(elsewhere, "hooked") == []


def _use_another(kept: Channel) -> None:
    with nftables.channel() as used:
        assert used is not kept
        assert V4.list_rules(used, "hooked") == []
