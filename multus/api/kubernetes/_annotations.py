"""Annotations by which pods choose networks: what their dialects have in common.

Two forms: a JSON list of objects, and ``<namespace>/<name>@<interface>,…``.
"""

from __future__ import annotations

from typing import Any

from multus.api.errors import DecodingFailure, InvalidConfig
from multus.api.jsontext import decode
from multus.api.kubernetes._settings import MOST_NETWORKS, is_label, is_object_name
from multus.api.names import interface_problem
from multus.api.reader import Reader, describe

#: So much of what someone wrote is shown in a message.
_SHOWN = 100


def short_list(text: str, origin: str, most: int) -> list[dict[str, str]]:
    """The entries of ``<namespace>/<name>@<interface>,…``."""
    _refuse_too_many(text.count(",") + 1, most, origin)
    return [
        short_form(part, f"{origin}, entry {number}")
        for number, part in enumerate(text.split(","), 1)
    ]


def json_list(text: str, origin: str, most: int = MOST_NETWORKS) -> list[Any]:
    """The annotation's JSON list."""
    try:
        entries = decode(text.encode("utf-8", "surrogatepass"), origin)
    except DecodingFailure as error:
        raise InvalidConfig(f'{error.msg}: write [{{"name": "a-network"}}]') from error
    if not isinstance(entries, list):
        raise InvalidConfig(
            f'{origin} must be a list, not {describe(entries)}: write [{{"name": "a-network"}}]'
        )
    _refuse_too_many(len(entries), most, origin)
    return entries


def shown(text: str) -> str:
    """*text* quoted for a message, which stays short whatever it is."""
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…")


def short_form(text: str, origin: str) -> dict[str, str]:
    """``<namespace>/<name>@<interface>`` as the keys that it stands for."""
    rest, at, interface = text.strip().partition("@")
    namespace, slash, name = rest.rpartition("/")
    if not rest:
        raise InvalidConfig(f"{origin} is empty: name a network, or remove the comma")
    if "/" in namespace or (slash and not namespace) or (at and not interface):
        raise InvalidConfig(
            f"{origin}: {shown(text.strip())} is not <namespace>/<name>@<interface>, where the"
            " namespace and the interface may be left out: correct it"
        )
    entry = {"name": name}
    if namespace:
        entry["namespace"] = namespace
    if interface:
        entry["interface"] = interface
    return entry


def named(entry: Any, origin: str, namespace: str) -> tuple[Reader, str, str]:
    """An entry's reader, namespace and name, each checked."""
    if not isinstance(entry, dict):
        raise InvalidConfig(
            f'{origin} must be an object, not {describe(entry)}: write {{"name": "a-network"}}'
        )
    reader = Reader(entry, origin)
    name, where = reader.text("name"), reader.text("namespace") or namespace
    if not name:
        raise InvalidConfig(f"{origin} has no 'name': name the network")
    if not is_object_name(name):
        raise InvalidConfig(
            f"{origin}: {shown(name)} is no name of an object: use small letters, digits, '-' and"
            " '.', and start and end with a letter or digit"
        )
    if not is_label(where):
        raise InvalidConfig(
            f"{origin}: {shown(where)} is no name of a namespace: use small letters, digits and"
            " '-', at most 63"
        )
    return reader, where, name


def interface_of(reader: Reader, origin: str) -> str:
    """The interface that an entry asks for, checked; "" when it asks for none."""
    interface = reader.text("interface") or reader.text("interfaceRequest")
    problem = interface_problem(interface) if interface else None
    if problem:
        raise InvalidConfig(
            f"{origin}: interface {shown(interface)} {problem}: ask for another name"
        )
    return interface


def _refuse_too_many(number: int, most: int, origin: str) -> None:
    if number > most:
        raise InvalidConfig(
            f"{origin} chooses {number} networks, and {most} are allowed: choose fewer, or let the"
            " node's administrator raise 'maxNetworks'"
        )
