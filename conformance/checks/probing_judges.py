"""The history of a pod's probes under strict mTLS, and its judge (INJ-05). Pure; `probing` collects it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conformance.checks.capture_judges import Tries, unless_refused
from conformance.model import Judgement, failed, inconclusive, passed
from reports.model import JSON, Evidence

__all__ = ["Probes", "is_ready", "judge_probes"]


@dataclass(frozen=True)
class Probes:
    """A pod's readiness, while plaintext from outside is refused on the very port that is probed."""

    plaintext: Tries | None
    """None where there was no pod to ask: it was not let in, or its application does not run."""
    ready: bool
    restarts: int
    went_unready: bool
    """Whether it lost its readiness when the application failed its probe."""
    came_back: bool
    """Whether it was Ready again when the application was healthy again."""
    waits: str = ""
    """Of a pod that is not Ready: why its application has not been running for long enough; "" where it has."""

    @property
    def evidence(self) -> tuple[Evidence, Evidence]:
        """For the report."""
        facts: dict[str, JSON] = {
            "ready under strict": self.ready,
            "not running, because": self.waits,
            "container restarts": self.restarts,
            "not ready while the application fails its probe": self.went_unready,
            "ready again afterwards": self.came_back,
        }
        rows = [] if self.plaintext is None else [self.plaintext.row]
        return Evidence("plaintext from outside, on the probed port", rows), Evidence("probes", facts)


def judge_probes(history: Probes) -> Judgement:
    """Strict is in force, the pod is Ready, and its readiness follows the application."""
    if not history.ready and history.waits:
        return inconclusive(f"the application has not been running for long enough: {history.waits}", *history.evidence)
    if not history.ready and history.plaintext is None:
        return failed("the pod was not let in under strict", *history.evidence)
    if history.plaintext is None or not history.plaintext.sent:
        return inconclusive("no plaintext request was tried", *history.evidence)
    taken = "plaintext is taken on the probed port: strict is not in force there"
    if unsound := unless_refused(history.plaintext, taken, *history.evidence):
        return unsound
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
