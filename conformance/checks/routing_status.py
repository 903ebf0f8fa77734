"""RT-11 and RT-12: what a mesh says of a route is true, and what it cannot do it refuses instead of leaving it out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.adapters import Manifest
from conformance.catalogue import check
from conformance.checks.routing_ground import GROUND, STANDING, TO_V1, TO_V2, one
from conformance.context import LIMITS, Context, NotExpressible, NotInForce, Refused
from conformance.gates import Gate
from conformance.intents import Backend, RequestMatch, RouteRule, Target
from conformance.model import Judgement, failed, inconclusive, passed
from fixtures.workloads.manifests import service
from fixtures.workloads.traffic import Batch
from reports.errors import EnvironmentProblem
from reports.model import JSON, Evidence

__all__ = ["Said", "Statement", "Unknown", "conditions", "controllers", "judge_status", "judge_unknown"]

GATEWAY = "gateway.networking.k8s.io/"
LATER = Backend("later", version="v2", service="web-later")
"""A service that does not exist at first."""

one("late", "service", (RouteRule((Target(LATER),)),), Gate(ordinary=""))
# Marked requests go to v3: each version tells which rule was followed.
one("odd", "service", (RouteRule(TO_V2, (RequestMatch(prefix="/odd"),), unknown_filter="odd"), RouteRule(TO_V1)))


@dataclass(frozen=True)
class Said:
    """One condition of a route for one of its parents."""

    kind: str
    status: str
    reason: str
    current: bool
    """Whether it speaks of the object as it is now."""
    dated: bool = True
    """Whether it says of which state of the object it speaks."""


def conditions(item: Mapping[str, Any], controller: str = "") -> tuple[Said, ...]:
    """What a controller says of a route, "": every one."""
    generation = item["metadata"].get("generation")
    return tuple(
        Said(
            str(found.get("type")),
            str(found.get("status")),
            str(found.get("reason", "")),
            found.get("observedGeneration") == generation,
            "observedGeneration" in found,
        )
        for parent in item.get("status", {}).get("parents", ())
        if controller in ("", parent.get("controllerName"))
        for found in parent.get("conditions", ())
    )


def controllers(item: Mapping[str, Any]) -> list[str]:
    """Who says something of a route."""
    return sorted({str(parent.get("controllerName")) for parent in item.get("status", {}).get("parents", ())})


@dataclass(frozen=True)
class Statement:
    """What is true of a route, and what its status says."""

    what: str
    wanted: tuple[tuple[str, str, tuple[str, ...]], ...]
    """Condition, status, and the reasons that may stand beside it (none: any)."""
    said: tuple[Said, ...]

    @property
    def wrong(self) -> str:
        """What is wrong; "" if nothing is."""
        for kind, status, reasons in self.wanted:
            found = [one for one in self.said if one.kind == kind]
            if not found:
                return f"nothing is said of {kind}"
            for condition in found:
                if condition.status != status:
                    return f"{kind} is {condition.status} ({condition.reason}), {status} is true"
                if reasons and condition.reason not in reasons:
                    return f"the reason of {kind} is {condition.reason}, not {' or '.join(reasons)}"
                if not condition.dated:
                    return f"{kind} does not say of which state of the object it speaks (observedGeneration)"
                if not condition.current:
                    return f"{kind} speaks of an older state of the object"
        return ""


def _rows(statements: Sequence[Statement]) -> list[dict[str, JSON]]:
    return [
        {
            "route": one.what,
            "true": "; ".join(f"{kind} {status}" for kind, status, _ in one.wanted),
            "said": "; ".join(f"{said.kind} {said.status} ({said.reason})" for said in one.said),
            "wrong": one.wrong,
        }
        for one in statements
    ]


def judge_status(history: Sequence[Statement]) -> Judgement:
    """Every statement is true, and of the object as it is."""
    evidence = Evidence("what is true and what the status says", _rows(history))
    if not history:
        return inconclusive("no route has a status", evidence)
    for one_of_them in history:
        if one_of_them.wrong:
            return failed(f"{one_of_them.what}: {one_of_them.wrong}", evidence)
    return passed(f"true of {len(history)} routes and states", evidence)


ACCEPTED = ("Accepted", "True", ())
RESOLVED, UNRESOLVED = ("ResolvedRefs", "True", ()), ("ResolvedRefs", "False", ("BackendNotFound",))


def _objects(ctx: Context, name: str) -> list[Manifest]:
    """The Gateway API routes that stand for a name. `NotExpressible` where a mesh routes by other kinds."""
    found = [item for item in STANDING.stood(ctx, name).objects if item["apiVersion"].startswith(GATEWAY)]
    if not found and STANDING.stood(ctx, name).objects:
        raise NotExpressible("the mesh's own routes have no conditions to judge")
    return [item for item in found if item["kind"].endswith("Route")]


def _statement(ctx: Context, name: str, what: str, *wanted: tuple[str, str, tuple[str, ...]]) -> Statement:
    """What a route's status says, once it says what is true, or when the time is over."""
    return Statement(what, wanted, _said(ctx, name, lambda said: not Statement(what, wanted, said).wrong))


