"""The difference between the networks that a running container is to have and those that it has.

A network that is asked for matches an attachment of the same network with the same requested
interface, in order.  What matches and asks for the same stays as it is, its interface's name
included.  What asks for something else, another address for instance, is detached and attached
again under its name.  What nothing asks for is detached.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from attrs import field, frozen

from multus.api.frozen import EMPTY

#: The keys of an element that say which network and interface it means, in every dialect.  Those
#: are compared by themselves: an annotation may name the pod's own namespace, or leave it out.
_MEANING = frozenset({"name", "namespace", "interface", "interfaceRequest"})


@frozen
class Asked:
    """A network that the container is to have beside its primary.

    ``network`` is the network's name for people, ``interface`` the requested name, "" for any.
    ``options`` are the element's keys.  ``name`` is the name in its configuration, "" when unknown.
    """

    network: str
    interface: str = ""
    options: Mapping[str, Any] = field(default=EMPTY)
    name: str = ""


@frozen
class Had:
    """An attachment that the container's sources once asked for.

    ``requested`` is the requested name of its interface, ``ifname`` the name that it has.
    ``requests_known`` is False when another program attached it, whose record names the network as
    its configuration does (``name``) and says nothing else.
    """

    index: int
    network: str
    ifname: str
    requested: str = ""
    options: Mapping[str, Any] = field(default=EMPTY)
    name: str = ""
    requests_known: bool = True


class New(NamedTuple):
    """A network to attach: its place in what is asked for, and its interface.

    ``instead_of`` is the index of the attachment whose place it takes, None without one.
    """

    place: int
    ifname: str
    instead_of: int | None = None


class Clash(NamedTuple):
    """A network that is asked for with the interface of another one: its place, and the name."""

    place: int
    ifname: str


@frozen
class Difference:
    """What to do: indexes of attachments that are kept or detached, and what is attached.

    An attachment that is replaced is neither kept nor in ``gone``: its place is in ``new``.
    """

    kept: tuple[int, ...] = ()
    gone: tuple[int, ...] = ()
    new: tuple[New, ...] = ()
    clashes: tuple[Clash, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether the container has what it is to have, as far as that is possible."""
        return not (self.gone or self.new)


def difference(
    asked: Sequence[Asked], had: Sequence[Had], taken: Collection[str] = (), first: int = 1
) -> Difference:
    """How to get from *had* to *asked*.

    *taken* are the names of the container's other interfaces, which stay.  New networks without a
    requested name get the lowest free ``netN``, from ``net<first>`` on.
    """
    matches = _matches(asked, had)
    matched = {each.index for each in matches.values()}
    same = {place for place, each in matches.items() if _asks_the_same(asked[place], each)}
    names = {*taken, *(each.ifname for each in matches.values())}
    new: list[New] = []
    clashes: list[Clash] = []
    for place, each in enumerate(asked):
        if place in matches:
            if place not in same:
                new.append(New(place, matches[place].ifname, matches[place].index))
        elif each.interface in names:
            clashes.append(Clash(place, each.interface))
        elif each.interface:
            names.add(each.interface)
            new.append(New(place, each.interface))
    # Requested names come first: an unnamed network must not take one.
    for place, each in enumerate(asked):
        if place not in matches and not each.interface:
            free = _lowest_free(names, first)
            names.add(free)
            new.append(New(place, free))
    return Difference(
        kept=tuple(sorted(matches[place].index for place in same)),
        gone=tuple(each.index for each in had if each.index not in matched),
        new=tuple(sorted(new)),
        clashes=tuple(clashes),
    )


def _matches(asked: Sequence[Asked], had: Sequence[Had]) -> dict[int, Had]:
    """The attachment of each place in *asked* that has one.

    Of several that fit, one whose requests are the same is taken, so that less is changed.
    """
    found: dict[int, Had] = {}
    left = list(had)
    for exactly in (True, False):
        for place, each in enumerate(asked):
            if place in found:
                continue
            fitting = (one for one in left if _fits(each, one))
            one = next((o for o in fitting if not exactly or _asks_the_same(each, o)), None)
            if one is not None:
                found[place] = one
                left.remove(one)
    return found


def _fits(asked: Asked, had: Had) -> bool:
    if had.requests_known:
        if asked.network != had.network:
            return False
    elif not asked.name or asked.name != had.name:
        return False
    if asked.interface:
        return asked.interface == had.ifname
    return not had.requested


def _asks_the_same(asked: Asked, had: Had) -> bool:
    return not had.requests_known or _requests(asked.options) == _requests(had.options)


def _requests(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in _MEANING}


def _lowest_free(names: Iterable[str], first: int) -> str:
    taken = set(names)
    number = first
    while f"net{number}" in taken:
        number += 1
    return f"net{number}"
