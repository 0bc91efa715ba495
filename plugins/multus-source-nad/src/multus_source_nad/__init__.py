"""The NAD source: NetworkAttachmentDefinitions, chosen by a pod's annotations.

``k8s.v1.cni.cncf.io/networks`` adds networks to the node's defaults;
``v1.multus-cni.io/default-network`` replaces the default one.

Source: Kubernetes Network Custom Resource Definition De-facto Standard 1.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus import hookimpl
from multus.api.conf import Conf
from multus.api.errors import InvalidConfig
from multus.api.kubernetes import (
    PODS,
    SHARED_KEYS,
    ApiUse,
    NotFound,
    View,
    annotation_of,
    is_object_name,
    problems,
    view_of,
)
from multus.api.network import Delegate, Element, Plugin, Role, Selection
from multus.api.problem import Problem
from multus.api.request import Request
from multus.api.session import Session
from multus.api.where import path_of
from multus_source_nad.annotation import parse, runtime_config
from multus_source_nad.defaultroute import chosen_gateways, settled, step_for
from multus_source_nad.definition import DEFINITIONS, delegate_of, wanted
from multus_source_nad.devices import KUBELET_DIR, multus_devices

if TYPE_CHECKING:
    from multus.api.keys import Key
    from multus.api.request import Pod

__all__ = [
    "multus_chain",
    "multus_devices",
    "multus_keys",
    "multus_kubernetes",
    "multus_resolve",
    "multus_runtime_config",
    "multus_select",
    "multus_validate",
]

NAME = "source-nad"
NETWORKS = "k8s.v1.cni.cncf.io/networks"
DEFAULT_NETWORK = "v1.multus-cni.io/default-network"


@hookimpl
def multus_keys() -> list[Key]:
    """The keys for the API server and for the kubelet."""
    from multus.api.keys import PATH, Key

    text = "The kubelet's folder, with its pod-resources socket and device checkpoint."
    return [*SHARED_KEYS, Key("kubeletDir", PATH, text, KUBELET_DIR)]


@hookimpl
def multus_kubernetes() -> list[ApiUse]:
    """Pods, and the definitions that they choose."""
    consequence = "pods that choose such a network are refused"
    return [
        ApiUse("get", PODS, "no pod can be attached"),
        ApiUse("get", DEFINITIONS, consequence, cached=("spec",)),
    ]


@hookimpl
def multus_validate(conf: Conf) -> list[Problem]:
    """Names of namespaces; the types of values are checked by the table of keys."""
    return problems(conf)


@hookimpl
def multus_select(request: Request, conf: Conf, session: Session) -> list[Selection] | None:
    """The networks that the pod adds to the defaults, and its replacement of the default one."""
    pod = request.pod
    view = view_of(request, conf, session) if pod else None
    if pod is None or view is None:
        return None
    exchanged, added = _chosen(pod, view, session)
    view.read_ahead([wanted(each.namespace, each.name) for each in (*exchanged, *added)])
    selections = []
    if exchanged:
        origin = annotation_of(DEFAULT_NETWORK, str(pod))
        selections.append(Selection(Role.EXCHANGED, exchanged, origin))
    if added:
        origin = annotation_of(NETWORKS, str(pod))
        selections.append(Selection(Role.ADDED, added, origin))
    return selections or None


@hookimpl
def multus_resolve(
    element: Element, request: Request, conf: Conf, session: Session
) -> Delegate | None:
    """The definition that an element names.

    A name in the configuration is looked up in ``multusNamespace``; when no definition has it, the
    next source looks for a file.
    """
    chosen = element.source == NAME
    view = view_of(request, conf, session)
    if view is None or (not chosen and not _may_be_definition(element)):
        return None
    namespace = element.namespace if chosen else view.settings.multus_namespace
    read = view.chosen if chosen else view.definition
    found = read(wanted(namespace, element.name), element.origin)
    if isinstance(found, NotFound):
        if chosen:
            raise found
        return None
    return delegate_of(found, namespace, element, conf)


@hookimpl
def multus_chain(
    delegate: Delegate, request: Request, conf: Conf, session: Session
) -> list[Plugin] | None:
    """The default-route step, for every network of a pod with ``default-route``."""
    pod = request.pod
    view = view_of(request, conf, session) if pod else None
    if pod is None or view is None:
        return None
    exchanged, added = _chosen(pod, view, session)
    gateways = chosen_gateways((*exchanged, *added))
    return None if gateways is None else [step_for(delegate, gateways)]


@hookimpl
def multus_runtime_config(
    delegate: Delegate, request: Request, conf: Conf
) -> Mapping[str, Any] | None:
    """The requests of the selection element."""
    return runtime_config(delegate.options) or None if delegate.source == NAME else None


def _chosen(
    pod: Pod, view: View, session: Session
) -> tuple[tuple[Element, ...], tuple[Element, ...]]:
    """The networks that the pod replaces and adds, read once for a request."""

    def read() -> tuple[tuple[Element, ...], tuple[Element, ...]]:
        exchanged, added = _exchanged(pod, view), _added(pod, view)
        both = settled((*exchanged, *added))
        return both[: len(exchanged)], both[len(exchanged) :]

    return session.once("multus_source_nad.chosen", read)


def _added(pod: Pod, view: View) -> tuple[Element, ...]:
    text = view.annotation(NETWORKS)
    if text is None:
        return ()
    origin = annotation_of(NETWORKS, str(pod))
    return _permitted(parse(text, pod.namespace, origin, NAME, view.settings.max_networks), view)


def _exchanged(pod: Pod, view: View) -> tuple[Element, ...]:
    text = view.annotation(DEFAULT_NETWORK)
    if text is None:
        return ()
    settings, origin = view.settings, annotation_of(DEFAULT_NETWORK, str(pod))
    elements = parse(text, settings.multus_namespace, origin, NAME, settings.max_networks)
    if len(elements) != 1:
        raise InvalidConfig(
            f"{origin} names {len(elements)} networks",
            path=path_of(origin),
            fix=f"name one, and choose others by {NETWORKS}",
        )
    return _permitted(elements, view)


def _permitted(elements: tuple[Element, ...], view: View) -> tuple[Element, ...]:
    """*elements*, when the pod may use all of them; checked before any definition is read."""
    for each in elements:
        view.require(wanted(each.namespace, each.name), each.origin)
    return elements


def _may_be_definition(element: Element) -> bool:
    # Other sources' elements have a namespace or a configuration; a path is never an object's name.
    return element.config is None and not element.namespace and is_object_name(element.name)