def _said(ctx: Context, name: str, enough: Callable[[tuple[Said, ...]], bool]) -> tuple[Said, ...]:
    """A route's conditions, once they say enough, or when the time is over."""
    routes = _objects(ctx, name)
    if not routes:
        raise NotInForce(f"there is no route for {name} that could say anything")
    meta = routes[0]["metadata"]
    own = str(getattr(getattr(ctx.adapter, "settings", None), "controller", ""))
    item: Mapping[str, Any] = {"metadata": {}}

    def look() -> bool:
        nonlocal item
        item = ctx.kube.get(routes[0]["apiVersion"], routes[0]["kind"], meta["name"], meta["namespace"]) or item
        return enough(conditions(item, own))

    ctx.watch(look, LIMITS.in_force)
    by = controllers(item)
    silent = bool(own) and own not in by and _is_known(ctx, own, routes[0])
    if by and not silent and not (own in by if own else len(by) == 1):
        raise EnvironmentProblem(
            f"the status of {routes[0]['kind']} {meta['name']} is written by {', '.join(by)}"
            + (f", and not by {own}" if own else ""),
            fix="say which of them is the mesh's: --set controller=NAME",
        )
    return conditions(item, own)


def _is_known(ctx: Context, controller: str, route: Mapping[str, Any]) -> bool:
    """Whether the cluster has a controller of that name, which then has said nothing of this route."""
    classes = ctx.kube.list(f"{GATEWAY}v1", "GatewayClass")
    others = ctx.kube.list(route["apiVersion"], route["kind"], route["metadata"]["namespace"])
    named = {one.get("spec", {}).get("controllerName") for one in classes}
    return controller in named | {name for one in others for name in controllers(one)}


@check(
    id="RT-11",
    title="The status of a route tells the truth",
    proves=("routing", "status"),
    judge=judge_status,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/reference/spec/#routeconditiontype",
)
def status(ctx: Context) -> list[Statement]:
    """A route that is whole; one whose backend does not exist, before and after it does; one with a share missing."""
    found = [
        _statement(ctx, "match-service", "all backends exist", ACCEPTED, RESOLVED),
        _statement(ctx, "missing", "one of two backends does not exist", ACCEPTED, UNRESOLVED),
        _statement(ctx, "late", "the only backend does not exist", ACCEPTED, UNRESOLVED),
    ]
    ctx.kube.apply(service(LATER.service, ctx.space("in"), {"app": "web", "version": LATER.version}))
    return [*found, _statement(ctx, "late", "its backend has come", ACCEPTED, RESOLVED)]


@dataclass(frozen=True)
class Unknown:
    """A rule with a filter of a kind that nobody knows."""

    refused: str
    """What the API server said, if it refused the object."""
    said: tuple[Said, ...]
    in_force: bool
    """Whether the route's mark showed, so that its other rules hold."""
    answers: tuple[str, ...]
    """By request that the rule matches: the version that answered, or the status or error."""


