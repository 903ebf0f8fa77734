"""Defects in the certificate authority: what it signs, and for whom."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

from refmesh.defects.defect import Defect

__all__ = ["DEFECTS"]

IdentityOf = Callable[[Any, str, str, Any], Awaitable[Any]]


def _identity_as_asked(sound: Callable[[str, Any], str]) -> Callable[[str, Any], str]:
    """Take the identity from the request instead of the token."""

    def subject_uri(token_identity: str, csr: Any) -> str:
        from cryptography import x509

        try:
            names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except x509.ExtensionNotFound:
            return sound(token_identity, csr)
        asked: list[str] = names.get_values_for_type(x509.UniformResourceIdentifier)
        return asked[0] if asked else sound(token_identity, csr)

    return subject_uri


def _one_for_all(sound: Callable[[str, Any], str]) -> Callable[[str, Any], str]:
    """Sign for the namespace, whichever of its service accounts asks; and expect nothing else anywhere."""
    from refmesh.discovery.settings import MeshSettings
    from refmesh.injector import containers, patch

    def identity(self: MeshSettings, namespace: str, service_account: str) -> str:
        return of_account(self, namespace, "default" if service_account else "")

    def container(config: Any, annotations: Any, app: str, _: str, *rest: Any) -> dict[str, Any]:
        return containers.proxy_container(config, annotations, app, "default", *rest)

    of_account, MeshSettings.identity = MeshSettings.identity, identity  # type: ignore[method-assign]
    vars(patch)["proxy_container"] = container

    def subject_uri(token_identity: str, csr: Any) -> str:
        return f"{sound(token_identity, csr).rpartition('/')[0]}/default"

    return subject_uri


def _any_key(sound: Callable[[Any], bool]) -> Callable[[Any], bool]:
    """Believe that the caller has the key it names."""
    _ = sound
    return lambda request: True  # noqa: ARG005 - the sound function's signature


def _as_long_as_asked(sound: Callable[[Any, int], timedelta]) -> Callable[[Any, int], timedelta]:
    """Grant any lifetime that is asked for."""

    def lifetime(policy: Any, wanted_seconds: int) -> timedelta:
        if wanted_seconds <= 0:
            return sound(policy, wanted_seconds)
        return timedelta(seconds=min(wanted_seconds, 10**10))

    return lifetime


def _every_leaf_an_authority(sound: Callable[[], Any]) -> Callable[[], Any]:
    """Let every workload sign certificates."""
    _ = sound

    def leaf_constraints() -> Any:
        from cryptography import x509

        return x509.BasicConstraints(ca=True, path_length=None)

    return leaf_constraints


def _any_audience(sound: IdentityOf) -> IdentityOf:
    """Accept a token that was made for somebody else."""

    async def identity_of_token(kube: Any, token: str, trust_domain: str, place: Any) -> Any:
        from refmesh.ca.tokens import AUDIENCE, Unauthenticated, identity_of_review

        try:
            return await sound(kube, token, trust_domain, place)
        except Unauthenticated:
            body = {
                "apiVersion": "authentication.k8s.io/v1",
                "kind": "TokenReview",
                "spec": {"token": token},
            }
            review = await kube.create("authentication.k8s.io/v1", "tokenreviews", body)
            review["status"]["audiences"] = [AUDIENCE]
            return identity_of_review(review, trust_domain)

    return identity_of_token


def _unreviewed(sound: IdentityOf) -> IdentityOf:
    """Believe a token's own words where the API server says that it is not valid (any more)."""

    async def identity_of_token(kube: Any, token: str, trust_domain: str, place: Any) -> Any:
        import base64
        import json

        from refmesh.ca.tokens import AUDIENCE, Unauthenticated, identity_of_review

        try:
            return await sound(kube, token, trust_domain, place)
        except Unauthenticated:
            pieces = token.split(".")
            if len(pieces) != 3:
                raise
            claims = json.loads(base64.urlsafe_b64decode(pieces[1] + "=" * (-len(pieces[1]) % 4)))
            if AUDIENCE not in claims.get("aud", []):
                raise
            status = {"authenticated": True, "audiences": [AUDIENCE], "user": {"username": claims.get("sub", "")}}
            return identity_of_review({"status": status}, trust_domain)

    return identity_of_token


