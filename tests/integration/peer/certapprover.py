"""Plays what signs a node's certificate in a cluster: cert-approver, and the controller that signs.

The rules are those by which the Go Multus' cert-approver approves a request.
"""

from __future__ import annotations

import base64
import threading
import time
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from multus.testing.apiserver import ApiServer
from multus.testing.apiserver.store import Kind

REQUESTS = Kind(
    "certificates.k8s.io",
    "v1",
    "certificatesigningrequests",
    "CertificateSigningRequest",
    namespaced=False,
)
_GROUPS = {"system:nodes", "system:multus", "system:authenticated"}


class CertApprover:
    """Approves and signs requests in a thread, for *seconds*; as a context manager.

    Without *approves*, it denies each.
    """

    def __init__(self, api: ApiServer, *, seconds: float = 3600, approves: bool = True) -> None:
        self._api = api
        self.seconds = seconds
        self.approves = approves
        self.served: list[dict[str, Any]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> CertApprover:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            for each in self._api.store.objects(REQUESTS, "", ()):
                if not each.get("status"):
                    self._serve(each)

    def _serve(self, wire: dict[str, Any]) -> None:
        refusal = self.refusal(wire["spec"]) if self.approves else "not today"
        kind = "Denied" if refusal else "Approved"
        condition = {"type": kind, "status": "True", "message": refusal}
        status: dict[str, Any] = {"conditions": [condition]}
        if not refusal:
            request, now = base64.b64decode(wire["spec"]["request"]), time.time()
            pem = self._api.access.sign(request, now - 1, now + self.seconds)
            status["certificate"] = base64.b64encode(pem).decode()

        def edit(stored: dict[str, Any]) -> None:
            stored["status"] = status

        self.served.append(wire)
        self._api.store.change(REQUESTS, "", wire["metadata"]["name"], edit)

    @staticmethod
    def refusal(spec: dict[str, Any]) -> str:
        """Why a request is not approved; empty when it is."""
        asked = x509.load_pem_x509_csr(base64.b64decode(spec["request"]))
        prefix, _, node = spec["username"].rpartition(":")
        names = {
            oid: [each.value for each in asked.subject.get_attributes_for_oid(oid)]
            for oid in (NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME)
        }
        rules = {
            "signer": spec["signerName"] == "kubernetes.io/kube-apiserver-client",
            "user": prefix in ("system:node", "system:multus"),
            "usages": set(spec["usages"]) == {"digital signature", "client auth"},
            "groups": set(spec["groups"]) <= _GROUPS,
            "name": names[NameOID.COMMON_NAME] == [f"system:multus:{node}"],
            "organization": names[NameOID.ORGANIZATION_NAME] == ["system:multus"],
            "duration": 600 <= spec.get("expirationSeconds", 0) <= 365 * 24 * 3600,
            "signature": asked.is_signature_valid,
        }
        return ", ".join(name for name, holds in rules.items() if not holds)
