"""Names the settings of the Go Multus that differ here, in the files of a node that ran it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

from attrs import frozen

from multus.api.errors import CNIError
from multus.api.where import Path, dotted
from multus.cli.documents import Document
from multus.cli.findings import ERROR, WARNING, Finding, Place
from multus.cli.node import NodeConf, multus_part
from multus.cli.objects import objects_in
from multus.cli.upstream import known
from multus.cli.upstream.comparison import CONFIGURATION_KEY, DAEMON_KEY, differences
from multus.daemon import settings
from multus.daemon.keys import KEYS

#: Keys that only the daemon's settings of this Multus have.
_OWN = {key.top for key in KEYS} - known.KEYS.keys()


@frozen
class Difference:
    """A setting that the file has, and what differs here."""

    place: Place
    subject: str
    text: str

    def to_wire(self) -> dict[str, Any]:
        place = self.place
        where = {"file": place.file, "line": place.line, "column": place.column}
        return {**where, "subject": self.subject, "text": self.text}


def part_of(document: Document) -> NodeConf | None:
    """Multus' part of a file; the shim's configuration is read as the one that replaces it."""
    value: Mapping[str, Any] = document.value
    if value.get("type") == known.THICK:
        return NodeConf(document.file, {**value, "type": known.THIN})
    return multus_part(document.file, value)


def is_daemon_config(value: object) -> bool:
    """Whether *value* is a ``daemon-config.json`` of the Go Multus."""
    if not isinstance(value, dict) or value.keys() & {"kind", "type", "plugins", "delegates"}:
        return False
    return bool(known.canonical(value).keys() & known.OF_DAEMON) and not value.keys() & _OWN


def daemon_configs(document: Document) -> Iterator[Document]:
    """The ``daemon-config.json`` that a document is, or that a ConfigMap in it has."""
    if is_daemon_config(document.value):
        yield document
    for named in objects_in(document):
        data = named.wire.get("data") if named.kind == "ConfigMap" else None
        for key, text in data.items() if isinstance(data, dict) else ():
            if not isinstance(text, str) or not text.lstrip().startswith("{"):
                continue
            with suppress(CNIError):
                inner = named.document.embedded(("data", key), text)
                if is_daemon_config(inner.value):
                    yield inner


def check_daemon_config(document: Document) -> Iterator[Finding]:
    """Keys that nothing reads, and values with which this Multus' daemon would not start."""
    for key in document.value:
        if known.canonical({key: None}).keys() <= known.KEYS.keys():
            continue
        reason, fix = "the Go Multus does not read this key", "correct its spelling, or remove it"
        yield document.finding(WARNING, (key,), reason, fix)
    written = {name: key for key in document.value for name in known.canonical({key: None})}
    for each in settings.problems(known.of_daemon(document.value)):
        path = (written[str(each.path[0])], *each.path[1:])
        yield document.finding(ERROR, path, each.reason, each.fix)


def differing(document: Document) -> Iterator[Difference]:
    """What differs for the settings in a configuration or in a ``daemon-config.json``."""
    base: Path = ()
    if is_daemon_config(document.value):
        found = differences(document.value, DAEMON_KEY, CONFIGURATION_KEY)
    else:
        part = part_of(document)
        if part is None:
            return
        base, found = part.key, differences(part.config, CONFIGURATION_KEY, DAEMON_KEY)
    for path, row in found:
        yield Difference(document.place((*base, *path)), dotted((*base, *path)), row.text)
