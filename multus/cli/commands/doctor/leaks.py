"""Finds leaked addresses, host interfaces, firewall rules and virtual functions."""

from __future__ import annotations

import glob
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import evolve

from multus.api.errors import CNIError, MissingPlugin
from multus.api.jsontext import LARGEST
from multus.cli.commands.doctor.places import Holders, Node
from multus.cli.findings import AS_ROOT, NOTE, UNCHECKED, WARNING, Finding, Place
from multus.cli.looking import Look
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
    """Compare allocated resources with their possible owners.

    While an owner may be missing, what nobody is known to own is not called a leak.
    """
    sight = Look("leaks")
    holders = holders_of(node, sight)
    found = [
        *_addresses(node, holders, sight),
        *_of_kernel(node, holders, sight),
        *_functions(node, sight),
    ]
    if holders.gaps:
        found = [_in_doubt(each, holders.gaps) for each in found]
    well = "every address, interface, rule and virtual function has an owner: looked at "
    places = [node.places.addresses, node.places.sriov, "this host's links and firewall"]
    yield from sight.concluded(found, well + ", ".join(places))


def _in_doubt(leak: Finding, gaps: Sequence[str]) -> Finding:
    reason = f"{leak.reason}; but its owner may be unknown: {gaps[0]}"
    fix = "mend that first, and look again: it may be in use"
    return evolve(leak, severity=UNCHECKED, reason=reason, fix=fix)


def holders_of(node: Node, sight: Look) -> Holders:
    """All known owners: from the journal, and from the runtime's cache."""
    gaps = []
    if node.unread is not None:
        gaps.append("the configuration, which names 'cniDir', could not be read")
    known = _Known({}, set(), {node.conf.name, *_configured(node)})
    try:
        gaps += _recorded(Journal(node.places.at(node.conf.cni_dir)), known, node.places.root)
    except CNIError as error:
        gaps += [error.said]
    for entry in _cached(node, sight):
        netns = str(entry.get("netns", ""))
        if not netns or node.places.exists(netns):
            known.containers.setdefault(str(entry.get("containerId", "")), netns)
            known.interfaces.update(_interfaces_of(entry))
    gaps += [each.reason for each in sight.missed]
    for gap in gaps:
        sight.miss(f"not every owner is known: {gap}")
    return Holders(
        known.containers, frozenset(known.interfaces), frozenset(known.networks), tuple(gaps)
    )


class _Known(NamedTuple):
    """What is known so far: containers with their namespaces, interfaces, names of networks."""

    containers: dict[str, str]
    interfaces: set[str]
    networks: set[str]


def _recorded(journal: Journal, known: _Known, root: str) -> Iterator[str]:
    """Add what the journal knows to *known*; yields what of it cannot be read."""
    for container_id, _ in sorted(journal.keys()):
        known.containers.setdefault(container_id, "")  # also when its record cannot be read
    for each in journal.records():
        if isinstance(each, CNIError):
            yield each.said
            continue
        if each.damage:
            yield f"the record {each.path} is damaged"
        known.networks.update(planned.delegate.name for planned in each.planned.values())
        if lives(each, root):
            known.containers[each.request.container_id] = each.request.netns
            known.interfaces.update(
                link.name for one in each.attachments() for link in one.result.interfaces
            )
        elif not each.damage:
            known.containers.pop(each.request.container_id, None)


def _configured(node: Node) -> Iterator[str]:
    for config in node.delegates():
        if isinstance(config.get("name"), str):
            yield str(config["name"])


def _cached(node: Node, sight: Look) -> Iterator[dict[str, Any]]:
    """libcni's cache of attachments: ``results/<network>-<container>-<interface>``.

    The runtime has one, and the Go Multus has one in its own folder.
    """
    theirs = os.path.join(node.conf.cni_dir, RESULTS)
    for folder in map(node.places.at, (node.places.results, theirs)):
        for name in sight.listed(folder):
            data = sight.read(os.path.join(folder, name), LARGEST)
            try:
                entry = json.loads(data or b"null")
            except (ValueError, RecursionError):
                continue  # being written now, or not a file of libcni
            if isinstance(entry, dict):
                yield entry


def _interfaces_of(entry: dict[str, Any]) -> Iterator[str]:
    result = entry.get("result")
    for each in (result.get("interfaces") or []) if isinstance(result, dict) else []:
        if isinstance(each, dict) and not each.get("sandbox"):
            yield str(each.get("name", ""))


# --- Addresses ------------------------------------------------------------------------------------


