"""Histories of pods that start in the mesh and of what admission makes of pods, and their judges. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from conformance.checks.capture_judges import Admitted, Tries, unless_refused
from conformance.model import Judgement, failed, inconclusive, passed
from reports.model import Evidence

__all__ = [
    "Again",
    "JobEnd",
    "Kept",
    "Knock",
    "OnNode",
    "Start",
    "judge_again",
    "judge_first_request",
    "judge_job",
    "judge_kept",
    "judge_on_node",
    "judge_prepared",
]


@dataclass(frozen=True)
class Knock:
    """The one request that a container sends as the first thing it does."""

    pod: str
    status: int | None
    error: str | None
    by: str
    """The pod that answered."""

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {"pod": self.pod, "status": self.status, "error": self.error, "answered by": self.by}


@dataclass(frozen=True)
class Start:
    """First requests to a strict server: of applications, or of init containers."""

    plaintext: Tries
    """From outside of the mesh, on the same port."""
    added: tuple[str, ...]
    """Containers that the mesh added to the pods."""
    wanted: int
    knocks: tuple[Knock, ...]

    @property
    def evidence(self) -> tuple[Evidence, Evidence]:
        """For the report."""
        return (
            Evidence("plaintext from outside of the mesh", [self.plaintext.row]),
            Evidence("first requests", [one.row for one in self.knocks]),
        )


def _started(history: Start, who: str) -> Judgement:
    if not history.plaintext.sent or len(history.knocks) < history.wanted:
        what = f"{len(history.knocks)} of {history.wanted} {who} told how their first request went"
        return inconclusive(what, *history.evidence)
    taken = "the server takes plaintext: that a first request is answered proves nothing"
    if unsound := unless_refused(history.plaintext, taken, *history.evidence):
        return unsound
    if not history.added:
        return failed("no container was added to the pods: they are not in the mesh", *history.evidence)
    lost = [one for one in history.knocks if one.status != 200]
    if lost:
        how = ", ".join(sorted({one.error or f"status {one.status}" for one in lost}))
        return failed(f"the first request of {len(lost)} of {len(history.knocks)} {who} failed: {how}",
                      *history.evidence)  # fmt: skip
    return passed(f"the first requests of {len(history.knocks)} {who} reached a server that takes no plaintext",
                  *history.evidence)  # fmt: skip


def judge_first_request(history: Start) -> Judgement:
    """What an application sends first goes through its proxy: it is answered where plaintext is refused."""
    return _started(history, "applications")


def judge_prepared(history: Start) -> Judgement:
    """What an init container sends first goes through the proxy too."""
    return _started(history, "init containers")


@dataclass(frozen=True)
class JobEnd:
    """A Job in the mesh."""

    pods: int
    """How many it has."""
    added: tuple[str, ...]
    ended: int
    """Pods whose own container ended with exit code 0."""
    complete: bool
    """Whether the Job says that it is complete."""
    phases: tuple[str, ...]
    waited: float
    """Seconds from the end of the last application's container until the Job was complete, or until it was given up."""
    beside: tuple[str, ...] = ()
    """Ordinary containers that somebody else gave its pods: one that goes on keeps the Job from its end."""

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence(
            "the Job",
            {
                "pods": self.pods,
                "containers added": list(self.added),
                "applications that ended well": self.ended,
                "phases of the pods": list(self.phases),
                "complete": self.complete,
                "seconds after the last application's end": round(self.waited, 2),
            },
        )


