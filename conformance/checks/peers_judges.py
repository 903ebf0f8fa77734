"""Histories of callers and servers that show one certificate or another, and the judges of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.checks.mtls_judges import by_application
from conformance.model import Judgement, failed, inconclusive, passed, proven
from fixtures.workloads.traffic import Record
from reports.model import Evidence

__all__ = ["Arm", "Arms", "Header", "Headers", "Hello", "Hellos", "arm", "judge_arms", "judge_headers", "judge_hellos"]


@dataclass(frozen=True)
class Arm:
    """Requests under one certificate."""

    shown: str
    """Whose certificate, in words."""
    welcome: bool
    """Whether the requests must be answered; else not one of them may be."""
    sent: int
    answered: int
    """Answers by the application, as the caller got them."""
    served: int
    """Requests that the application served meanwhile, by its own count."""
    ends: Mapping[str, int]
    """How the others ended, with counts."""
    says: str = ""
    """The words of one of those ends."""

    @property
    def late(self) -> int:
        """Requests that ran into a timeout, as they may on a busy machine, where others ended otherwise.

        Where all of them did, the mesh lets them hang.
        """
        late = self.ends.get("timeout", 0)
        return late if late < self.sent else 0

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "certificate": self.shown,
            "wanted": "answers" if self.welcome else "refusal",
            "sent": self.sent,
            "answered": self.answered,
            "served, by the application's count": self.served,
            "otherwise": ", ".join(f"{count}× {end}" for end, count in self.ends.items()),
            "for example": self.says,
        }


@dataclass(frozen=True)
class Arms:
    """Every arm of one check. The welcome ones show that the refusals are about the certificate alone."""

    arms: tuple[Arm, ...]
    unsound: str = ""
    """Why the arms are not what they should be, such as a certificate that had not expired yet; "" if they are."""

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence("requests by certificate", [one.row for one in self.arms])


def arm(shown: str, records: Sequence[Record], served: int, *, welcome: bool) -> Arm:
    """Records and the application's count, in numbers."""
    others = [record for record in records if not by_application(record)]
    ends: dict[str, int] = {}
    for record in others:
        end = record.error or f"status {record.status}"
        ends[end] = ends.get(end, 0) + 1
    says = next((record.detail for record in others if record.detail), "")
    return Arm(shown, welcome, len(records), len(records) - len(others), served, ends, says)


def judge_arms(history: Arms) -> Judgement:
    """Welcome certificates are served without exception, the others reach the application not once."""
    welcome = [one for one in history.arms if one.welcome]
    refused = [one for one in history.arms if not one.welcome]
    if history.unsound:
        return inconclusive(history.unsound, history.evidence)
    if not welcome or not refused or not all(one.sent for one in history.arms):
        return inconclusive("not every certificate was tried", history.evidence)
    for one in refused:
        if one.answered:
            return proven(f"{one.shown}: {one.answered} of {one.sent} requests were answered", history.evidence)
        if one.served:
            # Late requests of another certificate may be counted here.
            told = failed if any(other.ends.get("timeout") for other in history.arms) else proven
            return told(f"{one.shown}: the application served {one.served} of its requests", history.evidence)
    for one in welcome:
        if lost := one.sent - one.answered - one.late:
            return failed(f"{one.shown}: {lost} of {one.sent} requests were not answered", history.evidence)
    for one in history.arms:
        # Nothing else may explain a refusal, nor a loss: a busy machine is no witness.
        if one.late:
            return inconclusive(f"{one.shown}: some requests ran into a timeout", history.evidence)
    for one in welcome:
        if one.served < one.sent:
            return inconclusive(
                f"{one.shown}: the application counts {one.served} of {one.sent} requests: its count proves nothing",
                history.evidence,
            )
    return passed(
        f"refused: {', '.join(one.shown for one in refused)}; served: {', '.join(one.shown for one in welcome)}",
        history.evidence,
    )


# -- versions ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Hello:
    """One TLS version, offered alone."""

    port: int
    offered: str
    """ "" for a whole handshake with all that a current client offers."""
    taken: str
    """The version that the server took; "" if it took none."""
    alert: str
    error: str

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "port": self.port,
            "offered": self.offered or "all of a current client",
            "taken": self.taken,
            "alert": self.alert,
            "error": self.error,
        }


@dataclass(frozen=True)
class Hellos:
    """What a server's proxy made of old and new versions."""

    hellos: tuple[Hello, ...]

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence("TLS versions offered from outside of the mesh", [one.row for one in self.hellos])


