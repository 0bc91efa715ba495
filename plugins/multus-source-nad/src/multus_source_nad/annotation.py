"""The Network Attachment Selection Annotation: both its forms, and every key of an element.

An invalid key fails the pod.  (By the standard, the whole annotation is ignored, and the pod starts
without networks that it requested.)

Source: NPWG standard 1.3, section 4.1.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from multus.api.errors import InvalidConfig
from multus.api.kubernetes import (
    MAX_NETWORKS,
    entry_of,
    interface_of,
    json_list,
    named,
    short_list,
    shown,
)
from multus.api.network import Element
from multus.api.reader import Reader

_KEYS = frozenset(
    {
        "name",
        "namespace",
        "ips",
        "mac",
        "interface",
        "interfaceRequest",
        "cni-args",
        "portMappings",
        "bandwidth",
        "default-route",
        "infiniband-guid",
        "ipam-claim-reference",
    }
)
_MAC = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}")
_GUID = re.compile(r"[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){7}")
_PREFIX = re.compile(r"[0-9]{1,3}")
_MOST_ADDRESSES = 256
_PROTOCOLS = ("tcp", "udp", "sctp")
_RATES = ("ingressRate", "ingressBurst", "egressRate", "egressBurst")

#: The capability for a key (CNI CONVENTIONS.md; NPWG 1.3, section 4.1.2.1).
_CAPABILITIES = {
    "ips": "ips",
    "mac": "mac",
    "portMappings": "portMappings",
    "bandwidth": "bandwidth",
    "infiniband-guid": "infinibandGUID",
}


def parse(
    text: str, namespace: str, origin: str, source: str, most: int = MAX_NETWORKS
) -> tuple[Element, ...]:
    """The elements of an annotation, at most *most*; an ``InvalidConfig`` has entry, key and fix.

    *namespace* is the default of an element's namespace.  ``options`` of each element holds its
    keys unchanged.
    """
    if text.lstrip().startswith(("[", "{", '"')):
        entries = json_list(text, origin, most)
    else:
        entries = short_list(text, origin, most)
    elements = tuple(
        _element(entry, namespace, entry_of(origin, index), source)
        for index, entry in enumerate(entries)
    )
    _refuse_two_default_routes(elements, origin)
    return elements


def runtime_config(options: Mapping[str, Any]) -> dict[str, Any]:
    """The ``runtimeConfig`` entries for an element's keys."""
    return {
        capability: _for_plugins(key, options[key])
        for key, capability in _CAPABILITIES.items()
        if options.get(key)
    }


def _for_plugins(key: str, value: Any) -> Any:
    if key != "portMappings":
        return value
    # The portmap plugin requires the protocol, in lower case.
    return [{**each, "protocol": each.get("protocol", "tcp").lower()} for each in value]


def _refuse_two_default_routes(elements: tuple[Element, ...], origin: str) -> None:
    wanting = [each for each in elements if "default-route" in each.options]
    if len(wanting) > 1:
        raise InvalidConfig(
            f"{len(wanting)} networks have 'default-route'",
            where=origin,
            fix="keep it on one",
        )


def _element(entry: Any, namespace: str, origin: str, source: str) -> Element:
    reader, where, name = named(entry, origin, namespace)
    # Names with a period belong to other implementations (section 4.1.2.1).
    foreign = (key for key in reader.raw if key not in _KEYS and "." not in key)
    unknown = min(foreign, default=None)
    if unknown is not None:
        raise InvalidConfig(
            f"unknown key {shown(unknown)}",
            where=origin,
            path=(unknown,),
            fix=f"use {', '.join(sorted(_KEYS))}",
        )
    _check_addresses(reader)
    _check_hardware(reader)
    _check_ports(reader)
    _check_bandwidth(reader)
    _check_default_route(reader)
    reader.mapping("cni-args")
    return Element(
        name=name,
        namespace=where,
        origin=origin,
        source=source,
        interface=interface_of(reader),
        options={key: value for key, value in reader.raw.items() if value is not None},
    )


