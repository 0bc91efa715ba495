"""Finds leaked addresses, host interfaces, firewall rules and virtual functions.

Addresses, rules and pairs on the host are those of the plan that ``multus gc`` carries out.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any

from attrs import frozen

from multus.api.errors import CNIError
from multus.api.jsontext import LARGEST
from multus.cli.commands.doctor.places import Node
from multus.cli.findings import AS_ROOT, NOTE, UNCHECKED, WARNING, Finding, Place
from multus.cli.looking import Look
from multus.daemon.spool import remembered
from multus.healing import look as inventory
from multus.healing.facts import ADDRESS, LINK, RULES, Facts, Rules
from multus.healing.plan import HOST_END, Thing, plan
from multus.ipam.upkeep import Held
from multus.state.journal import RESULTS

#: So many characters of a container's ID are shown.
_SHOWN = 13
_LINE_END = re.compile(r"[\r\n]+")
_SUBJECTS = {LINK: "leaked interfaces", RULES: "leaked rules"}
_GC = "run 'multus gc'; 'multus gc --dry-run' lists what it removes"
#: How many leaks in doubt are named.
_NAMED = 3
_OTHERS = "ask the runtime (crictl or podman) whose it is before you delete it"


def look(node: Node) -> Iterator[Finding]:
    """Compare allocated resources with their possible owners.

    While an owner may be unknown, a resource without one is not called a leak.
    """
    sight = Look("leaks")
    facts = facts_of(node)
    holders = _holders(node, facts, sight)
    made = plan(facts)
    dead = {each.record.request.container_id for each in facts.records if each.gone}
    sure = [each for each in made.remove if each.container_id in dead]
    unsure = [each for each in made.remove if each.container_id not in dead]
    found = [*_addresses(unsure, WARNING), *_others(unsure, WARNING)]
    found += [*_addresses(made.left, NOTE), *_others(made.left, NOTE)]
    found += [*_elsewhere(facts, holders, sight), *_functions(node, facts, sight)]
    if holders.gaps:
        found = list(_in_doubt(found, holders.gaps[0]))
    if node.places.root:
        sight.miss("interfaces and firewall rules are not checked: those here may be others'")
    every = "every other" if found else "every"
    well = f"{every} address, interface, rule and virtual function has an owner: looked at "
    places = [node.places.addresses, node.places.sriov, "this host's links and firewall"]
    certain = [*_addresses(sure, WARNING), *_others(sure, WARNING)]
    yield from sight.concluded([*certain, *found], well + ", ".join(places))


def _in_doubt(leaks: Sequence[Finding], gap: str) -> Iterator[Finding]:
    """One finding for all *leaks* of a kind, since *gap* may hide their owners."""
    fix = "mend that first, and look again: it may be in use"
    kinds: dict[str, list[Finding]] = {}
    for each in leaks:
        kinds.setdefault(each.subject, []).append(each)
    for subject, found in kinds.items():
        some = "; ".join(each.reason for each in found[:_NAMED])
        more = f"; and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
        reason = f"{some}{more}; but its owner may be unknown: {gap}"
        place = found[0].place if len(found) == 1 else None
        yield Finding(UNCHECKED, subject, reason, fix, place)


def facts_of(node: Node) -> Facts:
    """What there is on the node, and who may own it."""
    places, own = node.places, node.conf.cni_dir
    folders = dict.fromkeys((own, *remembered(places.at(own))))
    where = inventory.Places(
        tuple(folders),
        (node.conf.raw,),
        addresses=places.addresses,
        results=places.results,
        root=places.root,
    )
    return inventory.look(where)


@frozen
class _Holders:
    """The containers that live: their namespaces, the interfaces that their results name, and what
    is not known of them.
    """

    namespaces: frozenset[str]
    interfaces: frozenset[str]
    gaps: tuple[str, ...]


def _holders(node: Node, facts: Facts, sight: Look) -> _Holders:
    gaps = [each.said for each in facts.errors]
    if node.unread is not None:
        gaps.append("the configuration, which names 'cniDir', could not be read")
    living = [each.record for each in facts.records if not each.gone]
    gaps += [f"the record {each.path} is damaged" for each in living if each.damage]
    namespaces = {each.request.netns for each in living}
    interfaces = {
        link.name for each in living for one in each.attachments() for link in one.result.interfaces
    }
    for entry in _cached(node, sight):
        netns = str(entry.get("netns", ""))
        if not netns or node.places.exists(netns):
            namespaces.add(netns)
            interfaces.update(_interfaces_of(entry))
    unread = [each.reason for each in sight.missed]
    for gap in gaps:
        sight.miss(f"not every owner is known: {gap}")
    gaps += unread
    return _Holders(frozenset(namespaces), frozenset(interfaces), tuple(gaps))


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


# --- What the plan names --------------------------------------------------------------------------


def _addresses(things: Sequence[Thing], severity: str) -> Iterator[Finding]:
    """One finding for the addresses of each network among *things*."""
    stores: dict[str, list[Held]] = {}
    for each in things:
        if each.kind == ADDRESS and isinstance(each.what, Held):
            stores.setdefault(each.what.store, []).append(each.what)
    for store, held in stores.items():
        some = ", ".join(f"{each.address} by {_cut(each.container_id)}" for each in held[:3])
        more = f" and {len(held) - 3} more" if len(held) > 3 else ""
        what = f"network {held[0].network!r}: {len(held)} address(es) of"
        who, fix = "containers that are gone", _GC
        if severity == NOTE:
            who, fix = "containers that are not known", f"another plugin may own them: {_OTHERS}"
        reason = f"{what} {who}: {some}{more}"
        yield Finding(severity, "leaked addresses", reason, fix, Place(store))


def _cut(container_id: str) -> str:
    """The beginning of a container's ID, with a mark when it goes on."""
    return container_id if len(container_id) <= _SHOWN else f"{container_id[:_SHOWN]}…"


