"""Histories of certificates that are renewed, rotated and expire, and the judges of them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from conformance.checks.mtls_judges import by_application
from conformance.checks.peers_judges import Arm
from conformance.checks.wide_judges import SHARE
from conformance.model import Judgement, failed, inconclusive, passed, proven
from fixtures.workloads.traffic import Record
from reports.model import Evidence

__all__ = [
    "Level",
    "Levels",
    "Load",
    "Outage",
    "Renewal",
    "Rotation",
    "Shown",
    "judge_budget",
    "judge_closed",
    "judge_levels",
    "judge_renewal",
    "judge_rotation",
    "load",
    "over",
    "trouble",
]


@dataclass(frozen=True)
class Load:
    """Requests of one kind while something was changed."""

    name: str
    sent: int
    failed: int
    opened: int
    """Connections."""
    most_connections: int
    """As many as a client that loses none opens; 0 where every request opens its own."""
    example: str = ""
    queued: int = 0
    """Requests that ran out of time after they had waited in the client's own queue for most of it."""
    due: int = 0
    """As many were due; the client leaves out what falls due while all of its workers wait. 0 where nobody counted."""

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "requests": self.name,
            "due": self.due or None,
            "sent": self.sent,
            "failed": self.failed,
            "late from the client's own queue": self.queued,
            "connections opened": self.opened,
            "for example": self.example,
        }

    @property
    def problem(self) -> str:
        """What went wrong, "" if nothing did."""
        if self.failed:
            return f"{self.name}: {self.failed} of {self.sent} requests failed ({self.example})"
        # A request that runs out of time takes its connection with it, so each one from the client's own queue accounts
        # for a further one.
        lost = self.opened - self.most_connections - self.queued
        if self.most_connections and lost > 0:
            return f"{self.name}: {lost} kept connections were lost"
        return ""


def trouble(loads: Sequence[Load], evidence: Sequence[Evidence]) -> Judgement | None:
    """What the loads say against the mesh, or that they cannot tell; None where all is well."""
    if problem := next((one.problem for one in loads if one.problem), ""):
        return failed(problem, *evidence)
    if queued := sum(one.queued for one in loads):
        return inconclusive(f"the client was overloaded: {queued} requests ran out of time in its queue", *evidence)
    return None


def too_few(loads: Sequence[Load], evidence: Sequence[Evidence]) -> Judgement | None:
    """That some may have hung unseen: so few were sent of what was due. None where enough were."""
    for one in loads:
        if one.sent < SHARE * one.due:
            return inconclusive(f"only {one.sent} of {one.due} requests were sent on {one.name}", *evidence)
    return None


def load(name: str, records: Sequence[Record], kept: int = 0, due: int = 0) -> Load:
    """Records in numbers. `kept`: how many connections the client keeps, 0 if it keeps none; `due`: see `Load`."""
    queued = sum(one.queued for one in records)
    bad = [one for one in records if not by_application(one) and not one.queued]
    example = next((f"{one.error or one.status} {one.detail}".strip() for one in bad), "")
    return Load(name, len(records), len(bad), sum(one.fresh for one in records), kept, example, queued, due)


@dataclass(frozen=True)
class Shown:
    """What a workload's handshake showed at one moment (epoch seconds, by the clock of a node)."""

    at: float
    serial: str
    not_after: float


@dataclass(frozen=True)
class Renewal:
    """A workload's certificates over more than one lifetime, and traffic to it meanwhile."""

    lifetime: float
    shown: tuple[Shown, ...]
    loads: tuple[Load, ...]

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        rows: list[Any] = []
        for one in self.shown:
            if not rows or rows[-1]["serial"] != one.serial:
                left = round(one.not_after - one.at, 1)
                rows.append({"serial": one.serial, "first seen": round(one.at, 1), "left then, s": left})
        loads: list[Any] = [one.row for one in self.loads]
        return Evidence("certificates of the server", rows), Evidence("traffic meanwhile", loads)


