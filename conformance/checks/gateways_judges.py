"""Histories of requests into the mesh by its gateway and out of it, and the judges of them. Pure."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from conformance.checks.authorization_judges import Attempt, got_lost, let_in, unanswered
from conformance.model import Judgement, failed, inconclusive, passed
from conformance.stalls import by_nobody
from reports.model import JSON, Evidence

__all__ = ["Entered", "Left", "Terminated", "judge_entered", "judge_left", "judge_terminated"]


@dataclass(frozen=True)
class Entered:
    """Requests for the host of a gateway, and for another."""

    known: Attempt
    unknown: Attempt

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence("requests from outside, at both ends", [self.known.row, self.unknown.row])


def judge_entered(history: Entered) -> Judgement:
    """All for the host reach the application; for another host the gateway itself answers that there is nothing."""
    known, unknown, evidence = history.known, history.unknown, history.evidence
    if not known.sent or not unknown.sent:
        return inconclusive("a request was not sent", evidence)
    if unsound := let_in((known, unknown), evidence):
        return unsound
    if reason := got_lost([known]):
        return failed(reason, evidence)
    other = {end: count for end, count in unknown.ends.items() if end != "status 404"}
    if sum(other.values()) > unknown.late:
        ends = ", ".join(f"{count}× {end}" for end, count in other.items())
        return failed(f"requests for a host that the gateway does not have ended in {ends}, not in a 404", evidence)
    if reason := unanswered((known, unknown)):
        return inconclusive(reason, evidence)
    return passed(f"{known.sent} requests got in, {unknown.sent} for another host were a 404", evidence)


@dataclass(frozen=True)
class Terminated:
    """What the gateway's port for TLS did. Certificates by their SHA-256 fingerprint."""

    given: str
    shown: str
    """ "" where no handshake came about."""
    ends: tuple[str, ...]
    """How each request ended: `application`, a status or an error."""
    arrived: int
    """Requests that reached the application meanwhile, by its own count."""
    error: str = ""
    """How the handshake ended where none came about."""

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        rows: dict[str, JSON] = {
            "certificate given": self.given,
            "certificate shown": self.shown,
            "arrived": self.arrived,
        }
        return Evidence("over TLS", {**rows, **dict(sorted(Counter(self.ends).items()))})


def judge_terminated(history: Terminated) -> Judgement:
    """The certificate is the one that was given, and what is sent inside of TLS reaches the application."""
    evidence = history.evidence
    if not history.shown and history.error == "timeout":
        return inconclusive("a handshake ran into a timeout", evidence)
    if not history.shown:
        return failed("no TLS handshake came about", evidence)
    if history.shown != history.given:
        return failed("the certificate is another one than the gateway was given", evidence)
    if not history.ends:
        return inconclusive("no request was sent", evidence)
    late = by_nobody(Counter(history.ends), len(history.ends))
    lost = len(history.ends) - history.ends.count("application") - late
    if lost or (history.arrived != len(history.ends) and not late):
        return failed(f"{max(lost, len(history.ends) - history.arrived)} of {len(history.ends)} requests over TLS did "
                      "not reach the application", evidence)  # fmt: skip
    if late:
        return inconclusive(f"{late} of {len(history.ends)} requests over TLS ran into a timeout", evidence)
    return passed(f"the certificate is the one given, and {len(history.ends)} requests over TLS arrived", evidence)


@dataclass(frozen=True)
class Left:
    """Requests of a meshed client to addresses that the mesh knows and to ones that it does not, policy by policy."""

    attempts: tuple[Attempt, ...]

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence("requests out of the mesh, at both ends", [one.row for one in self.attempts])


def judge_left(history: Left) -> Judgement:
    """What may be called is reached, and nothing arrives where nobody may call. How that ends is the mesh's choice."""
    refused = [one for one in history.attempts if not one.wanted]
    reached = [one for one in history.attempts if one.wanted]
    if not refused or not reached or not all(one.sent for one in history.attempts):
        return inconclusive("a request was not sent", history.evidence)
    if unsound := let_in(history.attempts, history.evidence):
        return unsound
    if reason := got_lost(reached):
        return failed(reason, history.evidence)
    if reason := unanswered(reached):
        return inconclusive(reason, history.evidence)
    ends = sum((Counter(one.ends) for one in refused), Counter[str]())
    words = ", ".join(f"{count}× {end}" for end, count in sorted(ends.items()))
    sent = sum(one.sent for one in refused)
    return passed(
        f"{sent} requests to an address that nobody registered were refused while only registered ones may be called "
        f"({words}), and {sum(one.sent for one in reached)} others arrived",
        history.evidence,
    )
