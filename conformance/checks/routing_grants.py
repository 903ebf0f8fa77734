"""RT-10: a route may send requests to another namespace's service only where that namespace grants it."""

from __future__ import annotations

from collections.abc import Sequence

from conformance.catalogue import check
from conformance.checks.cases import Asked, Case, Question, ask, judge_cases
from conformance.checks.routing_ground import DEPOT, GROUND, STANDING, TO_V1, V3
from conformance.checks.standing import Route
from conformance.context import Context
from conformance.intents import Backend, BackendGrant, Intent, Marker, RequestMatch, RequestRoute, RouteRule, Target

__all__ = ["GRANT_CASES"]

CLOSED = Backend("depot-closed", version="far", service="depot-closed")


def _granted(ctx: Context, marker: Marker) -> tuple[Intent, ...]:
    far, home = ctx.space("far"), ctx.space("in")
    rules = (
        RouteRule((Target(DEPOT, namespace=far),), (RequestMatch(prefix="/granted"),)),
        RouteRule((Target(CLOSED, namespace=far),), (RequestMatch(prefix="/refused"),)),
        RouteRule(TO_V1),
    )
    return (BackendGrant(far, "depot", home), RequestRoute(home, "granted", 8080, rules, marker, "service"))


STANDING.routes["granted"] = Route("granted", _granted, V3)
GRANT_CASES = (
    Case("granted", "/granted", version="far"),
    Case("not granted", "/refused", status=500),
    Case("another rule", version="v1"),
)


@check(
    id="RT-10",
    title="A backend in another namespace needs a grant",
    proves=("routing", "reference grants"),
    judge=judge_cases,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/reference/spec/#referencegrant",
)
def grants(ctx: Context) -> Sequence[Asked]:
    """Two services over the same pods: routes of this namespace may use one of them."""
    STANDING.hold(ctx, "granted")
    return ask(ctx, Question("granted", "service", GRANT_CASES))
