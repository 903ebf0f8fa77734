"""RT: the ground of the routing checks, and the routes that stand on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from conformance.catalogue import place
from conformance.checks.cases import Asked, Case, Question, ask
from conformance.checks.standing import Route, Standing
from conformance.context import Context
from conformance.gates import Gate
from conformance.ground import HTTP, HTTP_AND_GRPC, Ground, Place, Svc, Workload
from conformance.intents import Backend, Intent, Marker, RequestRoute, RouteRule, Target

__all__ = ["DEPOT", "GROUND", "NOWHERE", "STANDING", "TO_V1", "TO_V2", "V1", "V2", "V3", "both", "offer", "one"]

By = Literal["version", "service"]
ROUTED = ("match", "fallback", "headers", "rewrite", "redirect", "moved", "order")
"""Services that are routed in both ways: by version as `<name>-version`, by service as `<name>-service`."""
SINGLE = ("missing", "ported", "shop", "granted", "late", "odd", "calls", "bystander")
TWO_PORTS = ("ported", "calls")
MIRRORED, SPOKEN = ("mirror",), ("speak",)

GROUND = place(
    Ground(
        name="rt",
        order=8,
        places=(Place("in", meshed=True), Place("far", meshed=True), Place("out")),
        workloads=(
            Workload("client", "in", kind="client"),
            Workload("web-v1", "in", app="web", version="v1"),
            Workload("web-v2", "in", app="web", version="v2"),
            Workload("web-v3", "in", app="web", version="v3"),
            Workload("visitor", "far", kind="client"),
            Workload("depot", "far", version="far"),
            Workload("outsider", "out", kind="client"),
        ),
        # One service a route: each stands alone, over the same pods.
        services=(
            *(
                Svc(f"{name}-{by}", "in", "web", ports=HTTP)
                for name in (*ROUTED, *MIRRORED, *SPOKEN)
                for by in ("version", "service")
            ),
            *(Svc(name, "in", "web", ports=HTTP_AND_GRPC if name in TWO_PORTS else HTTP) for name in SINGLE),
            *(Svc(f"web-{version}", "in", "web", version, ports=HTTP_AND_GRPC) for version in ("v1", "v2", "v3")),
            Svc("depot", "far", "depot", ports=HTTP),
            Svc("depot-closed", "far", "depot", ports=HTTP),
        ),
        server="web-v1",
    )
)

V1, V2, V3 = (Backend(version, version=version, service=f"web-{version}") for version in ("v1", "v2", "v3"))
DEPOT = Backend("depot", version="far", service="depot")
NOWHERE = Backend("nowhere", version="nowhere", service="nowhere")
"""A service that does not exist."""
TO_V1, TO_V2 = (Target(V1),), (Target(V2),)

STANDING = Standing({})
"""Every check file adds its own."""


def one(name: str, by: By, rules: Sequence[RouteRule], gate: Gate | None = None) -> None:
    """Let a route stand for a service of the same name. Marked requests go to v3."""

    def intents(ctx: Context, marker: Marker) -> tuple[Intent, ...]:
        return (RequestRoute(ctx.space("in"), name, 8080, tuple(rules), marker, by),)

    STANDING.routes[name] = Route(name, intents, V3, gate or Gate())


def offer(
    name: str, rules: Sequence[RouteRule], gate: Gate | None = None, *, ordered: Sequence[RouteRule] = ()
) -> None:
    """Let a route stand twice: by version and by service. `ordered` are the rules by version, if they are others."""
    one(f"{name}-version", "version", ordered or rules, gate)
    one(f"{name}-service", "service", rules, gate)


def both(ctx: Context, name: str, cases: Sequence[Case], *, more: Sequence[Case] = ()) -> tuple[Asked, ...]:
    """Ask the cases of a route that stands twice; `more` only where it is by service."""
    questions = (
        Question(held, words := held.rpartition("-")[2], [*cases, *(more if words == "service" else ())])
        for held in STANDING.hold(ctx, f"{name}-version", f"{name}-service")
    )
    return ask(ctx, *questions)
