"""The Network Attachment Selection Annotation: both its forms, and every key of an element.

A key of the wrong type, and an address that is none, fail the pod, as on the Go Multus.  (By the
standard, the whole annotation is ignored, and the pod starts without networks that it requested.)
What is unknown, empty or out of bounds is a remark of the element: the pod starts, plugins decide
about the values that they are given, and ``multus validate`` shows the remark.

Source: NPWG standard 1.3, section 4.1.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from multus.api.hardware import hardware_address
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
from multus.api.problem import Problem, remark
from multus.api.reader import Reader
from multus.api.spelling import Spelling, misspelled
from multus.api.where import Path, path_of

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
        "deviceID",
    }
)
_PREFIX = re.compile(r"[0-9]{1,3}")
_MOST_ADDRESSES = 256
#: More remarks of one element are dropped: a tenant must not fill the log.
_MOST_REMARKS = 20
_PROTOCOLS = ("tcp", "udp", "sctp")
_RATES = ("ingressRate", "ingressBurst", "egressRate", "egressBurst")
_PORTS = ("hostPort", "containerPort", "protocol", "hostIP")
_SPELLING = Spelling(_KEYS, {"portMappings": Spelling(_PORTS), "bandwidth": Spelling(_RATES)})

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
    return tuple(
        _element(entry, namespace, entry_of(origin, index), source)
        for index, entry in enumerate(entries)
    )


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
    return [{**each, "protocol": (each.get("protocol") or "tcp").lower()} for each in value]


def _element(entry: Any, namespace: str, origin: str, source: str) -> Element:
    reader, where, name = named(entry, origin, namespace, _SPELLING)
    _check_addresses(reader)
    _check_hardware(reader)
    _check_default_route(reader)
    reader.mapping("cni-args")
    _check_device(reader)
    remarks = (
        *_about_keys(entry, reader),
        *_about_empty(reader),
        *_about_ports(reader),
        *_about_bandwidth(reader),
    )
    base = path_of(origin)
    return Element(
        name=name,
        namespace=where,
        origin=origin,
        source=source,
        interface=interface_of(reader),
        options={key: value for key, value in reader.raw.items() if value is not None},
        remarks=tuple(each.beneath(base) for each in remarks[:_MOST_REMARKS]),
    )


def _about_keys(entry: Mapping[str, Any], reader: Reader) -> Iterator[Problem]:
    for path, name in misspelled(entry, _SPELLING):
        yield remark(path, f"is read as {name!r}", f"write {name!r}")
    for key in reader.raw:
        # Names with a period belong to other implementations (section 4.1.2.1).
        if key not in _KEYS and "." not in key:
            yield _unknown((key,), _KEYS)


def _about_empty(reader: Reader) -> Iterator[Problem]:
    for key in ("mac", "infiniband-guid", "ips", "portMappings", "bandwidth"):
        if reader.raw.get(key) in ("", [], {}):
            yield remark((key,), "is empty: it requests nothing", "remove the key")


def _about_ports(reader: Reader) -> Iterator[Problem]:
    for index, ports in enumerate(reader.inners("portMappings")):
        path: Path = ("portMappings", index)
        for key in ("hostPort", "containerPort"):
            if not 1 <= ports.integer(key) <= 65535:
                wrong = f"is {str(ports.raw.get(key))[:20]}"
                yield remark((*path, key), wrong, "write a port from 1 to 65535")
        protocol, host = ports.text("protocol"), ports.text("hostIP")
        if protocol and protocol.lower() not in _PROTOCOLS:
            wrong = f"is {shown(protocol)}"
            yield remark((*path, "protocol"), wrong, "write tcp, udp or sctp")
        if host and not _family(host):
            wrong = f"is {shown(host)}"
            yield remark((*path, "hostIP"), wrong, "write an address of the node")
        yield from (_unknown((*path, key), _PORTS) for key in ports.raw if key not in _PORTS)


def _about_bandwidth(reader: Reader) -> Iterator[Problem]:
    bandwidth = reader.inner("bandwidth")
    yield from (_unknown(("bandwidth", key), _RATES) for key in bandwidth.raw if key not in _RATES)
    rates = {key: bandwidth.integer(key) for key in _RATES}
    for key, rate in rates.items():
        if rate < 0:
            yield remark(("bandwidth", key), f"is {str(rate)[:20]}", "write a number above 0")
    for direction in ("ingress", "egress"):
        if rates[f"{direction}Burst"] and not rates[f"{direction}Rate"]:
            path = ("bandwidth", f"{direction}Burst")
            yield remark(path, f"needs '{direction}Rate'", "add it")


def _unknown(path: Path, known: Iterable[str]) -> Problem:
    fix = f"use {', '.join(sorted(known))}"
    key = shown(str(path[-1]))
    return remark(path[:-1], f"has the unknown key {key}, which is ignored", fix)


def _check_addresses(reader: Reader) -> None:
    ips = _addresses(reader, "ips")
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
    for key, fix in (
        ("mac", "write six bytes, 02:00:00:00:00:01"),
        ("infiniband-guid", "write eight bytes, 24:8a:07:03:00:8d:ae:2f"),
    ):
        text = reader.text(key)
        if text and hardware_address(text) is None:
            raise reader.error(key, f"is {shown(text)}", fix)


def _check_device(reader: Reader) -> None:
    """Device IDs are parts of files' names, which are UTF-8."""
    text = reader.text("deviceID")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise reader.error(
            "deviceID", f"is {shown(text)}, which is no text", "write the device's ID"
        ) from None


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
