"""host-local in-process: addresses from ranges, each assigned once on this host.

Store, lock and semantics are those of the reference plugin (see ``multus.ipam.store``), so one
can free what the other reserved.  Four things differ on purpose.  DEL reads only the network's name
and ``dataDir``, so a configuration that became invalid cannot leak an address.  A container that
holds an address of the network cannot request a second one.  An ADD that fails frees only the
addresses that it reserved.  GC frees only addresses of the configuration's subnets.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api._paths import is_possible
from multus.api.errors import (
    RECREATE,
    AddressesExhausted,
    CheckFailed,
    InvalidConfig,
    TryAgainLater,
)
from multus.api.ipam import Ipam
from multus.api.names import is_identifier
from multus.api.reader import Reader
from multus.api.result import DNS, IP, Result, Route
from multus.api.where import within
from multus.ipam import dns
from multus.ipam._ranges import RangeSet, Spans, overlapping
from multus.ipam.addresses import Address, Network
from multus.ipam.settings import (
    arguments,
    interface_ip,
    read_routes,
    reader_of,
    requested,
    require_few,
    require_one_per_family,
)
from multus.ipam.store import Ledger, Owner, Store, Unlockable, is_owner

if TYPE_CHECKING:
    from multus.api.network import Invocation

DATA_DIR = "/var/lib/cni/networks"

#: The keys of ``ipam`` that are served in-process.
KEYS = frozenset(
    [
        "type",
        "name",
        "subnet",
        "rangeStart",
        "rangeEnd",
        "gateway",
        "ranges",
        "routes",
        "dataDir",
        "resolvConf",
    ]
)

#: The most range sets (the container gets an address from each), and ranges in all of them.
MOST_SETS, MOST_RANGES = 64, 256
#: The deadline is checked after this many addresses that are in use.
_LOOK_EVERY = 1024
#: How long freeing addresses may take after the deadline, in seconds.
_CLEAN_UP = 1.0


def elsewhere(invocation: Invocation, reader: Reader) -> str:
    """Which key of a tenant names a path outside ``tenantPaths``; "" when none does.

    A string that is not a valid path is refused later, for tenants and owners alike.
    """
    for key in ("dataDir", "resolvConf"):
        path = reader.raw.get(key)
        if not isinstance(path, str) or not path or not is_possible(path):
            continue
        if not invocation.serves_path(key, path):
            return f"key {key!r} of 'ipam', which is {path!r}, outside 'tenantPaths.{key}'"
    return ""


class Plan(NamedTuple):
    """What an ADD does: take an address from every set, the *wanted* ones where they fit."""

    sets: tuple[RangeSet, ...]
    wanted: tuple[Address, ...]
    routes: tuple[Route, ...]
    resolv_conf: str

    @classmethod
    def read(cls, invocation: Invocation, reader: Reader) -> Plan:
        """Read the configuration and what the runtime requests; raises ``InvalidConfig``."""
        sets = range_sets(invocation.config, reader)
        require_one_per_family([each.family for each in sets], invocation)
        refuse_overlaps(sets, reader.where)
        return cls(sets, _wanted(invocation), read_routes(reader), reader.text("resolvConf"))


class HostLocal(Ipam):
    """The host-local of one invocation."""

    name = "host-local"

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation
        self._reader = reader_of(invocation)

    def add(self) -> Result:
        plan = Plan.read(self.invocation, self._reader)
        resolver = dns.from_file(plan.resolv_conf) if plan.resolv_conf else DNS()
        with self._locked(create=True) as ledger:
            assert ledger is not None  # locked() creates it
            return Result(ips=self._take(plan, ledger), routes=plan.routes, dns=resolver)

    def _take(self, plan: Plan, ledger: Ledger) -> tuple[IP, ...]:
        left = list(dict.fromkeys(plan.wanted))
        ips = []
        with ExitStack() as undo:
            for index, pool in enumerate(plan.sets):
                wanted_ip = next((each for each in left if pool.range_of(each)), None)
                if wanted_ip is None:
                    ips.append(self._next(index, pool, ledger, undo))
                else:
                    left.remove(wanted_ip)
                    ips.append(self._take_requested(wanted_ip, index, pool, ledger, undo))
            if left:
                raise InvalidConfig(
                    f"{self._network}: failed to allocate all requested IPs:"
                    f" {' '.join(map(str, left))}",
                    fix="request addresses of its ranges, one of each set",
                )
            undo.pop_all()
        return tuple(ips)

    def _take_requested(
        self, wanted_ip: Address, index: int, pool: RangeSet, ledger: Ledger, undo: ExitStack
    ) -> IP:
        within = pool.range_of(wanted_ip)
        assert within is not None  # the caller chose it from this set
        if wanted_ip == within.gateway:
            raise InvalidConfig(
                f"{self._network}: requested ip {wanted_ip} is subnet's gateway",
                fix="request another",
            )
        self._refuse_second(index, pool, ledger)
        if not self._reserved(wanted_ip, index, ledger, undo):
            raise AddressesExhausted(
                f"{self._network}: requested IP address {wanted_ip} is not available in range set"
                f" {pool}: it is in use",
                fix="request another",
            )
        return interface_ip(wanted_ip, within.subnet.prefix, within.gateway)

    def _next(self, index: int, pool: RangeSet, ledger: Ledger, undo: ExitStack) -> IP:
        self._refuse_second(index, pool, ledger)
        for count, (address, drawn) in enumerate(pool.candidates(ledger.last(index)), 1):
            if self._reserved(address, index, ledger, undo):
                return interface_ip(address, drawn.subnet.prefix, drawn.gateway)
            if count % _LOOK_EVERY == 0:
                self._require_time(pool)
        spans = pool.spans
        used = sum(map(spans.holds, ledger.holders))
        raise AddressesExhausted(
            f"{self._network}: no IP addresses available in range set {pool}: {used} of"
            f" {pool.size} are in use in {ledger.directory}",
            fix="enlarge the range, or run 'multus gc'",
        )

    def _require_time(self, pool: RangeSet) -> None:
        if not self.invocation.session.remaining():
            raise TryAgainLater(
                f"{self._network}: no free address was found in range set {pool} in time",
                fix="enlarge the range, or run 'multus gc'",
            )

    def _reserved(self, address: Address, index: int, ledger: Ledger, undo: ExitStack) -> bool:
        if not ledger.reserve(address, self._owner):
            return False
        undo.callback(ledger.free, str(address))
        ledger.remember(address, index)
        return True

    def _refuse_second(self, index: int, pool: RangeSet, ledger: Ledger) -> None:
        for text in ledger.held_by(self._owner):
            if _in(pool, text):
                raise InvalidConfig(
                    f"{self._network}: failed to allocate for range {index}: {text} has been"
                    f" allocated to {self._owner.container_id}, interface {self._owner.ifname},"
                    " duplicate allocation is not allowed",
                    fix="run DEL first",
                )

    def delete(self) -> None:
        try:
            store = self._store()
        except InvalidConfig as error:
            # ADD refused this configuration, so no address is held.
            self.invocation.log.verbose("no address is held: 'ipam' is invalid", error=error)
            return
        try:
            with self._locked(create=False) as ledger:
                self._free(ledger)
        except Unlockable:
            if any(map(self._owner.owns, store.unlocked())):
                raise

    def _free(self, ledger: Ledger | None) -> None:
        if ledger is None:
            return
        # A file with the interface is this attachment's; one without it may be another's.
        owner = str(self._owner)
        exact = [text for text, held in ledger.holders.items() if held == owner]
        for text in exact or ledger.held_by(self._owner):
            ledger.free(text)

    def check(self) -> None:
        sets = Plan.read(self.invocation, self._reader).sets
        with self._locked(create=False) as ledger:
            held = ledger.held_by(self._owner) if ledger else []
        previous = self.invocation.prev_result
        ours = Spans((each.start, each.end) for pool in sets for each in pool.ranges)
        for ip in previous.ips if previous else ():
            text = ip.address.partition("/")[0]
            if text not in held and ours.holds(text):
                raise CheckFailed(
                    f"{self._network}: address {text} is not reserved for container"
                    f" {self._owner.container_id}, interface {self._owner.ifname}: another may get"
                    " it",
                    fix=RECREATE,
                )
        if not held:
            raise CheckFailed(
                f"{self._network}: failed to find an address added by container"
                f" {self._owner.container_id}",
                fix=RECREATE,
            )

    def status(self) -> None:
        Plan.read(self.invocation, self._reader)
        self._store()

    def gc(self) -> None:
        attachments = self.invocation.valid_attachments
        valid = {
            form
            for each in attachments
            for form in Owner(each["containerID"], each["ifname"]).forms
        }
        # When the runtime names the ranges, only DEL knows the addresses.
        sets = range_sets(self.invocation.config, self._reader, needed=False)
        ours = Spans((each.subnet.first, each.subnet.last) for pool in sets for each in pool.ranges)
        with self._locked(create=False) as ledger:
            if ledger is None:
                return
            for text, contents in list(ledger.holders.items()):
                if contents not in valid and is_owner(contents) and ours.holds(text):
                    ledger.free(text)

    @property
    def _owner(self) -> Owner:
        return Owner(self.invocation.request.container_id, self.invocation.ifname)

    @property
    def _network(self) -> str:
        return f"network {self.invocation.config.get('name')!r}"

    def _store(self) -> Store:
        name = self.invocation.config.get("name")
        if not isinstance(name, str) or not is_identifier(name):
            raise InvalidConfig(f"invalid network name {name!r}: it names a directory")
        reader = self._reader
        directory = reader.text("dataDir") or DATA_DIR
        if not is_possible(directory):
            raise reader.error(
                "dataDir",
                f"is {directory!r}, which is relative or not a valid path",
                "use an absolute path",
            )
        return Store(f"{directory.rstrip('/')}/{name}")

    def _locked(self, *, create: bool) -> AbstractContextManager[Ledger | None]:
        deadline = self.invocation.session.deadline
        if deadline is not None and self.invocation.verb == "DEL":
            # An ADD that has run out of time still frees the addresses that it reserved.
            deadline = max(deadline, time.monotonic() + _CLEAN_UP)
        return self._store().locked(create=create, deadline=deadline)


def _in(pool: RangeSet, text: str) -> bool:
    address = Address.parse(text)
    return address is not None and pool.range_of(address) is not None


def refuse_overlaps(sets: Sequence[RangeSet], where: str) -> None:
    """Raise when an address is in two of *sets*."""
    owners = [index for index, pool in enumerate(sets) for _ in pool.ranges]
    both = overlapping([each for pool in sets for each in pool.ranges])
    if both is not None:
        one, other = sorted(owners[index] for index in both)
        raise InvalidConfig(
            f"range set {one} overlaps with {other}: an address would be in both",
            where=where,
            fix="keep them apart",
        )


def range_sets(
    config: Mapping[str, Any], reader: Reader, *, needed: bool = True
) -> tuple[RangeSet, ...]:
    """The range sets of a plugin's configuration, whose ``ipam`` object is *reader*'s."""
    runtime = Reader(config, reader.where).mapping("runtimeConfig")
    raw: list[object] = Reader(runtime, f"{reader.where}: runtimeConfig").sequence("ipRanges")
    if reader.raw.get("subnet") is not None:
        raw.append([reader.raw])
    raw += reader.sequence("ranges")
    require_few(reader, "ranges", len(raw), MOST_SETS)
    count = sum(len(each) for each in raw if isinstance(each, list))
    require_few(reader, "ranges", count, MOST_RANGES)
    if not raw and needed:
        raise InvalidConfig(
            "no IP ranges specified",
            where=reader.where,
            fix="add 'ranges'",
        )
    return tuple(
        RangeSet.from_wire(each, within(reader.where, f": range set {index}"))
        for index, each in enumerate(raw)
    )


def _wanted(invocation: Invocation) -> tuple[Address, ...]:
    by_args, by_runtime = requested(invocation)
    texts = [*arguments(invocation, "IP").values(), *by_args, *by_runtime]
    wanted = []
    for text in texts:
        network = Network.parse(text)
        address = network.address if network else Address.parse(text)
        if address is None:
            raise InvalidConfig(
                f"network {invocation.config.get('name')!r}: requested IP {text!r} is not an IP"
                " address",
                fix="correct it",
            )
        wanted.append(address)
    return tuple(wanted)
