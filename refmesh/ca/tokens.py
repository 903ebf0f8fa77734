"""Who is calling: a service-account token, verified by the API server, becomes a SPIFFE identity."""

from __future__ import annotations

import base64
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from refmesh.kubeclient import Kube

__all__ = ["AUDIENCE", "Caller", "Unauthenticated", "identity_of_review", "identity_of_token", "look"]

AUDIENCE = "istio-ca"
MAX_TOKEN_BYTES = 16 * 1024
_SKEW_SECONDS = 300.0
"""By how much this clock may be ahead of the API server's, which decides."""
_USERNAME = re.compile(r"system:serviceaccount:([a-z0-9-]{1,63}):([a-z0-9.-]{1,253})")


class Unauthenticated(Exception):
    """The caller did not prove an identity; the message may go to the caller."""


@dataclass(frozen=True)
class Caller:
    """Who holds a token."""

    identity: str
    pod: str = ""
    """`namespace/name` of the pod that the token is bound to; "" where it is bound to none."""


def look(token: str) -> None:
    """Raise `Unauthenticated` where a token's own words say that it is none for audience `istio-ca`, or has expired.

    Nobody has verified these words: they can spare the API server a question, and give nobody anything.
    """
    if not token or len(token) > MAX_TOKEN_BYTES:
        raise Unauthenticated("a bearer token of a service account is needed")
    try:
        _, payload, _ = token.split(".")
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        audiences, expires = claims["aud"], float(claims["exp"])
        meant = AUDIENCE in ([audiences] if isinstance(audiences, str) else audiences)
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError):
        raise Unauthenticated("the token is not a service account's") from None
    if not meant:
        raise Unauthenticated(f"the token was not made for audience {AUDIENCE}")
    if not expires > time.time() - _SKEW_SECONDS:
        raise Unauthenticated("the token has expired")


async def identity_of_token(kube: Kube, token: str, trust_domain: str, place: AbstractContextManager[None]) -> Caller:
    """Ask the API server about a token made for audience `istio-ca`. Raises `Unauthenticated`, and what `place` raises.

    `place` is held while the API server is asked; what can be refused by its looks takes none.
    """
    look(token)
    body = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": token, "audiences": [AUDIENCE]},
    }
    with place:
        review = await kube.create("authentication.k8s.io/v1", "tokenreviews", body)
    return identity_of_review(review, trust_domain)


def identity_of_review(review: Mapping[str, Any], trust_domain: str) -> Caller:
    """Turn the API server's answer into an identity. Raises `Unauthenticated`.

    The audience is looked at again although it was asked for: an API server without audience support authenticates the
    token and leaves `status.audiences` out.
    """
    status = review.get("status") or {}
    if not status.get("authenticated"):
        raise Unauthenticated("the token is not valid")
    if AUDIENCE not in (status.get("audiences") or []):
        raise Unauthenticated(f"the token was not made for audience {AUDIENCE}")
    match = _USERNAME.fullmatch(str((status.get("user") or {}).get("username", "")))
    if match is None:
        raise Unauthenticated("the token is not a service account's")
    namespace, account = match.groups()
    extra = (status.get("user") or {}).get("extra") or {}
    pods = extra.get("authentication.kubernetes.io/pod-name") or []
    pod = f"{namespace}/{pods[0]}" if len(pods) == 1 else ""
    return Caller(f"spiffe://{trust_domain}/ns/{namespace}/sa/{account}", pod)