def judge_renewal(history: Renewal) -> Judgement:
    """A new certificate comes before the old one expires, none is shown expired, and no request notices."""
    if not history.shown:
        return failed("the server shows no certificate", *history.evidence)
    if not history.loads or not all(one.sent for one in history.loads):
        return inconclusive("no request was sent", *history.evidence)
    late = [one for one in history.shown if one.at > one.not_after]
    if late:
        return failed(
            f"a certificate is shown {late[-1].at - late[-1].not_after:.1f} s after its expiry", *history.evidence
        )
    # A request that failed did so whatever was seen of certificates.
    if (found := trouble(history.loads, history.evidence)) is not None:
        return found
    first, last = history.shown[0], history.shown[-1]
    if last.at < first.not_after:
        return inconclusive("the first certificate had not expired when the look at it ended", *history.evidence)
    if (unseen := too_few(history.loads, history.evidence)) is not None:
        return unseen
    serials = len({one.serial for one in history.shown})
    sent = sum(one.sent for one in history.loads)
    return passed(f"{serials} certificates in turn, each before the expiry of the last; {sent} requests, no error",
                  *history.evidence)  # fmt: skip


# -- rotation ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Rotation:
    """A change of root under load. Roots by their fingerprints."""

    before: tuple[str, ...]
    after: tuple[str, ...]
    both_seen: bool
    """Whether old and new root were trusted together for a while."""
    seconds: float
    loads: tuple[Load, ...]
    old: Arm | None
    """Requests with a certificate below the old root, after the rotation; None where nobody signs."""
    new: Arm | None

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        facts: dict[str, Any] = {
            "roots before": ", ".join(self.before),
            "roots after": ", ".join(self.after),
            "both were trusted for a while": self.both_seen,
            "seconds": round(self.seconds, 1),
        }
        arms: list[Any] = [one.row for one in (self.old, self.new) if one is not None]
        loads: list[Any] = [one.row for one in self.loads]
        return (
            Evidence("rotation", facts),
            Evidence("traffic meanwhile", loads),
            Evidence("certificates afterwards", arms),
        )


def judge_rotation(history: Rotation) -> Judgement:
    """The old root goes, the new one is in force, and not one request fails on the way."""
    if not history.before:
        return failed("the mesh publishes no root", *history.evidence)
    if not history.loads or not all(one.sent for one in history.loads):
        return inconclusive("no request was sent", *history.evidence)
    if (found := trouble(history.loads, history.evidence)) is not None:
        return found
    if set(history.before) & set(history.after):
        return failed(f"the old root is trusted still after {history.seconds:.0f} s", *history.evidence)
    if history.old is None or history.new is None:
        return inconclusive("the certificate authority was not asked: one proof is not two", *history.evidence)
    if history.old.answered or history.old.served:
        return (proven if history.old.answered else failed)(
            f"a certificate below the old root is accepted: {history.old.answered} answers", *history.evidence
        )
    if history.new.answered + history.new.late < history.new.sent:
        return failed("a certificate below the new root is refused", *history.evidence)
    if history.new.late:
        return inconclusive(f"{history.new.shown}: some requests ran into a timeout", *history.evidence)
    if (unseen := too_few(history.loads, history.evidence)) is not None:
        return unseen
    sent = sum(one.sent for one in history.loads)
    return passed(f"a new root within {history.seconds:.1f} s, the old one is refused; {sent} requests, no error",
                  *history.evidence)  # fmt: skip


# -- outage ------------------------------------------------------------------------------------------------------------


def over(ends: Sequence[float], now: float) -> bool:
    """Whether the last of these expiries is past, epoch seconds; 0 stands for no certificate, which is not over."""
    return 0.0 < max(ends) < now


