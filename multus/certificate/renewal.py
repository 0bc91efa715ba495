"""Requests the node's certificate from Kubernetes, and renews it before it ends.

Source: Kubernetes API reference, ``certificates.k8s.io/v1`` CertificateSigningRequest.
"""

from __future__ import annotations

import base64
import json
import random
import secrets
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from multus.api.errors import CNIError, IOFailure, NotAvailable
from multus.api.kubernetes import Deadline
from multus.certificate import signing

if TYPE_CHECKING:
    from multus.certificate.wanted import Wanted
    from multus.kube.transport import HttpClient
    from multus.log import Log

_PATH = "/apis/certificates.k8s.io/v1/certificatesigningrequests"
_SIGNER = "kubernetes.io/kube-apiserver-client"
_USAGES = ("digital signature", "client auth")
#: The part of its life after which a certificate is renewed; each one has its own within these.
_DUE = (0.7, 0.9)
#: Interval between two looks at the file, and at a request that is not signed yet, in seconds.
_LOOK, _ASK = 10.0, 1.0
#: How long a request may wait for its signature; timeout of one call of the API; in seconds.
_SIGNING, _CALL = 900.0, 20.0
#: Pauses after a failure, in seconds; the longest also after a certificate that is due at once.
_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 60.0


class Renewal:
    """Keeps the certificate of *wanted* valid, in its own thread."""

    def __init__(self, wanted: Wanted, log: Log) -> None:
        self._wanted = wanted
        self._log = log
        self._stop = threading.Event()
        self._share = random.uniform(*_DUE)
        self._thread = threading.Thread(target=self._run, name="certificate", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """Stop; a request that waits for its signature is left to its approver."""
        self._stop.set()

    def _run(self) -> None:
        pause = _FIRST_PAUSE
        while not self._stop.is_set():
            try:
                due = self._due()
                if due > 0:
                    self._stop.wait(min(due, _LOOK))
                    continue
                self._renew()
                pause = _FIRST_PAUSE
                self._rest()
            except Exception as error:  # noqa: BLE001  the thread has to try again
                self._log.error("the node gets no certificate", user=self._wanted.user, error=error)
                self._stop.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _rest(self) -> None:
        """Wait when the new certificate is due already: the next one may be so too."""
        if self._due() > 0:
            return
        self._log.error(
            f"the new certificate {self._wanted.current} is due for renewal already: set the node's"
            " clock, or let the signer sign for a longer time",
            user=self._wanted.user,
        )
        self._stop.wait(_LONGEST_PAUSE)

    def _due(self) -> float:
        """Seconds until the certificate is due; 0 without a usable one."""
        found = self._validity()
        if found is None:
            return 0.0
        return found.begins + self._share * (found.ends - found.begins) - time.time()

    def _validity(self) -> signing.Validity | None:
        try:
            with open(self._wanted.current, "rb") as file:
                return signing.validity_of(file.read(), self._wanted.user)
        except OSError:
            return None

    def _renew(self) -> None:
        made = signing.new_request(self._wanted.user)
        pem = self._signed(made.request).rstrip() + b"\n" + made.key
        if signing.validity_of(pem, self._wanted.user) is None:
            raise NotAvailable("what was signed is not the certificate that was requested")
        try:
            self._wanted.store(pem, time.strftime("%Y-%m-%d-%H-%M-%S"))
        except OSError as error:
            raise IOFailure(f"cannot store the certificate: {error}") from error
        self._share = random.uniform(*_DUE)
        self._log.verbose("the node has a new certificate", user=self._wanted.user)

    def _signed(self, request: bytes) -> bytes:
        """The certificate for *request*: by the one of now, when that fails by the bootstrap's."""
        found = self._validity()
        wanted = self._wanted
        if found is not None and found.ends > time.time():
            try:
                return self._asked(wanted.kubeconfig, request)
            except CNIError as error:
                self._log.error("the certificate of now is not accepted", error=error)
        return self._asked(wanted.bootstrap, request)

    def _asked(self, kubeconfig: str, request: bytes) -> bytes:
        from multus.kube.kubeconfig import load_kubeconfig
        from multus.kube.transport import HttpClient

        client = HttpClient(load_kubeconfig(kubeconfig))
        try:
            name = f"multus-{self._wanted.node[:200]}-{secrets.token_hex(6)}"
            self._create(client, name, request)
            return self._answer(client, name)
        finally:
            client.close()

    def _create(self, client: HttpClient, name: str, request: bytes) -> None:
        from multus.api.kubernetes import ApiFailure

        spec = {
            "request": base64.b64encode(request).decode(),
            "signerName": _SIGNER,
            "expirationSeconds": self._wanted.seconds,
            "usages": list(_USAGES),
        }
        wire = {
            "apiVersion": "certificates.k8s.io/v1",
            "kind": "CertificateSigningRequest",
            "metadata": {"name": name},
            "spec": spec,
        }
        headers = {"Content-Type": "application/json"}
        until = Deadline.after(_CALL)
        try:
            body = json.dumps(wire).encode()
            client.call("POST", _PATH, f"create {name}", until, headers=headers, body=body)
        except ApiFailure as error:
            # An earlier try arrived, though its answer was lost.
            if error.word != "AlreadyExists":
                raise

    def _answer(self, client: HttpClient, name: str) -> bytes:
        """Wait for the signature of the request *name*."""
        ends = time.monotonic() + _SIGNING
        while time.monotonic() < ends and not self._stop.is_set():
            until = Deadline.after(_CALL)
            body = client.call("GET", f"{_PATH}/{name}", f"get {name}", until)
            status = _status(json.loads(body))
            if status.get("certificate"):
                return base64.b64decode(status["certificate"])
            refusal = _refusal(status)
            if refusal:
                raise NotAvailable(f"certificate request {name} was refused: {refusal}")
            self._stop.wait(_ASK)
        raise NotAvailable(
            f"certificate request {name} was not signed",
            fix="run the controller that approves it, such as cert-approver",
        )


def _status(wire: Mapping[str, Any]) -> Mapping[str, Any]:
    found = wire.get("status")
    return found if isinstance(found, dict) else {}


def _refusal(status: Mapping[str, Any]) -> str:
    """Why a request is denied or failed; empty when it is neither."""
    for each in status.get("conditions") or ():
        if each.get("type") in ("Denied", "Failed"):
            return str(each.get("message") or each.get("reason") or each["type"])
    return ""