def _others(things: Sequence[Thing], severity: str) -> Iterator[Finding]:
    """One finding for each interface, and for the rules of each container, among *things*."""
    for each in things:
        if each.kind in _SUBJECTS:
            what = f"{each.name.removeprefix('interface ')} belongs to no container"
            if isinstance(each.what, Rules):
                first = each.what.rules[0]
                where = f"network {first.network!r}: " if first.network else ""
                what = f"{where}{len(each.what.rules)} firewall rule(s) of {first.container[:13]}"
            reason = f"{what}: {each.reason}"
            fix = _GC if severity == WARNING else _OTHERS
            yield Finding(severity, _SUBJECTS[each.kind], reason, fix)


# --- Pairs whose other end is in a namespace ------------------------------------------------------


def _elsewhere(facts: Facts, holders: _Holders, sight: Look) -> Iterator[Finding]:
    """Pairs of a name of ours that no known container has: a namespace that lives has them."""
    theirs = _ends_in(holders.namespaces, sight)
    for each in facts.links:
        pair = each.kind == "veth" and each.peer_namespace is not None
        known = each.name in holders.interfaces or (each.index, each.peer) in theirs
        if pair and HOST_END.fullmatch(each.name) and not known:
            # The kernel removes a pair with either namespace, so the other one exists.
            reason = (
                f"{each.name}: no record names it, but its other end is in a namespace that lives"
            )
            fix = "it may be in use: find out whose it is before you delete anything"
            yield Finding(NOTE, "leaked interfaces", reason, fix)


def _ends_in(namespaces: Collection[str], sight: Look) -> set[tuple[int, int]]:
    """The pairs that known containers have, as the indexes here and there.

    A result of CNI 0.1.0 or 0.2.0 names no interface: only the kernel knows whose a pair is.
    """
    from multus.netlink import Namespace, NamespaceGone, links

    found = set()
    for path in filter(None, namespaces):
        try:
            with Namespace(path) as pod, pod.channel() as inside:
                found |= {(each.peer, each.index) for each in links.list_all(inside)}
        except NamespaceGone:
            continue  # it ended meanwhile
        except (CNIError, OSError) as error:
            sight.miss(f"interfaces in {path} are not known: {error}", AS_ROOT)
    return found


# --- Virtual functions ----------------------------------------------------------------------------


def _functions(node: Node, facts: Facts, sight: Look) -> Iterator[Finding]:
    """The SR-IOV plugins' allocations: one file per virtual function, with a netns path."""
    folder = node.places.at(os.path.join(node.places.sriov, "pci"))
    for name in sight.listed(folder):
        path = os.path.join(folder, name)
        netns = _owner(path, sight)
        if netns and not node.places.exists(netns):
            reason = f"virtual function {name} is allocated to {netns}, which is gone"
            ours = netns in {each.record.request.netns for each in facts.records}
            severity, fix = (WARNING, _GC) if ours else (NOTE, "the next ADD with it resets it")
            yield Finding(severity, "leaked virtual functions", reason, fix, Place(path))


def _owner(path: str, sight: Look) -> str:
    text = (sight.read(path, 4096) or b"").decode(errors="replace")
    return _LINE_END.split(text)[0].strip()
