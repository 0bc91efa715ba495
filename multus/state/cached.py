"""What libcni kept of the Go Multus's ADDs: ``<cniDir>/results/<network>-<container>-<interface>``.

A file has the plugins' result, the network's configuration, and what the plugins were asked for.
Before 2020 it had the result alone.

Source: libcni, ``cniCacheV1``.
"""

from __future__ import annotations

import os
from binascii import Error, a2b_base64
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import field, frozen

from multus.api.errors import CNIError, DecodingFailure
from multus.api.jsontext import decode_object
from multus.api.reader import Reader
from multus.api.result import Result
from multus.state.journal import RESULTS
from multus.state.recordfile import read_safely

_KIND = "cniCacheV1"


@frozen
class Cached:
    """One ADD: *config* is the network's configuration, *capabilities* what was asked by them.

    Every part but the path and the result may be empty.
    """

    path: str
    result: Result
    container_id: str = ""
    network: str = ""
    ifname: str = ""
    netns: str = ""
    args: str = ""
    config: Mapping[str, Any] = field(factory=dict)
    capabilities: Mapping[str, Any] = field(factory=dict)


def find(folder: str, network: str, container_id: str, ifname: str) -> Cached | None:
    """What is kept under *folder*, a ``cniDir``; None when there is nothing that can be read."""
    return _read(os.path.join(folder, RESULTS, f"{network}-{container_id}-{ifname}"), container_id)


def of_container(folder: str, container_id: str) -> Iterator[Cached]:
    """All that is kept of one container, sorted by file name."""
    for path in _paths(folder):
        found = _read(path, container_id) if container_id in os.path.basename(path) else None
        if found is not None:
            yield found


def containers(folder: str) -> frozenset[str]:
    """The containers of which a network's configuration is kept."""
    found = (_read(path) for path in _paths(folder))
    return frozenset(each.container_id for each in found if each is not None and each.config)


def in_cache(place: str) -> Iterator[Cached]:
    """All that is kept in the cache *place*, which may be a runtime's; sorted by file name."""
    found = (_read(path) for path in _listed(place))
    return (each for each in found if each is not None)


def _paths(folder: str) -> list[str]:
    return _listed(os.path.join(folder, RESULTS))


def _listed(place: str) -> list[str]:
    try:
        return [os.path.join(place, name) for name in sorted(os.listdir(place))]
    except OSError:
        return []


def _read(path: str, container_id: str = "") -> Cached | None:
    """The file at *path*, of any container or only of this one."""
    try:
        found = _cached(Reader(decode_object(read_safely(path), path), path))
    except (OSError, CNIError):
        # DEL goes on without it, as the Go Multus does.
        return None
    return found if container_id in ("", found.container_id) or not found.container_id else None


def _cached(reader: Reader) -> Cached:
    path = reader.where
    if reader.text("kind") != _KIND:
        return Cached(path, Result.from_wire(reader.raw))
    return Cached(
        path,
        Result.from_wire(reader.mapping("result")),
        container_id=reader.text("containerId"),
        network=reader.text("networkName"),
        ifname=reader.text("ifName"),
        netns=reader.text("netns"),
        args=_args(reader),
        config=_config(reader),
        capabilities=reader.mapping("capabilityArgs"),
    )


def _args(reader: Reader) -> str:
    """``CNI_ARGS``: the first value of a name counts that is not empty."""
    found: dict[str, str] = {}
    for pair in reader.sequence("cniArgs"):
        if isinstance(pair, list | tuple) and len(pair) == 2:
            name, value = map(str, pair)
            found[name] = found.get(name) or value
    return ";".join(f"{name}={value}" for name, value in found.items())


def _config(reader: Reader) -> Mapping[str, Any]:
    text = reader.text("config")
    try:
        return decode_object(a2b_base64(text), reader.where) if text else {}
    except (Error, ValueError) as error:
        raise DecodingFailure(f"'config' is not base64: {error}") from error
