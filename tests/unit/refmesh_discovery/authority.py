"""A CA in a few lines, so that the tests of discovery depend on nobody else's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass
class TestAuthority:
    """Root and issuer in one."""

    __test__ = False

    def __post_init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self.build("ca", self.key, x509.BasicConstraints(ca=True, path_length=None), [])

    def build(self, name: str, key: Any, constraints: x509.BasicConstraints, names: list[x509.GeneralName]) -> Any:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "ca")]))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(constraints, critical=True)
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, names: list[x509.GeneralName]) -> tuple[bytes, bytes]:
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self.build("leaf", key, x509.BasicConstraints(ca=False, path_length=None), names)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return leaf.public_bytes(serialization.Encoding.PEM), pem

    def server_credentials(self, names: Sequence[str]) -> tuple[bytes, bytes]:
        return self.issue([x509.DNSName(name) for name in names])

    def trust_bundle_pem(self) -> bytes:
        found: bytes = self.certificate.public_bytes(serialization.Encoding.PEM)
        return found

    def client(self, identity: str) -> Any:
        chain, key = self.issue([x509.UniformResourceIdentifier(identity)])
        return grpc.ssl_channel_credentials(self.trust_bundle_pem(), key, chain)
