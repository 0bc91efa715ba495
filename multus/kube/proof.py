"""What a request carries to say who sends it."""

from __future__ import annotations

from attrs import field, frozen


@frozen
class Certificate:
    """A client certificate chain and its private key, PEM."""

    chain: bytes = field(repr=False)
    key: bytes = field(repr=False)


@frozen
class Proof:
    """What one request carries; ``expires`` is Unix time, 0 when it is not known."""

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    certificate: Certificate | None = None
    expires: float = 0.0
