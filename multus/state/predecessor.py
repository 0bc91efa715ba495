"""Records of the Go Multus: ``<cniDir>/<container ID>``, a JSON list of the delegates.

There are two forms, which differ in their keys:

* of 2017 and 2018: each entry is a plugin's configuration; the one with ``masterplugin`` has the
  interface that the runtime asked for, the others net0, net1, …;
* of 3.x and 4.x: each entry has the configuration's text as base64 in ``Bytes``; the first has the
  runtime's interface, the others ``ifnameRequest`` or net<place>.  libcni kept the results beside
  them (``multus.state.cached``).

The Go Multus removes a record when a DEL failed too; then libcni's files alone are left, unless it
has ``retryDeleteOnError``.

The records do not say who wrote a configuration, so each counts as a tenant's.  The Go Multus ran a
binary for every configuration; what is not done in-process for a tenant is undone by the same
binary.
"""

from __future__ import annotations

import os
from binascii import Error, a2b_base64
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import evolve

from multus.api.delegates import delegate_from, handed_on
from multus.api.errors import CNIError, DecodingFailure
from multus.api.jsontext import decode, decode_object
from multus.api.keys import OWN, kept
from multus.api.network import Attachment
from multus.api.reader import Reader
from multus.api.result import Result
from multus.state import cached
from multus.state.record import OF_THE_GO_MULTUS, Planned, Record, Step, restored
from multus.state.recordfile import read_safely

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.network import Delegate
    from multus.api.request import Request
    from multus.log import Log
    from multus.state.cached import Cached
    from multus.state.journal import Journal

#: The runtime's interface, where nothing says it.
_USUAL_IFNAME = "eth0"

#: What a record asks of a network that is not the default one, and the capability's name.
_REQUESTS = {
    "macRequest": "mac",
    "ipRequest": "ips",
    "infinibandGUIDRequest": "infinibandGUID",
    "deviceID": "deviceID",
}


class Found(NamedTuple):
    """The delegates of one container, what ADD made of them, and libcni's files, by index."""

    planned: tuple[Planned, ...]
    done: Mapping[int, Attachment]
    caches: Mapping[int, Cached]


def adopt(
    journal: Journal, request: Request, conf: Conf, log: Log, result: Result | None = None
) -> Record | None:
    """Make a record of ours of what the Go Multus left of the request's container, if it did.

    Its files are removed.  A record that cannot be read is kept under another name.  With *result*,
    the runtime's answer, the record is finished: the container lives on with its networks.
    """
    path = os.path.join(journal.folder, request.container_id)
    try:
        found = read(path, request.ifname, conf) or _kept_alone(path, request.ifname, conf)
    except DecodingFailure as error:
        log.error(f"{error}: it is kept as {journal.set_aside(path)}")
        return None
    if found is None:
        return None
    # libcni's files first: as long as the record is there, the next DEL finds them.
    paths = [*(each.path for each in found.caches.values()), path]
    # A DEL does not ask plugins for their keys.
    return journal.adopt(paths, request, kept(conf.raw, OWN), found.planned, found.done, result)


def look(folder: str, request: Request, conf: Conf) -> Record | None:
    """What the Go Multus wrote of the request's container, as a record; nothing is changed.

    A request without an interface gets the one of the container's default network.  The record's
    ``result`` is that network's, None when it is not known.  Raises as ``read``.
    """
    path = os.path.join(folder, request.container_id)
    found = read(path, request.ifname, conf) or _kept_alone(path, request.ifname, conf)
    if found is None:
        return None
    expected: int | None = len(found.planned)
    if not os.path.exists(path):
        # libcni's files do not say whether they are all.
        path, expected = next(iter(found.caches.values())).path, None
    primary = next((i for i, each in enumerate(found.planned) if each.delegate.primary), -1)
    if not request.ifname:
        ifname = found.planned[primary].delegate.ifname if primary >= 0 else _USUAL_IFNAME
        request = evolve(request, ifname=ifname)
    known, done = found.caches.get(primary), found.done.get(primary)
    # Without a namespace the container counts as a living one, see ``liveness.lives``.
    request = evolve(request, environ={})
    if known is not None and known.netns:
        request = restored(request, known.netns, request.path, known.args)
    return Record(
        path,
        request,
        conf.raw,
        dict(enumerate(found.planned)),
        expected,
        started=_written(path),
        done=found.done,
        result=done.result if done else None,
    )


