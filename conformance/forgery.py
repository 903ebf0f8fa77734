"""Certificates that look like the mesh's and are not: the right names, signed by an authority nobody trusts. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID

from conformance.certificates import Credentials, key_pem

__all__ = ["forge"]

_LIFETIME = timedelta(hours=1)
_BACKDATE = timedelta(minutes=5)


def forge(uri: str, like: x509.Certificate | None = None) -> Credentials:
    """A leaf for a URI by a new authority; `like` lends that authority its issuer's name, as a forger would."""
    now = datetime.now(UTC)
    name = like.issuer if like is not None else x509.Name([])
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = (
        _builder(name, name, authority.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority, hashes.SHA256())
    )
    leaf = (
        _builder(x509.Name([]), name, own.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]), critical=False
        )
        .sign(authority, hashes.SHA256())
    )
    chain = "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in (leaf, issuer))
    return Credentials(chain, key_pem(own))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _BACKDATE)
        .not_valid_after(now + _LIFETIME)
    )
