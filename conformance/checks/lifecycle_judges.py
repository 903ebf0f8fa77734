"""Histories of rollouts, ends, crashes and changes under load, and their judges. Pure.

That requests are answered proves nothing by itself: plain Kubernetes answers too. Each history therefore shows that the
server takes no plaintext, or that its pods have a proxy.
"""

from __future__ import annotations

import math
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
    "unless_sound",
]


@dataclass(frozen=True)
class Load:
    """Steady requests of a meshed client while something happened."""

    sent: int
    errors: tuple[str, ...]
    hosts: tuple[str, ...]
    """The pods that answered."""
    queued: int = 0
    """Requests, not among the errors, that ran out of time after they had waited in the client's own queue for most of
    it: that says nothing against a mesh. Those that its hanging kept in the queue stand behind some that hung."""

    @classmethod
    def of(cls, records: Sequence[Record]) -> Load:
        """From the client's records."""
        wrong = tuple(one.error or f"status {one.status}" for one in records if not one.ok and not one.queued)
        hosts = tuple(sorted({one.pod for one in records if one.pod}))
        return cls(len(records), wrong, hosts, sum(one.queued for one in records))

    @property
    def said(self) -> str:
        """The errors in words."""
        return ", ".join(f"{count}× {kind}" for kind, count in Counter(self.errors).items())

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return self.shown("steady requests")

    def shown(self, name: str) -> Evidence:
        """For the report, where there are several."""
        facts: dict[str, Any] = {
            "sent": self.sent,
            "failed": self.said,
            "late from the client's own queue": self.queued,
            "answered by": list(self.hosts),
        }
        return Evidence(name, facts)


def unless_sound(load: Load, when: str, evidence: Sequence[Evidence]) -> Judgement | None:
    """None where every request was answered; late ones of a client that was overloaded leave it open."""
    if load.errors:
        return failed(f"{len(load.errors)} of {load.sent} requests failed {when}: {load.said}", *evidence)
    if load.queued:
        return inconclusive(f"the client was overloaded {when}: {load.queued} requests ran out of time in its queue",
                            *evidence)  # fmt: skip
    return None


@dataclass(frozen=True)
class Rollout:
    """Every pod of a server is replaced under load."""

    plaintext: Tries
    """From outside of the mesh to a new pod."""
    before: tuple[str, ...]
    after: tuple[str, ...]
    load: Load
    left: tuple[str, ...] = ()
    """Old pods that had still not ended when the requests did: to them no request can have come in vain."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        pods = Evidence("pods", {"before": list(self.before), "after": list(self.after), "not ended": list(self.left)})
        return pods, self.load.evidence, Evidence("plaintext from outside of the mesh", [self.plaintext.row])


def judge_rollout(history: Rollout) -> Judgement:
    """All pods are new, each old and new one answered, and not one request failed."""
    load, evidence = history.load, history.evidence
    if set(history.before) & set(history.after) or not history.after or not history.before:
        return inconclusive("the pods were not replaced", *evidence)
    if unsound := unless_refused(history.plaintext, "the server takes plaintext: it is not in the mesh", *evidence):
        return unsound
    if unsound := unless_sound(load, "during the rollout", evidence):
        return unsound
    if silent := sorted({*history.before, *history.after} - set(load.hosts)):
        return inconclusive(f"the requests did not span the rollout: {', '.join(silent)} answered none", *evidence)
    if history.left:
        return inconclusive(f"the requests ended before {', '.join(history.left)} did", *evidence)
    return passed(f"{load.sent} requests while {len(history.before)} pods were replaced, not one failed", *evidence)


TOLD = 2.0
"""Seconds in which the processes of a deleted pod are told to end: the kubelet hears of the deletion first."""


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
    held = [end for _, end, _ in under_way if end >= history.deleted + TOLD]
    if not held:
        return inconclusive(f"no request was under way for {TOLD:g} s after the deletion: perhaps nothing in the pod "
                            "knew of it yet", *history.evidence)  # fmt: skip
    return passed(f"{len(held)} requests of {history.seconds:g} s, under way when their pod was deleted, were "
                  "answered", *history.evidence)  # fmt: skip


GLANCE = 0.5
"""Seconds for which a proxy is away at the least: its kubelet has to notice, and it has to start."""


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
    unwatched: float = math.inf
    """The longest time without a try of plaintext, seconds, from just before the crash until the server was back."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        facts: dict[str, Any] = {
            "containers added": list(self.added),
            "restarts of those": self.restarts,
            "restarts of the application": self.own_restarts,
            "looks without an answer": self.missed,
            "longest without a try of plaintext s": round(self.unwatched, 2) if self.unwatched < math.inf else None,
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
    if history.back > history.limit:
        return failed(f"reached again after {history.back:.1f} s, which is later than {history.limit:g} s", *evidence)
    if history.own_restarts:
        return failed(f"the application was restarted {history.own_restarts} times", *evidence)
    if not history.missed and history.unwatched > GLANCE:
        return inconclusive("perhaps nothing was tried while the proxy was down: it was back before the first look",
                            *evidence)  # fmt: skip
    return passed(f"reached again after {history.back:.1f} s; plaintext was refused all along", *evidence)