def records(
    journal: Journal, valid: Iterable[tuple[str, str]], request: Request, conf: Conf
) -> Iterator[Record]:
    """What the Go Multus left of every container, as records; nothing is changed.

    *valid* are containers with their interface, where it is known.  Those that cannot be read are
    left out, and those that have a record of ours.
    """
    recorded = journal.keys()
    ours = {container_id for container_id, _ in recorded}
    known: dict[str, list[str]] = {}
    for container_id, ifname in sorted(valid):
        known.setdefault(container_id, []).append(ifname)
    for container_id in sorted({*journal.others(), *cached.containers(journal.folder)} - ours):
        for ifname in known.get(container_id, [""]):
            asked = evolve(request, container_id=container_id, ifname=ifname)
            with suppress(CNIError):
                found = look(journal.folder, asked, conf)
                if found is not None:
                    yield found


def read(path: str, ifname: str, conf: Conf) -> Found | None:
    """What the file at *path* says was attached, for a container whose interface is *ifname*.

    An empty *ifname* is looked up.  None when there is no file.  Raises ``StateDamaged`` for a file
    that others than root could have written, and ``DecodingFailure`` for one that is not such a
    record.
    """
    try:
        data = read_safely(path)
    except FileNotFoundError:
        return None
    try:
        entries = Reader({"delegates": decode(data, path)}, path).mappings("delegates")
        if not entries:
            raise DecodingFailure("it names no network")
        if _has_newer_form(entries):
            return _newer_form(entries, ifname, conf, path)
        return _older_form(entries, ifname or _USUAL_IFNAME, conf, path)
    except CNIError as error:
        where = f"record {path} of the Go Multus cannot be read"
        raise error.at(where).into(DecodingFailure) from error


def _kept_alone(path: str, ifname: str, conf: Conf) -> Found | None:
    """What libcni has of the container whose record at *path* is gone; None when it has nothing."""
    folder, container_id = os.path.split(path)
    found = [e for e in cached.of_container(folder, container_id) if e.config and e.ifname]
    names = [each.ifname for each in found]
    first = ifname or (_USUAL_IFNAME if _USUAL_IFNAME in names else "".join(names[:1]))
    delegates: list[Delegate] = []
    caches: dict[int, Cached] = {}
    for each in sorted(found, key=lambda each: each.ifname != first):
        with suppress(CNIError):
            delegate = delegate_from(each.config, conf, each.path)
            asked, primary = each.capabilities, each.ifname == first
            caches[len(delegates)] = each
            delegates.append(
                evolve(delegate, ifname=each.ifname, primary=primary, runtime_config=asked)
            )
    return _found(delegates, caches, conf) if delegates else None


def _has_newer_form(entries: list[Mapping[str, Any]]) -> bool:
    return any("Bytes" in entry for entry in entries)


def _older_form(entries: list[Mapping[str, Any]], ifname: str, conf: Conf, path: str) -> Found:
    delegates = [delegate_from(entry, conf, path) for entry in entries]
    others = iter(range(len(delegates)))
    named = [
        evolve(each, ifname=ifname if each.primary else f"net{next(others)}") for each in delegates
    ]
    return _found(named, {}, conf)


