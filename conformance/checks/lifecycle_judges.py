"""Histories of rollouts, ends, crashes and changes under load, and their judges. Pure.

That requests are answered proves nothing by itself: plain Kubernetes answers too. Each history therefore shows that the
server takes no plaintext, or that its pods have a proxy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from conformance.checks.capture_judges import Tries, unless_refused
from conformance.checks.injection import Behaviour
from conformance.model import Judgement, failed, inconclusive, passed
from fixtures.workloads.traffic import Record
from reports.model import Evidence

__all__ = [
    "Crash",
    "Deleted",
    "Drain",
    "Load",
    "Moves",
    "Rollout",
    "judge_crash",
    "judge_deleted",
    "judge_drain",
    "judge_moves",
    "judge_rollout",
]


@dataclass(frozen=True)
class Load:
    """Steady requests of a meshed client while something happened."""

    sent: int
    errors: tuple[str, ...]
    hosts: tuple[str, ...]
    """The pods that answered."""

    @classmethod
    def of(cls, records: Sequence[Record]) -> Load:
        """From the client's records."""
        wrong = tuple(one.error or f"status {one.status}" for one in records if not one.ok)
        return cls(len(records), wrong, tuple(sorted({one.pod for one in records if one.pod})))

    @property
    def said(self) -> str:
        """The errors in words."""
        return ", ".join(f"{count}× {kind}" for kind, count in Counter(self.errors).items())

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence("steady requests", {"sent": self.sent, "failed": self.said, "answered by": list(self.hosts)})


@dataclass(frozen=True)
class Rollout:
    """Every pod of a server is replaced under load."""

    plaintext: Tries
    """From outside of the mesh to a new pod."""
    before: tuple[str, ...]
    after: tuple[str, ...]
    load: Load

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        pods = Evidence("pods", {"before": list(self.before), "after": list(self.after)})
        return pods, self.load.evidence, Evidence("plaintext from outside of the mesh", [self.plaintext.row])


def judge_rollout(history: Rollout) -> Judgement:
    """All pods are new, each old and new one answered, and not one request failed."""
    load, evidence = history.load, history.evidence
    if set(history.before) & set(history.after) or not history.after or not history.before:
        return inconclusive("the pods were not replaced", *evidence)
    if unsound := unless_refused(history.plaintext, "the server takes plaintext: it is not in the mesh", *evidence):
        return unsound
    if not set(history.after) & set(load.hosts) or not set(history.before) & set(load.hosts):
        return inconclusive("the requests did not span the rollout", *evidence)
    if load.errors:
        return failed(f"{len(load.errors)} of {load.sent} requests failed during the rollout: {load.said}", *evidence)
    return passed(f"{load.sent} requests while {len(history.before)} pods were replaced, not one failed", *evidence)


@dataclass(frozen=True)
class Drain:
    """A pod is deleted while it works on requests."""

    plaintext: Tries
    """From outside of the mesh, before."""
    seconds: float
    """How long the application takes for a request."""
    deleted: float
    """When the pod was deleted."""
    outcomes: tuple[tuple[float, float, str], ...]
    """Of the requests under way: start, end, what went wrong ("" if nothing did)."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        rows: list[dict[str, Any]] = [
            {
                "sent s before the deletion": round(self.deleted - start, 2),
                "ended s after it": round(end - self.deleted, 2),
                "went wrong": problem,
            }
            for start, end, problem in self.outcomes
        ]
        return Evidence("requests under way", rows), Evidence("plaintext from outside", [self.plaintext.row])


def judge_drain(history: Drain) -> Judgement:
    """What a pod works on when it is deleted is answered."""
    under_way = [one for one in history.outcomes if one[0] < history.deleted]
    if not under_way or all(end < history.deleted for _, end, _ in under_way):
        return inconclusive("no request was under way when the pod was deleted", *history.evidence)
    taken = "the server takes plaintext: it is not in the mesh"
    if unsound := unless_refused(history.plaintext, taken, *history.evidence):
        return unsound
    wrong = [problem for _, _, problem in under_way if problem]
    if wrong:
        return failed(f"{len(wrong)} of {len(under_way)} requests under way were lost: {', '.join(sorted(set(wrong)))}",
                      *history.evidence)  # fmt: skip
    return passed(f"{len(under_way)} requests of {history.seconds:g} s, under way when their pod was deleted, were "
                  "answered", *history.evidence)  # fmt: skip


@dataclass(frozen=True)
class Crash:
    """A proxy is killed under a running application."""

    added: tuple[str, ...]
    """Containers that the mesh added to the pod."""
    restarts: int
    """Of those containers, since before."""
    own_restarts: int
    """Of the application."""
    back: float | None
    """Seconds until a meshed client was answered again; None: not within the limit."""
    limit: float
    plaintext: tuple[Tries, ...]
    """From outside of the mesh, again and again meanwhile."""
    missed: int = 0
    """How many times a meshed client was not answered meanwhile."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        facts: dict[str, Any] = {
            "containers added": list(self.added),
            "restarts of those": self.restarts,
            "restarts of the application": self.own_restarts,
            "looks without an answer": self.missed,
            "answered again after s": None if self.back is None else round(self.back, 2),
        }
        return Evidence("the crash", facts), Evidence("plaintext from outside", [one.row for one in self.plaintext])


