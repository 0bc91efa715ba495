"""Finds leaked addresses, host interfaces, firewall rules and virtual functions."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError, MissingPlugin
from multus.api.jsontext import LARGEST
from multus.cli.commands.doctor.places import Holders, Node
from multus.cli.findings import NOTE, OK, WARNING, Finding, Place
from multus.cli.node import read_regular
from multus.state.journal import RESULTS, Journal
from multus.state.liveness import lives

if TYPE_CHECKING:
    from multus.netlink.inventory import FirewallEntry
    from multus.netlink.links import Link

#: The names that the reference plugins and ours give the host end of a veth pair.
_HOST_VETH = re.compile(r"veth[0-9a-f]{8}")
#: The comments on rules of masquerading and of mapped ports, in nftables and in iptables; a rule of
#: nftables for a port has the container's ID alone.
_OWNERS_OF_RULES = (
    re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}, net: (?P<network>.*), if: .*, id: (?P<id>.+)"),
    re.compile(r'(?:dnat )?name: "(?P<network>[^"]*)" id: "(?P<id>[^"]+)"'),
)
_TABLE_OF_PORTS = "cni_hostport"
#: What precedes the container's ID and the interface in comments on rules of ``macspoofchk``.
_OF_MACS = "macspoofchk-"
_LINE_END = re.compile(r"[\r\n]+")


def look(node: Node) -> Iterator[Finding]:
    """Compare allocated resources with their possible owners."""
    holders = holders_of(node)
    findings = [
        *_addresses(node, holders),
        *_of_kernel(node, holders),
        *_functions(node),
    ]
    yield from findings
    if not any(each.severity == WARNING for each in findings):
        yield Finding(
            OK, "leaks", "every address, interface, rule and virtual function has an owner"
        )


def holders_of(node: Node) -> Holders:
    """All known owners: from the journal, and from the runtime's cache."""
    containers: dict[str, str] = {}
    interfaces: set[str] = set()
    networks = {node.conf.name, *_configured(node)}
    try:
        for each in Journal(node.places.at(node.conf.cni_dir)).records():
            if isinstance(each, CNIError):
                continue
            networks |= {planned.delegate.name for planned in each.planned.values()}
            if lives(each, node.places.root):
                containers[each.request.container_id] = each.request.netns
                interfaces |= {i.name for a in each.attachments() for i in a.result.interfaces}
    except CNIError:
        pass  # the check of the journal reports it
    for entry in _cached(node):
        netns = str(entry.get("netns", ""))
        if not netns or node.places.exists(netns):
            containers.setdefault(str(entry.get("containerId", "")), netns)
            interfaces |= set(_interfaces_of(entry))
    return Holders(containers, frozenset(interfaces), frozenset(networks))


def _configured(node: Node) -> Iterator[str]:
    for config in node.delegates():
        if isinstance(config.get("name"), str):
            yield str(config["name"])


def _cached(node: Node) -> Iterator[dict[str, Any]]:
    """libcni's cache of attachments: ``results/<network>-<container>-<interface>``.

    The runtime has one, and the Go Multus has one in its own folder.
    """
    theirs = os.path.join(node.conf.cni_dir, RESULTS)
    for folder in map(node.places.at, (node.places.results, theirs)):
        yield from _entries(folder)


def _entries(folder: str) -> Iterator[dict[str, Any]]:
    for name in _listed(folder):
        try:
            entry = json.loads(read_regular(os.path.join(folder, name), LARGEST))
        except (OSError, ValueError, RecursionError):
            continue  # being written now, or not a file of libcni
        if isinstance(entry, dict):
            yield entry


def _interfaces_of(entry: dict[str, Any]) -> Iterator[str]:
    result = entry.get("result")
    for each in (result.get("interfaces") or []) if isinstance(result, dict) else []:
        if isinstance(each, dict) and not each.get("sandbox"):
            yield str(each.get("name", ""))


# --- Addresses ------------------------------------------------------------------------------------


def _addresses(node: Node, holders: Holders) -> Iterator[Finding]:
    """host-local's store: one file per address, with container ID and interface."""
    folder = node.places.at(node.places.addresses)
    for network in _listed(folder):
        held: list[tuple[str, str]] = []
        for name in _listed(os.path.join(folder, network)):
            if name == "lock" or name.startswith("last_reserved_ip"):
                continue
            owner = _owner(os.path.join(folder, network, name))
            if owner and owner not in holders.containers:
                held.append((name, owner))
        if held:
            yield _held(os.path.join(folder, network), network, held, holders)


def _held(folder: str, network: str, held: list[tuple[str, str]], holders: Holders) -> Finding:
    some = ", ".join(f"{address} by {owner[:13]}" for address, owner in held[:3])
    more = f" and {len(held) - 3} more" if len(held) > 3 else ""
    reason = (
        f"network {network!r}: {len(held)} address(es) of containers that are gone: {some}{more}"
    )
    if network in holders.networks:
        fix = f"run 'multus gc'; check the rest with 'crictl pods', and delete it in {folder}"
        return Finding(WARNING, "leaked addresses", reason, fix, Place(folder))
    fix = f"another plugin may own them: check with 'crictl pods', then delete in {folder}"
    return Finding(NOTE, "leaked addresses", reason, fix, Place(folder))


