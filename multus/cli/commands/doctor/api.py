"""Whether the API server can be reached, and lets Multus do what it has to do there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from attrs import frozen

from multus.api.errors import CNIError
from multus.cli.commands.doctor.places import Node
from multus.cli.findings import ERROR, NOTE, OK, WARNING, Finding, of_error

_PATIENCE = 5.0
_REVIEW = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"


@frozen
class Right:
    """Something that Multus wants to do, which plugin wants it, and what fails without."""

    verb: str
    resource: str
    group: str
    plugin: str
    severity: str
    consequence: str
    subresource: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}/{self.subresource}" if self.subresource else self.resource
        return f"{self.verb} {kind}{f'.{self.group}' if self.group else ''}"

    def review(self) -> dict[str, Any]:
        """The SelfSubjectAccessReview that asks for it, in all namespaces."""
        attributes = {
            "verb": self.verb,
            "resource": self.resource,
            "group": self.group,
            "subresource": self.subresource,
        }
        return {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {k: v for k, v in attributes.items() if v}},
        }


_NADS = ("network-attachment-definitions", "k8s.cni.cncf.io")
_NETWORKS = ("networks", "kubernetes-network.cni.cncf.io")
RIGHTS = (
    Right("get", "pods", "", "source-", ERROR, "no pod can be attached"),
    Right("get", *_NADS, "source-nad", ERROR, "pods that choose such a network are refused"),
    Right("get", *_NETWORKS, "source-crd", ERROR, "pods that choose such a network are refused"),
    Right("patch", "pods", "", "observer-status", WARNING, "no status is written", "status"),
    Right("create", "events", "", "observer-status", WARNING, "pods get no events"),
)


def look(node: Node) -> Iterator[Finding]:
    """Reach the server with the configuration's kubeconfig, and ask for each right."""
    path = node.conf.raw.get("kubeconfig")
    if not isinstance(path, str) or not path:
        yield Finding(
            NOTE, "API server", "the configuration names no kubeconfig: pods are not looked up"
        )
        return
    from multus.kube.deadline import Deadline
    from multus.kube.kubeconfig import load_kubeconfig
    from multus.kube.transport import Transport

    try:
        access = load_kubeconfig(node.places.at(path))
    except CNIError as error:
        yield _failed(error)
        return
    transport = Transport(access)
    try:
        denied = False
        for right in _wanted(node):
            body = json.dumps(right.review()).encode()
            sent: Mapping[str, str] = {"Content-Type": "application/json"}
            answer = transport.call(
                "POST",
                _REVIEW,
                f"ask whether this account may {right}",
                Deadline.after(_PATIENCE),
                headers=sent,
                body=body,
            )
            if not _is_allowed(answer):
                denied = True
                reason = f"this account may not {right}: {right.consequence}"
                yield Finding(right.severity, "API rights", reason, "apply deploy/rbac", code=11)
        if not denied:
            server = access.cluster.server
            yield Finding(OK, "API server", f"{server} answers, and grants every right")
    except CNIError as error:
        yield _failed(error)
    finally:
        transport.close()


def _wanted(node: Node) -> Iterator[Right]:
    names = [entry.name for entry in node.installed.loaded]
    for right in RIGHTS:
        if any(name.startswith(right.plugin) for name in names):
            yield right


def _is_allowed(answer: bytes) -> bool:
    try:
        status = json.loads(answer).get("status") or {}
    except (ValueError, AttributeError):
        return False
    return status.get("allowed") is True


def _failed(error: CNIError) -> Finding:
    return of_error(error, "API server")
