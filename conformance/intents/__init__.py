"""What a check wants of a mesh, in no mesh's words; one file a capability.

Adapters turn intents into objects; see `conformance.adapters`.
"""

from .authority import MeshMtlsMode, RotateRoot
from .authorization import Access, AccessRule, Effect, LenientPaths, TokenIssuer, UnreadableAccess
from .balancing import EachRequest, InLocality, LocalityFailover, RoundRobin, StickyHeader
from .base import Backend, Intent, Marker
from .gateway import Ingress, OutsideHost, WayOut
from .identity import CertificateRequest, OwnMtls, PeerHeader, ShortCertificates
from .injection import Bypass, Inject, NoInject, Scope
from .resilience import Fault, NoRetries, RateLimit, Retry, RetryBudget
from .routing import (
    BackendGrant,
    HeaderEdit,
    Mirror,
    Pairs,
    Redirect,
    RequestMatch,
    RequestRoute,
    Rewrite,
    RouteRule,
    Target,
)
from .security import Mode, MtlsMode, MutualTls
from .telemetry import LogAccesses, RequestMetrics, TraceRequests
from .traffic import ConnectionLimit, OutlierEjection, RouteTimeout, WeightedRoute

__all__ = [
    "Access",
    "AccessRule",
    "Backend",
    "BackendGrant",
    "Bypass",
    "CertificateRequest",
    "ConnectionLimit",
    "EachRequest",
    "Effect",
    "Fault",
    "HeaderEdit",
    "InLocality",
    "Ingress",
    "Inject",
    "Intent",
    "LenientPaths",
    "LocalityFailover",
    "LogAccesses",
    "Marker",
    "MeshMtlsMode",
    "Mirror",
    "Mode",
    "MtlsMode",
    "MutualTls",
    "NoInject",
    "NoRetries",
    "OutlierEjection",
    "OutsideHost",
    "OwnMtls",
    "Pairs",
    "PeerHeader",
    "RateLimit",
    "Redirect",
    "RequestMatch",
    "RequestMetrics",
    "RequestRoute",
    "Retry",
    "RetryBudget",
    "Rewrite",
    "RotateRoot",
    "RoundRobin",
    "RouteRule",
    "RouteTimeout",
    "Scope",
    "ShortCertificates",
    "StickyHeader",
    "Target",
    "TokenIssuer",
    "TraceRequests",
    "UnreadableAccess",
    "WayOut",
    "WeightedRoute",
]
