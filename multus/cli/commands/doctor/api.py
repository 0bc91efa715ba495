"""Checks that the API server answers and grants the rights that Multus needs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError
from multus.cli.commands.doctor.places import Node
from multus.cli.findings import ERROR, NOT_APPLICABLE, OK, WARNING, Finding, of_error

if TYPE_CHECKING:
    from multus.api.kubernetes import ApiUse, Resource
    from multus.kube.transport import HttpClient

_PATIENCE = 5.0
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


def look(node: Node) -> Iterator[Finding]:
    """Connect with the configuration's kubeconfig, and check the account's rights."""
    unknown = node.without_conf("API server")
    path = node.conf.raw.get("kubeconfig")
    if unknown is None and (not isinstance(path, str) or not path):
        reason = f"{node.file} has no 'kubeconfig': pods are not looked up"
        unknown = Finding(NOT_APPLICABLE, "API server", reason)
    if unknown is not None:
        yield unknown
        return
    path = str(path)
    from multus.kube.kubeconfig import load_kubeconfig
    from multus.kube.transport import HttpClient

    try:
        access = load_kubeconfig(node.places.at(path))
    except CNIError as error:
        yield _failed(error)
        return
    transport = HttpClient(access)
    try:
        denied = False
        for use in _wanted(node):
            if _is_denied(transport, use) and (use.required or _is_served(transport, use.resource)):
                denied = True
                reason = f"this account may not {use}: {use.consequence}"
                severity = ERROR if use.required else WARNING
                yield Finding(
                    severity,
                    "API rights",
                    reason,
                    "grant it by RBAC, as the manifests in deploy do",
                    code=11,
                )
        if not denied:
            server = access.cluster.server
            yield Finding(OK, "API server", f"{server} answers, and grants every right")
    except CNIError as error:
        yield _failed(error)
    finally:
        transport.close()


def _is_denied(transport: HttpClient, use: ApiUse) -> bool:
    from multus.api.kubernetes import Deadline

    sent: Mapping[str, str] = {"Content-Type": "application/json"}
    answer = transport.call(
        "POST",
        _REVIEW,
        f"ask whether this account may {use}",
        Deadline.after(_PATIENCE),
        headers=sent,
        body=json.dumps(_review(use)).encode(),
    )
    return not _is_allowed(answer)


def _review(use: ApiUse) -> dict[str, Any]:
    """A SelfSubjectAccessReview of this right: of one object, or in all namespaces."""
    attributes = {
        "verb": use.verb,
        "resource": use.resource.plural,
        "group": use.resource.group,
        "subresource": use.subresource,
        "namespace": use.only.namespace if use.only else "",
        "name": use.only.name if use.only else "",
    }
    return {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": {key: value for key, value in attributes.items() if value}},
    }


def _is_served(transport: HttpClient, kind: Resource) -> bool:
    """Whether the API server has the kind: of one that it has not, nobody names an object."""
    from multus.api.kubernetes import Deadline, NotFound

    path = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    try:
        answer = transport.call("GET", path, f"look for {kind}", Deadline.after(_PATIENCE))
    except NotFound:
        return False
    try:
        return kind.plural in {each["name"] for each in json.loads(answer)["resources"]}
    except (ValueError, KeyError, TypeError):
        return True


def _wanted(node: Node) -> list[ApiUse]:
    """The rights that the plugins need, without duplicates."""
    return list({str(each): each for each in node.installed.hooks.kubernetes()}.values())


def _is_allowed(answer: bytes) -> bool:
    try:
        status = json.loads(answer).get("status") or {}
    except (ValueError, AttributeError):
        return False
    return status.get("allowed") is True


def _failed(error: CNIError) -> Finding:
    return of_error(error, "API server")
