"""The ``ipam`` object of type ``whereabouts``.

Source: whereabouts 0.9, ``doc/extended-configuration.md`` and README.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from multus.api.errors import InvalidConfig
from multus.api.invoker import Declined
from multus.api.kubernetes import is_object_name
from multus.api.network import Provenance
from multus.api.reader import Reader
from multus.ipam import dns
from multus.ipam.addresses import Address, Network
from multus.ipam.settings import read_routes, reader_of, require_few
from multus_ipam_whereabouts import flatfile
from multus_ipam_whereabouts.ranges import (
    Range,
    address_of,
    network_of,
    readers,
    require_apart,
)
from multus_ipam_whereabouts.slices import Slices
from multus_ipam_whereabouts.used import Used, recall

if TYPE_CHECKING:
    from multus.api.kubernetes import Api, Deadline
    from multus.api.network import Invocation
    from multus.api.result import DNS, IP, Route

_OF_RANGE = frozenset({"range", "range_start", "range_end", "exclude", "block"})
#: What the leader, the log and the reconciler of the binary need; they mean nothing here.
_IGNORED = frozenset(
    {
        *("leader_lease_duration", "leader_renew_deadline", "leader_retry_period"),
        *("log_file", "log_level", "reconciler_cron_expression"),
    }
)
#: The keys of ``ipam`` that are served here.
KEYS = (
    _OF_RANGE
    | _IGNORED
    | {
        *("type", "name", "datastore", "ipRanges", "gateway", "routes", "dns", "addresses"),
        *("network_name", "enable_overlapping_ranges", "configuration_path", "kubernetes"),
        *("sticky", "node_slice_size"),
    }
)
_OF_KUBERNETES = frozenset({"kubeconfig", "k8s_api_root"})
#: An object's name has 253 characters; the rest is for the range.
_LONGEST_NAME = 200
#: A tenant may name a file in these folders and no others: ``tenantPaths`` has no such keys.
_USUAL = ("/etc/cni/net.d/whereabouts.d/", "/etc/kubernetes/cni/net.d/whereabouts.d/")


class Fixed(NamedTuple):
    """An address of ``addresses``: it is given to every pod, and is in no pool."""

    network: Network
    gateway: Address | None


class Settings(NamedTuple):
    """What an ADD does: one address from each of ``ranges``, and all ``addresses``.

    ``namespace`` has the objects; ``network_name`` is "" for the unnamed network; ``used`` is what
    it was read from.  ``slices`` says how the range is divided among the nodes, None when it is
    not, or when ``ranges`` has a part.
    """

    ranges: tuple[Range, ...]
    gateway: Address | None
    routes: tuple[Route, ...]
    dns: DNS
    addresses: tuple[Fixed, ...]
    network_name: str
    namespace: str
    overlapping: bool
    sticky: bool
    where: str
    used: Used
    slices: Slices | None = None

    @classmethod
    def read(cls, invocation: Invocation) -> Settings:
        """Read the configuration and the flat file; raises ``InvalidConfig``."""
        own = reader_of(invocation)
        return cls._of(own, Used.now(own, invocation.session.chroot), invocation.config)

    @classmethod
    def of_add(cls, invocation: Invocation) -> Settings:
        """As this attachment's ADD has read them, as far as is known; raises ``InvalidConfig``."""
        own, used = reader_of(invocation), recall(invocation)
        if used is None:
            try:
                return cls.read(invocation)
            except InvalidConfig:
                if invocation.prev_result is None:
                    raise
            # ADD went well, so a file that is broken now was no part of it.
            used = Used(own.raw, flatfile.NAMESPACE, of_files=False)
        return cls._of(own, used, invocation.config)

    @classmethod
    def _of(cls, own: Reader, used: Used, config: Mapping[str, Any]) -> Settings:
        reader = Reader(used.ipam, own.where, own.prefix)
        ranges = tuple(Range.read(each, reader, at) for each, at in readers(used.ipam, reader))
        if not ranges:
            raise reader.error("range", "is missing", "name the range, as 10.1.0.0/16")
        require_apart(ranges, reader)
        _require_plain(reader, ranges)
        name = _network_name(reader)
        of_slices = name or str(config.get("name", ""))
        return cls(
            ranges,
            _gateway(reader),
            read_routes(reader),
            dns.from_config(reader),
            tuple(_addresses(reader)),
            name,
            used.namespace,
            reader.boolean("enable_overlapping_ranges", True),
            reader.boolean("sticky"),
            own.where,
            used,
            Slices.read(reader, ranges, used.namespace, of_slices),
        )

    def for_add(self, api: Callable[[], Api], deadline: Deadline) -> Settings:
        """With this node's part as the range, where a range is divided."""
        if self.slices is None:
            return self
        part = self.slices.own(self.ranges[0], api(), deadline)
        return self._replace(ranges=(part,), slices=None)

    def holding(
        self, ips: Iterable[IP], api: Callable[[], Api], deadline: Deadline
    ) -> Sequence[Range]:
        """The ranges, or parts of them, in which a container that reported *ips* has addresses.

        Raises as `for_add` does when none of *ips* says in which part.
        """
        if self.slices is None:
            return self.ranges
        parsed = (Address.parse(each.address.partition("/")[0]) for each in ips)
        known = [each for each in parsed if each is not None]
        found = self.slices.around(self.ranges[0], known, api().node)
        return found or self.for_add(api, deadline).ranges