def judge_crash(history: Crash) -> Judgement:
    """The proxy comes back by itself, the application does not notice, and meanwhile nothing goes around the proxy."""
    evidence = history.evidence
    if not history.added:
        return failed("no container was added to the pod: there is no proxy to crash", *evidence)
    # A kubelet tells of a restart when the hook after the start has ended: of one that never ends it tells nothing.
    if not history.restarts and (history.back is not None or not history.missed):
        return inconclusive("the proxy was not restarted: it did not crash", *evidence)
    if open_to := [one for one in history.plaintext if one.answered]:
        return failed(f"{open_to[0].answered} plaintext requests were answered while the proxy was down", *evidence)
    if history.back is None:
        return failed(f"{history.limit:g} s after the crash the server is not reached", *evidence)
    if history.own_restarts:
        return failed(f"the application was restarted {history.own_restarts} times", *evidence)
    return passed(f"reached again after {history.back:.1f} s; plaintext was refused all along", *evidence)


@dataclass(frozen=True)
class Moves:
    """A workload leaves the mesh and comes back under load."""

    stages: tuple[Behaviour, ...]
    """In the mesh, outside, in the mesh again."""
    load: Load


def judge_moves(history: Moves) -> Judgement:
    """In, out and in again, as pods and network show, without a failed request of a client in the mesh."""
    evidence = (*(one.evidence for one in history.stages), history.load.evidence)
    if len(history.stages) != 3 or not all(one.answered for one in history.stages):
        return inconclusive("a stage was not seen", *evidence)
    for stage, inside in zip(history.stages, (True, False, True), strict=True):
        if bool(stage.added) is not inside or stage.proxied is not inside:
            return failed(f"{stage.pod} should {'have' if inside else 'not have'} a proxy", *evidence)
    if history.load.errors:
        return failed(f"{len(history.load.errors)} of {history.load.sent} requests failed meanwhile: "
                      f"{history.load.said}", *evidence)  # fmt: skip
    return passed(f"out of the mesh and back, {history.load.sent} requests meanwhile, not one failed", *evidence)


@dataclass(frozen=True)
class Deleted:
    """A route that was in force is deleted. Hosts by pod name."""

    only: str
    """The version that the route sent every marked request to."""
    before: tuple[str, ...]
    """Versions that answered while it was in force."""
    after: tuple[str, ...]
    """Versions that answered once it was deleted and the bound was over."""
    errors: tuple[str, ...]


def judge_deleted(history: Deleted) -> Judgement:
    """Deleted configuration leaves no trace: requests are spread as if it had never been."""
    rows: dict[str, Any] = {
        "in force": Counter(history.before),
        "deleted": Counter(history.after),
        "errors": list(history.errors),
    }
    evidence = Evidence("answers by version", rows)
    if len(history.after) < 30:
        return inconclusive("too few requests were sent after the deletion", evidence)
    if not history.before or set(history.before) != {history.only}:
        return failed("the route was never in force", evidence)
    if history.errors:
        return failed(f"{len(history.errors)} requests failed after the deletion", evidence)
    if set(history.after) == {history.only}:
        return failed("the deleted route is still in force", evidence)
    return passed("after its deletion requests are spread over all versions again", evidence)
