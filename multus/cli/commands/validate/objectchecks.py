"""Checks Kubernetes objects: networks, pods that use them, and the definitions of their kinds.

Networks and pods pass through the same stages as in an ADD, with the given objects in place of the
API server, so the same errors are found.  What depends on a node or on objects that are not given
is not an error: it is "not checked here".
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from attrs import evolve, frozen

from multus.api.conf import Conf
from multus.api.errors import CNIError, IOFailure, shown
from multus.api.kubernetes import NotFound, is_label, is_object_name
from multus.api.network import Role
from multus.api.request import Request
from multus.api.session import Session
from multus.api.versions import NEWEST
from multus.api.where import Path, Where, dotted, path_of
from multus.cli.commands.validate.nodechecks import OfNode
from multus.cli.findings import ERROR, NOTE, UNCHECKED, WARNING, Finding
from multus.cli.objects import (
    ELSEWHERE,
    NETWORKS,
    RESOURCE,
    TEMPLATES,
    Named,
    NotGiven,
    Objects,
    resource_of,
    without_resource,
)
from multus.cli.respelling import about_network
from multus.engine import order, requests, resolve
from multus.engine.permit import require_permitted
from multus.log import Log

if TYPE_CHECKING:
    from multus.api.network import Delegate, Element
    from multus.registry.loading import Installed

_NAD_ANNOTATION = "k8s.v1.cni.cncf.io/networks"
#: Stands for a node's default network when no configuration of Multus is given.
_DEFAULT = {"type": "default-network", "name": "default-network"}
_PROBE = "multus-validate"
#: The path of the configuration in an object.
_CONFIGS: tuple[Path, ...] = (("spec", "config"), ("spec", "args"), ("args",), ("spec",))


@frozen
class GivenObjects:
    """The given objects, as sources see them."""

    installed: Installed
    conf: Conf
    objects: Objects
    of_node: OfNode

    @classmethod
    def of(
        cls,
        found: Sequence[Named],
        installed: Installed,
        config: Mapping[str, Any] | None,
        *,
        here: bool,
    ) -> GivenObjects:
        """All of *found*, with the configuration *config*, or a minimal one."""
        keys = {"name": "validate", "cniVersion": NEWEST, "delegates": [_DEFAULT]}
        plain = Conf("validate", NEWEST, keys)
        try:
            conf = Conf.from_wire(config) if config else plain
        except CNIError:
            conf = plain
        objects = Objects.of([without_resource(each) for each in found])
        return cls(installed, conf, objects, OfNode(installed, conf, here))

    def session(self) -> Session:
        """A session on the given objects; it has no resources to close."""
        return Session(Log.from_conf({"logLevel": "panic"}), api=self.objects)


def _request(namespace: str, name: str) -> Request:
    """An ADD request for the pod, only used for checks."""
    return Request(
        command="ADD",
        container_id="validate",
        ifname="eth0",
        args={"K8S_POD_NAMESPACE": namespace, "K8S_POD_NAME": name},
        dry_run=True,
    )


def is_checked(named: Named) -> bool:
    """Whether the object is of a kind that Multus reads, or holds a pod's template."""
    return named.kind in _checks() or named.kind in TEMPLATES


def _checks() -> Mapping[str, Callable[[Named, GivenObjects], Iterator[Finding]]]:
    return {
        "CustomResourceDefinition": _definition,
        "NetworkAttachmentDefinition": _network,
        "Network": _network,
        "Pod": _pod,
        "ThirdPartyResource": _third_party,
    }


def check_object(named: Named, cluster: GivenObjects) -> list[Finding]:
    """All problems of one object; kinds that Multus does not read are ignored."""
    check = _checks().get(named.kind)
    if check is None:
        return []
    wrong = [*_lost_indentation(named), *_misnamed(named)]
    return wrong or [*_unnamed(named), *check(named, cluster)]


def _lost_indentation(named: Named) -> Iterator[Finding]:
    value = named.document.value
    if value.get("metadata") is None and "metadata" in value and "name" in value:
        reason = "'metadata' is empty and 'name' is next to it: the indentation was lost"
        fix = "indent the keys of 'metadata' by two spaces"
        yield named.document.finding(ERROR, ("metadata",), reason, fix)


