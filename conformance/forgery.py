"""Certificates by an authority of our own: such as look like the mesh's and are not, and one for a site. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from conformance.certificates import Credentials, key_pem

__all__ = ["forge", "site"]

_LIFETIME = timedelta(hours=1)
_BACKDATE = timedelta(minutes=5)


def forge(uri: str, like: x509.Certificate | None = None) -> Credentials:
    """A leaf for a URI by a new authority; `like` lends that authority its issuer's name, as a forger would."""
    return _issued(x509.UniformResourceIdentifier(uri), like.issuer if like is not None else x509.Name([]))


def site(host: str) -> Credentials:
    """A leaf for a host by a new authority: what somebody who runs a site of that name would bring along."""
    return _issued(x509.DNSName(host), x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "meshproof")]))


def _issued(subject: x509.GeneralName, name: x509.Name) -> Credentials:
    now = datetime.now(UTC)
    authority, own = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    issuer = (
        _builder(name, name, authority.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority, hashes.SHA256())
    )
    leaf = (
        _builder(x509.Name([]), name, own.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([subject]), critical=True)
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