def judge_job(history: JobEnd) -> Judgement:
    """With its own containers done, a Job in the mesh is complete and all its pods have succeeded."""
    if history.ended < history.pods:
        return inconclusive(f"{history.ended} of {history.pods} applications ended", history.evidence)
    if not history.added:
        return failed("no container was added to its pods: the Job is not in the mesh", history.evidence)
    if not history.complete and history.beside:
        return inconclusive(f"the Job is not complete: its pods have {', '.join(history.beside)} too, as has every pod",
                            history.evidence)  # fmt: skip
    if not history.complete:
        return failed(f"{history.waited:.0f} s after its applications ended the Job is not complete",
                      history.evidence)  # fmt: skip
    if set(history.phases) != {"Succeeded"}:
        return failed(f"the Job is complete, its pods are {', '.join(sorted(set(history.phases)))}",
                      history.evidence)  # fmt: skip
    return passed(f"{history.pods} pods with {', '.join(history.added)} ended {history.waited:.1f} s after their "
                  "applications", history.evidence)  # fmt: skip


@dataclass(frozen=True)
class OnNode:
    """Pods on their node's network, whose traffic is the node's own, and one beside them that is not."""

    opted_in: tuple[Admitted, ...]
    """Opted in by the namespace, and by the pod itself."""
    beside: Admitted

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence("created pods", [one.row for one in (*self.opted_in, self.beside)])


def judge_on_node(history: OnNode) -> Judgement:
    """A pod on the node's network stays as it is, however it opted in, and one beside it is injected."""
    if history.beside.refusal or not history.opted_in:
        return inconclusive(f"the pod beside it was refused: {history.beside.refusal}", history.evidence)
    if not history.beside.added:
        return failed("nothing is injected beside it either: leaving it alone proves nothing", history.evidence)
    if caught := [one for one in history.opted_in if one.added]:
        return failed(f"{caught[0].what} was given {', '.join(caught[0].added)}: the node's traffic would be captured",
                      history.evidence)  # fmt: skip
    if refused := [one for one in history.opted_in if one.refusal]:
        return inconclusive(f"{refused[0].what} was refused: {refused[0].refusal}", history.evidence)
    return passed("pods on the node's network have their own containers only", history.evidence)


@dataclass(frozen=True)
class Again:
    """An injected pod, and what comes of creating it as it is for a second and a third time."""

    first: Admitted
    later: tuple[Admitted, ...]

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence("created pods", [one.row for one in (self.first, *self.later)])


def judge_again(history: Again) -> Judgement:
    """Injecting what is injected adds nothing."""
    if history.first.refusal or not history.later:
        return inconclusive(f"the first pod was refused: {history.first.refusal}", history.evidence)
    if not history.first.added:
        return failed("the first pod was not injected: that nothing is added later proves nothing", history.evidence)
    for one in history.later:
        if one.unasked:
            return inconclusive(f"{one.what} was shown to nobody: {one.refusal}", history.evidence)
        if one.refusal:
            return failed(f"{one.what} was refused: {one.refusal}", history.evidence)
        if sorted(one.containers) != sorted(history.first.containers):
            return failed(f"{one.what} has {len(one.containers)} containers, once injected it had "
                          f"{len(history.first.containers)}", history.evidence)  # fmt: skip
    return passed(f"{', '.join(history.first.added)} were added once, in {1 + len(history.later)} injections",
                  history.evidence)  # fmt: skip


@dataclass(frozen=True)
class Kept:
    """The application's part of a pod, as it is outside of the mesh and within it."""

    manifest: Mapping[str, Any] | None
    injected: Mapping[str, Any] | None
    changed: tuple[str, ...] = ()
    """Paths at which they differ."""
    added: tuple[str, ...] = ()
    """Containers that the mesh added."""


def judge_kept(history: Kept) -> Judgement:
    """The pod was injected, and what its author wrote of privileges, resources and program is unchanged."""
    if history.manifest is None or history.injected is None:
        return inconclusive("the pod could not be created, or not outside of the mesh without being changed")
    evidence = Evidence("the injected pod", {"added": list(history.added), "changed": list(history.changed)})
    if not history.added:
        return failed("the pod was not injected: that it is unchanged proves nothing", evidence)
    if history.changed:
        return failed(f"injection changed {', '.join(history.changed[:5])}", evidence)
    return passed(f"{', '.join(history.added)} were added, the application's own part is as it was written", evidence)
