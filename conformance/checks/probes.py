"""INJ-05: the kubelet's probes work under strict mTLS, both ways: a healthy pod is Ready, a sick one is not.

It runs on the ground of the MTLS checks, whose strict namespace has been strict since before its pods were created.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conformance.catalogue import check
from conformance.checks.mtls import GROUND, attempt
from conformance.checks.mtls_judges import HTTP, Attempt
from conformance.context import LIMITS, Context
from conformance.model import Judgement, failed, inconclusive, passed
from fixtures.kube import NotEventually
from reports.model import Evidence

__all__ = ["Probes", "judge_probes"]


@dataclass(frozen=True)
class Probes:
    """A pod's readiness, while plaintext from outside is refused on the very port that is probed."""

    plaintext: Attempt
    ready: bool
    restarts: int
    went_unready: bool
    """Whether it lost its readiness when the application failed its probe."""
    came_back: bool
    """Whether it was Ready again when the application was healthy again."""

    @property
    def evidence(self) -> tuple[Evidence, Evidence]:
        """For the report."""
        facts = {
            "ready under strict": self.ready,
            "container restarts": self.restarts,
            "not ready while the application fails its probe": self.went_unready,
            "ready again afterwards": self.came_back,
        }
        return Evidence("plaintext from outside, on the probed port", [self.plaintext.row]), Evidence("probes", facts)


def judge_probes(history: Probes) -> Judgement:
    """Strict is in force, the pod is Ready, and its readiness follows the application."""
    if not history.plaintext.sent:
        return inconclusive("no plaintext request was tried", *history.evidence)
    if not history.plaintext.refused:
        return failed("plaintext is taken on the probed port: strict is not in force there", *history.evidence)
    if not history.ready:
        return failed("the pod is not Ready under strict", *history.evidence)
    if history.restarts:
        return failed(f"containers restarted {history.restarts} times under strict", *history.evidence)
    if not history.went_unready:
        return failed("the application fails its probe and the pod stays Ready: nobody asks it", *history.evidence)
    if not history.came_back:
        return failed("the application is healthy again and the pod is not Ready", *history.evidence)
    return passed("Ready under strict, and readiness follows the application both ways", *history.evidence)


def is_ready(pod: Mapping[str, Any]) -> bool:
    """Whether a pod object says Ready."""
    conditions = pod.get("status", {}).get("conditions", [])
    return any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


@check(
    id="INJ-05",
    title="Probes work under strict mTLS",
    proves=("injection", "probes"),
    judge=judge_probes,
    ground=GROUND,
    requires=("INJ-01", "MTLS-02"),
)
def probes(ctx: Context) -> Probes:
    """Make the application of a strict pod fail its probe for a moment."""
    plaintext = attempt(ctx, "strict", HTTP, meshed=False)
    pod = ctx.pod("strict")

    def now() -> Mapping[str, Any]:
        return ctx.kube.get("v1", "Pod", pod.name, pod.namespace) or {}

    def turns(ready: bool) -> bool:
        try:
            ctx.until(lambda: is_ready(now()) is ready, f"readiness {ready}", LIMITS.readiness)
        except NotEventually:
            return False
        return True

    before = now()
    ctx.behave(pod, codes="503:100")
    try:
        went = turns(ready=False)
    finally:
        ctx.behave(pod, codes="")
    back = turns(ready=True)
    statuses = [
        *before.get("status", {}).get("containerStatuses", []),
        *before.get("status", {}).get("initContainerStatuses", []),
    ]
    restarts = sum(int(one.get("restartCount", 0)) for one in statuses)
    return Probes(plaintext, is_ready(before), restarts, went, back)