def _misnamed(named: Named) -> Iterator[Finding]:
    """A name that the API server refuses."""
    document = named.document
    metadata = document.value.get("metadata")
    # One with 'generateName' has no name yet.
    written = isinstance(metadata, dict) and isinstance(metadata.get("name"), str)
    if written and named.name and not is_object_name(named.name):
        reason = f"is {shown(named.name)}, which cannot be the name of an object"
        fix = "use lower-case letters, digits, '-' and '.'; start and end with a letter or digit"
        yield document.finding(ERROR, document.known(("metadata", "name")), reason, fix)
    if not is_label(named.namespace):
        reason = f"is {shown(named.namespace)}, which cannot be the name of a namespace"
        fix = "use lower-case letters, digits and '-', at most 63"
        yield document.finding(ERROR, document.known(("metadata", "namespace")), reason, fix)


def _unnamed(named: Named) -> Iterator[Finding]:
    if not named.name:
        yield named.document.finding(ERROR, ("metadata",), "has no 'name'", "name the object")


# --- Networks -------------------------------------------------------------------------------------


def _network(named: Named, cluster: GivenObjects) -> Iterator[Finding]:
    """Check the network as if a pod requested only this one."""
    if not named.name:
        return
    annotation = _annotation_for(named)
    if annotation is None:
        reason = f"{named.document.value.get('apiVersion')!r} does not serve {named.kind}s"
        fix = f"write {_GROUPS[named.kind]}/v1"
        yield named.document.finding(ERROR, ("apiVersion",), reason, fix)
        return
    probe = {
        "metadata": {
            "name": _PROBE,
            "annotations": {
                annotation: json.dumps([{"name": named.name, "namespace": named.namespace}])
            },
        }
    }
    objects = evolve(
        cluster.objects, pods={**cluster.objects.pods, (named.namespace, _PROBE): probe["metadata"]}
    )
    request, session = _request(named.namespace, _PROBE), evolve(cluster, objects=objects).session()
    conf = evolve(cluster.conf, raw={**cluster.conf.raw, "namespaceIsolation": False})
    try:
        selections = cluster.installed.hooks.select(request, conf, session)
        elements = [e for s in selections for e in s.elements if e.name == named.name]
        if not elements:
            reason = f"no installed source reads {named.kind}s of {named.group}: it is not checked"
            yield named.document.finding(WARNING, ("kind",), reason, _install_for(named))
            return
        delegate = cluster.installed.hooks.resolve(elements[0], request, conf, session)
        path = next((each for each in _CONFIGS if each in named.document.marks), ())
        yield from about_network(named.document, path)
        if delegate is not None:
            require_permitted(delegate, Where(str(named), path))
            yield from cluster.of_node.check(named.document, path, delegate)
    except ELSEWHERE as error:
        found = named.document.told(error, severity=UNCHECKED, whole=True)
        yield evolve(found, fix=f"not checked here: {found.fix}", code=0, of_node=True)
    except CNIError as error:
        yield named.document.told(error, whole=True)
    resource = resource_of(named)
    if resource is not None:
        reason = f"which device of {resource} a pod gets"
        fix = "not checked here: 'multus explain --pod' on a node shows it"
        yield evolve(named.document.finding(UNCHECKED, RESOURCE, reason, fix), of_node=True)


_GROUPS = {
    "Network": "kubernetes-network.cni.cncf.io",
    "NetworkAttachmentDefinition": "k8s.cni.cncf.io",
}


def _annotation_for(named: Named) -> str | None:
    if named.kind == "NetworkAttachmentDefinition":
        return _NAD_ANNOTATION if named.group == _GROUPS[named.kind] else None
    from multus.api.kubernetes.networks import FIRST, SEED, SPRING

    return {each.group: each.annotation for each in (FIRST, SEED, SPRING)}.get(named.group)


def _install_for(named: Named) -> str:
    source = "nad" if named.kind == "NetworkAttachmentDefinition" else "crd"
    return f"install multus-source-{source}"


# --- Pods -----------------------------------------------------------------------------------------


