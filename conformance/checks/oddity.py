"""RT-16: an odd value in one route stays there. It could reach every proxy of the mesh, so it is tried alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from conformance.catalogue import check
from conformance.checks.cases import Asked, Case, Question, ask, judge_cases, table
from conformance.checks.standing import expressible
from conformance.checks.wide import GROUND
from conformance.context import Context, NotInForce
from conformance.intents import Backend, HeaderEdit, Marker, RequestRoute, RouteRule, Target
from conformance.model import Judgement, failed, inconclusive
from reports.model import JSON, Evidence

__all__ = ["Odd", "judge_odd"]

V1, V2 = (Backend(version, version=version, service=f"server-{version}") for version in ("v1", "v2"))
VALUES = (("x-share", "100%"), ("x-offer", "50 % off"), ("x-word", "%PROTOCOL%"))
"""In Envoy's own words a percent sign begins a command, so who hands values on as they are writes nonsense, or more."""
ALONE = ", once the odd one is gone"
CASES = (
    Case("request headers", version="v1", arrives=VALUES),
    Case("response headers", version="v1", returns=VALUES),
)


@dataclass(frozen=True)
class Odd:
    """A route with odd values, and one without beside it, created after it."""

    in_force: tuple[tuple[str, bool], ...]
    """By name, whether the routes came into force; each time the one beside was asked first."""
    asked: tuple[Asked, ...]

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        rows: list[JSON] = [{"route": name, "in force": held} for name, held in self.in_force]
        return Evidence("routes", rows), table(self.asked)


def judge_odd(history: Odd) -> Judgement:
    """The route beside comes into force, so does the odd one, and its values arrive as they are written."""
    if not history.in_force:
        return inconclusive("no route was put into the cluster", *history.evidence)
    late = tuple(name for name, held in history.in_force if not held)
    if late:
        harm = " beside one with a percent sign in a header's value" if late[0].startswith("beside") else ""
        ever = ", and no change of another after it" if any(name.endswith(ALONE) for name in late) else ""
        return failed(f"the route {late[0]}{harm} does not come into force{ever}", *history.evidence)
    return judge_cases(history.asked)


def _held(ctx: Context, name: str, marker: Marker) -> bool:
    """Whether a route comes into force in time."""
    try:
        ctx.gate(name, marker)
    except NotInForce:
        return False
    return True


def _stands(ctx: Context, by: Literal["version", "service"]) -> Odd:
    """Both routes, written in one of the two ways; gone again when this returns."""
    before = len(ctx.applied)
    edit = HeaderEdit(set=VALUES)
    odd, beside, space = ctx.marker(V2), ctx.marker(V2), ctx.space("in")
    changed, plain = RouteRule((Target(V1),), request_headers=edit, response_headers=edit), RouteRule((Target(V1),))
    found = []
    try:
        ctx.apply(RequestRoute(space, f"odd-{by}", 8080, (changed,), odd, by))
        last = len(ctx.applied)
        ctx.apply(RequestRoute(space, f"beside-{by}", 8080, (plain,), beside, by))
        for name, marker in ((f"beside-{by}", beside), (f"odd-{by}", odd)):
            found.append((name, _held(ctx, name, marker)))
            if not found[-1][1]:
                ctx.remove(*ctx.applied[before:last])
                later = ctx.marker(V2)
                ctx.apply(RequestRoute(space, f"beside-{by}", 8080, (plain,), later, by))
                found.append((f"beside-{by}{ALONE}", _held(ctx, f"beside-{by}", later)))
                return Odd(tuple(found), ())
        return Odd(tuple(found), ask(ctx, Question(f"odd-{by}", by, CASES)))
    finally:
        ctx.remove(*ctx.applied[before:])


@check(
    id="RT-16",
    title="A percent sign in a header's value stays one, and harms no other route",
    proves=("routing", "header modification"),
    judge=judge_odd,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://gateway-api.sigs.k8s.io/reference/spec/#httpheader",
)
def odd_values(ctx: Context) -> Odd:
    """Values that mean something to Envoy, in each kind of route that the mesh has."""
    ways: tuple[Literal["version", "service"], ...] = ("version", "service")
    found = expressible(ways, lambda by: _stands(ctx, by))
    return Odd(sum((one.in_force for one in found), ()), sum((one.asked for one in found), ()))
