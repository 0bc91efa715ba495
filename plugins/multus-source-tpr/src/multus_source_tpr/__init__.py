"""The TPR source: pods choose Network objects that a ThirdPartyResource serves."""

from __future__ import annotations

from multus import hookimpl
from multus.kube.networks import FIRST, SEED, Source
from multus.model.conf import Conf, Problem
from multus.model.network import Delegate, Element, Selection
from multus.model.request import Request

SOURCE = Source("source-tpr", (FIRST, SEED))


@hookimpl
def multus_validate(conf: Conf) -> list[Problem]:
    """The keys for the API server, and the dialects."""
    return SOURCE.validate(conf)


@hookimpl
def multus_select(request: Request, conf: Conf) -> list[Selection] | None:
    """What the pod's annotation chooses, in the place of the node's defaults."""
    return SOURCE.select(request, conf)


@hookimpl
def multus_resolve(element: Element, request: Request, conf: Conf) -> Delegate | None:
    """The Network object that an element names."""
    return SOURCE.resolve(element, request, conf)
