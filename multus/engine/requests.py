"""Requests: what a network was asked for, how its plugins are told, and whether it has it.

A source's requests are ``Delegate.runtime_config``, by capability.  A plugin that declares the
capability gets the request in ``runtimeConfig``.  Every plugin of the network gets ``MAC`` and
``IP`` in ``CNI_ARGS``: bridge, macvlan, static, host-local and others read these without any
capability.

So a capability says little about ``mac`` and ``ips``, and the attachment's result is compared with
them.  Another request is unserved when no plugin declares its capability.

Source: CNI ``CONVENTIONS.md``, "CNI_ARGS" and "Dynamic Plugin specific fields (Capabilities)"; NPWG
standard 1.3, section 4.1.2.1, which lets an undeclared capability fail the attachment.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from attrs import evolve

from multus.api.errors import CNIError, InvalidConfig
from multus.api.hardware import hardware_address
from multus.api.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from multus.api.network import Attachment, Delegate
    from multus.log import Log

#: By capability: the key of ``CNI_ARGS`` that has the same meaning.
_ARGUMENTS = {"mac": "MAC", "ips": "IP"}


class Found(NamedTuple):
    """The hardware and IP addresses of an attachment's interfaces in the container."""

    macs: tuple[str, ...]
    addresses: tuple[str, ...]


def arguments(asked: Mapping[str, Any]) -> dict[str, str]:
    """The ``CNI_ARGS`` for *asked*, a source's requests; several addresses are separated by commas.

    Raises ``InvalidConfig`` for a value that cannot be written there.
    """
    given = {}
    for capability, key in _ARGUMENTS.items():
        texts = _texts(asked.get(capability))
        wrong = next((each for each in texts if set(each) & set(";=, \0")), None)
        if wrong is not None:
            raise InvalidConfig(
                f"{capability!r} holds {wrong!r}, which CNI_ARGS cannot express",
                fix="write an address",
            )
        if texts:
            given[key] = ",".join(texts)
    return given


def without_arguments(delegate: Delegate) -> Delegate:
    """*delegate* without the requests in its ``CNI_ARGS``."""
    asked = _ARGUMENTS.values()
    args = {key: value for key, value in delegate.args.items() if key not in asked}
    return evolve(delegate, args=args)


def undeclared(delegate: Delegate) -> list[Problem]:
    """The requests whose capability no plugin of the network declares, with reason and fix."""
    served = frozenset().union(*(plugin.capabilities for plugin in delegate.plugins))
    return [
        Problem(
            (capability,),
            f"is requested, and none of its plugins ({delegate.types}) declares that capability",
            f'add "capabilities": {{"{capability}": true}} to one that serves it, or do not ask',
        )
        for capability in delegate.runtime_config
        if capability not in served
    ]


def ignored(delegate: Delegate) -> list[Problem]:
    """Those that no plugin gets: an undeclared MAC or address is in ``CNI_ARGS``."""
    return [each for each in undeclared(delegate) if each.path[0] not in _OUTCOMES]


def require_possible(delegate: Delegate) -> None:
    """Raise ``InvalidConfig`` when no plugin gets a request, before anything is attached."""
    problems = ignored(delegate)
    if problems:
        raise InvalidConfig.of(problems, str(delegate))


def require_served(attachment: Attachment, netns: str, log: Log) -> None:
    """Raise ``InvalidConfig`` when *attachment* lacks what was requested."""
    problems = unserved(attachment, netns, log)
    if problems:
        raise InvalidConfig.of(problems, place(attachment.delegate))


def unserved(attachment: Attachment, netns: str, log: Log) -> tuple[Problem, ...]:
    """The requests that *attachment* does not have.

    Its result is looked at first.  Results before CNI 0.3.0 have no interfaces, and some plugins
    return nothing: then the kernel's interface in *netns* is looked at.
    """
    delegate = attachment.delegate
    found = _reported(attachment)
    if _missing(delegate, found):
        found = _with_kernel(attachment, found, netns, log)
    return (*_missing(delegate, found), *ignored(delegate))


def place(delegate: Delegate) -> str:
    """The name of an attachment in messages."""
    return f"{delegate}, interface {delegate.ifname or '(none)'}"


# --- Outcomes ------------------------------------------------------------------------------------


def _missing(delegate: Delegate, found: Found) -> list[Problem]:
    missing = []
    for capability, differs in _OUTCOMES.items():
        asked = delegate.runtime_config.get(capability)
        reason = "" if asked is None else differs(_texts(asked), found)
        if reason:
            fix = f"use plugins that serve it ({delegate.types} did not), or do not ask"
            missing.append(Problem((capability,), reason, fix))
    return missing


def _mac(asked: tuple[str, ...], found: Found) -> str:
    """Why a requested MAC is missing; empty when it is there."""
    has = [_bytes(each) for each in found.macs]
    if all(_bytes(each) in has for each in asked):
        return ""
    return f"is {' '.join(asked)}, and the interface has {' '.join(found.macs) or 'an unknown one'}"


def _ips(asked: tuple[str, ...], found: Found) -> str:
    """Why requested addresses are missing; their prefixes are the IPAM's to choose."""
    has = [_packed(each) for each in found.addresses]
    absent = [each for each in asked if _packed(each) not in has]
    if not absent:
        return ""
    return f"holds {' '.join(absent)}, and the interface has {' '.join(found.addresses) or 'none'}"


_OUTCOMES: Mapping[str, Callable[[tuple[str, ...], Found], str]] = {"mac": _mac, "ips": _ips}


def _reported(attachment: Attachment) -> Found:
    inside = attachment.result.sandbox_interfaces()
    return Found(
        tuple(each.mac for each in inside if each.mac),
        tuple(ip.address for ip in attachment.result.ips),
    )


def _with_kernel(attachment: Attachment, found: Found, netns: str, log: Log) -> Found:
    """*found* with what the kernel has; a namespace that cannot be read adds nothing."""
    from multus.state import verify

    inside = attachment.result.sandbox_interfaces()
    names = [each.name for each in inside] or [attachment.delegate.ifname]
    try:
        macs, addresses = verify.addresses_in(netns, names)
    except CNIError as error:
        log.verbose(f"{place(attachment.delegate)}: its interface cannot be read: {error}")
        return found
    return Found(
        _distinct([*found.macs, *macs], _bytes),
        _distinct([*found.addresses, *addresses], _packed),
    )


# --- Addresses -----------------------------------------------------------------------------------


def _distinct(texts: Iterable[str], key: Callable[[str], object]) -> tuple[str, ...]:
    return tuple({key(each): each for each in reversed(list(texts))}.values())[::-1]


def _texts(value: Any) -> tuple[str, ...]:
    given = value if isinstance(value, list | tuple) else (value,)
    return tuple(each for each in given if isinstance(each, str) and each)


def _bytes(mac: str) -> object:
    """A hardware address, the same for every spelling."""
    return hardware_address(mac) or mac


def _packed(address: str) -> object:
    """An address without its prefix, the same for every spelling."""
    text = address.partition("/")[0]
    try:
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)
    except (OSError, ValueError):
        return text
