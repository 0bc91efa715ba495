"""Reads the facts of the node.

Addresses, links and rules are read before the journal: an ADD writes its intent first, so what it
made is never seen without its record.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from attrs import evolve, frozen

from multus.api.conf import Conf
from multus.api.errors import CNIError
from multus.api.request import Request
from multus.healing import owned, witness
from multus.healing.facts import Facts, Intent, Seen, may_be_nobodys
from multus.healing.namespaces import addresses_in_use, sees_every_process, would_be_seen
from multus.ipam.upkeep import USUAL_FOLDER, Held, held_in, stores_in
from multus.netlink import links, open_channel
from multus.state import cached, predecessor
from multus.state.journal import RESULTS, Journal
from multus.state.liveness import OF_ANOTHER_BOOT, lives
from multus.state.record import Record

#: The Go Multus's own network, where no record of ours says another.
_ITS_CONF = {"name": "multus-cni-network", "type": "multus", "cniVersion": "1.0.0"}

_T = TypeVar("_T")


@frozen
class Places:
    """Where to look.

    ``cni_dirs`` are the folders of records; ``confs`` are configurations of Multus, decoded;
    ``addresses`` is host-local's usual ``dataDir``, ``results`` the runtime's cache; ``cri`` is the
    runtime's CRI socket, empty when it is not asked.  ``root`` is where the node's file system is
    mounted, when this process sees it from a container of its own: links and rules are not read
    then.
    """

    cni_dirs: Sequence[str]
    confs: Sequence[Mapping[str, Any]] = ()
    addresses: str = USUAL_FOLDER
    results: str = f"/var/lib/cni/{RESULTS}"
    cri: str = ""
    root: str = ""

    def at(self, path: str) -> str:
        """The path here of the node's *path*."""
        return f"{self.root}{path}"


def look(places: Places) -> Facts:
    """The node as it is now; what cannot be read is among its ``errors``."""
    errors: list[CNIError] = []
    journals = [Journal(places.at(each)) for each in places.cni_dirs]
    known = _configurations(places, journals)
    folders = dict.fromkeys((places.addresses, *filter(None, map(_data_dir, known))))
    held = _tried(errors, lambda: _held(map(places.at, folders)))
    every = [] if places.root else _tried(errors, _links)
    rules = [] if places.root else _tried(errors, owned.every)
    facts = Facts(
        now=time.time(),
        booted=time.time() - time.clock_gettime(time.CLOCK_BOOTTIME),
        held=held,
        networks=frozenset(str(each["name"]) for each in known if each.get("name")),
        links=every,
        rules=rules,
        errors=errors,
    )
    return _with_witnesses(_with_journals(facts, journals, places.root), places)


def _with_witnesses(facts: Facts, places: Places) -> Facts:
    """The facts with what runtimes say, and what is in the namespaces that live."""
    living = set(witness.of_cache(places.at(places.results), places.root))
    for folder in places.cni_dirs:
        living |= witness.of_cache(places.at(f"{folder}/{RESULTS}"), places.root)
    facts = evolve(facts, living=frozenset(living))
    if places.cri:
        try:
            facts = evolve(facts, witnessed=witness.of_runtime(places.at(places.cri)))
        except CNIError as error:
            facts.errors.append(error)
            facts = evolve(facts, without_witness=True)
    if not places.root and may_be_nobodys(facts):
        facts = _with_namespaces(facts)
    return facts


def _with_namespaces(facts: Facts) -> Facts:
    """The facts with the addresses in use; without some of them, nothing is nobody's."""
    try:
        hidden = facts.owners_unknown or not sees_every_process()
        return evolve(facts, in_use=addresses_in_use(), owners_unknown=hidden)
    except CNIError as error:
        facts.errors.append(error)
        return evolve(facts, owners_unknown=True)


