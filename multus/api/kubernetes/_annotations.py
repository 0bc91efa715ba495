"""Annotations by which pods choose networks: code that all dialects share.

Two forms: a JSON list of objects, and ``<namespace>/<name>@<interface>,…``.
"""

from __future__ import annotations

from typing import Any

from multus.api.errors import DecodingFailure, InvalidConfig
from multus.api.jsontext import decode, decode_object
from multus.api.keys import NETWORK_SPELLING
from multus.api.kubernetes._settings import MOST_NETWORKS, is_label, is_object_name
from multus.api.names import interface_problem
from multus.api.reader import Reader, describe
from multus.api.spelling import Spelling, spelled
from multus.api.where import Where, path_of, within

#: How many characters of an invalid value a message shows.
_SHOWN = 100
_FORM = 'write [{"name": "a-network"}]'


def annotation_of(key: str, pod: str) -> Where:
    """The location of an annotation of *pod* ("namespace/name"), for errors."""
    return Where(f"annotation {key!r} of pod {pod}", ("metadata", "annotations", key))


def config_in(spec: Reader, name: str = "") -> dict[str, Any]:
    """The JSON object that ``spec.config`` of a definition holds as text.

    Without a key that is spelled "name", it gets the definition's *name*, whatever "Name" says.
    """
    text = spec.text("config").encode("utf-8", "surrogatepass")
    try:
        decoded = decode_object(text, "it")
    except DecodingFailure as error:
        raise spec.error("config", error.wrong, error.fix or "correct it") from error
    if name and not decoded.get("name"):
        decoded = {**{key: value for key, value in decoded.items() if key != "name"}, "name": name}
    return dict(spelled(decoded, NETWORK_SPELLING))


def short_list(text: str, origin: str, most: int) -> list[dict[str, str]]:
    """The entries of ``<namespace>/<name>@<interface>,…``."""
    _refuse_too_many(text.count(",") + 1, most, origin)
    return [short_form(part, entry_of(origin, index)) for index, part in enumerate(text.split(","))]


def entry_of(origin: str, index: int) -> Where:
    """The location of the entry at *index* of an annotation's list; messages count from 1."""
    return within(origin, f", entry {index + 1}", index)


def json_list(text: str, origin: str, most: int = MOST_NETWORKS) -> list[Any]:
    """The annotation's JSON list."""
    try:
        entries = decode(text.encode("utf-8", "surrogatepass"), origin)
    except DecodingFailure as error:
        raise InvalidConfig(error.reason, path=path_of(origin), fix=_FORM) from error
    if not isinstance(entries, list):
        raise _wrong(origin, f"must be a list, not {describe(entries)}", _FORM)
    _refuse_too_many(len(entries), most, origin)
    return entries


def shown(text: str) -> str:
    """*text* quoted for a message, and shortened."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def short_form(text: str, origin: str) -> dict[str, str]:
    """``<namespace>/<name>@<interface>`` as the keys of the JSON form.

    As on the Go Multus, spaces around each part do not count, and an empty namespace or interface
    is one that was left out.
    """
    rest, _, interface = (part.strip() for part in text.strip().partition("@"))
    namespace, _, name = (part.strip() for part in rest.rpartition("/"))
    if not rest:
        raise _wrong(origin, "is empty", "name a network, or remove the comma")
    if "/" in namespace:
        raise InvalidConfig(
            f"{shown(text.strip())} is not <namespace>/<name>@<interface>, where the namespace and"
            " the interface may be left out",
            where=origin,
            fix="correct it",
        )
    entry = {"name": name}
    if namespace:
        entry["namespace"] = namespace
    if interface:
        entry["interface"] = interface
    return entry


def named(entry: Any, origin: str, namespace: str, spelling: Spelling) -> tuple[Reader, str, str]:
    """An entry's reader, namespace and name, each checked; *spelling* has its keys."""
    if not isinstance(entry, dict):
        raise _wrong(
            origin, f"must be an object, not {describe(entry)}", 'write {"name": "a-network"}'
        )
    reader = Reader(spelled(entry, spelling), origin)
    name, where = reader.text("name"), reader.text("namespace") or namespace
    if not name:
        raise _wrong(origin, "has no 'name'", "name the network")
    if not is_object_name(name):
        raise reader.error(
            "name",
            f"is {shown(name)}, which cannot be the name of an object",
            "use lower-case letters, digits, '-' and '.', and start and end with a letter or digit",
        )
    if not is_label(where):
        raise reader.error(
            "namespace",
            f"is {shown(where)}, which cannot be the name of a namespace",
            "use lower-case letters, digits and '-', at most 63",
        )
    return reader, where, name


def interface_of(reader: Reader) -> str:
    """The interface name that an entry requests, checked; "" when it requests none."""
    key = "interface" if reader.text("interface") else "interfaceRequest"
    interface = reader.text(key)
    problem = interface_problem(interface) if interface else None
    if problem:
        raise reader.error(
            key, f"is {shown(interface)}: the name {problem}", "ask for another name"
        )
    return interface


def _wrong(origin: str, reason: str, fix: str) -> InvalidConfig:
    """An error about *origin* as a whole; *reason* continues a sentence that begins with it."""
    return InvalidConfig(f"{origin} {reason}", path=path_of(origin), fix=fix)


def _refuse_too_many(number: int, most: int, origin: str) -> None:
    if number > most:
        raise _wrong(
            origin,
            f"chooses {number} networks, and {most} are allowed",
            "choose fewer, or let the node's administrator raise 'maxNetworks'",
        )
