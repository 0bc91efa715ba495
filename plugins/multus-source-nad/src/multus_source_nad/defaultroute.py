"""The default route of a pod whose annotation names the network that has it.

Every delegate of such a pod gets the engine's step (``multus.api.defaultroute``) at the end of its
chain.

    eth0  default network   default via 10.0.0.1   ->  (none)
    net1  "default-route"   default via 10.1.0.1   ->  default via 10.1.0.254

Source: NPWG standard 1.3, section 4.1.2.1.9.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from attrs import evolve

from multus.api import defaultroute
from multus.api.errors import InvalidConfig
from multus.api.problem import remark
from multus.api.where import path_of

if TYPE_CHECKING:
    from multus.api.network import Delegate, Element, Plugin

KEY = "default-route"


def settled(elements: Sequence[Element]) -> tuple[Element, ...]:
    """*elements*, of which only those that get a default route keep ``default-route``.

    As on the Go Multus, one element may have the route of IPv4 and another one that of IPv6.  An
    empty list means the gateways of the network's plugins: it counts when no element names a
    gateway, and then for the first.  Raises ``InvalidConfig`` when two elements name gateways of
    one family.
    """
    asking = [each for each in elements if KEY in each.options]
    naming = [each for each in asking if each.options[KEY]]
    owners: dict[int, Element] = {}
    for each in naming:
        for family in {_family(gateway) for gateway in each.options[KEY]}:
            other = owners.setdefault(family, each)
            if other is not each:
                raise InvalidConfig(
                    f"{other.origin} and {each.origin} both name a gateway of IPv{family} in"
                    f" {KEY!r}",
                    path=path_of(each.origin),
                    fix="keep it on one",
                )
    served = {id(each) for each in naming or asking[:1]}
    return tuple(
        _without(each) if KEY in each.options and id(each) not in served else each
        for each in elements
    )


def _without(element: Element) -> Element:
    said = remark(
        (*path_of(element.origin), KEY),
        "is empty, and another network has the default route: it is ignored",
        "keep it on one",
    )
    options = {key: value for key, value in element.options.items() if key != KEY}
    return evolve(element, options=options, remarks=(*element.remarks, said))


def chosen_gateways(elements: Iterable[Element]) -> tuple[str, ...] | None:
    """The gateways of settled *elements*; None when none requests a default route.

    Empty gateways mean those of the network's plugins.
    """
    asking = [each.options[KEY] for each in elements if KEY in each.options]
    return tuple(gateway for each in asking for gateway in each) if asking else None


def step_for(delegate: Delegate, gateways: Sequence[str]) -> Plugin:
    """The step of one network, for a pod whose default routes go through *gateways*.

    The step changes only the families of the gateways; both when *gateways* is empty.
    """
    families = sorted({_family(each) for each in gateways}) or [4, 6]
    return defaultroute.step(families, delegate.options.get(KEY))


def _family(address: str) -> int:
    return 6 if ":" in address else 4
