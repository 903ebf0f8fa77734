"""AZ-09: a policy that the mesh cannot understand lets nobody in."""

from __future__ import annotations

from dataclasses import dataclass

from conformance.catalogue import check
from conformance.checks.authorization_ground import GROUND, SERVER, Ask, proven
from conformance.checks.authorization_judges import Access, judge_access
from conformance.context import Context, Refused
from conformance.intents import UnreadableAccess
from conformance.model import Judgement, failed, passed
from reports.model import Evidence

__all__ = ["Unreadable", "judge_unreadable"]


@dataclass(frozen=True)
class Unreadable:
    """What became of the policy."""

    refusal: str
    """What the API server said when it refused the object; empty where it took it."""
    access: Access
    """Where it took it: what the workload then let in."""


def judge_unreadable(history: Unreadable) -> Judgement:
    """Either the object is refused, so that nobody believes it to be in force, or the workload is closed by it."""
    if not history.refusal:
        return judge_access(history.access)
    evidence = Evidence("the API server's answer", history.refusal)
    if not any(word in history.refusal for word in ("rules", "when", "key")):
        return failed("the object was refused, and the answer does not name the field that is wrong", evidence)
    return passed("the object was refused, and the answer names the field that is wrong", evidence)


@check(
    id="AZ-09",
    title="A policy that cannot be understood lets nobody in",
    proves=("authorization", "validation"),
    judge=judge_unreadable,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/reference/config/security/authorization-policy/",
)
def unreadable(ctx: Context) -> Unreadable:
    """Allow requests by a condition that no mesh knows. Where it is taken, the refusals are its mark."""
    policy = UnreadableAccess("unreadable", ctx.space("in"), SERVER)
    asks = [Ask("client", wanted=False), Ask("outsider", wanted=False)]
    try:
        return Unreadable("", proven(ctx, policy, asks=asks))
    except Refused as problem:
        return Unreadable(problem.message or problem.problem, Access(()))
