"""The child that enrols: `python -m refmesh.agent.enrol` writes a fresh key and its chain to standard output.

On failure it writes one sentence instead. Reads its settings from the environment, as the agent does.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import sys

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from refmesh.agent.enrolment import write_result
from refmesh.agent.grpc import CallFailed, unary
from refmesh.agent.settings import Settings
from refmesh.ca import messages, wire

__all__ = ["enrol", "main", "signing_request"]

_TIMEOUT_SECONDS = 5.0


def signing_request(identity: str) -> tuple[bytes, str]:
    """Make a key (PKCS#8 PEM) and a CSR (PEM) for it that names the identity the pod expects."""
    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([]))
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier(identity)]), critical=True)
        .sign(key, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key_pem, request.public_bytes(serialization.Encoding.PEM).decode()


def enrol(settings: Settings, token: str) -> bytes:
    """Ask the CA for a certificate and return the result for the pipe. Raises OSError or `CallFailed`."""
    key_pem, csr = signing_request(settings.identity)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(cadata=roots(settings))
    context.set_alpn_protocols(["h2"])
    request = messages.CertificateRequest(csr, settings.certificate_seconds).encode()
    with socket.create_connection((settings.control_plane, settings.ca_port), timeout=_TIMEOUT_SECONDS) as plain:
        # Nagle's delay on this connection's three small writes would cost more than everything else
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with context.wrap_socket(plain, server_hostname=settings.control_plane) as secure:
            metadata = [("authorization", f"Bearer {token}")]
            reply = unary(secure, settings.control_plane, messages.METHOD, request, metadata)
    answer = messages.CertificateResponse.decode(reply)
    chain = answer.chain
    if len(chain) < 2:
        raise CallFailed(13, "the CA's answer has no chain of at least a leaf and a root")
    leaf = x509.load_pem_x509_certificate(chain[0].encode())
    return write_result(leaf.not_valid_after_utc.timestamp(), key_pem, chain, answer.generation)


def roots(settings: Settings) -> str:
    """The roots of the last enrolment; the injected ones where there was none."""
    try:
        with open(settings.roots_path, encoding="ascii") as file:  # noqa: PTH123  (pathlib costs 5 ms)
            return file.read()
    except FileNotFoundError:
        return settings.root_pem


def main() -> int:
    """Enrol once; the exit code is for people, the agent reads the output."""
    try:
        settings = Settings.from_environment(os.environ)
        with open(settings.token_path, encoding="ascii") as file:  # noqa: PTH123  (pathlib costs 5 ms)
            token = file.read().strip()
        output, code = enrol(settings, token), 0
    except (OSError, CallFailed, ValueError, wire.Malformed) as error:
        output, code = f"{type(error).__name__}: {error}\n".encode(), 1
    with contextlib.suppress(BrokenPipeError):  # the agent ended meanwhile
        sys.stdout.buffer.write(output)
        sys.stdout.flush()
    return code


if __name__ == "__main__":
    sys.exit(main())
