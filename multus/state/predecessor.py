"""Records of the Go Multus: ``<cniDir>/<container ID>``, a JSON list of the delegates.

They hold no results and no namespace.  There are two forms, which differ in their keys:

* of 2017 and 2018: each entry is a plugin's configuration; the one with ``masterplugin`` has the
  interface that the runtime asked for, the others net0, net1, …;
* of 3.x and 4.x: each entry has the configuration's text as base64 in ``Bytes``; the first has the
  runtime's interface, the others ``ifnameRequest`` or net<place>.

They do not say who wrote a configuration, so each counts as a tenant's.  The Go Multus ran a binary
for every configuration; what is not done in-process for a tenant is undone by the same binary.
"""

from __future__ import annotations

import os
from binascii import Error, a2b_base64
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from attrs import evolve

from multus.api.delegates import delegate_from, handed_on
from multus.api.errors import CNIError, DecodingFailure
from multus.api.jsontext import decode, decode_object
from multus.api.keys import OWN, kept
from multus.api.reader import Reader
from multus.state.record import Planned, Record, Step
from multus.state.recordfile import read_safely

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate
    from multus.api.request import Request
    from multus.log import Log
    from multus.state.journal import Journal


def adopt(journal: Journal, request: Request, conf: Conf, log: Log) -> Record | None:
    """Make a record of ours of what the Go Multus wrote of the request's container, if it did.

    A file that cannot be read is kept under another name.
    """
    path = os.path.join(journal.folder, request.container_id)
    try:
        planned = read(path, request.ifname, conf)
    except DecodingFailure as error:
        log.error(f"{error}: it is kept as {journal.set_aside(path)}")
        return None
    if planned is None:
        return None
    # A DEL does not ask plugins for their keys.
    return journal.adopt(path, request, kept(conf.raw, OWN), planned)


def records(
    folder: str, keys: Iterable[tuple[str, str]], request: Request, conf: Conf
) -> list[Record]:
    """What the Go Multus wrote of these containers and interfaces, as records; nothing is changed.

    Those that cannot be read are left out.
    """
    found = []
    for container_id, ifname in sorted(keys):
        path = os.path.join(folder, container_id)
        with suppress(CNIError):
            planned = read(path, ifname, conf)
            if planned is not None:
                asked = evolve(request, container_id=container_id, ifname=ifname)
                by_index = dict(enumerate(planned))
                found.append(Record(path, asked, conf.raw, by_index, len(by_index)))
    return found


def read(path: str, ifname: str, conf: Conf) -> tuple[Planned, ...] | None:
    """What the file at *path* says was attached, for a container whose interface is *ifname*.

    None when there is no file.  Raises ``StateDamaged`` for a file that others than root could have
    written, and ``DecodingFailure`` for one that is not such a record.
    """
    try:
        data = read_safely(path)
    except FileNotFoundError:
        return None
    try:
        entries = Reader({"delegates": decode(data, path)}, path).mappings("delegates")
        named = _newer_form(entries, ifname, conf, path) if _has_newer_form(entries) else None
        delegates = named or _older_form(entries, ifname, conf, path)
    except CNIError as error:
        where = f"record {path} of the Go Multus cannot be read"
        raise error.at(where).into(DecodingFailure) from error
    return tuple(_planned(each, conf) for each in delegates)


def _has_newer_form(entries: list[Mapping[str, Any]]) -> bool:
    return any("Bytes" in entry for entry in entries)


def _older_form(
    entries: list[Mapping[str, Any]], ifname: str, conf: Conf, path: str
) -> list[Delegate]:
    delegates = [delegate_from(entry, conf, path) for entry in entries]
    others = iter(range(len(delegates)))
    return [
        evolve(each, ifname=ifname if each.primary else f"net{next(others)}") for each in delegates
    ]


def _newer_form(
    entries: list[Mapping[str, Any]], ifname: str, conf: Conf, path: str
) -> list[Delegate]:
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
        raise DecodingFailure(f"'Bytes' is not base64: {error}") from error
    return decode_object(data, path)


def _planned(delegate: Delegate, conf: Conf) -> Planned:
    steps = (Step(plugin, handed_on(delegate, plugin, conf), "") for plugin in delegate.plugins)
    return Planned(delegate, tuple(steps))
