"""The configuration keys that all Kubernetes sources share.

| key | value |
|---|---|
| ``kubeconfig`` | absolute path; pods are looked up when it is set |
| ``apiTimeout`` | seconds for all requests to the API server that one call makes, 15 |
| ``namespaceIsolation`` | pods may only use definitions of their own namespace, false |
| ``globalNamespaces`` | comma-separated namespaces whose definitions all may use, ``default`` |
| ``multusNamespace`` | where the node's own definitions are looked up, ``kube-system`` |
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import frozen

from multus.errors import InvalidConfig
from multus.model.conf import Problem

if TYPE_CHECKING:
    from multus.model.conf import Conf

#: The distribution of each key, for the entry points of the group ``multus.keys``.
KEYS = ("kubeconfig", "apiTimeout", "namespaceIsolation", "globalNamespaces", "multusNamespace")

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LONGEST_LABEL, _LONGEST_NAME = 63, 253


@frozen
class Settings:
    """Those keys, typed."""

    kubeconfig: str = ""
    api_timeout: float = 15.0
    isolation: bool = False
    global_namespaces: tuple[str, ...] = ("default",)
    multus_namespace: str = "kube-system"

    @classmethod
    def of(cls, conf: Conf) -> Settings:
        """Read them; raises ``InvalidConfig`` for the first that is wrong."""
        reader = conf.reader
        listed = reader.text("globalNamespaces", "default").split(",")
        return cls(
            kubeconfig=reader.text("kubeconfig"),
            api_timeout=reader.number("apiTimeout", 15.0),
            isolation=reader.boolean("namespaceIsolation"),
            global_namespaces=tuple(name.strip() for name in listed if name.strip()),
            multus_namespace=reader.text("multusNamespace", "kube-system"),
        )

    def permit(self, namespace: str, own: str, what: str, origin: str) -> None:
        """Raise ``InvalidConfig`` when isolation keeps pods of namespace *own* from *namespace*."""
        if not self.isolation or namespace == own or namespace in self.global_namespaces:
            return
        raise InvalidConfig(
            f"{origin}: namespace isolation is on, and a pod of namespace {own!r} may not use"
            f" {what} of namespace {namespace!r}: use a definition of its own namespace, or let the"
            " administrator add that one to 'globalNamespaces'"
        )


def problems(conf: Conf) -> list[Problem]:
    """What is wrong with these keys; every Kubernetes source asks."""
    try:
        settings = Settings.of(conf)
    except InvalidConfig as error:
        return [Problem("kubernetes keys", error.msg, "see docs/networks-nad.md")]
    found = []
    if settings.kubeconfig and not settings.kubeconfig.startswith("/"):
        reason = f"{settings.kubeconfig!r} is relative"
        found.append(Problem("kubeconfig", reason, "use an absolute path"))
    if not 0 < settings.api_timeout <= 300:
        reason = f"is {settings.api_timeout}"
        found.append(Problem("apiTimeout", reason, "use seconds above 0, at most 300"))
    for name in (settings.multus_namespace, *settings.global_namespaces):
        if not is_label(name):
            reason = f"{name!r} is no namespace's name"
            found.append(Problem("multusNamespace, globalNamespaces", reason, "correct it"))
    return found


def is_label(name: str) -> bool:
    """Whether *name* is a DNS-1123 label, as namespaces' names are."""
    return len(name) <= _LONGEST_LABEL and _LABEL.fullmatch(name) is not None


def is_object_name(name: str) -> bool:
    """Whether *name* may name a definition: DNS-1123 labels joined by dots."""
    return len(name) <= _LONGEST_NAME and all(_LABEL.fullmatch(part) for part in name.split("."))
