"""The configuration keys that all Kubernetes sources share."""

from __future__ import annotations

from multus.api.keys import BOOLEAN, INTEGER, NUMBER, PLACE, TEXT, Key

KUBECONFIG = Key(
    "kubeconfig",
    PLACE,
    "The kubeconfig for the API server; without it, no pod is looked up.",
    selects=True,
)
API_TIMEOUT = Key(
    "apiTimeout",
    NUMBER,
    "Seconds for all requests to the API server that one call makes, at most 300.",
    15,
    above=0,
    most=300,
)
NAMESPACE_ISOLATION = Key(
    "namespaceIsolation",
    BOOLEAN,
    "Pods may only choose definitions of their own namespace, with any annotation.",
    False,
)
GLOBAL_NAMESPACES = Key(
    "globalNamespaces",
    TEXT,
    "With `namespaceIsolation`: more namespaces, comma-separated, whose definitions all"
    " pods may choose.",
    "default",
)
MULTUS_NAMESPACE = Key(
    "multusNamespace",
    TEXT,
    "The namespace of definitions that the configuration names.",
    "kube-system",
)
MAX_NETWORKS = Key(
    "maxNetworks",
    INTEGER,
    "How many networks one annotation of a pod may choose, from 1 to 1024.",
    64,
    least=1,
    most=1024,
)

#: The keys that all Kubernetes sources read (``SourceSettings``).
SHARED_KEYS = (
    KUBECONFIG,
    API_TIMEOUT,
    NAMESPACE_ISOLATION,
    GLOBAL_NAMESPACES,
    MULTUS_NAMESPACE,
    MAX_NETWORKS,
)