def _addresses(node: Node, holders: Holders, sight: Look) -> Iterator[Finding]:
    """host-local's store: one file per address, with container ID and interface."""
    folder = node.places.at(node.places.addresses)
    for network in sight.listed(folder):
        if not os.path.isdir(os.path.join(folder, network)):
            continue
        held: list[tuple[str, str]] = []
        for name in sight.listed(os.path.join(folder, network)):
            if name == "lock" or name.startswith("last_reserved_ip"):
                continue
            owner = _owner(os.path.join(folder, network, name), sight)
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


def _owner(path: str, sight: Look) -> str:
    text = (sight.read(path, 4096) or b"").decode(errors="replace")
    return _LINE_END.split(text)[0].strip()


# --- The kernel: interfaces and firewall rules ----------------------------------------------------


def _of_kernel(node: Node, holders: Holders, sight: Look) -> Iterator[Finding]:
    """Host ends of veth pairs, and firewall rules, without a record or an entry in the cache."""
    what = "interfaces and firewall rules are not checked"
    if node.places.root:
        sight.miss(f"{what}: this process may see others than the node's")
        return
    try:
        from multus.netlink import Namespace, inventory

        with Namespace.current() as host, inventory.opened(host) as there:
            links, firewall = there.links(), there.firewall()
    except MissingPlugin:
        sight.miss(f"{what}: pyroute2 is not installed", "pip install 'multus[netlink]'")
        return
    except (CNIError, OSError) as error:
        sight.miss(f"{what}: {error}", AS_ROOT)
        return
    yield from _interfaces(links, holders, sight)
    yield from _rules(firewall, holders)


def _ends_of_containers(holders: Holders, sight: Look) -> set[tuple[int, int]]:
    """The pairs that known containers have, as the indexes here and there.

    A result of CNI 0.1.0 or 0.2.0 names no interface: only the kernel knows whose a pair is.
    """
    from multus.netlink import Namespace, NamespaceGone, links

    found = set()
    for path in set(filter(None, holders.containers.values())):
        try:
            with Namespace(path) as pod, pod.channel() as inside:
                found |= {(each.peer, each.index) for each in links.list_all(inside)}
        except NamespaceGone:
            continue  # it ended meanwhile
        except (CNIError, OSError) as error:
            sight.miss(f"interfaces in {path} are not known: {error}", AS_ROOT)
    return found


def _interfaces(links: list[Link], holders: Holders, sight: Look) -> Iterator[Finding]:
    here, theirs = {each.index for each in links}, _ends_of_containers(holders, sight)
    for each in links:
        if each.kind != "veth" or not _HOST_VETH.fullmatch(each.name):
            continue
        both_here = each.peer_namespace is None and each.peer in here
        known = each.name in holders.interfaces or (each.index, each.peer) in theirs
        if known and not both_here:
            continue
        reason = f"{each.name} belongs to no container: both ends are on the host"
        fix = f"see 'ip -d link show {each.name}'; delete it if no program uses it"
        if not both_here:
            # The kernel removes a pair with either namespace, so the other one exists.
            reason = f"{each.name}: no record names it, but its other end is in {_of_peer(each)}"
            fix = "that namespace is in use: find what it belongs to before you delete anything"
        yield Finding(WARNING, "leaked interfaces", reason, fix)


def _of_peer(link: Link) -> str:
    """The named namespace in which the other end of *link* is."""
    from multus.netlink import Namespace, links

    for path in sorted(glob.glob("/run/netns/*")):
        try:
            with Namespace(path) as there, there.channel() as inside:
                for each in links.list_all(inside):
                    if (each.index, each.peer) == (link.peer, link.index):
                        return path
        except (CNIError, OSError):
            continue  # it ended meanwhile
    return "a namespace without a name"


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
        fix = "run 'multus gc'; find the rest with 'nft -a list ruleset', and delete it"
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


def _functions(node: Node, sight: Look) -> Iterator[Finding]:
    """The SR-IOV plugins' allocations: one file per virtual function, with a netns path."""
    folder = node.places.at(os.path.join(node.places.sriov, "pci"))
    for name in sight.listed(folder):
        path = os.path.join(folder, name)
        netns = _owner(path, sight)
        if netns and not node.places.exists(netns):
            reason = f"virtual function {name} is allocated to {netns}, which is gone"
            fix = "the next ADD reuses it; 'multus gc' resets it now"
            yield Finding(WARNING, "leaked virtual functions", reason, fix, Place(path))
