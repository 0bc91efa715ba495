"""The cryptography: a new key with its request, and what a signed certificate says."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

#: The group in the certificate.
_GROUP = "system:multus"


class Request(NamedTuple):
    """A private key and the request that it signed, both PEM."""

    key: bytes
    request: bytes


class Validity(NamedTuple):
    """When a certificate begins and ends, in seconds since 1970."""

    begins: float
    ends: float


def new_request(user: str) -> Request:
    """A new key, and the request for a certificate of *user*."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, _GROUP),
            x509.NameAttribute(NameOID.COMMON_NAME, user),
        ]
    )
    made = x509.CertificateSigningRequestBuilder().subject_name(subject)
    signed = made.sign(key, hashes.SHA256())
    kind = serialization.PrivateFormat.TraditionalOpenSSL
    return Request(
        key.private_bytes(serialization.Encoding.PEM, kind, serialization.NoEncryption()),
        signed.public_bytes(serialization.Encoding.PEM),
    )


def validity_of(pem: bytes, user: str) -> Validity | None:
    """The validity of the certificate in *pem*; None unless it is *user*'s and has its key there.

    *pem* is a certificate and its key, in any order; an encrypted key is of no use.
    """
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError):  # TypeError: the key is encrypted
        return None
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    if [each.value for each in names] != [user] or key.public_key() != certificate.public_key():
        return None
    return Validity(
        _seconds(certificate, "not_valid_before"), _seconds(certificate, "not_valid_after")
    )


def _seconds(certificate: x509.Certificate, name: str) -> float:
    # Since cryptography 42 there are values with a time zone; the others are deprecated.
    found: datetime = getattr(certificate, f"{name}_utc", None) or getattr(certificate, name)
    return found.replace(tzinfo=timezone.utc).timestamp()
