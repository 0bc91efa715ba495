"""Certificates, tokens, and the kubeconfig that gives access."""

from __future__ import annotations

import base64
import json
import os
import ssl
from typing import Any

from multus.api import atomic

#: The ways in which a kubeconfig authenticates.
PROOFS = ("token", "token-file", "basic", "certificate", "certificate-file", "exec")


class Access:
    """A certificate authority for one stand-in, and the credentials that it accepts.

    ``ca_pem`` is the authority's certificate, ``client_certificate`` a chain and its key, all PEM.
    """

    def __init__(self) -> None:
        self.token = "stand-in-token"
        self.username, self.password = "stand-in", "stand-in-password"
        import trustme

        self._authority = trustme.CA(organization_name="multus stand-in")
        self.ca_pem = self._authority.cert_pem.bytes()
        node = self._authority.issue_cert("node@stand-in", common_name="system:node:n1")
        self.client_certificate = (
            b"".join(blob.bytes() for blob in node.cert_chain_pems),
            node.private_key_pem.bytes(),
        )

    def sign(self, request: bytes, begins: float, ends: float) -> bytes:
        """A client certificate for the PEM *request*; its validity is in seconds since 1970."""
        from datetime import datetime, timezone

        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.x509.oid import ExtendedKeyUsageOID

        authority = x509.load_pem_x509_certificate(self.ca_pem)
        key: Any = serialization.load_pem_private_key(self._authority.private_key_pem.bytes(), None)
        asked = x509.load_pem_x509_csr(request)
        made = x509.CertificateBuilder(
            issuer_name=authority.subject,
            subject_name=asked.subject,
            public_key=asked.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=datetime.fromtimestamp(begins, timezone.utc),
            not_valid_after=datetime.fromtimestamp(ends, timezone.utc),
        )
        usage = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
        signed = made.add_extension(usage, critical=False).sign(key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def write_kubeconfig(
        self, url: str, directory: str | os.PathLike[str], proof: str, **cluster: Any
    ) -> str:
        """Write a kubeconfig (JSON) for *url*; *cluster* changes keys of its cluster.

        *proof* is one of ``PROOFS``.  Returns its path.
        """
        where = os.fspath(directory)
        section: dict[str, Any] = {
            "server": url,
            "certificate-authority-data": base64.b64encode(self.ca_pem).decode(),
        }
        section.update({key.replace("_", "-"): value for key, value in cluster.items()})
        wire = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "stand-in", "cluster": {k: v for k, v in section.items() if v is not None}}
            ],
            "users": [{"name": "node", "user": self._user(where, proof)}],
            "contexts": [{"name": "node", "context": {"cluster": "stand-in", "user": "node"}}],
            "current-context": "node",
        }
        return write(where, "kubeconfig", json.dumps(wire, indent=2).encode())

    def _user(self, where: str, proof: str) -> dict[str, Any]:
        chain, key = self.client_certificate
        if proof == "token":
            return {"token": self.token}
        if proof == "token-file":
            write(where, "token", self.token.encode() + b"\n")
            return {"tokenFile": "token"}
        if proof == "basic":
            return {"username": self.username, "password": self.password}
        if proof == "certificate":
            return {
                "client-certificate-data": base64.b64encode(chain).decode(),
                "client-key-data": base64.b64encode(key).decode(),
            }
        if proof == "certificate-file":
            write(where, "client.crt", chain)
            write(where, "client.key", key)
            return {"client-certificate": "client.crt", "client-key": "client.key"}
        if proof == "exec":
            return {"exec": self._exec_plugin(where)}
        raise ValueError(f"unknown proof {proof!r}: use one of {', '.join(PROOFS)}")

    def _exec_plugin(self, where: str) -> dict[str, Any]:
        credential = {
            "apiVersion": "client.authentication.k8s.io/v1",
            "kind": "ExecCredential",
            "status": {"token": self.token},
        }
        write(where, "credential.json", json.dumps(credential).encode())
        script = write(
            where, "credential", b'#!/bin/sh\nexec cat "$(dirname "$0")/credential.json"\n'
        )
        os.chmod(script, 0o700)
        return {
            "apiVersion": "client.authentication.k8s.io/v1",
            "command": "./credential",
            "interactiveMode": "Never",
        }

    def server_tls(self) -> ssl.SSLContext:
        """The server's TLS context: its certificate, and the check of client certificates."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        names = ("127.0.0.1", "localhost", "kubernetes.default.svc")
        self._authority.issue_cert(*names).configure_cert(context)
        self._authority.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


def write(directory: str, name: str, content: bytes) -> str:
    """Write a file with mode 0600, replacing an old one; returns its path."""
    path = os.path.join(directory, name)
    atomic.write(path, content, fsync=False)
    return path
