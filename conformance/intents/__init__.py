"""What a check wants of a mesh, in no mesh's words; one file a capability.

Adapters turn intents into objects; see `conformance.adapters`.
"""

from .base import Backend, Intent, Marker
from .identity import CertificateRequest
from .injection import Inject, NoInject, Scope
from .security import Mode, MtlsMode
from .traffic import ConnectionLimit, OutlierEjection, RouteTimeout, WeightedRoute

__all__ = [
    "Backend",
    "CertificateRequest",
    "ConnectionLimit",
    "Inject",
    "Intent",
    "Marker",
    "Mode",
    "MtlsMode",
    "NoInject",
    "OutlierEjection",
    "RouteTimeout",
    "Scope",
    "WeightedRoute",
]
