"""Checks addresses in configurations: pools, excluded blocks, hardware addresses.

`multus.ipam` itself reports what an ADD would refuse. netaddr serves the other checks: overlaps
between networks, and other notations of addresses. Without netaddr, a note says so.

Source: host-local, static and whereabouts, their documentation of ``ipam``; IEEE 802, EUI-48.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from multus import ipam
from multus.api.errors import CNIError, InvalidConfig
from multus.api.jsontext import decode_object
from multus.api.reader import describe
from multus.api.where import Path
from multus.cli.documents import Document
from multus.cli.findings import ERROR, NOTE, UNCHECKED, WARNING, Finding
from multus.cli.node import multus_part
from multus.cli.pools import handed_out

if TYPE_CHECKING:
    from netaddr import IPSet

#: Plugins that hand their ``ipam`` to its type as it is written.  Others may change it first, as
#: calico does for its "usePodCidr".
_PASSING_ON = (
    *("bond", "bridge", "dummy", "host-device", "ib-sriov", "ipoib", "ipvlan", "macvlan"),
    *("ptp", "sriov", "tap", "vlan"),
)
#: Plugins whose networks are those of the node's own interface, beyond the node.
_SPANNING = ("host-device", "ib-sriov", "ipoib", "ipvlan", "macvlan", "sriov", "vlan")
#: The IPAM types whose configuration defines the pool.
_POOLS = ("host-local", "whereabouts")


@frozen
class Pool:
    """The addresses that a network allocates from, and the position of that configuration."""

    network: str
    addresses: IPSet
    document: Document
    path: Path


@frozen
class Written:
    """A plugin's configuration, and its position."""

    document: Document
    path: Path
    config: Mapping[str, Any]


def check_addresses(documents: Iterable[Document]) -> Iterator[Finding]:
    """Check the addresses in all configurations in *documents*."""
    every = [each for document in documents for each in _plugins(document)]
    for each in every:
        yield from _refused(each)
        yield from _of_one_node(each)
    try:
        import netaddr  # noqa: F401  only checks that it is installed
    except ImportError:
        reason = "netaddr is not installed: overlaps, excluded blocks and MACs are not checked"
        yield Finding(NOTE, "addresses", reason, "pip install 'multus[cli]'")
        return
    for each in every:
        yield from _excluded(each)
        mac = each.config.get("mac")
        if isinstance(mac, str) and mac:
            yield from _hardware_address(each.document, (*each.path, "mac"), mac)
    yield from _overlaps([pool for each in every for pool in _pool(each)])


def _plugins(document: Document) -> Iterator[Written]:
    """Every plugin's configuration in a document: a file's, a delegate's, a network object's."""
    value = document.value
    if not isinstance(value, dict):
        return
    if value.get("kind") == "NetworkAttachmentDefinition":
        spec = value.get("spec")
        written = spec.get("config") if isinstance(spec, dict) else None
        if isinstance(written, str):
            try:
                config = decode_object(written.encode(), "spec.config")
            except CNIError:
                return  # the object's own check reports it
            metadata = value.get("metadata")
            named = metadata if isinstance(metadata, dict) else {}
            yield from _steps(document, ("spec", "config"), {"name": named.get("name"), **config})
        return
    found = multus_part(document.file, value)
    if found is None:
        yield from _steps(document, (), value)
        return
    delegates = found.config.get("delegates")
    for index, each in enumerate(delegates if isinstance(delegates, list) else []):
        if isinstance(each, dict):
            yield from _steps(document, (*found.key, "delegates", index), each)


def _steps(document: Document, path: Path, config: Mapping[str, Any]) -> Iterator[Written]:
    """The plugins of a network, each with the network's name."""
    listed = config.get("plugins")
    if not isinstance(listed, list):
        yield Written(document, path, config)
        return
    for index, each in enumerate(listed):
        if isinstance(each, dict):
            named = {**each, "name": config.get("name")}
            yield Written(document, (*path, "plugins", index), named)


def _refused(written: Written) -> Iterator[Finding]:
    """Errors that an ADD would raise."""
    try:
        ipam.require_valid(written.config)
    except InvalidConfig as error:
        found = written.document.told(error, written.path)
        kind = written.config.get("type")
        if kind not in _PASSING_ON:
            reason = f"{found.reason}, unless {kind!r} changes it"
            found = evolve(found, severity=UNCHECKED, reason=reason, code=0, of_node=True)
        yield found