def _newer_form(entries: list[Mapping[str, Any]], ifname: str, conf: Conf, path: str) -> Found:
    delegates, caches = [], {}
    folder, container_id = os.path.split(path)
    for place, entry in enumerate(entries):
        reader, config = Reader(entry, path), _text(entry, path)
        network = str(config.get("name", ""))
        if place:
            own = reader.text("ifnameRequest") or f"net{place}"
        else:
            own = ifname or _ifname(folder, container_id, network)
        kept_there = cached.find(folder, network, container_id, own)
        if kept_there is not None:
            caches[place] = kept_there
        delegate = delegate_from(_fuller(config, kept_there), conf, path)
        asked = kept_there.capabilities if kept_there else _requests(reader) if place else {}
        delegates.append(
            evolve(
                delegate,
                ifname=own,
                primary=place == 0,
                runtime_config=asked,
                device_info=_device_info(reader, container_id, own),
            )
        )
    return _found(delegates, caches, conf)


def _device_info(reader: Reader, container_id: str, ifname: str) -> str:
    """The path of the file that describes the attachment's device; "" when it has none."""
    if not reader.text("deviceID"):
        return ""
    from multus.api import deviceinfo

    return deviceinfo.of_attachment(reader.text("Name"), container_id, ifname)


def _found(delegates: list[Delegate], caches: Mapping[int, Cached], conf: Conf) -> Found:
    """The steps of each delegate, and the attachments whose result is known.

    The runtime may give the default network's result too.
    """
    results = {index: each.result for index, each in caches.items()}
    signed = (evolve(each, source=OF_THE_GO_MULTUS) for each in delegates)
    planned = tuple(_planned(each, conf) for each in signed)
    for index, each in enumerate(delegates):
        given = _given(conf) if each.primary and index not in results else None
        if given is not None:
            results[index] = given
    done = {index: _attachment(planned[index], result) for index, result in results.items()}
    return Found(planned, done, caches)


def _given(conf: Conf) -> Result | None:
    if conf.prev_result is None:
        return None
    with suppress(CNIError):
        return Result.from_wire({"cniVersion": conf.cni_version, **conf.prev_result})
    return None


def _attachment(planned: Planned, result: Result) -> Attachment:
    delegate, count = planned.delegate, len(planned.steps)
    versions, invokers = (delegate.cni_version,) * count, ("exec",) * count
    return Attachment(delegate, result, versions, invokers)


def _requests(reader: Reader) -> dict[str, Any]:
    return {
        capability: reader.raw[key] for key, capability in _REQUESTS.items() if reader.raw.get(key)
    }


def _text(entry: Mapping[str, Any], path: str) -> Mapping[str, Any]:
    try:
        data = a2b_base64(Reader(entry, path).text("Bytes"))
    except (Error, ValueError) as error:
        raise DecodingFailure(f"'Bytes' is not base64: {error}") from error
    return decode_object(data, path)


def _fuller(config: Mapping[str, Any], kept_there: Cached | None) -> Mapping[str, Any]:
    """The configuration of a record, with libcni's plugins where they are the same.

    Releases before 4.3 wrote only CNI's own keys of a list into the record.  libcni's configuration
    lacks the plugins that a folder beside the list's file added.
    """
    full = kept_there.config if kept_there is not None else {}
    ours, theirs = config.get("plugins"), full.get("plugins")
    if not isinstance(ours, list) or not isinstance(theirs, list):
        return config
    count = len(theirs)
    if [_type(each) for each in ours[:count]] != [_type(each) for each in theirs]:
        return config
    return {**full, "plugins": [*theirs, *ours[count:]]}


def _type(plugin: Any) -> Any:
    return plugin.get("type") if isinstance(plugin, Mapping) else None


def _planned(delegate: Delegate, conf: Conf) -> Planned:
    steps = [
        Step(plugin, handed_on(delegate, plugin, conf), plugin.invoker)
        for plugin in delegate.plugins
    ]
    return Planned(delegate, tuple(steps))


def _ifname(folder: str, container_id: str, network: str) -> str:
    """The runtime's interface of a container whose default network is *network*."""
    found = (e.ifname for e in cached.of_container(folder, container_id) if e.network == network)
    return next(found, "") or _USUAL_IFNAME


def _written(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return 0.0
