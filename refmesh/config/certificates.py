"""Reads the TLS Secrets that Gateways name, one by one; the control plane may not list Secrets, so it asks again.

What a Secret holds goes to the proxies of its Gateway and nowhere else: no log line and no page shows it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from refmesh.config.model import ABSENT, Certificate, Key
from refmesh.kubeclient import LOST, Kube

__all__ = ["READING_SECONDS", "CertificateReader", "certificate_of"]

log = logging.getLogger(__name__)

_REFRESH_SECONDS = 5.0
READING_SECONDS = 2 * _REFRESH_SECONDS
"""How long others wait at most for a Secret to be read: one that could not be is tried once more."""
_MAX_BYTES = 1 << 18
_UNREADABLE = (ValueError, UnsupportedAlgorithm, x509.InvalidVersion)
"""What the library raises for what is damaged."""
# Istio's names, of Secrets made by hand and of those of type kubernetes.io/tls; it looks for them in this order.
_CA_NAMES = ("cacert", "ca.crt")
_CRL_NAMES = ("crl", "ca.crl")


def certificate_of(secret: Mapping[str, Any] | None) -> Certificate:
    """What a Secret (None: there is none) holds: a chain and the key of its first certificate, or the problem.

    In either case the CA certificates beside them, where there are good ones.
    """
    if secret is None:
        return ABSENT
    data = secret.get("data") or {}
    roots, problem = _roots(data)
    return replace(_pair(data), roots=roots, roots_problem=problem)


def _roots(data: Mapping[str, Any]) -> tuple[str, str]:
    """The CA certificates, or why those that are there cannot be used."""
    # Clients whose certificate was revoked would get in.
    if revoked := next((name for name in _CRL_NAMES if data.get(name)), ""):
        return "", f"has a {revoked}, and refmesh reads no revocation lists"
    name = next((name for name in _CA_NAMES if data.get(name)), "")
    if not name:
        return "", ""
    try:
        roots = base64.b64decode(data[name], validate=True)
        if len(roots) > _MAX_BYTES:
            return "", f"has a {name} of more than {_MAX_BYTES} bytes"
        return _canonical(x509.load_pem_x509_certificates(roots)), ""
    except (binascii.Error, TypeError, *_UNREADABLE):
        return "", f"has a {name} that is no PEM certificate"


def _pair(data: Mapping[str, Any]) -> Certificate:
    if missing := [name for name in ("tls.crt", "tls.key") if not data.get(name)]:
        return Certificate(problem=f"has no {missing[0]}")
    try:
        chain, key = (base64.b64decode(data[name], validate=True) for name in ("tls.crt", "tls.key"))
    except (binascii.Error, ValueError, TypeError):
        return Certificate(problem="is not base64")
    if len(chain) + len(key) > _MAX_BYTES:
        return Certificate(problem=f"has more than {_MAX_BYTES} bytes")
    form = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    try:
        certificates = x509.load_pem_x509_certificates(chain)
        certified = certificates[0].public_key().public_bytes(*form)
    except _UNREADABLE:
        return Certificate(problem="has a tls.crt that is no PEM certificate")
    try:
        private = serialization.load_pem_private_key(key, password=None)
        public = private.public_key()
    except (TypeError, *_UNREADABLE):
        return Certificate(problem="has a tls.key that is no PEM key without a password")
    if problem := _unusable(public):
        return Certificate(problem=problem)
    if public.public_bytes(*form) != certified:
        return Certificate(problem="has a tls.key that is not the key of the first certificate of its tls.crt")
    pem = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return Certificate(_canonical(certificates), private.private_bytes(*pem).decode())


def _canonical(certificates: Sequence[x509.Certificate]) -> str:
    """What was read and judged, and nothing that Envoy could read in another way or refuse."""
    return "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in certificates)


def _unusable(key: Any) -> str:
    """Why Envoy would refuse a key, and the whole secret with it; empty for a good one."""
    if isinstance(key, rsa.RSAPublicKey):
        return "" if 2048 <= key.key_size <= 8192 else "has an RSA key that is not of 2048 to 8192 bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        good = isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1 | ec.SECP521R1)
        return "" if good else f"has a key on {key.curve.name}, not on one of the curves P-256, P-384 and P-521"
    return "" if isinstance(key, ed25519.Ed25519PublicKey) else "has a key that is neither RSA nor of an elliptic curve"


class CertificateReader:
    """Keeps `put(key, certificate)` current for every wanted Secret; None forgets one."""

    def __init__(self, kube: Kube, put: Callable[[Key, Certificate | None], None]) -> None:
        self._kube = kube
        self._put = put
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._unread = set[Key]()
        self._all_read = asyncio.Event()

    def want(self, secrets: set[Key]) -> None:
        """Read these and no others from now on."""
        for key in self._tasks.keys() - secrets:
            self._tasks.pop(key).cancel()
            self._unread.discard(key)
            self._put(key, None)
        for key in sorted(secrets):
            if key not in self._tasks:
                self._unread.add(key)
                self._tasks[key] = asyncio.get_running_loop().create_task(self._follow(key), name=f"Secret {key}")
        self._note()

    async def read(self) -> None:
        """Wait until every Secret that is wanted was read, `READING_SECONDS` at most."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(READING_SECONDS):
                await self._all_read.wait()

    def _note(self) -> None:
        if self._unread:
            self._all_read.clear()
        else:
            self._all_read.set()

    async def close(self) -> None:
        """Stop reading."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _follow(self, key: Key) -> None:
        version = ""
        while True:
            try:
                secret = await self._kube.get("v1", "secrets", key[1], key[0])
            except (*LOST, ValueError) as error:
                # What is known stays in force.
                log.warning("Secret %s/%s cannot be read: %s", *key, type(error).__name__)
            else:
                seen = str(((secret or {}).get("metadata") or {}).get("resourceVersion") or "none")
                if seen != version:
                    version = seen
                    self._put(key, certificate_of(secret))
                self._unread.discard(key)
                self._note()
            await asyncio.sleep(_REFRESH_SECONDS)