def _of_one_node(written: Written) -> Iterator[Finding]:
    """host-local on a network that spans nodes: each node allocates the same addresses."""
    value, options = written.document.value, written.config.get("ipam")
    kind = written.config.get("type")
    of_cluster = isinstance(value, dict) and value.get("kind") == "NetworkAttachmentDefinition"
    if not of_cluster or kind not in _SPANNING or not isinstance(options, dict):
        return
    if options.get("type") == "host-local" and (options.get("subnet") or options.get("ranges")):
        reason = (
            f"is 'host-local' on a network of type {kind!r}, which spans nodes: each node allocates"
            " from this range by itself, so pods of two nodes get one address"
        )
        fix = "use type 'whereabouts', unless the pods run on one node or ranges differ by node"
        yield written.document.finding(WARNING, (*written.path, "ipam", "type"), reason, fix)


def _pool(written: Written) -> Iterator[Pool]:
    """The pool of a plugin's configuration, if there is a valid one."""
    options = written.config.get("ipam")
    if isinstance(options, dict) and options.get("type") in _POOLS:
        addresses = handed_out(options)
        if addresses:
            name, path = str(written.config.get("name", "")), (*written.path, "ipam")
            yield Pool(name, addresses, written.document, path)


def _overlaps(pools: Sequence[Pool]) -> Iterator[Finding]:
    """Networks of different names that allocate the same addresses."""
    for index, one in enumerate(pools):
        for other in pools[:index]:
            both = one.addresses & other.addresses
            if one.network == other.network or not both:
                continue
            blocks = [str(block) for block in both.iter_cidrs()]
            some = ", ".join(blocks[:3]) + (" …" if len(blocks) > 3 else "")
            reason = f"networks {other.network!r} and {one.network!r} both allocate {some}"
            fix = "use separate ranges, if a container can be in both"
            yield one.document.finding(NOTE, one.path, reason, fix)


def _excluded(written: Written) -> Iterator[Finding]:
    """whereabouts' ``exclude``: blocks of the range that are not allocated."""
    from netaddr import AddrFormatError, IPNetwork, IPSet

    options, document = written.config.get("ipam"), written.document
    if not isinstance(options, dict) or options.get("type") != "whereabouts":
        return
    left = handed_out(options)
    exclude = options.get("exclude")
    for index, text in enumerate(exclude if isinstance(exclude, list) else []):
        where = (*written.path, "ipam", "exclude", index)
        try:
            block = IPSet([IPNetwork(text)])
        except (AddrFormatError, ValueError, TypeError):
            given = repr(text) if isinstance(text, str) else describe(text)
            reason = f"{given} is not a CIDR block"
            yield document.finding(WARNING, where, reason, "write it as 192.0.2.128/30")
            continue
        if left and not left & block:
            reason = f"{text} is outside the range, so it excludes nothing"
            yield document.finding(WARNING, where, reason, "correct it, or remove it")
        if left and not left - block:
            reason = "the range has no addresses left after exclusions"
            yield document.finding(WARNING, where, reason, "exclude less, or enlarge the range")
        left -= block


def _hardware_address(document: Document, path: Path, text: str) -> Iterator[Finding]:
    from netaddr import EUI, AddrFormatError, mac_unix_expanded

    try:
        mac = EUI(text, version=48, dialect=mac_unix_expanded)
    except (AddrFormatError, ValueError, TypeError):
        reason = f"{text!r} is not a hardware address"
        yield document.finding(ERROR, path, reason, "write it as 02:00:5e:00:53:01", code=7)
        return
    if mac.words[0] & 1 or not int(mac):
        kind = "a multicast address" if int(mac) else "the null address"
        reason = f"{mac} is {kind}, which an interface cannot have"
        yield document.finding(ERROR, path, reason, "use an address such as 02:00:5e:00:53:01")
    elif str(mac) != text.lower():
        reason = f"{text!r} is a notation of a hardware address that plugins may refuse"
        yield document.finding(WARNING, path, reason, f"write it as {mac}")
