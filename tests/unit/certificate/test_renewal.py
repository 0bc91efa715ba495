"""When the node's certificate is renewed, by a clock that does not run."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from multus.certificate import signing
from multus.certificate.renewal import Renewal
from multus.certificate.wanted import Wanted
from multus.log import Log


class Written:
    """A log that keeps its errors."""

    def __init__(self) -> None:
        self.errors: list[str] = []

    def error(self, msg: str, **fields: object) -> None:
        self.errors.append(f"{msg} {fields}")


class Stepped(Renewal):
    """Goes through *dues*, one at each question; counts renewals and keeps the waits."""

    def __init__(self, *dues: float | Exception) -> None:
        self.written = Written()
        super().__init__(Wanted("n1", "/b", "/c", 600), cast("Log", self.written))
        self.dues = list(dues)
        self.renewed = 0
        self.waits: list[float] = []
        self._stop: Any = self

    def is_set(self) -> bool:
        return not self.dues

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)

    def _due(self) -> float:
        due = self.dues.pop(0)
        if isinstance(due, Exception):
            raise due
        return due

    def _renew(self) -> None:
        self.renewed += 1


def test_a_new_certificate_that_is_due_at_once_is_told_and_not_renewed_at_once() -> None:
    renewal = Stepped(0, -5)
    renewal._run()
    assert (renewal.renewed, renewal.waits) == (1, [60])
    (error,) = renewal.written.errors
    assert "/c/multus-client-current.pem is due for renewal already" in error
    assert "set the node's clock" in error


def test_one_that_is_not_due_is_looked_at_as_ever() -> None:
    renewal = Stepped(0, 500, 500)
    renewal._run()
    assert (renewal.renewed, renewal.waits, renewal.written.errors) == (1, [10], [])


def test_what_fails_while_it_looks_is_told_and_tried_again() -> None:
    renewal = Stepped(TypeError("broken"), 0, 500)
    renewal._run()
    assert (renewal.renewed, renewal.waits) == (1, [1])
    assert "broken" in renewal.written.errors[0]


@pytest.mark.parametrize(
    ("encryption", "is_of_use"),
    [(NoEncryption(), True), (BestAvailableEncryption(b"secret"), False)],
    ids=["plain", "encrypted"],
)
def test_a_certificate_with_an_encrypted_key_is_of_no_use(
    encryption: KeySerializationEncryption, is_of_use: bool
) -> None:
    user = "system:multus:n1"
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user)])
    now = datetime.now(timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM)
    pem += key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption)
    assert (signing.validity_of(pem, user) is not None) is is_of_use