DROPPED = "PartiallyInvalid"
"""The condition of a route of which rules were dropped, while it is accepted as a whole."""
ODD, REST = TO_V2[0].backend.version, TO_V1[0].backend.version
"""Who answers by the rule with the filter, and who by the one below it."""
VERSIONS = {"v1", "v2", "v3"}
LEAST = 30
"""Answers over which a service without a route is spread: of three versions chance leaves one out with 2e-5."""


def denials(said: Sequence[Said]) -> list[Said]:
    """The conditions by which a mesh says that it does not carry out a route, or not all of its rules."""
    return [
        one
        for one in said
        if (one.kind, one.status) in {("Accepted", "False"), ("ResolvedRefs", "False"), (DROPPED, "True")}
    ]


def judge_unknown(history: Unknown) -> Judgement:
    """The object is refused, or its status says so; and in no case is the rule carried out without its filter."""
    counts = Counter(history.answers)
    evidence = Evidence(
        "a rule with an unknown filter",
        {
            "refused by the API server": history.refused or None,
            "conditions": [f"{one.kind} {one.status} ({one.reason})" for one in history.said],
            "the rest of the route in force": history.in_force,
            "answers": dict(counts),
        },
    )
    if history.refused:
        return passed(f"refused: {history.refused}", evidence)
    denied = denials(history.said)
    if not denied:
        return failed("neither refused nor said in the status", evidence)
    if not history.answers:
        return inconclusive("no request was sent", evidence)
    late = counts.pop("timeout", 0)
    outcome, reason = _carried_out(history, counts, denied)
    if outcome is passed and late:
        return inconclusive(f"{late} of {len(history.answers)} requests ran into a timeout", evidence)
    return outcome(reason, evidence)


def _carried_out(
    history: Unknown, answered: Mapping[str, int], denied: Sequence[Said]
) -> tuple[Callable[..., Judgement], str]:
    """What became of the rule, by the requests that were not late."""
    errors = {name for name in answered if name.isdigit() and int(name) >= 500}
    said = f"said in the status ({denied[0].reason})"
    if answered and set(answered) <= errors:
        return passed, f"{said}; its requests are answered by {', '.join(sorted(errors))}"
    left_out = "the filter was left out and the rule carried out without it"
    if history.in_force:
        if set(answered) == {REST} and any(one.kind == DROPPED for one in denied):
            return passed, f"{said}; the rule is dropped, and its requests follow the next one"
        if set(answered) == {ODD}:
            return failed, left_out
        return failed, "its requests are neither refused nor filtered while the rest of the route holds"
    if set(answered) == VERSIONS:
        return passed, f"{said}; the route as a whole is not in force"
    if ODD in answered and sum(answered.values()) >= LEAST:
        return failed, left_out
    return inconclusive, "neither the rule nor the route as a whole is seen to be out of force"


@check(
    id="RT-12",
    title="A filter that is not supported is refused, not left out",
    proves=("routing", "status"),
    judge=judge_unknown,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/reference/spec/#httproutefilter",
)
def unknown_filter(ctx: Context) -> Unknown:
    """A reference to a filter of a kind of our own, for which there is no definition."""
    try:
        STANDING.stood(ctx, "odd")
    except Refused as problem:
        return Unknown(problem.message or problem.problem, (), in_force=False, answers=())
    said = _said(ctx, "odd", lambda found: bool(denials(found)))
    try:
        STANDING.hold(ctx, "odd")
        in_force = True
    except NotInForce:
        in_force = False
    batch = Batch(ctx.url("odd", path="/odd"), count=60, concurrency=4, timeout=LIMITS.probe, fresh=True,
                  fields=("version",))  # fmt: skip
    answers = tuple(str(one.version or one.status or one.error) for one in ctx.client().batch(batch))
    return Unknown("", said, in_force, answers)
