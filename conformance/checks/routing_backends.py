"""RT: backends that cannot be resolved, are in another namespace, or are reached by another port or another client."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

from conformance.catalogue import check
from conformance.checks.cases import Asked, Case, Question, ask, judge_cases, table
from conformance.checks.routing_ground import DEPOT, GROUND, NOWHERE, STANDING, TO_V1, TO_V2, V1, both, one
from conformance.checks.standing import Route
from conformance.context import LIMITS, Context
from conformance.gates import Gate
from conformance.intents import Intent, Marker, RequestMatch, RequestRoute, RouteRule, Target
from conformance.model import Judgement, failed, inconclusive, passed, share_rates
from conformance.statistics import Decision, shares_decision
from fixtures.workloads.traffic import Batch
from reports.model import ErrorRate, Evidence

__all__ = ["Bystanders", "Half", "judge_bystanders", "judge_missing"]

SPEC = "https://gateway-api.sigs.k8s.io/reference/spec/"
REST = RouteRule(TO_V1)
DELTA, BETA, MOST = 0.15, 1e-3, 800
VERSIONS = ("v1", "v2", "v3")
SPREAD_ROW, MOST_SPREAD = 12, 60
"""Requests at a time, and in all, that must reach each of them: of even draws one stays out by chance once in 10^10."""
TAKES, LEFT_OUT = "20ms", 10.0
"""A balancer by latency, as Linkerd's, draws otherwise: it gives all to whoever is quickest, as long as that has
nothing else to do, so that requests take a while, a row at once; and whoever was slow is left out for some seconds."""

one(
    "missing",
    "service",
    (
        RouteRule((Target(NOWHERE),), (RequestMatch(prefix="/missing"),)),
        RouteRule((Target(V1, 1), Target(NOWHERE, 1)), (RequestMatch(prefix="/half"),)),
        REST,
    ),
)


@dataclass(frozen=True)
class Half:
    """Cases, and requests half of which have a backend that cannot be resolved."""

    asked: tuple[Asked, ...]
    answers: tuple[str, ...]
    """By request: `v1`, `500`, or what came instead."""
    alpha: float


def judge_missing(history: Half) -> Judgement:
    """What goes to the missing backend is a 500, and the other half is served."""
    judged = judge_cases(history.asked)
    counts = Counter(history.answers)
    split = Evidence("half of the requests have no backend", [{"answer": k, "seen": v} for k, v in counts.items()])
    evidence = (table(history.asked), split)
    if judged.reason and judged.verdict != "pass":
        return replace(judged, evidence=evidence)
    if strange := {name: count for name, count in counts.items() if name not in {"v1", "500", "timeout"}}:
        said = ", ".join(f"{name} {count}×" for name, count in strange.items())
        return failed(f"of requests that have a backend or a 500, some got {said}", *evidence)
    shares = {"v1": 50, "500": 50}
    decision, proportions, tests = shares_decision(counts, shares, delta=DELTA, alpha=history.alpha, beta=BETA)
    rates = share_rates(tests, len(history.answers))
    said = "; ".join(share.text for share in proportions)
    if counts["timeout"]:
        return inconclusive(f"{counts['timeout']} requests ran into a timeout", *evidence, error_rates=rates)
    if decision is Decision.REJECT:
        return failed(f"the missing backend's share is not its own: {said}", *evidence, error_rates=rates)
    if decision is Decision.GO_ON:
        return inconclusive(f"undecided: {said}", *evidence, error_rates=rates)
    return passed(f"{judged.reason}; {said}", *evidence, error_rates=rates)


@check(
    id="RT-03",
    title="A backend that cannot be resolved is a 500",
    proves=("routing",),
    judge=judge_missing,
    ground=GROUND,
    requires=("INJ-01",),
    reference=f"{SPEC}#httpbackendref",
)
def missing(ctx: Context) -> Half:
    """A rule whose only backend does not exist, and one of two with equal weights."""
    STANDING.hold(ctx, "missing")
    cases = (Case("no backend", "/missing", status=500), Case("another rule", "/", version="v1"))
    asked = ask(ctx, Question("missing", "service", cases))
    answers: list[str] = []
    while len(answers) < MOST:
        batch = Batch(
            url=ctx.url("missing", path="/half"), count=100, concurrency=4, timeout=LIMITS.request, fields=("version",)
        )
        found = ctx.client().batch(batch)
        answers.extend(str(record.version or record.status or record.error) for record in found)
        shares = {"v1": 50, "500": 50}
        if shares_decision(Counter(answers), shares, delta=DELTA, alpha=ctx.alpha, beta=BETA)[0] != Decision.GO_ON:
            break
    return Half(asked, tuple(answers), ctx.alpha)


@dataclass(frozen=True)
class Bystanders:
    """Cases on what is routed, and the versions that answered where nothing is."""

    asked: tuple[Asked, ...]
    elsewhere: str
    """Where nothing is routed."""
    versions: tuple[str, ...]
    """By request there: the version that answered, or the error."""
    wanted: tuple[str, ...] = VERSIONS


def judge_bystanders(history: Bystanders) -> Judgement:
    """The cases are as expected, and elsewhere every version still answers, without an error."""
    judged = judge_cases(history.asked)
    counts = Counter(history.versions)
    seen = Evidence(f"answers of {history.elsewhere}", [{"by": k, "seen": v} for k, v in sorted(counts.items())])
    evidence = (table(history.asked), seen)
    if judged.verdict != "pass":
        return replace(judged, evidence=evidence)
    if not history.versions:
        return inconclusive(f"{history.elsewhere} was not asked", *evidence)
    if strange := sorted(set(counts) - {*history.wanted, "timeout"}):
        return failed(f"{history.elsewhere} answered by {', '.join(strange)}", *evidence)
    if counts["timeout"]:
        return inconclusive(f"{counts['timeout']} requests to {history.elsewhere} ran into a timeout", *evidence)
    # Even draws leave one of them out by chance so often; a route that reaches there lets none of them answer. Whoever
    # stops as soon as each has answered would have gone on otherwise. How often other draws do, no figure tells.
    versions, asked = len(history.wanted), len(history.versions)
    silence = versions * (1 - 1 / versions) ** max(asked, MOST_SPREAD)
    chance = "one of the versions is silent, by even draws"
    rates = (ErrorRate(chance, silence, 0.0, "a route that takes every request", asked),)
    if silent := [version for version in history.wanted if not counts[version]]:
        return failed(
            f"of {len(history.versions)} requests to {history.elsewhere}, {', '.join(silent)} got none: the route "
            "reaches further than it says", *evidence, error_rates=rates)  # fmt: skip
    spread = f"{history.elsewhere} is spread over {', '.join(history.wanted)}"
    return passed(f"{judged.reason}; {spread}", *evidence, error_rates=rates)


def _versions(ctx: Context, service: str, *, port: int = 8080, protocol: str = "http1") -> tuple[str, ...]:
    """Who answers requests on connections of their own: as many as it takes to hear of each.

    Or `MOST_SPREAD`, and more for as long as a balancer may leave one out.
    """
    batch = Batch(
        url=ctx.url(service, port, f"/?delay={TAKES}"),
        protocol=protocol,
        count=SPREAD_ROW,
        concurrency=SPREAD_ROW,
        timeout=LIMITS.request,
        fresh=True,
        fields=("version",),
    )
    found: list[str] = []

    def each_answered() -> bool:
        found.extend(str(record.version or record.status or record.error) for record in ctx.client().batch(batch))
        return set(VERSIONS) <= set(found)

    while not each_answered():
        if len(found) >= MOST_SPREAD:
            if set(found) < set(VERSIONS):  # else what came instead decides
                ctx.watch(each_answered, LEFT_OUT)
            break
    return tuple(found)


one("ported", "service", (RouteRule(TO_V2),))


@check(
    id="RT-08",
    title="A route for one port leaves the others alone",
    proves=("routing", "parent port"),
    judge=judge_bystanders,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference=f"{SPEC}#parentreference",
)
def parent_port(ctx: Context) -> Bystanders:
    """The parent is port 8080; gRPC on 7070 of the same service stays spread."""
    STANDING.hold(ctx, "ported")
    asked = ask(ctx, Question("ported", "service", (Case("the routed port", version="v2"),)))
    return Bystanders(asked, "the same service's port 7070", _versions(ctx, "ported", port=7070, protocol="grpc"))


PLAIN = (
    Case(
        "a service without a route",
        "/area/exact?color=blue&x=%20%2B",
        headers=(("x-color", "blue"), ("x-tone", "high")),
        backend_path="/area/exact?color=blue&x=%20%2B",
        arrives=(("x-tone", "high"), ("x-color", "blue")),
    ),
    Case("another method", method="DELETE"),
)


@check(
    id="RT-15",
    title="Services without a route are left alone",
    proves=("routing",),
    judge=judge_bystanders,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/geps/gep-1324/",
)
def bystanders(ctx: Context) -> Bystanders:
    """While the same requests to a neighbour are routed, those to a service over the same pods arrive as sent."""
    routed = both(ctx, "match", (Case("the neighbour's", "/area", version="v2"),))
    asked = routed + ask(ctx, Question("bystander", "no route", PLAIN))
    return Bystanders(asked, "a service without a route", _versions(ctx, "bystander"))


def _consumer(ctx: Context, marker: Marker) -> tuple[Intent, ...]:
    far, home = ctx.space("far"), ctx.space("in")
    rules = (RouteRule((Target(DEPOT),)),)
    return (RequestRoute(far, "shop", 8080, rules, marker, "service", parent_namespace=home, name="shop-for-far"),)


# Nobody behind the service is the depot: its answers are mark enough.
STANDING.routes["shop"] = Route("shop", _consumer, DEPOT, Gate(ordinary="", client="visitor"))


@check(
    id="RT-09",
    title="A consumer's route holds for its own namespace only",
    proves=("routing", "consumer routes"),
    judge=judge_bystanders,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://gateway-api.sigs.k8s.io/mesh/gamma/",
)
def consumer_route(ctx: Context) -> Bystanders:
    """A route in the visitor's namespace for a service in another: the service's neighbours do not follow it."""
    STANDING.hold(ctx, "shop")
    cases = (Case("its own namespace's client", version="far"),)
    asked = ask(ctx, Question("shop", "consumer", cases), client="visitor")
    return Bystanders(asked, "the same service, asked from its own namespace", _versions(ctx, "shop"))
