"""The certificate authority of a mesh: its keys live in one Secret that the first control plane to start creates."""

from __future__ import annotations

import base64
from datetime import timedelta
from typing import TYPE_CHECKING

from refmesh.ca.signing import Keyring
from refmesh.errors import EnvironmentProblem
from refmesh.kubeclient import Conflict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from refmesh.kubeclient import Kube

__all__ = ["ROOT_CONFIG_MAP", "SECRET", "Authority"]

SECRET = "refmesh-ca"  # noqa: S105  (a Secret's name)
ROOT_CONFIG_MAP = "refmesh-ca-root-cert"
"""The mesh's roots for whoever wants to verify it; public, so a ConfigMap."""
ROOT_KEY = "root-cert.pem"
SERVER_LIFETIME = timedelta(days=30)


class Authority:
    """Signs for one trust domain with the keys of one Secret."""

    def __init__(self, keyring: Keyring, *, trust_domain: str, namespace: str) -> None:
        self._keyring = keyring
        self.trust_domain = trust_domain
        self._server_identity = f"spiffe://{trust_domain}/ns/{namespace}/sa/refmesh"

    @classmethod
    async def load_or_create(cls, kube: Kube, namespace: str, trust_domain: str) -> Authority:
        """Read the mesh's keys, or make them. Replicas that start together agree: the API server accepts one create."""
        keyring = await _load_or_create(kube, namespace, trust_domain)
        await _publish_root(kube, namespace, keyring.root_pem.decode())
        return cls(keyring, trust_domain=trust_domain, namespace=namespace)

    def sign(self, csr_pem: str, identity: str, wanted_seconds: int = 0) -> tuple[str, ...]:
        """Return leaf, issuer and root (PEM). Raises `signing.BadRequest`."""
        return self._keyring.sign(csr_pem, identity, wanted_seconds)

    def server_credentials(self, names: Sequence[str]) -> tuple[bytes, bytes]:
        """Return (chain, key), PEM, for the control plane's own ports under these DNS names; valid for 30 days."""
        return self._keyring.server_pair(names, self._server_identity, SERVER_LIFETIME)

    def trust_bundle_pem(self) -> bytes:
        """Return the roots that certificates of this mesh are verified against."""
        return self._keyring.root_pem


async def _load_or_create(kube: Kube, namespace: str, trust_domain: str) -> Keyring:
    secret = await kube.get("v1", "secrets", SECRET, namespace)
    if secret is None:
        fresh = Keyring.create(trust_domain)
        try:
            await kube.create("v1", "secrets", _secret(fresh, namespace), namespace)
        except Conflict:
            secret = await kube.get("v1", "secrets", SECRET, namespace)
        else:
            return fresh
    if secret is None:
        raise EnvironmentProblem(
            f"Secret {namespace}/{SECRET} vanished while it was read.",
            fix="Make sure that nothing else manages this Secret, then restart the control plane.",
        )
    try:
        return Keyring.load(_decode(secret))
    except ValueError as error:
        raise EnvironmentProblem(
            f"Secret {namespace}/{SECRET} is damaged: {error}.", fix="Restore it, or delete it for new keys."
        ) from error


async def _publish_root(kube: Kube, namespace: str, root_pem: str) -> None:
    existing = await kube.get("v1", "configmaps", ROOT_CONFIG_MAP, namespace)
    if existing is not None and (existing.get("data") or {}).get(ROOT_KEY) == root_pem:
        return
    body = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": ROOT_CONFIG_MAP,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "refmesh"},
        },
        "data": {ROOT_KEY: root_pem},
    }
    try:
        if existing is None:
            await kube.create("v1", "configmaps", body, namespace)
        else:
            await kube.replace("v1", "configmaps", ROOT_CONFIG_MAP, body, namespace)
    except Conflict:
        return  # another replica wrote the same root at the same time


def _secret(keyring: Keyring, namespace: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "refmesh"}},
        "type": "Opaque",
        "data": {key: base64.b64encode(value).decode() for key, value in keyring.dump().items()},
    }


def _decode(secret: Mapping[str, object]) -> dict[str, bytes]:
    data = secret.get("data") or {}
    if not isinstance(data, dict):
        return {}
    return {key: base64.b64decode(value) for key, value in data.items()}
