"""RS: the ground of the resilience checks, and the routes that stand on it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from conformance.catalogue import place
from conformance.checks.standing import Route, Standing
from conformance.context import Context
from conformance.gates import Gate
from conformance.ground import HTTP, Ground, Place, Svc, Workload
from conformance.intents import (
    Backend,
    Fault,
    Intent,
    Marker,
    NoRetries,
    RequestMatch,
    RequestRoute,
    Retry,
    RetryBudget,
    RouteRule,
    Target,
)

__all__ = [
    "ABORT_PERCENT",
    "ABORT_STATUS",
    "BUDGET",
    "DELAY",
    "GROUND",
    "PER_TRY",
    "RETRIES",
    "STANDING",
    "TIMEOUT",
]

By = Literal["version", "service"]
WAYS: tuple[By, ...] = ("version", "service")
RETRIES = 2
TIMEOUT = 1.0
PER_TRY = 0.4
ABORT_STATUS, ABORT_PERCENT = 418, 30
DELAY = 0.4
BOTH = ("retry", "timeout", "per-try")
SINGLE = ("faults", "budget", "limited", "plain")

GROUND = place(
    Ground(
        name="rs",
        order=4,
        places=(Place("in", meshed=True), Place("out")),
        workloads=(
            Workload("client", "in", kind="client"),
            Workload("shop-v1", "in", app="shop", version="v1"),
            Workload("shop-v2", "in", app="shop", version="v2"),
            Workload("outsider", "out", kind="client"),
        ),
        services=(
            *(Svc(f"{name}-{by}", "in", "shop", ports=HTTP) for name in BOTH for by in WAYS),
            *(Svc(name, "in", "shop", ports=HTTP) for name in SINGLE),
            *(Svc(f"shop-{version}", "in", "shop", version, ports=HTTP) for version in ("v1", "v2")),
        ),
        # Some meshes come with retries for all of them: by `plain` is judged what nobody asked to be tried again.
        standing=lambda spaces: (NoRetries(spaces["in"], "plain"),),
        server="shop-v1",
    )
)

V1, V2 = (Backend(version, version=version, service=f"shop-{version}") for version in ("v1", "v2"))
TO_V1 = (Target(V1),)
# Only where, when and how much matter here; the namespace is filled in when it is put into the cluster.
BUDGET = RetryBudget("", "budget", 8080, Retry(3, (503,)), percent=20, least=1)


def _route(service: str, by: By, rules: Sequence[RouteRule]) -> Route:
    def intents(ctx: Context, marker: Marker) -> tuple[Intent, ...]:
        return (RequestRoute(ctx.space("in"), service, 8080, tuple(rules), marker, by),)

    return Route(service, intents, V2)


def _budget(ctx: Context, marker: Marker) -> tuple[Intent, ...]:
    space = ctx.space("in")
    return (
        RetryBudget(space, "budget", 8080, BUDGET.retry, percent=BUDGET.percent, least=BUDGET.least, marker=marker),
    )


_RULES = {
    "retry": (RouteRule(TO_V1, retry=Retry(RETRIES, (503,))),),
    "timeout": (RouteRule(TO_V1, timeout=TIMEOUT),),
    "per-try": (RouteRule(TO_V1, retry=Retry(RETRIES, (504,), PER_TRY)),),
}
_FAULTS = (
    RouteRule(TO_V1, (RequestMatch(prefix="/abort"),), fault=Fault(ABORT_STATUS, ABORT_PERCENT)),
    RouteRule(TO_V1, (RequestMatch(prefix="/delay"),), fault=Fault(delay=DELAY, delay_percent=100)),
    RouteRule(TO_V1),
)
STANDING = Standing(
    {
        **{f"{name}-{by}": _route(f"{name}-{by}", by, _RULES[name]) for name in BOTH for by in WAYS},
        "faults": _route("faults", "version", _FAULTS),
        "budget": Route("budget", _budget, V2, Gate()),
    }
)
