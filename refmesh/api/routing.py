"""The one routing model that VirtualService and HTTPRoute are both read into; discovery knows one kind of rule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from refmesh.api.fields import Invalid

__all__ = [
    "NO_CHANGE",
    "Cors",
    "Destination",
    "DirectResponse",
    "Fault",
    "HeaderChange",
    "Match",
    "Mirror",
    "NamedMatch",
    "Redirect",
    "Retry",
    "Rewrite",
    "Rule",
    "TextMatch",
    "weighable",
]

_TOTAL_WEIGHT = 2**32 - 1
"""Envoy's limit for the sum of the weights of one route."""
MatchKind = Literal["exact", "prefix", "segment-prefix", "regex", "present"]


@dataclass(frozen=True)
class TextMatch:
    """How a text is compared. `segment-prefix` ends at a `/`, as Gateway API's PathPrefix does; `prefix` does not."""

    kind: MatchKind
    value: str = ""
    ignore_case: bool = False


@dataclass(frozen=True)
class NamedMatch:
    """A header or query parameter with a value that must match (or, inverted, must not)."""

    name: str
    match: TextMatch
    invert: bool = False


@dataclass(frozen=True)
class Match:
    """All of it must hold. An empty match holds for every request."""

    path: TextMatch | None = None
    method: TextMatch | None = None
    authority: TextMatch | None = None
    scheme: TextMatch | None = None
    headers: tuple[NamedMatch, ...] = ()
    query: tuple[NamedMatch, ...] = ()
    port: int | None = None
    """The port that the request came for; None: any."""
    source_labels: tuple[tuple[str, str], ...] = ()
    """Labels that the client's pod must have."""
    source_namespace: str = ""
    """The namespace that the client's pod must be in; "": any."""
    gateways: tuple[str, ...] = ()
    """Where the match holds: Gateways as namespace/name, and `mesh`; empty: wherever its rule does."""


@dataclass(frozen=True)
class HeaderChange:
    """Headers set (replacing), added (beside what is there) and removed; values are Envoy's format strings."""

    set: tuple[tuple[str, str], ...] = ()
    add: tuple[tuple[str, str], ...] = ()
    remove: tuple[str, ...] = ()
    host: str = ""
    """Of requests: the name that they ask for from here on, unless a rewrite gives one; "" leaves it."""


NO_CHANGE = HeaderChange()


@dataclass(frozen=True)
class Destination:
    """A share of the traffic. `host` is a full name; no port means the port the request came for."""

    host: str
    port: int | None = None
    subset: str = ""
    weight: int = 1
    request_headers: HeaderChange = NO_CHANGE
    response_headers: HeaderChange = NO_CHANGE
    invalid: str = ""
    """Why the reference cannot be resolved; its share is answered 500. Empty for a good one."""


@dataclass(frozen=True)
class Retry:
    """How often and when a failed request is tried again. `on` empty: refmesh's safe default."""

    attempts: int
    per_try_timeout: timedelta | None = None
    on: str = ""
    statuses: tuple[int, ...] = ()
    backoff: timedelta | None = None
    """Base of the growing pause between tries; None: the proxy's own, 25 ms."""
    other_hosts: bool = True
    """A try goes to a host that has not failed this request yet, if there is one."""
    other_places: bool = False
    """A try may leave the place whose hosts have failed this request."""
    idle: bool = False
    """Whether more is said of tries, of which there is none."""


@dataclass(frozen=True)
class Mirror:
    """A copy of so many percent of the requests goes here as well; nobody waits for its response."""

    destination: Destination
    percent: float = 100.0


@dataclass(frozen=True)
class Cors:
    """What a browser is told about calls from other origins. Origins that match nothing get no CORS headers."""

    origins: tuple[TextMatch, ...] = ()
    methods: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()
    exposed: tuple[str, ...] = ()
    max_age: timedelta | None = None
    credentials: bool = False
    forward_unmatched: bool = False
    """A preflight from an origin that matches nothing goes to the application; else it is answered here."""


@dataclass(frozen=True)
class Fault:
    """Injected trouble, in percent of the requests."""

    delay: timedelta | None = None
    delay_percent: float = 0.0
    abort_status: int = 0
    abort_grpc_status: int | None = None
    """In place of an HTTP status: what gRPC calls end with (0 is OK)."""
    abort_percent: float = 0.0


@dataclass(frozen=True)
class Redirect:
    """Answer with a Location instead of forwarding. Empty fields keep the request's own."""

    scheme: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    prefix: str | None = None
    status: int = 301


@dataclass(frozen=True)
class Rewrite:
    """Change the path or host before forwarding. `prefix` replaces what the match consumed, `path` the whole path."""

    host: str = ""
    path: str = ""
    prefix: str | None = None
    pattern: str = ""
    """What of the path is replaced by `substitution`, in which a backslash and a digit stand for a group."""
    substitution: str = ""


@dataclass(frozen=True)
class DirectResponse:
    """The proxy answers by itself."""

    status: int
    body: bytes = b""


@dataclass(frozen=True)
class Rule:
    """Requests for which any of `matches` holds (no matches: every request) go to `destinations` by weight."""

    matches: tuple[Match, ...] = ()
    destinations: tuple[Destination, ...] = ()
    timeout: timedelta | None = None
    retry: Retry | None = None
    fault: Fault | None = None
    request_headers: HeaderChange = NO_CHANGE
    response_headers: HeaderChange = NO_CHANGE
    redirect: Redirect | None = None
    direct: DirectResponse | None = None
    rewrite: Rewrite | None = None
    mirrors: tuple[Mirror, ...] = ()
    cors: Cors | None = None
    name: str = ""
    """For people: it shows in the proxies' access logs."""
    delegate: tuple[str, str] | None = None
    """Namespace and name of the VirtualService whose rules stand in for this one, with its matches and settings."""


def weighable(destinations: tuple[Destination, ...], path: str) -> tuple[Destination, ...]:
    """The destinations of one rule, listed at `path`. Raises `Invalid` where Envoy would not take their weights."""
    total = sum(destination.weight for destination in destinations)
    if total > _TOTAL_WEIGHT:
        raise Invalid(path, f"has weights of {total} in all, and Envoy takes {_TOTAL_WEIGHT} at most")
    return destinations
