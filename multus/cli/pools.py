"""The addresses that a configuration allocates from, as a netaddr set.

Source: host-local and whereabouts, their documentation of ``ipam``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from netaddr import IPSet


def handed_out(options: Mapping[str, Any]) -> IPSet:
    """The addresses that an ``ipam`` object of host-local or whereabouts allocates.

    Invalid ranges are skipped: the configuration's own checks report them.
    """
    from netaddr import IPSet

    addresses = IPSet()
    for each in _ranges(options):
        addresses |= _span(each)
    return addresses


def _ranges(options: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The ranges of an ``ipam`` object, each with ``subnet``, ``rangeStart`` and ``rangeEnd``."""
    if options.get("type") == "whereabouts":
        listed = options.get("ipRanges")
        for each in [options, *(listed if isinstance(listed, list) else [])]:
            if isinstance(each, dict) and isinstance(each.get("range"), str):
                first, dash, rest = each["range"].partition("-")
                last, slash, size = rest.partition("/")
                yield {
                    "subnet": f"{first}/{size}" if dash and slash else each["range"],
                    "rangeStart": first if dash else each.get("range_start"),
                    "rangeEnd": last if dash else each.get("range_end"),
                }
        return
    listed = options.get("ranges")
    for group in [[options], *(listed if isinstance(listed, list) else [])]:
        yield from (each for each in group if isinstance(each, dict) and "subnet" in each)


def _span(given: Mapping[str, Any]) -> IPSet:
    from netaddr import AddrFormatError, IPAddress, IPNetwork, IPRange, IPSet

    try:
        subnet = IPNetwork(str(given["subnet"])).cidr
        first, last = given.get("rangeStart"), given.get("rangeEnd")
        # Skip the network address, and for IPv4 the broadcast address.
        start = IPAddress(str(first)) if first else subnet[1 if subnet.size > 1 else 0]
        end = IPAddress(str(last)) if last else subnet[-2 if subnet.version == 4 else -1]
        return IPSet(IPRange(start, end))
    except (AddrFormatError, IndexError, ValueError, TypeError):
        return IPSet()
