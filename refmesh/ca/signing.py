"""Certificates without I/O: a root, an issuing certificate, and the rules by which a leaf is signed.

What a leaf may say is decided here: its identity comes from the caller (who took it from a verified token), its usages
are fixed, its lifetime is capped. From the CSR only the public key is taken, and only after its signature was checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from refmesh.errors import EnvironmentProblem

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes

__all__ = [
    "BadRequest",
    "IssuerExpired",
    "Keyring",
    "LeafPolicy",
    "check_request",
    "leaf_constraints",
    "lifetime",
    "proves_possession",
    "subject_uri",
    "verify_chain",
]

BACKDATE = timedelta(minutes=2)
"""Leaves are valid from a little before they are signed: clocks of nodes differ."""
ROOT_LIFETIME = timedelta(days=3650)
ISSUER_LIFETIME = timedelta(days=1825)
RENEWAL_MARGIN = timedelta(days=30)
"""How long before its end an issuer is replaced. The control plane's own certificates last as long."""
MAX_CSR_BYTES = 16 * 1024
MIN_RSA_BITS, MAX_RSA_BITS = 2048, 4096

_SECRET_KEYS = ("root-cert.pem", "root-key.pem", "ca-cert.pem", "ca-key.pem")


class BadRequest(ValueError):
    """The signing request cannot be honoured; the message says why, without internals, and may go to the caller."""


class IssuerExpired(EnvironmentProblem):
    """Nothing can be signed before there is another issuing certificate."""


@dataclass(frozen=True)
class LeafPolicy:
    """Bounds on a leaf's lifetime."""

    default: timedelta = timedelta(hours=24)
    maximum: timedelta = timedelta(hours=24)
    minimum: timedelta = timedelta(seconds=10)


def lifetime(policy: LeafPolicy, wanted_seconds: int) -> timedelta:
    """Return the lifetime for a wish in seconds; a wish of 0 or less is no wish."""
    if wanted_seconds <= 0:
        return min(policy.default, policy.maximum)
    # compared as numbers: a wish of 2^62 s would overflow a timedelta
    seconds = min(float(wanted_seconds), policy.maximum.total_seconds())
    return timedelta(seconds=max(seconds, policy.minimum.total_seconds()))


def subject_uri(token_identity: str, csr: x509.CertificateSigningRequest) -> str:
    """Return the URI a leaf is issued for: the identity the token proved, whatever the CSR asks for."""
    del csr  # in the signature to show what is deliberately not used
    return token_identity


