"""Histories of a control plane that is away, and that is replaced, and their judges. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from conformance.checks.capture_judges import Admitted
from conformance.checks.lifecycle_judges import Load, unless_sound
from conformance.model import Judgement, failed, inconclusive, passed
from reports.model import Evidence

__all__ = ["SHARE", "Down", "Upgrade", "judge_down", "judge_upgrade"]


@dataclass(frozen=True)
class Down:
    """Pods that opt in, created while no injector runs and once one does again."""

    declared: tuple[str, ...]
    """What the mesh's webhooks declare for this case: Fail or Ignore."""
    during: Admitted
    after: Admitted

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence(
            f"created pods (declared: {', '.join(self.declared) or 'nothing'})", [self.during.row, self.after.row]
        )


def judge_down(history: Down) -> Judgement:
    """Without an injector pods are refused where that is declared, let in as they are where that is; later injected."""
    evidence = history.evidence
    if not history.declared:
        return failed("no webhook belongs to the mesh: nobody injects", evidence)
    if len(set(history.declared)) > 1:
        return inconclusive("the mesh's webhooks declare different things", evidence)
    if history.after.ruled_out:
        return inconclusive(f"a pod is refused whoever injects: {history.after.refusal}", evidence)
    if history.after.refusal or not history.after.added:
        return failed("with its control plane back the mesh injects no more", evidence)
    if history.during.added:
        return inconclusive("a pod was injected while no injector was to run", evidence)
    closed = history.declared[0] == "Fail"
    if closed and not history.during.refusal:
        return failed("declared to fail closed, and a pod was let in without a proxy", evidence)
    if not closed and history.during.refusal:
        return failed("declared to fail open, and a pod was refused", evidence)
    return passed(f"without an injector the pod was {'refused' if closed else 'let in as it is'}, as declared; later "
                  "injected", evidence)  # fmt: skip


FEWEST = 20
"""Requests without which nothing is told."""
SHARE = 0.9
"""Of the requests that were due, the share without which some may have hung unseen."""


@dataclass(frozen=True)
class Upgrade:
    """The control plane is away for a while and then replaced, under requests on new and on kept connections."""

    away: float
    """Seconds for which no pod of it ran."""
    kept: Load
    """Requests that were due meanwhile, on connections that the client keeps."""
    fresh: Load
    """The same, each on a connection of its own."""
    rate: float
    """As many of each kind were due a second."""
    replaced: bool | None
    """Whether all its pods are new; None where there is no control plane."""
    rollout: Load
    """Requests that were due during the replacement, each on a connection of its own."""
    in_force: bool
    """Whether configuration that was applied afterwards came into force."""
    planes: tuple[str, ...] = ()
    """The Deployments, by namespace and name, that were away and replaced."""
    injected: bool = False
    """Whether a pod was injected while they were away: there is another control plane, whoever listens to it."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        facts: dict[str, Any] = {
            "Deployments": list(self.planes),
            "away s": round(self.away, 1),
            "a pod was injected meanwhile": self.injected,
            "all pods new": self.replaced,
            "new configuration in force afterwards": self.in_force,
        }
        return (
            Evidence("the control plane", facts),
            self.kept.shown("requests on kept connections while it was away"),
            self.fresh.shown("requests on new connections while it was away"),
            self.rollout.shown("requests while it was replaced"),
        )


def judge_upgrade(history: Upgrade) -> Judgement:
    """Requests do not notice that the control plane is away or replaced, and the new one is obeyed."""
    evidence = history.evidence
    if history.replaced is None:
        return failed("there is no control plane that could be replaced", *evidence)
    kept, fresh, rollout = history.kept, history.fresh, history.rollout
    without = " and ".join(history.planes) or "it"
    due = SHARE * history.rate * history.away
    loads = (
        ("on kept connections while it was away", kept, due),
        ("on new connections while it was away", fresh, due),
        ("while it was replaced", rollout, 0.0),
    )
    for when, load, _ in sorted(loads, key=lambda one: not one[1].errors):  # a failure before what leaves it open
        if unsound := unless_sound(load, when, evidence):
            return unsound
    for when, load, least in loads:
        if load.sent < max(FEWEST, least):
            return inconclusive(f"only {load.sent} requests were sent {when}", *evidence)
    if history.injected:
        return inconclusive(f"a pod was injected while no pod of {without} ran: there is another control plane",
                            *evidence)  # fmt: skip
    if not history.replaced:
        return inconclusive("not every pod of the control plane was replaced in time", *evidence)
    if not history.in_force:
        return failed("configuration applied after the replacement never came into force", *evidence)
    return passed(f"{kept.sent} requests on kept and {fresh.sent} on new connections in {history.away:.0f} s without "
                  f"{without}, {rollout.sent} while it was replaced, not one failed; the new one is obeyed",
                  *evidence)  # fmt: skip
