"""One or more examples of every intent there is: what tests render by every adapter. All of them live in `ns`."""

from __future__ import annotations

from conformance.intents import (
    Access,
    AccessRule,
    Backend,
    BackendGrant,
    Bypass,
    CertificateRequest,
    ConnectionLimit,
    EachRequest,
    Effect,
    HeaderEdit,
    Ingress,
    Inject,
    InLocality,
    Intent,
    LocalityFailover,
    LogAccesses,
    Marker,
    Mirror,
    Mode,
    MtlsMode,
    MutualTls,
    NoInject,
    NoRetries,
    OutlierEjection,
    OutsideHost,
    OwnMtls,
    PeerHeader,
    RateLimit,
    Redirect,
    RequestMatch,
    RequestMetrics,
    RequestRoute,
    Retry,
    RetryBudget,
    Rewrite,
    RoundRobin,
    RouteRule,
    RouteTimeout,
    Scope,
    ShortCertificates,
    StickyHeader,
    Target,
    TokenIssuer,
    TraceRequests,
    UnreadableAccess,
    WayOut,
    WeightedRoute,
)

__all__ = ["EXAMPLES", "NAMESPACE"]

NAMESPACE = "ns"
V1, V2, V3 = (Backend(name, version=name, service=f"web-{name}") for name in ("v1", "v2", "v3"))
MARK = Marker("x-mark", "abc", V3)
TO_V1 = (Target(V1),)
WHERE = (NAMESPACE, "web", 8080)

_RULES: tuple[RouteRule, ...] = (
    RouteRule((Target(V1, 3), Target(V2, 1)), (RequestMatch(path="/one"), RequestMatch(prefix="/two", method="POST"))),
    RouteRule(TO_V1, (RequestMatch(headers=(("x-a", "1"),), query=(("q", "2"),)),)),
    RouteRule(TO_V1, request_headers=HeaderEdit((("a", "1"),), (("b", "2"),), ("c",))),
    RouteRule(TO_V1, response_headers=HeaderEdit((("a", "1"),), (("b", "2"),), ("c",))),
    RouteRule(TO_V1, (RequestMatch(prefix="/old"),), rewrite=Rewrite(prefix="/new")),
    RouteRule(TO_V1, (RequestMatch(path="/old"),), rewrite=Rewrite(path="/new", host="other.example.com")),
    RouteRule((), (RequestMatch(path="/old"),), redirect=Redirect(301, "https", "example.com", 8443, "/new")),
    RouteRule(TO_V1, mirror=Mirror(V2, 50)),
    RouteRule(TO_V1, timeout=2.5),
    RouteRule(TO_V1, timeout=9.0, retry=Retry(3, (502, 503), 1.5)),
)

_ROUTES = (_RULES[:1], *((rule, *((RouteRule(TO_V1),) if rule.matches else ())) for rule in _RULES))
"""The first leaves requests without a rule; the others have one for every request."""

_WHO: tuple[AccessRule, ...] = (
    AccessRule(),
    AccessRule(accounts=((NAMESPACE, "client"), ("other", "client"))),
    AccessRule(namespaces=("other",), ports=(8080, 9090)),
    AccessRule(accounts=((NAMESPACE, "client"),), methods=("GET", "POST"), paths=("/one", "/two/*")),
    AccessRule(paths=("/one",), hosts=("web.example.com",), ports=(8080,)),
    AccessRule(header=("x-a", "1")),
    AccessRule(token=("https://issuer.example.com", "somebody")),
)

EXAMPLES: tuple[Intent, ...] = (
    Ingress("front", "ns", "shop.example", "web", 8080, "front"),
    WayOut(NAMESPACE, "web", registered_only=False),
    WayOut(NAMESPACE, "web", registered_only=True),
    OutsideHost("outside", NAMESPACE, "outside.example", "10.9.0.1", 8099, 8080),
    RequestMetrics(),
    TraceRequests(NAMESPACE),
    LogAccesses(NAMESPACE, "web"),
    Inject(Scope.NAMESPACE),
    Inject(Scope.POD),
    Inject(Scope.POD, "web"),
    NoInject(Scope.NAMESPACE),
    NoInject(Scope.POD),
    MutualTls(NAMESPACE),
    MtlsMode(NAMESPACE, Mode.STRICT),
    MtlsMode(NAMESPACE, Mode.PERMISSIVE),
    MtlsMode(NAMESPACE, Mode.STRICT, workload="web"),
    MtlsMode(NAMESPACE, Mode.STRICT, workload="web", ports={9090: Mode.PERMISSIVE}),
    WeightedRoute(*WHERE, ((V1, 90), (V2, 10)), MARK),
    WeightedRoute(*WHERE, ((V1, 100), (V2, 0)), None, "service"),
    WeightedRoute(NAMESPACE, "web", 7070, ((V1, 90), (V2, 10)), MARK, "service", "grpc"),
    OutlierEjection(*WHERE, 5, 1.0, 2.5, 50, MARK),
    OutlierEjection(*WHERE, 5, 1.0, 2.0, 100, MARK),
    ConnectionLimit(*WHERE, 2, 1, 2, MARK),
    RouteTimeout(*WHERE, 1.5),
    *(RequestRoute(*WHERE, rules, MARK, by="service") for rules in _ROUTES),
    *(RequestRoute(*WHERE, rules, MARK) for rules in _ROUTES),
    RequestRoute(*WHERE, (RouteRule(TO_V1),), name="web-of-clients", parent_namespace="other", by="service"),
    RequestRoute(
        NAMESPACE, "web", 7070, (RouteRule(TO_V1, (RequestMatch(path="/echo.Echo/Unary"),)),), by="service",
        protocol="grpc",
    ),
    NoRetries(NAMESPACE, "web"),
    RetryBudget(*WHERE, Retry(3, (503,)), 20, 1, MARK),
    RateLimit(*WHERE, 10, 1.0, MARK),
    BackendGrant(NAMESPACE, "web-v1", "other"),
    CertificateRequest(NAMESPACE, "sa"),
    *(Access(f"{effect}-{i}", NAMESPACE, "web", effect, (rule,)) for effect in Effect for i, rule in enumerate(_WHO)),
    EachRequest(*WHERE),
    RoundRobin(*WHERE, MARK),
    StickyHeader(*WHERE, "x-user", MARK),
    InLocality("r", "z"),
    LocalityFailover(OutlierEjection(*WHERE, 3, 0.5, 3.0, 100, MARK)),
    Bypass((9090,), (7070, 8443)),
    PeerHeader(),
    OwnMtls(),
    ShortCertificates(30),
    Access("nobody", NAMESPACE, "web", Effect.ALLOW, ()),
    UnreadableAccess("unreadable", NAMESPACE, "web"),
    TokenIssuer("tokens", NAMESPACE, "web", "https://issuer.example.com", "web", '{"keys": []}'),
)  # fmt: skip