OLD = ("TLSv1", "TLSv1.1")
CONTROL = "TLSv1.2"
"""Offered by the same hand as the old ones: where it is understood, they are refused for their version alone."""
_CURRENT = {"TLSv1.2", "TLSv1.3"}


def judge_hellos(history: Hellos) -> Judgement:
    """A current handshake is taken, at 1.2 or better; no hello of an older version is."""
    current = [one for one in history.hellos if not one.offered]
    old = [one for one in history.hellos if one.offered in OLD]
    if not current or {one.offered for one in old} != set(OLD):
        return inconclusive("not every version was offered", history.evidence)
    for one in current:
        if one.error == "timeout":
            return inconclusive(f"port {one.port}: a current handshake ran into a timeout", history.evidence)
        if one.taken not in _CURRENT:
            got = one.taken or one.error or "nothing"
            return failed(f"port {one.port}: a current handshake ends in {got}, not in TLS 1.2 or 1.3",
                          history.evidence)  # fmt: skip
    for one in old:
        if one.taken:
            return proven(f"port {one.port}: the server takes {one.taken}", history.evidence)
        if one.error == "timeout":
            return inconclusive(f"port {one.port}: a hello of {one.offered} ran into a timeout", history.evidence)
    control = [one for one in history.hellos if one.offered == CONTROL]
    # Who refuses the control for its version has understood it.
    known = bool(control) and all(one.taken or one.alert == "protocol_version" for one in control)
    if not known and not all(one.alert == "protocol_version" for one in old):
        ends = ", ".join(sorted({one.alert or one.error or "nothing" for one in control})) or "no hello"
        return inconclusive(f"a hello of {CONTROL} ended in {ends} too: perhaps the others are not refused "
                            "for their version", history.evidence)  # fmt: skip
    versions = ", ".join(sorted({one.taken for one in current}))
    said = ", ".join(sorted({one.alert or one.error for one in old}))
    return passed(f"current clients get {versions}; {' and '.join(OLD)} are refused ({said})", history.evidence)


# -- peer headers ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Header:
    """Requests that carry a forged peer header."""

    caller: str
    identity: str
    """The caller's verified identity; "" where it has none."""
    sent: int
    arrived: int
    forged: int
    """Requests at the application whose header holds the forger's words."""
    verified: int
    """Requests at the application whose header names the verified caller."""
    wire: int | None = None
    """How often the forger's words crossed the wire in clear; None where the wire is encrypted or was not looked at."""
    example: str = ""
    late: int = 0
    """Requests that ran into a timeout."""

    @property
    def lost(self) -> int:
        """Requests that did not arrive and were not late, as some may be on a busy machine; all, where none arrived."""
        return self.sent - self.arrived - (self.late if self.arrived else 0)

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "caller": self.caller,
            "verified identity": self.identity,
            "sent": self.sent,
            "arrived": self.arrived,
            "ran into a timeout": self.late,
            "forged words at the application": self.forged,
            "true identity at the application": self.verified,
            "forged words on the wire": "encrypted" if self.wire is None else self.wire,
            "for example": self.example,
        }


@dataclass(frozen=True)
class Headers:
    """Every caller of one check."""

    name: str
    headers: tuple[Header, ...]

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence(f"forged {self.name}", [one.row for one in self.headers])


def judge_headers(history: Headers) -> Judgement:
    """Forged words reach no application; a verified caller is named truly; and the forgery was really sent."""
    if not history.headers or not all(one.sent for one in history.headers):
        return inconclusive("not every caller asked", history.evidence)
    for one in history.headers:
        if one.forged:
            return proven(
                f"{one.caller}: {one.forged} of {one.arrived} requests reach the application with a forged "
                f"{history.name}",
                history.evidence,
            )
    for one in history.headers:
        if one.lost:
            return failed(f"{one.caller}: {one.lost} of {one.sent} requests did not arrive", history.evidence)
        if one.identity and one.verified < one.arrived:
            return failed(
                f"{one.caller}: {one.arrived - one.verified} of {one.arrived} requests do not name the caller",
                history.evidence,
            )
    for one in history.headers:
        if one.late:
            return inconclusive(f"{one.caller}: {one.late} of {one.sent} requests ran into a timeout", history.evidence)
    if not any(one.wire for one in history.headers):
        return inconclusive("the forged words were seen on no wire: nothing shows that they were sent",
                            history.evidence)  # fmt: skip
    return passed(f"a forged {history.name} reaches no application, whoever sends it", history.evidence)