def _check_addresses(reader: Reader) -> None:
    ips = _addresses(reader, "ips")
    if reader.raw.get("ips") == []:
        raise reader.error("ips", "is empty", "name an address, or remove the key")
    for ip in ips:
        address, slash, prefix = ip.partition("/")
        bits = {4: 32, 6: 128}.get(_family(address), -1)
        if bits < 0 or (slash and not (_PREFIX.fullmatch(prefix) and int(prefix) <= bits)):
            raise reader.error(
                "ips",
                f"holds {shown(ip)}",
                "write addresses such as 10.0.0.2/24 or 2001:db8::2",
            )
    reader.text("ipam-claim-reference")  # may stand beside 'ips'


def _addresses(reader: Reader, key: str) -> list[str]:
    """A list of addresses, at most ``_MOST_ADDRESSES``."""
    found = reader.texts(key)
    if len(found) > _MOST_ADDRESSES:
        raise reader.error(key, f"holds {len(found)} addresses", f"write at most {_MOST_ADDRESSES}")
    return found


def _check_hardware(reader: Reader) -> None:
    mac, guid = reader.text("mac"), reader.text("infiniband-guid")
    if "mac" in reader.raw and not _MAC.fullmatch(mac):
        raise reader.error("mac", f"is {shown(mac)}", "write six bytes, 02:00:00:00:00:01")
    if "infiniband-guid" in reader.raw and not _GUID.fullmatch(guid):
        raise reader.error(
            "infiniband-guid",
            f"is {shown(guid)}",
            "write eight bytes, 24:8a:07:03:00:8d:ae:2f",
        )


def _check_ports(reader: Reader) -> None:
    if reader.raw.get("portMappings") == []:
        raise reader.error("portMappings", "is empty", "name a port, or remove the key")
    for ports in reader.inners("portMappings"):
        for key in ("hostPort", "containerPort"):
            if not 1 <= ports.integer(key) <= 65535:
                raise ports.error(key, f"is {ports.raw.get(key)!r}", "write a port from 1 to 65535")
        protocol = ports.text("protocol", "tcp")
        if protocol.lower() not in _PROTOCOLS:
            raise ports.error("protocol", f"is {shown(protocol)}", "write tcp, udp or sctp")
        host = ports.text("hostIP")
        if host and not _family(host):
            raise ports.error("hostIP", f"is {shown(host)}", "write an address of the node")


def _check_bandwidth(reader: Reader) -> None:
    bandwidth = reader.inner("bandwidth")
    if reader.raw.get("bandwidth") == {}:
        raise reader.error("bandwidth", "is empty", "limit something, or remove the key")
    for key in bandwidth.raw:
        if key not in _RATES:
            raise reader.error("bandwidth", f"has no key {shown(key)}", f"use {', '.join(_RATES)}")
        if bandwidth.integer(key) <= 0:
            raise bandwidth.error(key, "must be above 0")
    for direction in ("ingress", "egress"):
        if f"{direction}Burst" in bandwidth.raw and f"{direction}Rate" not in bandwidth.raw:
            raise bandwidth.error(f"{direction}Burst", f"needs '{direction}Rate'", "add it")


def _check_default_route(reader: Reader) -> None:
    for gateway in _addresses(reader, "default-route"):
        if not _family(gateway):
            raise reader.error(
                "default-route", f"holds {shown(gateway)}", "write a gateway's address"
            )


def _family(address: str) -> int:
    """4, 6, or 0 when *address* is not an address."""
    import socket  # a module that only pods with such a key have to load

    for family, number in ((socket.AF_INET, 4), (socket.AF_INET6, 6)):
        try:
            socket.inet_pton(family, address)
        except (OSError, ValueError):
            continue
        return number
    return 0
