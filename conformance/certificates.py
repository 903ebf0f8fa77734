"""Asking a certificate authority for a workload certificate, as a workload would: key, CSR, token, one gRPC call.

Istio's `IstioCertificateService/CreateCertificate` is spoken by hand: two messages of a field or two each need no
generated code. Keys stay in this process: histories and reports get what a certificate says, never its key.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from conformance.adapters import Authority
from conformance.adapters.installed import running_pods
from conformance.putting import NotExpressible
from fixtures.kube import Kube
from reports.errors import EnvironmentProblem

__all__ = [
    "Answer",
    "Credentials",
    "Refused",
    "decode_chain",
    "encode_request",
    "issue",
    "key_pem",
    "new_request",
    "request_certificate",
    "sans",
    "secure_channel",
    "token_for",
]

METHOD = "/istio.v1.auth.IstioCertificateService/CreateCertificate"
CALL_SECONDS = 20.0
"""What a call to a control plane may take: one with a small share of a busy machine has needed more than ten."""


@dataclass(frozen=True)
class Answer:
    """What the authority made of one request."""

    claimed: tuple[str, ...]
    """The identities that the CSR asked for."""
    issued: tuple[str, ...]
    """The names in the certificate; empty if none was issued."""
    own_key: bool
    """Whether the certificate is for the CSR's key."""
    refusal: str = ""
    """The gRPC status and its message, if it was refused."""


class Refused(Exception):
    """The authority was asked and signed nothing; the text is the gRPC status and its message."""


@dataclass(frozen=True, repr=False)
class Credentials:
    """A key with the certificate that an authority signed for it. Never part of a history."""

    chain: str
    """PEM, the leaf first."""
    key: str
    """PEM."""

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate itself."""
        return x509.load_pem_x509_certificate(self.chain.encode())

    @property
    def not_after(self) -> float:
        """When it expires, epoch seconds."""
        return self.leaf.not_valid_after_utc.timestamp()


def key_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """A private key as PKCS#8 in PEM."""
    form = serialization.PrivateFormat.PKCS8
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


def new_request(claims: tuple[str, ...]) -> tuple[str, ec.EllipticCurvePrivateKey]:
    """A PEM CSR on a new key that asks for the given URIs, and the key."""
    key = ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "meshproof")])
    )
    if claims:
        names = [x509.UniformResourceIdentifier(claim) for claim in claims]
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode(), key


def _public(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def sans(certificate: x509.Certificate) -> tuple[str, ...]:
    """Every URI and DNS name of a certificate."""
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    return (*uris, *names.get_values_for_type(x509.DNSName))


# -- two protobuf messages ---------------------------------------------------------------------------------------------


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def encode_request(csr: str, seconds: int) -> bytes:
    """IstioCertificateRequest: field 1 the CSR (PEM), field 3 the validity in seconds."""
    data = csr.encode()
    return b"\x0a" + _varint(len(data)) + data + b"\x18" + _varint(seconds)


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise ValueError("the answer is cut off in a number")
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The length-delimited fields of a message; numbers are skipped."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            _, at = _read_varint(data, at)
        elif kind == 2:
            length, at = _read_varint(data, at)
            if at + length > len(data):
                raise ValueError("the answer is cut off in a field")
            yield number, data[at : at + length]
            at += length
        else:
            raise ValueError(f"the answer has a field of unknown kind {kind}")


def decode_chain(data: bytes) -> tuple[str, ...]:
    """IstioCertificateResponse: field 1 repeated, the chain in PEM, leaf first. `ValueError` where it is garbled."""
    return tuple(value.decode("utf-8", "replace") for number, value in _fields(data) if number == 1)


# -- the call ----------------------------------------------------------------------------------------------------------


def token_for(kube: Kube, namespace: str, account: str, pod: tuple[str, str], audience: str) -> str:
    """A service-account token bound to a pod (name, uid), as the kubelet projects it.

    For the audience "" it is one for the API server itself, whatever that calls itself on this cluster.
    """
    name, uid = pod
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenRequest",
        "spec": {
            **({"audiences": [audience]} if audience else {}),
            "expirationSeconds": 600,
            "boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": name, "uid": uid},
        },
    }
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{account}/token"
    token: str = kube.api.call("POST", path, body=body)["status"]["token"]
    return token


def subject_of(token: str) -> str:
    """The subject that a token names, unverified; for evidence only."""
    payload = token.split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))).get("sub", ""))


def request_certificate(kube: Kube, authority: Authority, token: str, claims: tuple[str, ...]) -> Answer:
    """Ask the authority for a certificate; a refusal is an answer. `EnvironmentProblem` where it cannot be reached."""
    csr, key = new_request(claims)
    try:
        chain = issue(kube, authority, token, csr)
    except Refused as refusal:
        return Answer(claims, (), own_key=False, refusal=str(refusal))
    leaf = x509.load_pem_x509_certificate(chain[0].encode())
    own = leaf.public_key()
    same = isinstance(own, ec.EllipticCurvePublicKey) and _public(own) == _public(key.public_key())
    return Answer(claims, sans(leaf), own_key=same)


@contextmanager
def secure_channel(
    kube: Kube, authority: Authority, port: int, credentials: Credentials | None = None
) -> Iterator[Any]:
    """A gRPC channel to a port of the control plane, which shows its certificate and is shown one of `credentials`.

    Raises `EnvironmentProblem` where there is nobody to call.
    """
    import grpc

    running = running_pods(kube, authority.namespace, authority.selector)
    space, name, entry = authority.roots
    roots = (kube.get("v1", "ConfigMap", name, space) or {}).get("data", {}).get(entry)
    if not running or not roots:
        pods = f"no running pod {authority.selector} in {authority.namespace}"
        missing = f"no ConfigMap {space}/{name} with {entry}" if running else pods
        raise EnvironmentProblem(f"the certificate authority cannot be asked: {missing}")
    pair = (credentials.key.encode(), credentials.chain.encode()) if credentials else (None, None)
    tls = grpc.ssl_channel_credentials(roots.encode(), *pair)
    options = [("grpc.ssl_target_name_override", authority.server_name), ("grpc.enable_http_proxy", 0)]
    with (
        kube.forward(authority.namespace, running[0], port) as (host, local),
        grpc.secure_channel(f"{host}:{local}", tls, options) as channel,
    ):
        yield channel


def issue(kube: Kube, authority: Authority, token: str, csr: str, seconds: int = 600) -> tuple[str, ...]:
    """The chain that the authority signs for a CSR.

    Raises `Refused`, `EnvironmentProblem` where nobody answers, `NotExpressible` where who answers signs for nobody.
    """
    import grpc  # heavy, and needed by few checks

    bearer = (("authorization", f"Bearer {token}"),)
    with secure_channel(kube, authority, authority.port) as channel:
        call = channel.unary_unary(METHOD, request_serializer=bytes, response_deserializer=bytes)
        try:
            data = call(encode_request(csr, seconds), metadata=bearer, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            status = error.code()
            if status in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
                raise EnvironmentProblem(f"the certificate authority did not answer: {error.details()}") from error
            if status is grpc.StatusCode.UNIMPLEMENTED:
                said = "its control plane signs no certificates: another authority does"
                raise NotExpressible(f"{said} (--mesh istio takes --set authority=NAMESPACE/NAME)") from error
            raise Refused(f"{status.name}: {error.details()}") from error
    chain = decode_chain(data)
    if not chain:
        raise Refused("an empty chain")
    return chain
