"""Which request goes where, and what is changed on the way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .base import Backend, Intent, Marker
from .resilience import Fault, Retry

__all__ = [
    "BackendGrant",
    "HeaderEdit",
    "Mirror",
    "Pairs",
    "Redirect",
    "RequestMatch",
    "RequestRoute",
    "Rewrite",
    "RouteRule",
    "Target",
]

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class RequestMatch:
    """All of it must hold; values are compared exactly. Empty fields ask for nothing."""

    path: str = ""
    """The whole path; for gRPC `/package.Service/Method`."""
    prefix: str = ""
    """The path begins with these whole segments: `/a` holds for `/a` and `/a/b`, not for `/ab`."""
    method: str = ""
    headers: Pairs = ()
    query: Pairs = ()


@dataclass(frozen=True)
class HeaderEdit:
    """Headers that are replaced, added beside what is there, and removed."""

    set: Pairs = ()
    add: Pairs = ()
    remove: tuple[str, ...] = ()


@dataclass(frozen=True)
class Rewrite:
    """Change the path before forwarding: all of it, or the prefix that the rule's matches consumed."""

    path: str = ""
    prefix: str = ""
    host: str = ""


@dataclass(frozen=True)
class Redirect:
    """Answer with a `Location` instead of forwarding. Empty fields keep what the request has."""

    status: int = 302
    scheme: str = ""
    host: str = ""
    port: int = 0
    path: str = ""
    """Replaces the whole path."""
    prefix: str = ""
    """Replaces the prefix that the rule's matches consumed."""


@dataclass(frozen=True)
class Target:
    """A backend with its share of the requests."""

    backend: Backend
    weight: int = 1
    namespace: str = ""
    """Where the backend's service is, if not in the route's namespace."""


@dataclass(frozen=True)
class Mirror:
    """A backend that gets a copy of the requests; what it answers is dropped."""

    backend: Backend
    percent: int = 100


@dataclass(frozen=True)
class RouteRule:
    """Requests for which one of `matches` holds (none: every request), and what becomes of them."""

    targets: tuple[Target, ...] = ()
    matches: tuple[RequestMatch, ...] = ()
    request_headers: HeaderEdit | None = None
    response_headers: HeaderEdit | None = None
    rewrite: Rewrite | None = None
    redirect: Redirect | None = None
    mirror: Mirror | None = None
    timeout: float = 0.0
    """Seconds for the whole request, retries included; 0: none."""
    retry: Retry | None = None
    fault: Fault | None = None
    unknown_filter: str = ""
    """Name of a filter of a kind that no mesh knows."""


@dataclass(frozen=True)
class RequestRoute(Intent):
    """Route the requests to a service by what is in them."""

    namespace: str
    service: str
    port: int
    rules: tuple[RouteRule, ...]
    """The first that matches decides, where a mesh goes by order. Where it goes by how specific a match is, as Gateway
    API does, order decides only between matches that are equally specific."""
    marker: Marker | None = None
    by: Literal["version", "service"] = "version"
    """Whether backends are versions of the one service or services of their own; a mesh that knows one way only uses
    it for both."""
    protocol: Literal["http", "grpc"] = "http"
    parent_namespace: str = ""
    """Where the routed service is, if not in `namespace`: then the route is a consumer's, and holds for clients in
    `namespace` only."""
    name: str = ""
    """What the route is called, if not like the service."""


@dataclass(frozen=True)
class BackendGrant(Intent):
    """Let routes of another namespace send requests to a service."""

    namespace: str
    service: str
    from_namespace: str
