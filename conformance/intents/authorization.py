"""Who may send what to a workload."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from .base import Intent

__all__ = ["Access", "AccessRule", "Effect", "LenientPaths", "TokenIssuer", "UnreadableAccess"]


class Effect(StrEnum):
    """What happens to a request that a policy matches; a denial wins over every allowance."""

    ALLOW = "allow"
    DENY = "deny"


@dataclass(frozen=True)
class AccessRule:
    """Requests that a policy matches: every field that is not empty must hold, by one of its values."""

    accounts: tuple[tuple[str, str], ...] = ()
    """Callers by namespace and service account."""
    namespaces: tuple[str, ...] = ()
    """Callers by namespace."""
    methods: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    """Exact, or by prefix where they end with `*`."""
    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    """Container ports."""
    header: tuple[str, str] | None = None
    """Name and value."""
    token: tuple[str, str] | None = None
    """Issuer and subject of the request's token."""


@dataclass(frozen=True)
class Access(Intent):
    """Once one policy allows something at a workload, everything that no policy allows is refused there."""

    name: str
    namespace: str
    workload: str
    """The workload with this label `app`."""
    effect: Effect
    rules: tuple[AccessRule, ...]
    """Any of them; without one, nothing matches."""


@dataclass(frozen=True)
class LenientPaths(Intent):
    """Policies of a workload compare paths as lenient servers read them, beyond what RFC 3986 calls equal.

    Slashes in a row are one, backslashes and escaped ones of both kinds are slashes, and parameters no part of a name.
    """

    namespace: str
    workload: str


@dataclass(frozen=True)
class UnreadableAccess(Intent):
    """A policy that allows requests by a condition which the mesh does not know; its schema takes the object."""

    name: str
    namespace: str
    workload: str


@dataclass(frozen=True)
class TokenIssuer(Intent):
    """Requests to a workload may carry a token of this issuer; one that does not hold is refused, whoever sends it."""

    name: str
    namespace: str
    workload: str
    issuer: str
    audience: str
    jwks: str
    """The issuer's public keys: a JSON Web Key Set."""
