"""Signing requests of all sorts for the CA's tests."""

from __future__ import annotations

import base64
import json
import time
from datetime import datetime, timedelta, tzinfo
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from refmesh.ca import signing
from refmesh.ca.signing import Keyring
from refmesh.kubeclient import Conflict

IDENTITY = "spiffe://cluster.local/ns/shop/sa/cart"


def csr(key: Any = None, uri: str | None = None) -> str:
    key = key or ec.generate_private_key(ec.SECP256R1())
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    if uri:
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.UniformResourceIdentifier(uri)]), critical=True
        )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


def token(name: str, audience: Any = "istio-ca", seconds: float = 3600, **more: Any) -> str:
    """A token with the words of a service account's, and a signature by nobody."""
    claims = {"sub": name, "aud": [audience], "exp": int(time.time() + seconds), **more}
    parts = ({"alg": "RS256"}, claims, "signature")
    return ".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts)


GOOD = token("system:serviceaccount:shop:cart")


def aged(age: timedelta, monkeypatch: pytest.MonkeyPatch) -> Keyring:
    """What was made so long ago."""

    class Then(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.now(tz) - age

    with monkeypatch.context() as then:
        then.setattr(signing, "datetime", Then)
        return Keyring.create()


def without_root_key(keyring: Keyring) -> dict[str, bytes]:
    """As a Secret that is plugged in has it."""
    return {key: value for key, value in keyring.dump().items() if key != "root-key.pem"}


class FakeKube:
    """Answers TokenReviews and keeps Secrets, as an API server would."""

    def __init__(self, users: dict[str, tuple[str, str]] | None = None) -> None:
        self.users = users or {}
        self.stored: dict[str, dict[str, Any]] = {}
        self.race: dict[str, Any] | None = None

    async def get(self, _api: str, _plural: str, name: str, _namespace: str | None = None) -> Any:
        return self.stored.get(name)

    async def create(self, _api: str, plural: str, body: Any, _namespace: str | None = None) -> Any:
        if plural in {"secrets", "configmaps"}:
            if plural == "secrets" and self.race is not None:
                self.stored[body["metadata"]["name"]] = self.race
                raise Conflict(409, "it exists")
            self.stored[body["metadata"]["name"]] = body
            return body
        user, audience = self.users.get(body["spec"]["token"], ("", ""))
        granted = [a for a in body["spec"]["audiences"] if a == audience]
        if not user or not granted:
            return {"status": {"authenticated": False}}
        return {"status": {"authenticated": True, "user": {"username": user}, "audiences": granted}}