def _owner(path: str) -> str:
    try:
        text = read_regular(path, 4096).decode(errors="replace")
    except OSError:
        return ""  # being freed now, or not a file of host-local
    return _LINE_END.split(text)[0].strip()


# --- The kernel: interfaces and firewall rules ----------------------------------------------------


def _of_kernel(node: Node, holders: Holders) -> Iterator[Finding]:
    """Host ends of veth pairs, and firewall rules, without a record or an entry in the cache."""
    if node.places.root:
        return  # this process sees the links of its own namespace, not the node's
    try:
        from multus.netlink import Namespace, inventory

        with Namespace.current() as host, inventory.opened(host) as there:
            links, firewall = there.links(), there.firewall()
    except MissingPlugin:
        reason = "interfaces and firewall rules are not checked: pyroute2 is not installed"
        yield Finding(NOTE, "leaks", reason, "pip install 'multus[netlink]'")
        return
    except (CNIError, OSError) as error:
        reason = f"links and rules cannot be listed: {error}"
        yield Finding(NOTE, "leaks", reason, "run it as root")
        return
    yield from _interfaces(links, holders)
    yield from _rules(firewall, holders)


def _ends_of_containers(holders: Holders) -> set[tuple[int, int]]:
    """The pairs that known containers have, as the indexes here and there.

    A result of CNI 0.1.0 or 0.2.0 names no interface: only the kernel knows whose a pair is.
    """
    from multus.netlink import Namespace, links

    found = set()
    for path in set(filter(None, holders.containers.values())):
        try:
            with Namespace(path) as pod, pod.channel() as inside:
                found |= {(each.peer, each.index) for each in links.list_all(inside)}
        except (CNIError, OSError):
            continue  # it ended meanwhile
    return found


def _interfaces(links: list[Link], holders: Holders) -> Iterator[Finding]:
    here, theirs = {each.index for each in links}, _ends_of_containers(holders)
    for each in links:
        if each.kind != "veth" or not _HOST_VETH.fullmatch(each.name):
            continue
        both_here = each.peer_namespace is None and each.peer in here
        known = each.name in holders.interfaces or (each.index, each.peer) in theirs
        if known and not both_here:
            continue
        why = "both ends are on the host" if both_here else "no record names it"
        reason = f"{each.name} belongs to no container: {why}"
        fix = f"if 'crictl pods' shows no owner: ip link delete {each.name}"
        yield Finding(WARNING, "leaked interfaces", reason, fix)


def _rules(firewall: list[FirewallEntry], holders: Holders) -> Iterator[Finding]:
    """Rules whose comments name the container."""
    gone: Counter[tuple[str, str]] = Counter()
    for each in firewall:
        network, container = _owner_of_rule(each, holders)
        # Long comments are cut, so this may be a prefix of the ID.
        if container and not any(known.startswith(container) for known in holders.containers):
            gone[network, container] += 1
    for (network, container), count in sorted(gone.items()):
        where = f"network {network!r}: " if network else ""
        reason = f"{where}{count} firewall rule(s) of {container[:13]}, which is gone"
        fix = "run 'multus gc'; delete the rest: see 'nft -a list ruleset' and 'iptables-save'"
        yield Finding(WARNING, "leaked rules", reason, fix)


def _owner_of_rule(rule: FirewallEntry, holders: Holders) -> tuple[str, str]:
    """The network, "" when it is not named, and the container; "" for a rule of other programs."""
    if rule.kind != "rule":
        return "", ""
    if rule.table == _TABLE_OF_PORTS:
        return "", rule.comment
    if rule.comment.startswith(_OF_MACS):
        rest = rule.comment.removeprefix(_OF_MACS)
        known = (each for each in holders.containers if rest.startswith(f"{each}-"))
        return "", next(known, rest)
    found = (pattern.fullmatch(rule.comment) for pattern in _OWNERS_OF_RULES)
    owner = next(filter(None, found), None)
    return ("", "") if owner is None else (owner.groupdict().get("network", ""), owner["id"])


# --- Virtual functions ----------------------------------------------------------------------------


def _functions(node: Node) -> Iterator[Finding]:
    """The SR-IOV plugins' allocations: one file per virtual function, with a netns path."""
    folder = node.places.at(os.path.join(node.places.sriov, "pci"))
    for name in _listed(folder):
        path = os.path.join(folder, name)
        netns = _owner(path) if os.path.isfile(path) else ""
        if netns and not node.places.exists(netns):
            reason = f"virtual function {name} is allocated to {netns}, which is gone"
            fix = "the next ADD reuses it; 'multus gc' resets it now"
            yield Finding(WARNING, "leaked virtual functions", reason, fix, Place(path))


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