def _with_journals(facts: Facts, journals: Sequence[Journal], root: str) -> Facts:
    seen: list[Seen] = []
    given_up: list[Record] = []
    unread: set[str] = set()
    intents: list[Intent] = []
    unlisted = False
    for journal in journals:
        try:
            read = list(_records(journal, facts.errors))
            seen += [Seen(each, journal.folder, why_gone(each, root)) for each in read]
            of_ours = {each.request.container_id for each in read}
            every = journal.keys()
            unread |= {container_id for container_id, _ in every} - of_ours
            given_up += [each for _, each in journal.stuck() if isinstance(each, Record)]
            intents += _intents(journal)
        except CNIError as error:
            facts.errors.append(error)
            unlisted = True
    return evolve(
        facts,
        records=seen,
        given_up=given_up,
        unread=frozenset(unread),
        intents=intents,
        owners_unknown=unlisted,
    )


def why_gone(record: Record, root: str = "") -> str:
    """Why the container of *record* is gone; empty when it lives, or when that is not known."""
    netns = record.request.netns
    if record.unbegun:
        return "the power was cut before its ADD attached anything"
    if not record.request.environ:
        return ""
    if record.netns_identity == OF_ANOTHER_BOOT:
        return "the node was started again since"
    if lives(record, root):
        return ""
    return "its network namespace is gone" if would_be_seen(f"{root}{netns}") else ""


def _records(journal: Journal, errors: list[CNIError]) -> Iterator[Record]:
    for each in (*journal.records(), *_of_the_go_program(journal)):
        if isinstance(each, CNIError):
            errors.append(each)
        else:
            yield each


def _of_the_go_program(journal: Journal) -> Iterator[Record]:
    """Its records as ours, with the configuration of our newest record that has a valid one."""
    if not journal.others() and not cached.containers(journal.folder):
        return
    ours = [each for each in journal.records() if not isinstance(each, CNIError)]
    newest_first = sorted(ours, key=lambda each: each.started, reverse=True)
    here = {"cniDir": os.path.abspath(journal.folder)}
    for conf in (*(each.conf for each in newest_first), _ITS_CONF):
        with suppress(CNIError):
            known = Conf.from_wire({**conf, **here})
            yield from predecessor.records(journal, (), Request("GC"), known)
            return


def _intents(journal: Journal) -> Iterator[Intent]:
    for container_id, ifname in journal.incomplete():
        with suppress(OSError):
            since = os.lstat(journal.intent_path(container_id, ifname)).st_mtime
            yield Intent(journal.folder, container_id, ifname, since)


# --- The networks that are ours -------------------------------------------------------------------


def _configurations(places: Places, journals: Iterable[Journal]) -> list[Mapping[str, Any]]:
    """The plugins' configurations, of the journal and of Multus' configurations."""
    found: list[Mapping[str, Any]] = []
    confs = list(places.confs)
    for journal in journals:
        with suppress(CNIError):  # it is read once more, with its errors
            listed = [*journal.records(), *(each for _, each in journal.stuck())]
            for record in (each for each in listed if isinstance(each, Record)):
                confs.append(record.conf)
                for planned in record.planned.values():
                    found.append({"name": planned.delegate.name})
                    found += [step.config for step in planned.steps]
    return [*found, *(each for conf in confs for each in _delegates(conf))]


def _delegates(conf: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    listed = None if conf.get("clusterNetwork") else conf.get("delegates")
    for each in listed if isinstance(listed, Sequence) else ():
        if isinstance(each, Mapping):
            plugins = each.get("plugins")
            inner = plugins if isinstance(plugins, Sequence) else ()
            yield from (one for one in (each, *inner) if isinstance(one, Mapping))


def _data_dir(config: Mapping[str, Any]) -> str:
    ipam = config.get("ipam")
    folder = ipam.get("dataDir") if isinstance(ipam, Mapping) else None
    usable = isinstance(folder, str) and folder.startswith("/") and "\0" not in folder
    return str(folder).rstrip("/") if usable else ""


# --- Addresses and links --------------------------------------------------------------------------


def _held(folders: Iterable[str]) -> list[Held]:
    return [each for folder in folders for store in stores_in(folder) for each in held_in(store)]


def _links() -> list[links.Link]:
    with open_channel() as host:
        return links.list_all(host)


def _tried(errors: list[CNIError], read: Callable[[], list[_T]]) -> list[_T]:
    """What *read* returns; nothing, and one error more, when it fails."""
    try:
        return read()
    except CNIError as error:
        errors.append(error)
        return []