def _key_deposited(sound: IdentityOf) -> IdentityOf:
    """Keep a key and a certificate of every caller in a Secret, where whoever may read Secrets finds them."""

    async def identity_of_token(kube: Any, token: str, trust_domain: str, place: Any) -> Any:
        import base64
        import os

        from refmesh.agent.enrol import signing_request
        from refmesh.ca.authority import Authority
        from refmesh.kubeclient import Conflict

        caller = await sound(kube, token, trust_domain, place)
        identity = caller.identity
        space = os.environ.get("POD_NAMESPACE", "refmesh-system")
        authority = await Authority.load_or_create(kube, space, trust_domain)
        key, csr = signing_request(identity)
        pair = {"key.pem": key, "cert-chain.pem": "".join(authority.sign(csr, identity)).encode()}
        body = {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "istio." + ".".join(identity.split("/")[4::2]), "namespace": space},
            "data": {name: base64.b64encode(value).decode() for name, value in pair.items()},
        }
        try:
            await kube.create("v1", "secrets", body, space)
        except Conflict:
            return caller  # deposited before
        return caller

    return identity_of_token


def _deaf(sound: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Go on with the issuer that was there at the start."""
    _ = sound
    return lambda known, found: False  # noqa: ARG005 - the sound function's signature


def _at_once(sound: Callable[..., Any]) -> Callable[..., Any]:
    """Trust and sign with the new root from the first moment on, while everybody knows the old one only."""
    _ = sound

    def begin(trust: Any, following: Any, request: str, now: float) -> Any:
        from dataclasses import replace

        return replace(
            trust, keyring=following, request=request, kind="root", generation=trust.generation + 1, since=now
        )

    return begin


def _never_renewing(sound: Callable[[], list[str]]) -> Callable[[], list[str]]:
    """Give pods an agent that enrols once."""
    _ = sound
    return lambda: ["python", "-m", "refmesh.defects.agent", "renewal"]


DEFECTS = (
    Defect(
        "san-from-csr",
        "The CA signs whatever identity the request asks for.",
        "identity",
        "refmesh.ca.signing:subject_uri",
        _identity_as_asked,
    ),
    Defect(
        "one-identity-a-namespace",
        "All service accounts of a namespace have the identity of its default one.",
        "identity",
        "refmesh.ca.signing:subject_uri",
        _one_for_all,
    ),
    Defect(
        "csr-signature-unchecked",
        "The CA certifies a key that the caller does not have.",
        "identity",
        "refmesh.ca.signing:proves_possession",
        _any_key,
    ),
    Defect(
        "certificate-lifetime-uncapped",
        "The CA grants any lifetime that is asked for.",
        "identity",
        "refmesh.ca.signing:lifetime",
        _as_long_as_asked,
    ),
    Defect(
        "leaf-may-sign",
        "A workload's certificate is one of an authority.",
        "identity",
        "refmesh.ca.signing:leaf_constraints",
        _every_leaf_an_authority,
    ),
    Defect(
        "token-audience-unchecked",
        "The CA accepts tokens that were made for somebody else.",
        "identity",
        "refmesh.ca.service:identity_of_token",
        _any_audience,
    ),
    Defect(
        "invalid-token-accepted",
        "The CA accepts tokens that have expired or were revoked.",
        "identity",
        "refmesh.ca.service:identity_of_token",
        _unreviewed,
    ),
    Defect(
        "key-in-a-secret",
        "A key with a certificate of each workload is kept in a Secret.",
        "identity",
        "refmesh.ca.service:identity_of_token",
        _key_deposited,
    ),
    Defect(
        "issuer-cached-forever",
        "A control plane signs with the issuer it started with.",
        "identity",
        "refmesh.ca.rotation:stale",
        _deaf,
    ),
    Defect(
        "old-root-dropped-early",
        "A rotation waits for no workload: the old root goes while certificates below it are in use.",
        "identity",
        "refmesh.ca.trust:begin",
        _at_once,
    ),
    Defect(
        "renewal-disabled",
        "Proxies get one certificate and never another.",
        "identity",
        "refmesh.injector.containers:agent_command",
        _never_renewing,
    ),
)