class Keyring:
    """Root and issuing certificate with their keys. Immutable; rotation makes a new one.

    A plugged-in authority keeps its root's key elsewhere, and there may be certificates between root and issuer.
    """

    def __init__(
        self,
        *,
        root: x509.Certificate,
        root_key: ec.EllipticCurvePrivateKey | None,
        issuer: x509.Certificate,
        issuer_key: CertificateIssuerPrivateKeyTypes,
        between: Sequence[x509.Certificate] = (),
        policy: LeafPolicy | None = None,
    ) -> None:
        self._root, self._root_key = root, root_key
        self._issuer, self._issuer_key = issuer, issuer_key
        self._between = tuple(between)
        self.policy = policy or LeafPolicy()

    @classmethod
    def create(cls, trust_domain: str = "cluster.local", *, policy: LeafPolicy | None = None) -> Keyring:
        """Make a new root and an issuing certificate signed by it (ECDSA P-256)."""
        now = datetime.now(UTC)
        root_key, name = ec.generate_private_key(ec.SECP256R1()), _name(trust_domain, "refmesh root CA")
        root = _ca_builder(name, name, root_key, now, ROOT_LIFETIME, path_length=1).sign(root_key, hashes.SHA256())
        issuer, issuer_key = _new_issuer(root, root_key, trust_domain, now)
        return cls(root=root, root_key=root_key, issuer=issuer, issuer_key=issuer_key, policy=policy)

    def renewed_issuer(self, trust_domain: str) -> Keyring:
        """Return the same root with a new issuing certificate. Raises ValueError without the root's key."""
        if self._root_key is None:
            raise ValueError("the root's key is not here: put the new issuer into the Secret that was plugged in")
        issuer, key = _new_issuer(self._root, self._root_key, trust_domain, datetime.now(UTC))
        return Keyring(root=self._root, root_key=self._root_key, issuer=issuer, issuer_key=key, policy=self.policy)

    def expired(self, now: float) -> bool:
        """Whether nothing that it signs is valid any more."""
        return now >= self._ends

    def ending(self, now: float) -> bool:
        """Whether it is time for a new issuing certificate."""
        return now >= self._ends - RENEWAL_MARGIN.total_seconds()

    def renewable(self, now: float) -> bool:
        """Whether it is time, and the root's key is here and the root lasts longer."""
        lasts = self._root.not_valid_after_utc - self._issuer.not_valid_after_utc
        return self.ending(now) and self._root_key is not None and lasts > RENEWAL_MARGIN

    @property
    def _ends(self) -> float:
        return min(one.not_valid_after_utc for one in (self._issuer, *self._between)).timestamp()

    @classmethod
    def load(cls, data: Mapping[str, bytes], *, policy: LeafPolicy | None = None, dated: bool = True) -> Keyring:
        """Read what `dump` wrote. Raises ValueError that names the entry that is missing or unreadable.

        Of several roots it takes the first that the issuer leads to. Unless `dated`, one that has expired is read, too.
        """
        missing = [key for key in _SECRET_KEYS if key not in data and key != "root-key.pem"]
        if missing:
            raise ValueError(f"the CA's Secret lacks {', '.join(missing)}")
        try:
            roots = x509.load_pem_x509_certificates(data["root-cert.pem"])
            issuer = x509.load_pem_x509_certificates(data["ca-cert.pem"])[0]
            chain = x509.load_pem_x509_certificates(data["cert-chain.pem"]) if data.get("cert-chain.pem") else []
            root_key = _load_key(data["root-key.pem"]) if data.get("root-key.pem") else None
            issuer_key = _load_issuer_key(data["ca-key.pem"])
            if issuer.public_key() != issuer_key.public_key():
                raise ValueError("ca-key.pem is not the key of ca-cert.pem")
            root, between = _led_to(issuer, chain, roots, dated=dated)
        except (ValueError, TypeError, UnsupportedAlgorithm, InvalidSignature) as error:
            raise ValueError(
                f"the CA's Secret cannot be read: {str(error) or 'its certificates do not belong together'}"
            ) from error
        return cls(root=root, root_key=root_key, issuer=issuer, issuer_key=issuer_key, between=between, policy=policy)

    def dump(self) -> dict[str, bytes]:
        """Return keys and certificates as the data of a Secret."""
        data = {"root-cert.pem": _pem(self._root), "ca-cert.pem": _pem(self._issuer)}
        data["ca-key.pem"] = _key_pem(self._issuer_key)
        if self._root_key is not None:
            data["root-key.pem"] = _key_pem(self._root_key)
        if self._between:
            data["cert-chain.pem"] = b"".join(_pem(one) for one in self._between)
        return data

    @property
    def root(self) -> x509.Certificate:
        """The root that its leaves are verified against."""
        return self._root

    @property
    def issuer(self) -> x509.Certificate:
        """The certificate that signs leaves."""
        return self._issuer

    @property
    def issuer_mark(self) -> str:
        """A short name of the issuing certificate: the start of its SHA-256."""
        return self._issuer.fingerprint(hashes.SHA256()).hex()[:16]

    @property
    def root_pem(self) -> bytes:
        """The trust bundle that peers verify against."""
        return _pem(self._root)

    def sign(
        self, csr_pem: str, identity: str, wanted_seconds: int = 0, *, now: datetime | None = None
    ) -> tuple[str, ...]:
        """Return leaf, issuer and root (PEM) for a checked CSR. Raises `BadRequest`."""
        request = check_request(csr_pem)
        leaf = self._leaf(
            request.public_key(),
            [x509.UniformResourceIdentifier(subject_uri(identity, request))],
            lifetime(self.policy, wanted_seconds),
            now or datetime.now(UTC),
        )
        return tuple(_pem(certificate).decode() for certificate in (leaf, self._issuer, *self._between, self._root))

    def server_pair(self, dns_names: Sequence[str], identity: str, lifetime: timedelta) -> tuple[bytes, bytes]:
        """Return a fresh certificate chain (leaf, issuer) and its key, both PEM, for the control plane itself."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = [*(x509.DNSName(name) for name in dns_names), x509.UniformResourceIdentifier(identity)]
        leaf = self._leaf(key.public_key(), names, lifetime, datetime.now(UTC))
        return b"".join(map(_pem, (leaf, self._issuer, *self._between))), _key_pem(key)

    def _leaf(
        self, public_key: object, names: Sequence[x509.GeneralName], lifetime: timedelta, now: datetime
    ) -> x509.Certificate:
        if not isinstance(public_key, ec.EllipticCurvePublicKey | rsa.RSAPublicKey):
            raise BadRequest("the key must be ECDSA P-256/P-384 or RSA")
        if self.expired(now.timestamp()):
            raise IssuerExpired(
                f"The mesh's issuing certificate {self.issuer_mark} has expired.",
                fix="Put a new one into Secret cacerts in refmesh's namespace.",
            )
        return (
            x509.CertificateBuilder()
            .subject_name(x509.Name([]))
            .issuer_name(self._issuer.subject)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATE)
            .not_valid_after(min(now + lifetime, self._issuer.not_valid_after_utc))
            .add_extension(leaf_constraints(), critical=True)
            # critical because the subject is empty (RFC 5280, 4.2.1.6)
            .add_extension(x509.SubjectAlternativeName(names), critical=True)
            .add_extension(_key_usage(digital_signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._issuer_key.public_key()), critical=False
            )
            .sign(self._issuer_key, hashes.SHA256())
        )


def leaf_constraints() -> x509.BasicConstraints:
    """Return what keeps a workload from signing certificates of its own."""
    return x509.BasicConstraints(ca=False, path_length=None)


def proves_possession(request: x509.CertificateSigningRequest) -> bool:
    """Return whether the CSR is signed by the key it names: whoever asks has that key."""
    return request.is_signature_valid


def check_request(csr_pem: str) -> x509.CertificateSigningRequest:
    """Parse a CSR and check its size, its signature (proof of possession) and its key. Raises `BadRequest`."""
    if len(csr_pem) > MAX_CSR_BYTES:
        raise BadRequest(f"the CSR is larger than {MAX_CSR_BYTES} bytes")
    try:
        request = x509.load_pem_x509_csr(csr_pem.encode())
        valid, key = proves_possession(request), request.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.InvalidVersion) as error:
        raise BadRequest("the CSR is not a readable PKCS#10 request in PEM") from error
    if not valid:
        raise BadRequest("the CSR's signature does not fit its key")
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            raise BadRequest(f"the curve {key.curve.name} is not accepted; use P-256 or P-384")
    elif isinstance(key, rsa.RSAPublicKey):
        if not MIN_RSA_BITS <= key.key_size <= MAX_RSA_BITS:
            raise BadRequest(f"an RSA key must have {MIN_RSA_BITS} to {MAX_RSA_BITS} bits, not {key.key_size}")
    else:
        raise BadRequest("the key must be ECDSA P-256/P-384 or RSA")
    return request


def _led_to(
    issuer: x509.Certificate,
    chain: Sequence[x509.Certificate],
    roots: Sequence[x509.Certificate],
    *,
    dated: bool = True,
) -> tuple[x509.Certificate, list[x509.Certificate]]:
    """The first of the roots that the issuer leads to, and what is between them. Raises ValueError with a reason."""
    problem = ValueError("root-cert.pem is empty")
    for root in roots:
        between = [one for one in chain if one not in {root, issuer}]
        try:
            verify_chain(issuer, between, root, dated=dated)
        except ValueError as error:
            problem = error
        else:
            return root, between
    raise problem


def verify_chain(
    issuer: x509.Certificate, between: Sequence[x509.Certificate], root: x509.Certificate, *, dated: bool = True
) -> None:
    """Check that the issuer leads to the root, by certificates that may sign. Raises ValueError with a reason.

    `dated`: and that they are valid now.
    """
    left, now = list(between), datetime.now(UTC)
    current = issuer
    for _ in range(len(left) + 1):
        if dated and not current.not_valid_before_utc <= now <= current.not_valid_after_utc:
            raise ValueError(f"certificate {current.subject.rfc4514_string() or '(no name)'} is not valid now")
        try:
            constraints = current.extensions.get_extension_for_class(x509.BasicConstraints).value
        except x509.ExtensionNotFound:
            constraints = x509.BasicConstraints(ca=False, path_length=None)
        if not constraints.ca:
            raise ValueError(f"certificate {current.subject.rfc4514_string() or '(no name)'} may not sign others")
        if current == root or _issued(root, current):
            return
        following = next((one for one in left if _issued(one, current)), None)
        if following is None:
            break
        left.remove(following)
        current = following
    raise ValueError("ca-cert.pem does not lead to root-cert.pem, nor by cert-chain.pem")


def _issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _new_issuer(
    root: x509.Certificate, root_key: ec.EllipticCurvePrivateKey, trust_domain: str, now: datetime
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    lifetime = min(ISSUER_LIFETIME, root.not_valid_after_utc - now)
    builder = _ca_builder(_name(trust_domain, "refmesh issuing CA"), root.subject, key, now, lifetime, path_length=0)
    extension = x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key())
    return builder.add_extension(extension, critical=False).sign(root_key, hashes.SHA256()), key


def _name(trust_domain: str, common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, trust_domain),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _ca_builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime,
    lifetime: timedelta,
    *,
    path_length: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(now + lifetime)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(key_cert_sign=True, crl_sign=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(
    *, digital_signature: bool = False, key_cert_sign: bool = False, crl_sign: bool = False
) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=key_cert_sign,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: CertificateIssuerPrivateKeyTypes) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _load_issuer_key(pem: bytes) -> CertificateIssuerPrivateKeyTypes:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise TypeError("ca-key.pem is neither an ECDSA nor an RSA key")
    return key


def _load_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = serialization.load_pem_private_key(pem, password=None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise TypeError("the key is not an ECDSA key")
    return key