@dataclass(frozen=True)
class Moves:
    """A workload leaves the mesh and comes back under load."""

    stages: tuple[Behaviour, ...]
    """In the mesh, outside, in the mesh again."""
    load: Load
    left: tuple[str, ...] = ()
    """Of the first stage's pod its name, if it had still not ended when the requests did."""

    @property
    def unasked(self) -> list[str]:
        """The stages' pods that answered none of the requests."""
        return [name for name in (one.pod.rpartition("/")[2] for one in self.stages) if name not in self.load.hosts]


def judge_moves(history: Moves) -> Judgement:
    """In, out and in again, as pods and network show, without a failed request of a client in the mesh."""
    evidence = (*(one.evidence for one in history.stages), history.load.evidence)
    if len(history.stages) != 3 or not all(one.answered for one in history.stages):
        return inconclusive("a stage was not seen", *evidence)
    for stage, inside in zip(history.stages, (True, False, True), strict=True):
        if bool(stage.added) is not inside or stage.proxied is not inside:
            return failed(f"{stage.pod} should {'have' if inside else 'not have'} a proxy", *evidence)
    if unsound := unless_sound(history.load, "meanwhile", evidence):
        return unsound
    if history.unasked:
        return inconclusive(f"{', '.join(history.unasked)} answered none of the requests", *evidence)
    if history.left:
        return inconclusive(f"the requests ended before {', '.join(history.left)} did", *evidence)
    return passed(f"out of the mesh and back, {history.load.sent} requests meanwhile, not one failed", *evidence)


LATE = "timeout"
"""The end of a request that was not answered in time, among `errors`."""
ENOUGH = 20
"""Answers of one version alone that show a route in force: of two versions chance makes them with 2^-20, about 1e-6."""


@dataclass(frozen=True)
class Deleted:
    """A route that was in force is deleted. Hosts by pod name."""

    only: str
    """The version that the route sent every marked request to."""
    before: tuple[str, ...]
    """Versions that answered while it was in force; "" where none did."""
    after: tuple[str, ...]
    """Versions that answered once it was deleted and requests were spread without an error, or the bound was over; ""
    where none did."""
    errors: tuple[str, ...]
    """How those ended after the deletion that were not answered."""
    errors_before: tuple[str, ...] = ()
    """The same for those that were sent while it was in force."""


def judge_deleted(history: Deleted) -> Judgement:
    """Deleted configuration leaves no trace: requests are spread as if it had never been."""
    rows: dict[str, Any] = {
        "in force": Counter(history.before),
        "errors while in force": list(history.errors_before),
        "deleted": Counter(history.after),
        "errors": list(history.errors),
    }
    evidence = Evidence("answers by version", rows)
    if len(history.after) < 30:
        return inconclusive("too few requests were sent after the deletion", evidence)
    if elsewhere := set(history.before) - {"", history.only}:
        return failed(f"the route was not in force: {', '.join(sorted(elsewhere))} answered too", evidence)
    phases = ("while the route was in force", history.errors_before), ("after its deletion", history.errors)
    for when, errors in phases:
        # One that is late may be the machine's doing, see `Tries`; any other end is the mesh's.
        if lost := len(errors) - errors.count(LATE):
            return failed(f"{lost} requests failed {when}", evidence)
    answers = [one for one in history.after if one]
    if set(answers) == {history.only} and len(answers) >= ENOUGH:
        return failed("the deleted route is still in force", evidence)
    for when, errors in phases:
        if errors:
            return inconclusive(f"{len(errors)} requests {when} were not answered in time", evidence)
    if not history.before or not all(history.before):
        return inconclusive("no answers show that the route was in force", evidence)
    return passed("after its deletion requests are spread over all versions again", evidence)
