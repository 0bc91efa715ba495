"""host-local in-process: addresses from ranges, each handed out once on this host.

Store, lock and semantics are those of the reference plugin (see ``multus.ipam.store``), so that
ADD by one and DEL by the other work.  Three things are better on purpose: DEL needs nothing of the
configuration but the network's name and ``dataDir``, so that a configuration that went bad cannot
leak an address; a container that holds an address of the network gets no second one by requesting
it; and what ADD takes back when it fails is what that ADD took, no more.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, NamedTuple

from multus.errors import AddressesExhausted, CheckFailed, InvalidConfig, IOFailure
from multus.ipam.addresses import Address, Network
from multus.ipam.base import (
    Ipam,
    arguments,
    interface_ip,
    read_routes,
    reader_of,
    requested,
    require_one_per_family,
)
from multus.ipam.ranges import RangeSet
from multus.ipam.store import Ledger, Owner, Store
from multus.model.names import is_identifier
from multus.model.reader import Reader
from multus.model.result import DNS, IP, Result, Route

if TYPE_CHECKING:
    from multus.model.network import Invocation

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


class Plan(NamedTuple):
    """What an ADD is to do: an address from every set, the *wanted* ones where they fit."""

    sets: tuple[RangeSet, ...]
    wanted: tuple[Address, ...]
    routes: tuple[Route, ...]
    resolv_conf: str

    @classmethod
    def read(cls, invocation: Invocation) -> Plan:
        """Read the configuration and what the runtime requests; raises ``InvalidConfig``."""
        reader = reader_of(invocation)
        sets = _range_sets(invocation, reader)
        require_one_per_family([each.family for each in sets], invocation)
        for index, one in enumerate(sets):
            for other in range(index + 1, len(sets)):
                if one.overlaps(sets[other]):
                    raise InvalidConfig(
                        f"{reader.where}: range set {index} overlaps with {other}: an address would"
                        " be in both"
                    )
        return cls(sets, _wanted(invocation), read_routes(reader), reader.text("resolvConf"))


class HostLocal(Ipam):
    """The host-local of one invocation."""

    name = "host-local"

    def __init__(self, invocation: Invocation) -> None:
        self.invocation = invocation

    def add(self) -> Result:
        plan = Plan.read(self.invocation)
        dns = _resolver(plan.resolv_conf) if plan.resolv_conf else DNS()
        with self._store().locked(create=True) as ledger:
            assert ledger is not None  # it is created
            return Result(ips=self._take(plan, ledger), routes=plan.routes, dns=dns)

    def _take(self, plan: Plan, ledger: Ledger) -> tuple[IP, ...]:
        left = list(dict.fromkeys(plan.wanted))
        ips = []
        with ExitStack() as undo:
            for index, pool in enumerate(plan.sets):
                wish = next((each for each in left if pool.range_of(each)), None)
                if wish is None:
                    ips.append(self._next(index, pool, ledger, undo))
                else:
                    left.remove(wish)
                    ips.append(self._wish(wish, index, pool, ledger, undo))
            if left:
                raise InvalidConfig(
                    f"{self._network}: failed to allocate all requested IPs:"
                    f" {' '.join(map(str, left))}: request addresses of its ranges, one of each set"
                )
            undo.pop_all()
        return tuple(ips)

    def _wish(
        self, wish: Address, index: int, pool: RangeSet, ledger: Ledger, undo: ExitStack
    ) -> IP:
        within = pool.range_of(wish)
        assert within is not None  # it was chosen because it is in the set
        if wish == within.gateway:
            raise InvalidConfig(
                f"{self._network}: requested ip {wish} is subnet's gateway: request another"
            )
        self._refuse_second(index, pool, ledger)
        if not self._reserved(wish, index, ledger, undo):
            raise AddressesExhausted(
                f"{self._network}: requested IP address {wish} is not available in range set"
                f" {pool}: it is in use: request another"
            )
        return interface_ip(wish, within.subnet.prefix, within.gateway)

    def _next(self, index: int, pool: RangeSet, ledger: Ledger, undo: ExitStack) -> IP:
        self._refuse_second(index, pool, ledger)
        for address, within in pool.candidates(ledger.last(index)):
            if self._reserved(address, index, ledger, undo):
                return interface_ip(address, within.subnet.prefix, within.gateway)
        used = sum(_in(pool, text) for text in ledger.holders)
        raise AddressesExhausted(
            f"{self._network}: no IP addresses available in range set {pool}: {used} of"
            f" {pool.size} are in use in {ledger.directory}: enlarge the range or run GC"
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
                    " duplicate allocation is not allowed: run DEL first"
                )

    def delete(self) -> None:
        with self._store().locked(create=False) as ledger:
            if ledger is None:
                return
            # One that names the interface is this attachment's; one that does not may be another's.
            exact = [text for text, held in ledger.holders.items() if held == str(self._owner)]
            for text in exact or ledger.held_by(self._owner):
                ledger.free(text)

    def check(self) -> None:
        sets = Plan.read(self.invocation).sets
        with self._store().locked(create=False) as ledger:
            held = ledger.held_by(self._owner) if ledger else []
        previous = self.invocation.prev_result
        for ip in previous.ips if previous else ():
            text = ip.address.partition("/")[0]
            if text not in held and any(_in(pool, text) for pool in sets):
                raise CheckFailed(
                    f"{self._network}: address {text} is not reserved for container"
                    f" {self._owner.container_id}, interface {self._owner.ifname}: another may get"
                    " it; delete the container and create it again"
                )
        if not held:
            raise CheckFailed(
                f"{self._network}: failed to find an address added by container"
                f" {self._owner.container_id}: delete the container and create it again"
            )

    def status(self) -> None:
        Plan.read(self.invocation)

    def gc(self) -> None:
        valid = [
            Owner(each["containerID"], each["ifname"]) for each in self.invocation.valid_attachments
        ]
        with self._store().locked(create=False) as ledger:
            if ledger is None:
                return
            for text, contents in list(ledger.holders.items()):
                if not any(owner.owns(contents) for owner in valid):
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
        directory = reader_of(self.invocation).text("dataDir") or DATA_DIR
        return Store(f"{directory.rstrip('/')}/{name}")


def _in(pool: RangeSet, text: str) -> bool:
    address = Address.parse(text)
    return address is not None and pool.range_of(address) is not None


def _range_sets(invocation: Invocation, reader: Reader) -> tuple[RangeSet, ...]:
    runtime = Reader(invocation.config, reader.where).mapping("runtimeConfig")
    raw: list[object] = Reader(runtime, f"{reader.where}: runtimeConfig").sequence("ipRanges")
    if reader.raw.get("subnet") is not None:
        raw.append([reader.raw])
    raw += reader.sequence("ranges")
    if not raw:
        raise InvalidConfig(f"{reader.where}: no IP ranges specified: add 'ranges'")
    return tuple(
        RangeSet.from_wire(each, f"{reader.where}: range set {index}")
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
                f"network {invocation.config.get('name')!r}: requested address {text!r} is no IP"
                " address: correct it"
            )
        wanted.append(address)
    return tuple(wanted)


def _resolver(path: str) -> DNS:
    """The DNS settings of a file in the form of resolv.conf(5)."""
    try:
        with open(path, encoding="utf-8", errors="replace") as lines:
            words = [line.split() for line in lines if not line.lstrip().startswith(("#", ";"))]
    except OSError as error:
        raise IOFailure(
            f"reading 'resolvConf' {path} failed: {error.strerror}: correct the path"
        ) from error
    rows = [row for row in words if len(row) > 1]
    domains = [row[1] for row in rows if row[0] == "domain"]
    return DNS(
        nameservers=tuple(row[1] for row in rows if row[0] == "nameserver"),
        domain=domains[-1] if domains else "",
        search=tuple(word for row in rows if row[0] == "search" for word in row[1:]),
        options=tuple(word for row in rows if row[0] == "options" for word in row[1:]),
    )
