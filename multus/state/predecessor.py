"""Records that the Go Multus left: ``<cniDir>/<container ID>``, a JSON list of the delegates.

They hold no results and no netns.  Two forms, told apart by their keys:

* of 2017 and 2018: each entry is a plugin's configuration; the one with ``masterplugin`` has the
  interface that the runtime asked for, the others net0, net1, …;
* of 3.x and 4.x: each entry has the configuration's text as base64 in ``Bytes``; the first has the
  runtime's interface, the others ``ifnameRequest`` or net<place>.

They do not say who wrote a configuration, so each is taken for a tenant's.  The Go Multus had every
configuration carried out by a binary, and what is not done in-process for a tenant is undone by the
same binary.
"""

from __future__ import annotations

import os
from binascii import Error, a2b_base64
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api.delegates import delegate_from, handed_on
from multus.api.errors import CNIError, DecodingFailure
from multus.api.jsontext import decode, decode_object
from multus.api.reader import Reader
from multus.state.record import Planned, Step
from multus.state.recordfile import read_safely

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate


def path_of(folder: str, container_id: str) -> str:
    """Where the Go Multus kept what it attached to a container."""
    return os.path.join(folder, container_id)


def read(path: str, ifname: str, conf: Conf) -> tuple[Planned, ...] | None:
    """What the file at *path* says was attached, for a container whose interface is *ifname*.

    None when there is no file.  Raises ``StateDamaged`` for one that must not be trusted, and
    ``DecodingFailure`` for one that is no such record.
    """
    try:
        data = read_safely(path)
    except FileNotFoundError:
        return None
    try:
        entries = Reader({"delegates": decode(data, path)}, path).mappings("delegates")
        named = _today(entries, ifname, conf, path) if _is_of_today(entries) else None
        delegates = named or _first_days(entries, ifname, conf, path)
    except CNIError as error:
        where = f"record {path} of the Go Multus cannot be read"
        raise error.at(where).into(DecodingFailure) from error
    return tuple(_planned(each, conf) for each in delegates)


def _is_of_today(entries: list[Mapping[str, Any]]) -> bool:
    return any("Bytes" in entry for entry in entries)


def _first_days(
    entries: list[Mapping[str, Any]], ifname: str, conf: Conf, path: str
) -> list[Delegate]:
    delegates = [delegate_from(entry, conf, path) for entry in entries]
    others = iter(range(len(delegates)))
    return [
        evolve(each, ifname=ifname if each.primary else f"net{next(others)}") for each in delegates
    ]


def _today(entries: list[Mapping[str, Any]], ifname: str, conf: Conf, path: str) -> list[Delegate]:
    return [
        evolve(
            delegate_from(_text(entry, path), conf, path),
            ifname=_requested(entry, path) or f"net{place}" if place else ifname,
            primary=place == 0,
        )
        for place, entry in enumerate(entries)
    ]


def _requested(entry: Mapping[str, Any], path: str) -> str:
    return Reader(entry, path).text("ifnameRequest")


def _text(entry: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    try:
        data = a2b_base64(Reader(entry, path).text("Bytes"))
    except (Error, ValueError) as error:
        raise DecodingFailure(f"'Bytes' is no base64: {error}") from error
    return decode_object(data, path)


def _planned(delegate: Delegate, conf: Conf) -> Planned:
    steps = (Step(plugin, handed_on(delegate, plugin, conf), "") for plugin in delegate.plugins)
    return Planned(delegate, tuple(steps))
