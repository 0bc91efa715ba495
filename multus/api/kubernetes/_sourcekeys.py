"""The configuration keys that all Kubernetes sources share."""

from __future__ import annotations

from multus.api.keys import BOOLEAN, INTEGER, NUMBER, PATH, TEXT, Key

KUBECONFIG = Key(
    "kubeconfig",
    PATH,
    "How to reach the API server; without it no pod is looked up.",
    selects=True,
)

#: What all of them read (``SourceSettings``).
SHARED_KEYS = (
    KUBECONFIG,
    Key(
        "apiTimeout",
        NUMBER,
        "Seconds for all requests to the API server that one call makes, at most 300.",
        "15",
    ),
    Key(
        "namespaceIsolation",
        BOOLEAN,
        "Pods may only choose definitions of their own namespace, by whichever annotation.",
        "false",
    ),
    Key(
        "globalNamespaces",
        TEXT,
        "With `namespaceIsolation`: further namespaces, comma-separated, whose definitions all"
        " pods may choose.",
        '"default"',
    ),
    Key(
        "multusNamespace",
        TEXT,
        "Where definitions are looked up that the configuration names.",
        '"kube-system"',
    ),
    Key(
        "maxNetworks",
        INTEGER,
        "How many networks one annotation of a pod may choose, from 1 to 1024.",
        "64",
    ),
)
