"""The certificate authority of a mesh: its keys live in one Secret that the first control plane to start creates.

Every replica reads that Secret again and again, and changes it only against the version it read: so all of them sign
with the same issuer and trust the same roots.
"""

from __future__ import annotations

import asyncio
import base64
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from cryptography import x509

from refmesh.ca import trust as trusts
from refmesh.ca.ledger import Entry, Ledger
from refmesh.ca.signing import Keyring, LeafPolicy
from refmesh.ca.trust import Trust
from refmesh.errors import EnvironmentProblem
from refmesh.kubeclient import Conflict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from refmesh.kubeclient import Kube

__all__ = ["PLUGGED", "ROOT_CONFIG_MAP", "SECRET", "Authority"]

SECRET = "refmesh-ca"  # noqa: S105  (a Secret's name)
PLUGGED = "cacerts"
"""A Secret with a user's own authority, by Istio's names."""
_PLUGGED_KEYS = ("ca-cert.pem", "ca-key.pem", "root-cert.pem", "cert-chain.pem")
ROOT_CONFIG_MAP = "refmesh-ca-root-cert"
"""The mesh's roots for whoever wants to verify it; public, so a ConfigMap."""
ROOT_KEY = "root-cert.pem"
SERVER_LIFETIME = timedelta(days=30)


class Authority:
    """Signs for one trust domain with the keys of one Secret."""

    def __init__(self, trust: Trust, *, trust_domain: str, namespace: str) -> None:
        self.trust = trust
        self.trust_domain = trust_domain
        self.namespace = namespace
        self.ledger = Ledger()
        self.identity = f"spiffe://{trust_domain}/ns/{namespace}/sa/refmesh"
        """The control plane's own."""
        self._changed = asyncio.Event()

    @classmethod
    async def load_or_create(
        cls, kube: Kube, namespace: str, trust_domain: str, policy: LeafPolicy | None = None
    ) -> Authority:
        """Read the mesh's keys, or make them. Replicas that start together agree: the API server accepts one create."""
        trust = await _load_or_create(kube, namespace, trust_domain, policy)
        await publish_roots(kube, namespace, trust.bundle.decode())
        return cls(trust, trust_domain=trust_domain, namespace=namespace)

    def adopt(self, trust: Trust) -> None:
        """Sign and trust by this from now on, and wake who waits for a change."""
        self.trust = trust
        self._changed.set()
        self._changed = asyncio.Event()

    async def changed(self, known: int, seconds: float) -> int:
        """Return the generation once it is above the known one, or after a while."""
        try:
            async with asyncio.timeout(seconds):
                while self.trust.generation <= known:
                    await self._changed.wait()
        except TimeoutError:
            return self.trust.generation
        return self.trust.generation

    def sign(self, csr_pem: str, identity: str, wanted_seconds: int = 0, pod: str = "") -> tuple[str, ...]:
        """Return leaf, issuer (and what is between it and the root), and last all roots (PEM).

        `pod` is `namespace/name`, noted for the sake of rotations. Raises `signing.BadRequest`.
        """
        trust = self.trust
        *chain, _ = trust.keyring.sign(csr_pem, identity, wanted_seconds)
        if pod:
            not_after = x509.load_pem_x509_certificate(chain[0].encode()).not_valid_after_utc.timestamp()
            self.ledger.note(pod, Entry(identity, trust.keyring.issuer_mark, trust.generation, not_after, time.time()))
        return (*chain, trust.bundle.decode())

    def server_credentials(self, names: Sequence[str]) -> tuple[bytes, bytes]:
        """Return (chain, key), PEM, for the control plane's own ports under these DNS names; valid for 30 days."""
        return self.trust.keyring.server_pair(names, self.identity, SERVER_LIFETIME)

    def trust_bundle_pem(self) -> bytes:
        """Return the roots that certificates of this mesh are verified against."""
        return self.trust.bundle


