"""The configuration keys that all Kubernetes sources share.

| key | value |
|---|---|
| ``kubeconfig`` | absolute path; pods are looked up when it is set |
| ``apiTimeout`` | seconds for all requests to the API server that one call makes, 15 |
| ``namespaceIsolation`` | pods may only use definitions of their own namespace, false |
| ``globalNamespaces`` | comma-separated namespaces whose definitions all may use, ``default`` |
| ``multusNamespace`` | where the node's own definitions are looked up, ``kube-system`` |
| ``maxNetworks`` | how many networks one annotation of a pod may choose, 1 to 1024, 64 |
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from attrs import frozen

from multus.api.conf import Problem
from multus.api.errors import InvalidConfig

if TYPE_CHECKING:
    from multus.api.conf import Conf
    from multus.api.reader import Reader

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LONGEST_LABEL, _LONGEST_NAME = 63, 253
MAX_NETWORKS, MOST_NETWORKS = 64, 1024


@frozen
class SourceSettings:
    """Those keys, typed."""

    kubeconfig: str = ""
    api_timeout: float = 15.0
    isolation: bool = False
    global_namespaces: tuple[str, ...] = ("default",)
    multus_namespace: str = "kube-system"
    max_networks: int = MAX_NETWORKS

    @classmethod
    def of(cls, conf: Conf) -> SourceSettings:
        """Read them; raises ``InvalidConfig`` for the first that is wrong."""
        reader = conf.reader
        return cls(
            kubeconfig=reader.text("kubeconfig"),
            api_timeout=reader.number("apiTimeout", 15.0),
            isolation=reader.boolean("namespaceIsolation"),
            global_namespaces=_listed(reader),
            multus_namespace=reader.text("multusNamespace", "kube-system"),
            max_networks=_max_networks(reader),
        )

    def permits(self, namespace: str, own: str) -> bool:
        """Whether pods of namespace *own* may use the definitions of *namespace*.

        With ``namespaceIsolation`` these are their own and those of ``globalNamespaces``.
        """
        return not self.isolation or namespace == own or namespace in self.global_namespaces


def problems(conf: Conf) -> list[Problem]:
    """What is wrong with these keys, each under its name; every Kubernetes source asks."""
    reader, found = conf.reader, []
    checks: tuple[tuple[str, Callable[[], object]], ...] = (
        ("kubeconfig", lambda: reader.path("kubeconfig")),
        ("apiTimeout", lambda: _timeout(reader.number("apiTimeout", 15.0))),
        ("namespaceIsolation", lambda: reader.boolean("namespaceIsolation")),
        ("globalNamespaces", lambda: _namespaces(_listed(reader))),
        ("multusNamespace", lambda: _namespaces([reader.text("multusNamespace", "kube-system")])),
        ("maxNetworks", lambda: _max_networks(reader)),
    )
    for key, check in checks:
        try:
            check()
        except InvalidConfig as error:
            reason, _, fix = error.msg.removeprefix(f"{reader.where}: ").rpartition(": ")
            found.append(Problem(key, reason, fix))
    return found


def _listed(reader: Reader) -> tuple[str, ...]:
    parts = reader.text("globalNamespaces", "default").split(",")
    return tuple(part.strip() for part in parts if part.strip())


def _timeout(seconds: float) -> None:
    if not 0 < seconds <= 300:
        raise InvalidConfig(f"is {seconds}: use seconds above 0, at most 300")


def _max_networks(reader: Reader) -> int:
    number = reader.integer("maxNetworks", MAX_NETWORKS)
    if not 1 <= number <= MOST_NETWORKS:
        raise InvalidConfig(
            f"{reader.where}: 'maxNetworks' is {number}: use a number from 1 to {MOST_NETWORKS}"
        )
    return number


def _namespaces(names: Iterable[str]) -> None:
    for name in names:
        if not is_label(name):
            raise InvalidConfig(f"{name!r} is no namespace's name: correct it")


def is_label(name: str) -> bool:
    """Whether *name* is a DNS-1123 label, as namespaces' names are."""
    return len(name) <= _LONGEST_LABEL and _LABEL.fullmatch(name) is not None


def is_object_name(name: str) -> bool:
    """Whether *name* may name a definition: DNS-1123 labels joined by dots."""
    return len(name) <= _LONGEST_NAME and all(_LABEL.fullmatch(part) for part in name.split("."))
