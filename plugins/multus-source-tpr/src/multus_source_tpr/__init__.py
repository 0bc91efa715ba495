"""The TPR source: pods choose Network objects that a ThirdPartyResource serves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from multus_networks import Source

from multus import hookimpl
from multus.api.conf import Conf
from multus.api.kubernetes.networks import FIRST, SEED
from multus.api.network import Delegate, Element, Selection
from multus.api.request import Request
from multus.api.session import Session

if TYPE_CHECKING:
    from multus.api.keys import Key
    from multus.api.kubernetes import ApiUse
    from multus.api.problem import Problem

SOURCE = Source("source-tpr", (FIRST, SEED))


@hookimpl
def multus_keys() -> list[Key]:
    """The keys for the API server, and the dialects."""
    return SOURCE.keys()


@hookimpl
def multus_kubernetes() -> list[ApiUse]:
    """Pods, and the Network objects that they choose."""
    return SOURCE.api_uses()


@hookimpl
def multus_validate(conf: Conf) -> list[Problem]:
    """Names of namespaces; the types of values are checked by the table of keys."""
    return SOURCE.validate(conf)


@hookimpl
def multus_select(request: Request, conf: Conf, session: Session) -> list[Selection] | None:
    """The networks of the pod's annotation, which replace the node's defaults."""
    return SOURCE.select(request, conf, session)


@hookimpl
def multus_resolve(
    element: Element, request: Request, conf: Conf, session: Session
) -> Delegate | None:
    """The Network object that an element names."""
    return SOURCE.resolve(element, request, conf, session)
