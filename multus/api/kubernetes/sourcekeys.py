"""The configuration keys of the Kubernetes sources, for people."""

from __future__ import annotations

from multus.api.keys import BOOLEAN, INTEGER, NUMBER, PATH, TEXT, TEXTS, Key

KUBECONFIG = Key(
    "kubeconfig",
    PATH,
    "How to reach the API server; without it no pod is looked up.",
    selects=True,
)

#: What all of them read (``SourceSettings``).
SHARED = (
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

DIALECTS = Key(
    "networkDialects",
    TEXTS,
    "The API groups in which Network objects are looked up, in this order; all that the installed"
    " sources know unless it is given.",
)

KUBELET_DIR = Key(
    "kubeletDir",
    PATH,
    "The kubelet's folder, where it says which devices a pod has.",
    '"/var/lib/kubelet"',
)
