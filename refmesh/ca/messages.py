"""The two messages of `istio.v1.auth.IstioCertificateService/CreateCertificate`.

The method and its field numbers are Istio's, so that a client written for Istio's CA can speak to refmesh's and the
suites can judge either with one client.
"""

from __future__ import annotations

from dataclasses import dataclass

from refmesh.ca import wire

__all__ = ["METHOD", "CertificateRequest", "CertificateResponse"]

_GENERATION = 1000
METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"


@dataclass(frozen=True)
class CertificateRequest:
    """A certificate signing request (PEM) and the lifetime wanted, in seconds (0: the CA's default)."""

    csr: str
    validity_seconds: int = 0

    def encode(self) -> bytes:
        """Return the wire form."""
        return wire.text(1, self.csr) + wire.varint_field(3, self.validity_seconds)

    @classmethod
    def decode(cls, data: bytes) -> CertificateRequest:
        """Parse the wire form; unknown fields (Istio's `metadata`) are ignored. Raises `wire.Malformed`."""
        csr, validity = "", 0
        for number, value in wire.fields(data):
            if number == 1 and isinstance(value, bytes):
                csr = _utf8(value)
            elif number == 3 and isinstance(value, int):
                validity = value - (1 << 64) if value >> 63 else value
        return cls(csr=csr, validity_seconds=validity)


@dataclass(frozen=True)
class CertificateResponse:
    """The chain in PEM: leaf, issuing certificate (and what is above it), and last all roots that are trusted."""

    chain: tuple[str, ...]
    generation: int = 0
    """Of the trust it was signed under. A field of refmesh's own, which other clients pass over."""

    def encode(self) -> bytes:
        """Return the wire form."""
        chain = b"".join(wire.length_delimited(1, pem.encode()) for pem in self.chain)
        return chain + (wire.varint_field(_GENERATION, self.generation) if self.generation else b"")

    @classmethod
    def decode(cls, data: bytes) -> CertificateResponse:
        """Parse the wire form. Raises `wire.Malformed`."""
        chain, generation = list[str](), 0
        for number, value in wire.fields(data):
            if number == 1 and isinstance(value, bytes):
                chain.append(_utf8(value))
            elif number == _GENERATION and isinstance(value, int):
                generation = value
        return cls(tuple(chain), generation)


def _utf8(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError as error:
        raise wire.Malformed("a string field is not UTF-8") from error