def has_blocks(invocation: Invocation) -> bool:
    """Whether a range has the key ``block``, which the binary does not know, and would ignore."""
    own, kept = reader_of(invocation), recall(invocation)
    ipam = kept.ipam if kept else own.raw
    if kept is None:
        with suppress(InvalidConfig):
            ipam = Used.now(own, invocation.session.chroot).ipam
    return any(each.get("block") is not None for each in (ipam, *_listed(ipam)))


def refusal(invocation: Invocation) -> Declined | None:
    """Why the configuration is left to the binary; None when it is served here."""
    reader = reader_of(invocation)
    reason = _foreign(reader.raw) or _elsewhere(invocation, reader.raw)
    if not reason and not _has_api(invocation):
        reason = "Multus' own configuration has no 'kubeconfig'"
    return Declined("whereabouts", reason) if reason else None


def _foreign(ipam: Mapping[str, Any]) -> str:
    """The first key that is unknown here; wrong types are refused later, by ADD."""
    unknown = [str(key) for key in ipam.keys() - KEYS]
    for each in _listed(ipam):
        unknown += [f"ipRanges.{key}" for key in each.keys() - _OF_RANGE]
    kubernetes = ipam.get("kubernetes")
    if isinstance(kubernetes, Mapping):
        unknown += [f"kubernetes.{key}" for key in kubernetes.keys() - _OF_KUBERNETES]
    if unknown:
        return f"key {min(unknown)!r} of 'ipam'"
    if ipam.get("datastore") not in (None, "", "kubernetes"):
        return "'datastore' of 'ipam' is not 'kubernetes'"
    return ""


def _listed(ipam: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = ipam.get("ipRanges")
    return [each for each in found if isinstance(each, Mapping)] if isinstance(found, list) else []


def _require_plain(reader: Reader, ranges: Sequence[Range]) -> None:
    """Raise for keys that no address of a block can have."""
    if reader.raw.get("block") is not None and not reader.raw.get("range"):
        raise reader.error("block", "stands beside no 'range'", "write it beside its range")
    if not any(each.block for each in ranges):
        return
    without = "is true, and a range with 'block' is without"
    if reader.boolean("sticky"):
        raise reader.error("sticky", without, "remove one of the two")
    if reader.raw.get("node_slice_size"):
        fix = "remove one of the two: blocks are a node's slices"
        raise reader.error("node_slice_size", "stands beside 'block'", fix)
    if reader.boolean("enable_overlapping_ranges"):
        fix = "remove it, and keep the range apart from other ranges"
        raise reader.error("enable_overlapping_ranges", without, fix)


def _elsewhere(invocation: Invocation, ipam: Mapping[str, Any]) -> str:
    """Which key of a tenant names a file outside the usual folders; "" when none does."""
    if invocation.delegate.provenance is Provenance.NODE:
        return ""
    kubernetes = ipam.get("kubernetes")
    inner = kubernetes.get("kubeconfig") if isinstance(kubernetes, Mapping) else None
    for key, path in (
        ("configuration_path", ipam.get("configuration_path")),
        ("kubernetes.kubeconfig", inner),
    ):
        if isinstance(path, str) and path and not _is_usual(path):
            return f"key {key!r} of 'ipam', which is {path!r}, outside whereabouts.d"
    return ""


def _is_usual(path: str) -> bool:
    return path.startswith(_USUAL) and ".." not in path.split("/")


def _has_api(invocation: Invocation) -> bool:
    named = invocation.conf.raw.get("kubeconfig")
    return invocation.session.api is not None or (isinstance(named, str) and bool(named))


def _network_name(reader: Reader) -> str:
    """The beginning of its objects' names."""
    name = reader.text("network_name")
    if name and (len(name) > _LONGEST_NAME or not is_object_name(name)):
        raise reader.error(
            "network_name",
            f"is {name!r}, which no object of Kubernetes can be called",
            f"use at most {_LONGEST_NAME} small letters, digits, '-' and '.'",
        )
    return name


def _gateway(reader: Reader) -> Address | None:
    text = reader.text("gateway")
    found = address_of(text) if text else None
    if text and found is None:
        raise reader.error("gateway", f"is {text!r}, not an IP address")
    return found


def _addresses(reader: Reader) -> list[Fixed]:
    require_few(reader, "addresses", len(reader.sequence("addresses")), 256)
    found = []
    for each in reader.inners("addresses"):
        network, gateway = network_of(each.text("address")), each.text("gateway")
        via = address_of(gateway) if gateway else None
        if network is None:
            raise each.error("address", f"is {each.text('address')!r}, not in CIDR form")
        if gateway and via is None:
            raise each.error("gateway", f"is {gateway!r}, not an IP address")
        found.append(Fixed(network, via))
    return found


def wanted(invocation: Invocation, settings: Settings) -> list[Address]:
    """The addresses that the pod asks for, each in one of the ranges; raises ``InvalidConfig``."""
    from multus.ipam.settings import requested

    by_args, by_runtime = requested(invocation)
    by_environ = [each for each in invocation.args.get("IP", "").split(",") if each.strip()]
    found = []
    for text in dict.fromkeys((*by_environ, *by_args, *by_runtime)):
        network = network_of(text)
        address = network.address if network else address_of(text)
        if address is None or not any(address in each for each in settings.ranges):
            raise InvalidConfig(
                f"the requested address {text!r} is in none of the ranges"
                f" {', '.join(str(each.network) for each in settings.ranges)}",
                where=settings.where,
                fix="request an address of them that is not excluded",
            )
        if any(each.block for each in settings.ranges if address in each):
            raise InvalidConfig(
                f"the requested address {address} is in a range with 'block', which assigns any",
                where=settings.where,
                fix="request none, or use a range without 'block'",
            )
        found.append(address)
    return list(dict.fromkeys(found))
