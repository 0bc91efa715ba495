"""A stand-in for the Kubernetes API server that speaks its HTTP API over TLS.

In a test::

    with ApiServer() as api:
        api.create({"apiVersion": "v1", "kind": "Pod", "metadata": {...}, ...})
        api.faults.add(Fault("status", path="*/pods/web", code=429, retry_after="1"))
        kubeconfig = api.write_kubeconfig(tmp_path)
        ...
        assert api.requests["GET", "/api/v1/namespaces/default/pods/web"] == 2

or as a separate process, which prints its URL when it listens::

    python -m multus.testing.apiserver --directory /tmp/api --objects deploy/examples/*.yaml

``kubectl --kubeconfig /tmp/api/kubeconfig`` works with it.  At the start, trustme (extra ``test``)
creates the certificates.
"""

from __future__ import annotations

from multus.testing.apiserver.access import PROOFS
from multus.testing.apiserver.execution import Container
from multus.testing.apiserver.faults import Fault, Faults
from multus.testing.apiserver.server import ApiServer
from multus.testing.apiserver.store import (
    ADDRESS_KINDS,
    CORE_KINDS,
    DEVICE_KINDS,
    NETWORK_KINDS,
    Kind,
)

__all__ = [
    "ADDRESS_KINDS",
    "CORE_KINDS",
    "DEVICE_KINDS",
    "NETWORK_KINDS",
    "PROOFS",
    "ApiServer",
    "Container",
    "Fault",
    "Faults",
    "Kind",
]
