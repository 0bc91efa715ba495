"""An owner's rules are added and removed, and equal those of the reference plugins."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kernel import require_nftables

from multus.api.errors import DelegateFailed
from multus.netlink import iptables, masquerade
from multus.netlink.masquerade import Owner
from multus.netlink.masquerade import _nftables as nftables
from multus.testing.netns import Node, inside

# The rules of today's reference plugin, as text for nft.
REFERENCE_NFT = """
add table inet {table}
add chain inet {table} masq_checks
add chain inet {table} postrouting {{ type nat hook postrouting priority 100 ; }}
flush chain inet {table} postrouting
add rule inet {table} postrouting ip daddr == 224.0.0.0/4 return
add rule inet {table} postrouting ip6 daddr == ff00::/8 return
add rule inet {table} postrouting goto masq_checks
"""


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node.create("masq")
    yield node
    node.remove()


@pytest.mark.parametrize("backend", ["iptables", "nftables"])
def test_an_owners_rules_come_and_go_and_others_stay(node: Node, backend: str) -> None:
    require_nftables()  # by which the rules are read here, whoever made them
    ours, other = Owner("a", "c1", "eth0"), Owner("a", "c2", "eth0")
    with inside(node):
        masquerade.add(other, ["10.90.0.3/24"], backend)
        before = rules(node)
        masquerade.add(ours, ["10.90.0.2/24", "fd90::2/64"], backend)
        masquerade.add(ours, ["10.90.0.2/24", "fd90::2/64"], backend)
        assert len(rules(node)) == len(before) + 2
        masquerade.remove([ours])
        masquerade.remove([ours])
        assert rules(node) == before
        masquerade.collect("a", [{"containerID": "c2", "ifname": "eth0"}])
        assert rules(node) == before
        masquerade.collect("a", [])
    assert rules(node) == []


def test_no_program_is_run_where_iptables_uses_nf_tables(node: Node, run: list[str]) -> None:
    addresses = ["10.90.0.2/24", "10.90.0.2/20", "fd90::2/64"]
    with inside(node):
        masquerade.add(Owner("a", "c0", "eth0"), addresses, "iptables")
        run.clear()  # the process has learned how this machine's iptables stores rules
        owners = [Owner("a", "c1", ifname) for ifname in ("eth0", "net1")]
        for owner in owners:  # one network, so one chain
            masquerade.add(owner, addresses, "iptables")
        masquerade.remove(owners)
        masquerade.collect("a", [])
    assert run == []
    assert rules(node) == []


def test_programs_that_hang_end_at_the_deadline_of_them_all(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("iptables-save", "iptables-restore", "ip6tables-restore"):
        (tmp_path / name).write_text(
            f"#!/bin/sh\necho {name} >>{tmp_path}/started\n/bin/sleep 300\n"
        )
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(iptables, "_FOLDERS", (str(tmp_path),))
    owner, both = Owner("a", "c1", "eth0"), ["10.90.0.2/24", "fd90::2/64"]
    with inside(node), pytest.raises(DelegateFailed, match="'iptables-restore' did not end"):
        masquerade.add(owner, both, "iptables", iptables.Programs(deadline=time.monotonic() + 0.2))
    assert (tmp_path / "started").read_text().split() == ["iptables-restore"]


def rules(node: Node) -> list[str]:
    lines = node.run("nft", "--stateless", "list", "ruleset").splitlines()
    return [line.strip() for line in lines if "saddr" in line]


def test_nftables_rules_are_those_that_nft_makes_of_the_references_text(node: Node) -> None:
    require_nftables()
    owner = Owner("ptpnet", "container1", "eth0")
    networks = ["10.90.0.2/24", "10.90.0.2/20", "10.90.0.2/32", "fd90::2/64", "fd90::2/61"]
    text = REFERENCE_NFT.format(table=nftables.TABLE.name)
    for each in networks:
        own, family = each.partition("/")[0], "ip6" if ":" in each else "ip"
        text += (
            f"add rule inet {nftables.TABLE.name} masq_checks {family} saddr == {own}"
            f' {family} daddr != {each} masquerade comment "{owner.description}"\n'
        )
    with inside(node):
        masquerade.add(owner, networks, "nftables")
    ours = described(node)
    node.run("nft", "delete", "table", "inet", nftables.TABLE.name)
    subprocess.run(node.command(["nft", "-f", "-"]), input=text, text=True, check=True)
    assert ours == described(node)
    with inside(node):
        masquerade.remove([owner])
    assert "saddr" not in node.run("nft", "list", "ruleset")


def described(node: Node) -> list[str]:
    """The ruleset and its bytecode, without handles and the comments on table and chain."""
    lines = node.run(
        "nft", "--debug=netlink", "list", "table", "inet", nftables.TABLE.name
    ).splitlines()
    lines = [line for line in lines if not re.match(r'\s+comment "', line)]
    return [re.sub(r"^(inet \S+ \S+)( \d+)+$", r"\1", line) for line in lines]