@dataclass(frozen=True)
class Outage:
    """The authority is away for longer than certificates last."""

    down: bool
    """Whether it was really away: nothing of the control plane was left."""
    during: Load
    """New connections while certificates were valid."""
    valid_for: float
    """Seconds for which the certificates were valid still when it was gone."""
    after: Arm
    """New connections once they had expired: not one may be served."""
    shown_expired: bool
    """Whether the last certificate that a handshake from outside showed was over by then."""
    back: Load
    """Requests once the authority was back."""
    asked: float = 0.0
    """Seconds from the order that took the authority away to the end of the requests `during`."""
    sure: float = math.inf
    """Seconds for which every certificate was valid for sure since then, the client's too, which nobody can see."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        facts: dict[str, Any] = {
            "control plane away": self.down,
            "certificates valid for, s": round(self.valid_for, 1),
            "requests done after, s": round(self.asked, 1),
            "expired as seen from outside": self.shown_expired,
        }
        loads: list[Any] = [self.during.row, self.back.row]
        return Evidence("outage", facts), Evidence("requests", loads), Evidence("after the expiry", [self.after.row])


def judge_budget(history: Outage) -> Judgement:
    """While the authority is away, existing certificates go on working."""
    if not history.down:
        return failed("there is no control plane that could be away", *history.evidence)
    if history.valid_for <= 0 or not history.during.sent:
        return inconclusive("the certificates expired before the control plane was gone", *history.evidence)
    if history.during.problem and history.asked > history.sure:
        return inconclusive(f"{history.during.problem}, and {history.asked:.1f} s after the authority was sent away "
                            "the client's certificate may be over", *history.evidence)  # fmt: skip
    if (found := trouble([history.during], history.evidence)) is not None:
        return found
    return passed(f"{history.during.sent} new connections in {history.valid_for:.1f} s without an authority, no error",
                  *history.evidence)  # fmt: skip


def judge_closed(history: Outage) -> Judgement:
    """Expired certificates are refused, and all is well again once they can be renewed."""
    if not history.down:
        return failed("there is no control plane that could be away", *history.evidence)
    if not history.after.sent or not history.during.sent or history.during.failed:
        return inconclusive("nothing worked before the expiry either", *history.evidence)
    if not history.shown_expired:
        return inconclusive("the certificate shown had not expired yet", *history.evidence)
    if history.after.answered or history.after.served:
        return failed(
            f"{history.after.answered} of {history.after.sent} requests were answered with expired certificates",
            *history.evidence,
        )
    if history.back.failed or not history.back.sent:
        return failed("the mesh does not recover when its authority is back", *history.evidence)
    return passed(f"{history.after.sent} requests refused after the expiry; served again with the authority back",
                  *history.evidence)  # fmt: skip


# -- levels ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Level:
    """Plaintext to one server, under one more policy than before."""

    policies: str
    wanted: str
    """`refused` or `taken`."""
    sent: int
    answered: int
    clear: int
    """How often the marker was seen in clear on the server's interface."""
    meshed: int
    """Answers to as many requests of a meshed client."""
    ends: Mapping[str, int] = field(default_factory=dict)
    """How plaintext that was not answered ended, with counts."""
    meshed_late: int = 0
    """Meshed requests that ran into a timeout, where others did not."""

    @property
    def late(self) -> int:
        """Plaintext requests that ran into a timeout, as they may on a busy machine, where others did not.

        Where all of them did they count as refused: so ends what a mesh drops.
        """
        late = self.ends.get("timeout", 0)
        return late if late < self.sent else 0

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "policies": self.policies,
            "plaintext wanted": self.wanted,
            "plaintext sent": self.sent,
            "answered": self.answered,
            "otherwise": ", ".join(f"{count}× {end}" for end, count in self.ends.items()),
            "marker in clear": self.clear,
            "meshed answered": self.meshed,
        }


@dataclass(frozen=True)
class Levels:
    """Policies on more and more specific levels, each against the one before."""

    levels: tuple[Level, ...]

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence("policies, the last one the most specific", [one.row for one in self.levels])


def judge_levels(history: Levels) -> Judgement:
    """The most specific policy is in force on each level."""
    if {one.wanted for one in history.levels} != {"refused", "taken"} or not all(one.sent for one in history.levels):
        return inconclusive("not every level was tried", history.evidence)
    for one in history.levels:
        if lost := one.sent - one.meshed - one.meshed_late:
            return failed(f"{one.policies}: {lost} of {one.sent} meshed requests failed", history.evidence)
        if one.wanted == "refused" and one.answered:
            return failed(f"{one.policies}: {one.answered} of {one.sent} plaintext requests were answered",
                          history.evidence)  # fmt: skip
        if one.wanted == "taken" and (lost := one.sent - one.answered - one.late):
            return failed(f"{one.policies}: {lost} of {one.sent} plaintext requests were not taken", history.evidence)
    for one in history.levels:
        for late, kind in ((one.meshed_late, "meshed"), (one.late, "plaintext")):
            if late:
                return inconclusive(f"{one.policies}: {late} of {one.sent} {kind} requests ran into a timeout",
                                    history.evidence)  # fmt: skip
        if one.wanted == "taken" and not one.clear:
            return inconclusive("the plaintext control was not seen in clear: the capture is blind", history.evidence)
    return passed("workload beats namespace, namespace beats mesh", history.evidence)
