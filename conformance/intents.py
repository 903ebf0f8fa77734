"""What a check wants of a mesh, in no mesh's words. Adapters turn intents into objects; see `conformance.adapters`.

Every intent is a frozen value. Durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

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


class Scope(StrEnum):
    """What an injection intent is written on."""

    NAMESPACE = "namespace"
    POD = "pod"


class Mode(StrEnum):
    """How a workload treats plaintext."""

    STRICT = "strict"
    PERMISSIVE = "permissive"


@dataclass(frozen=True)
class Inject:
    """Put what the scope covers into the mesh. Rendered as labels and annotations."""

    scope: Scope


@dataclass(frozen=True)
class NoInject:
    """Keep what the scope covers out of the mesh, against a wider opt-in."""

    scope: Scope


@dataclass(frozen=True)
class MtlsMode:
    """Whether plaintext is refused: for a namespace, or for the workload with the label `app: <workload>` in it."""

    namespace: str
    mode: Mode
    workload: str = ""
    ports: Mapping[int, Mode] = field(default_factory=dict)
    """Exceptions by container port; they need a workload."""


@dataclass(frozen=True)
class Backend:
    """Where a share of the requests goes: a version of the routed service, or another service."""

    name: str
    """The key under which weights and counts speak of it."""
    version: str = ""
    """Value of the label `version` of its pods."""
    service: str = ""
    """Name of a service of its own; wins where a mesh routes to services."""


@dataclass(frozen=True)
class Marker:
    """A mark that shows that a configuration is in force: requests with this header all go to one backend.

    Without the configuration they are spread over the service's pods, so a row of answers from the marked backend
    cannot come about by chance.
    """

    header: str
    value: str
    backend: Backend


@dataclass(frozen=True)
class WeightedRoute:
    """Split the requests to a service by weight, each request drawn on its own."""

    namespace: str
    service: str
    port: int
    weights: tuple[tuple[Backend, int], ...]
    marker: Marker | None = None
    by: Literal["version", "service"] = "version"
    """Whether the backends are versions of the one service or services of their own; a mesh that knows one way only
    uses it for both."""


@dataclass(frozen=True)
class OutlierEjection:
    """Eject a host after consecutive server errors, for a while."""

    namespace: str
    service: str
    port: int
    consecutive: int
    interval: float
    ejection: float
    """How long the first ejection lasts."""
    most_percent: int = 100
    marker: Marker | None = None


@dataclass(frozen=True)
class ConnectionLimit:
    """Cap what one client may have open towards a service; what goes beyond is refused at once with a 503."""

    namespace: str
    service: str
    port: int
    connections: int
    pending: int
    requests: int
    marker: Marker | None = None


@dataclass(frozen=True)
class RouteTimeout:
    """Answer with a 504 when a service has not answered in time."""

    namespace: str
    service: str
    port: int
    seconds: float


@dataclass(frozen=True)
class CertificateRequest:
    """Ask the mesh's certificate authority for a workload certificate as a workload would."""

    namespace: str
    service_account: str


Intent: TypeAlias = (
    Inject | NoInject | MtlsMode | WeightedRoute | OutlierEjection | ConnectionLimit | RouteTimeout | CertificateRequest
)