def _pod(named: Named, cluster: GivenObjects) -> Iterator[Finding]:
    """All errors of this pod's ADD; a network that is not in the files is a warning."""
    request, session = _request(named.namespace, named.name), cluster.session()
    hooks = cluster.installed.hooks
    try:
        selections = hooks.select(request, cluster.conf, session)
    except CNIError as error:
        yield named.document.told(error, whole=True)
        return

    def read(element: Element) -> Delegate | None:
        return hooks.resolve(element, request, cluster.conf, session)

    answers = [
        _answer_for(named, element, selection.role, read)
        for selection in selections
        for element in selection.elements
    ]
    for found, _ in answers:
        yield from found
    complete = all(known for _, known in answers)
    if not selections or not complete:
        return
    try:
        resolved = resolve.resolve(cluster.installed, request, cluster.conf, session)
        order.order(hooks, resolved, request, cluster.conf, session)
    except CNIError as error:
        path = named.document.known(path_of(selections[-1].origin))
        yield named.document.finding(ERROR, path, error.said, error.fix, error.number)
        return
    yield from _undeclared(named, resolve.combine(selections, cluster.conf), resolved.delegates)


def _answer_for(
    named: Named, element: Element, role: Role, read: Callable[[Element], Delegate | None]
) -> tuple[list[Finding], bool]:
    """The findings about one chosen network, and whether its configuration is known."""
    document = named.document
    found = [document.about(each) for each in element.remarks]
    try:
        delegate = read(element)
    except NotGiven as error:
        path = document.known(path_of(element.origin))
        return [*found, document.finding(UNCHECKED, path, error.said, error.fix)], False
    except (NotFound, IOFailure):
        delegate = None
    except CNIError as error:
        # Problems of a network are reported at the network itself.
        if error.path[:1] == ("metadata",):
            found.append(document.told(error, whole=True))
        return found, False
    if delegate is None and element.config is None:
        return [*found, _not_given(named, element, role)], False
    return found, True


def _undeclared(
    named: Named, networks: Sequence[resolve.Requested], delegates: Sequence[Delegate]
) -> Iterator[Finding]:
    """Requests that the standard lets fail (NPWG 1.3, section 4.1.2.1); Multus tries to serve them.

    The standard does not cover the annotation for the default network.
    """
    for requested, delegate in zip(networks, delegates, strict=True):
        for problem in () if requested.default else requests.undeclared(delegate):
            path = named.document.known(path_of(requested.element.origin))
            reason = (
                f"{delegate}: {dotted(problem.path)!r} {problem.reason}, as the standard demands"
            )
            yield named.document.finding(WARNING, path, reason, problem.fix)


def _not_given(named: Named, element: Element, role: Role) -> Finding:
    what = "the default network" if role is Role.DEFAULT else "network"
    path = named.document.known(path_of(element.origin)) if role is not Role.DEFAULT else ()
    reason = f"{what} {str(element)!r} is not in the given files"
    fix = "not checked here: pass the file that defines it (-f)"
    return evolve(named.document.finding(UNCHECKED, path, reason, fix), of_node=True)


# --- Kinds ----------------------------------------------------------------------------------------


def _definition(named: Named, cluster: GivenObjects) -> Iterator[Finding]:
    value = named.document.value
    spec = value.get("spec")
    spec = spec if isinstance(spec, dict) else {}
    names = spec.get("names")
    names = names if isinstance(names, dict) else {}
    if names.get("kind") not in NETWORKS:
        return
    wanted = f"{names.get('plural')}.{spec.get('group')}"
    if named.name and named.name != wanted:
        reason = f"{named.name!r} is not <plural>.<group>, which is {wanted!r}"
        path = ("metadata", "name")
        yield named.document.finding(ERROR, path, reason, "correct it: the API server refuses it")
    if str(value.get("apiVersion", "")).endswith("v1beta1"):
        reason = "Kubernetes 1.22 and later does not serve apiextensions.k8s.io/v1beta1"
        fix = "for such clusters use the definition in deploy/crds, apiextensions.k8s.io/v1"
        yield named.document.finding(WARNING, ("apiVersion",), reason, fix)
    elif not spec.get("versions"):
        reason = "apiextensions.k8s.io/v1 needs 'versions' with a schema"
        yield named.document.finding(ERROR, ("spec",), reason, "see deploy/crds")


def _third_party(named: Named, cluster: GivenObjects) -> Iterator[Finding]:
    reason = "ThirdPartyResources exist up to Kubernetes 1.7 only"
    fix = "on 1.7 and later use the CustomResourceDefinition in deploy/crds"
    yield named.document.finding(NOTE, ("kind",), reason, fix)
