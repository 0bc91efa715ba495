"""The configuration keys that all Kubernetes sources share, typed (``_sourcekeys``)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from attrs import frozen

from multus.api.errors import InvalidConfig
from multus.api.kubernetes import _sourcekeys as keys
from multus.api.problem import Problem, remark

if TYPE_CHECKING:
    from multus.api.conf import Conf

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
_LONGEST_LABEL, _LONGEST_NAME = 63, 253
MAX_NETWORKS: int = keys.MAX_NETWORKS.absent
MOST_NETWORKS = 1024


@frozen
class SourceSettings:
    """The shared keys, typed; ``api_timeout`` is in seconds."""

    kubeconfig: str = ""
    api_timeout: float = 15.0
    isolation: bool = False
    global_namespaces: tuple[str, ...] = ("default",)
    multus_namespace: str = "kube-system"
    max_networks: int = MAX_NETWORKS

    @classmethod
    def of(cls, conf: Conf) -> SourceSettings:
        """Read them; raises ``InvalidConfig`` for the first invalid one."""
        reader = conf.reader
        return cls(
            kubeconfig=keys.KUBECONFIG.read(reader),
            api_timeout=keys.API_TIMEOUT.read(reader),
            isolation=keys.NAMESPACE_ISOLATION.read(reader),
            global_namespaces=_listed(keys.GLOBAL_NAMESPACES.read(reader)),
            multus_namespace=keys.MULTUS_NAMESPACE.read(reader),
            max_networks=keys.MAX_NETWORKS.read(reader),
        )

    def permits(self, namespace: str, own: str) -> bool:
        """Whether pods of namespace *own* may use the definitions of *namespace*.

        With ``namespaceIsolation`` only *own* and ``globalNamespaces`` are allowed.
        """
        return not self.isolation or namespace == own or namespace in self.global_namespaces


def problems(conf: Conf) -> list[Problem]:
    """Names that no namespace has, for the ``multus_validate`` of every Kubernetes source.

    They are remarks: such a name matches nothing.  The types of values are checked by the table of
    keys.
    """
    found = []
    for key in (keys.GLOBAL_NAMESPACES, keys.MULTUS_NAMESPACE):
        try:
            text = key.read(conf.reader)
        except InvalidConfig:
            continue
        for name in _listed(text) if key is keys.GLOBAL_NAMESPACES else (text,):
            if not is_label(name):
                reason = f"has {name!r}, which cannot be the name of a namespace"
                found.append(remark(key.name, reason, "correct it"))
    return found


def _listed(text: str) -> tuple[str, ...]:
    parts = text.split(",")
    return tuple(part.strip() for part in parts if part.strip())


def is_label(name: str) -> bool:
    """Whether *name* is a DNS-1123 label, as namespaces' names are."""
    return len(name) <= _LONGEST_LABEL and _LABEL.fullmatch(name) is not None


def is_object_name(name: str) -> bool:
    """Whether *name* is a valid object name: DNS-1123 labels joined by dots."""
    return len(name) <= _LONGEST_NAME and all(_LABEL.fullmatch(part) for part in name.split("."))