async def _load_or_create(kube: Kube, namespace: str, trust_domain: str, policy: LeafPolicy | None) -> Trust:
    secret = await kube.get("v1", "secrets", SECRET, namespace)
    if secret is None:
        own = await plugged(kube, namespace, policy) or Trust(Keyring.create(trust_domain, policy=policy))
        fresh = trusts.initial(own.keyring, own.others)
        try:
            await kube.create("v1", "secrets", _secret(fresh, namespace), namespace)
        except Conflict:
            secret = await kube.get("v1", "secrets", SECRET, namespace)
        else:
            return fresh
    while secret is not None:
        trust = read(secret, policy)
        if not trust.keyring.expired(time.time()):
            return trust
        # No port could be served with it, and so nobody would be there to follow a rotation.
        revived = trusts.revived(trust, await plugged(kube, namespace, policy), trust_domain, time.time())
        if revived is None:
            raise EnvironmentProblem(
                f"The mesh's issuing certificate in Secret {namespace}/{SECRET} has expired.",
                fix=f"Put a new one into Secret {PLUGGED} there, or delete {SECRET} for new keys.",
            )
        try:
            await replace_secret(kube, secret, revived, namespace)
        except Conflict:
            secret = await kube.get("v1", "secrets", SECRET, namespace)
        else:
            return revived
    raise EnvironmentProblem(
        f"Secret {namespace}/{SECRET} vanished while it was read.",
        fix="Make sure that nothing else manages this Secret, then restart the control plane.",
    )


def read(secret: Mapping[str, Any], policy: LeafPolicy | None) -> Trust:
    """The keys in refmesh's own Secret, which may have expired. Raises `EnvironmentProblem` with a reason."""
    try:
        return Trust.load(decoded(secret), policy, dated=False)
    except ValueError as error:
        name = "/".join(str((secret.get("metadata") or {}).get(key, "")) for key in ("namespace", "name"))
        raise EnvironmentProblem(
            f"Secret {name} is damaged: {error}.", fix="Restore it, or delete it for new keys."
        ) from error


async def plugged(kube: Kube, namespace: str, policy: LeafPolicy | None) -> Trust | None:
    """The user's own authority, if there is one. Raises `EnvironmentProblem` that says what is wrong with it."""
    secret = await kube.get("v1", "secrets", PLUGGED, namespace)
    if secret is None:
        return None
    data = decoded(secret)
    try:
        # the root's key is not needed, and not kept
        return Trust.load({key: data[key] for key in _PLUGGED_KEYS if key in data}, policy)
    except ValueError as error:
        raise EnvironmentProblem(
            f"Secret {namespace}/{PLUGGED} cannot be the mesh's authority: {error}.",
            fix="It needs ca-cert.pem, ca-key.pem and root-cert.pem, and cert-chain.pem if there is more in between.",
        ) from error


async def replace_secret(kube: Kube, secret: Mapping[str, Any], trust: Trust, namespace: str) -> None:
    """Write new keys over the version that was read. Raises `Conflict` if another replica was faster."""
    body = _secret(trust, namespace)
    metadata = {**dict(secret["metadata"]), "managedFields": None}
    await kube.replace("v1", "secrets", SECRET, {**body, "metadata": metadata}, namespace)


async def publish_roots(kube: Kube, namespace: str, roots: str) -> None:
    """Write the roots where everybody may read them."""
    existing = await kube.get("v1", "configmaps", ROOT_CONFIG_MAP, namespace)
    if existing is not None and (existing.get("data") or {}).get(ROOT_KEY) == roots:
        return
    body: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {
            "name": ROOT_CONFIG_MAP,
            "namespace": namespace,
            "labels": {"app.kubernetes.io/part-of": "refmesh"},
        },
        "data": {ROOT_KEY: roots},
    }
    if existing is not None:
        body["metadata"] |= {"resourceVersion": existing["metadata"].get("resourceVersion")}
    try:
        if existing is None:
            await kube.create("v1", "configmaps", body, namespace)
        else:
            await kube.replace("v1", "configmaps", ROOT_CONFIG_MAP, body, namespace)
    except Conflict:
        return  # another replica wrote the same roots at the same time


def _secret(trust: Trust, namespace: str) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": namespace, "labels": {"app.kubernetes.io/part-of": "refmesh"}},
        "type": "Opaque",
        "data": {key: base64.b64encode(value).decode() for key, value in trust.dump().items()},
    }


def decoded(secret: Mapping[str, Any]) -> dict[str, bytes]:
    """The data of a Secret."""
    data = secret.get("data") or {}
    if not isinstance(data, dict):
        return {}
    return {key: base64.b64decode(value) for key, value in data.items()}
