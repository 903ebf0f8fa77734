"""Histories of plaintext, mTLS and handshakes against one workload, and the judges of them. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.model import Judgement, failed, inconclusive, passed, proven
from conformance.stalls import by_nobody
from fixtures.workloads.traffic import Record
from reports.model import Evidence

__all__ = [
    "GRPC",
    "HTTP",
    "PROTOCOL",
    "TCP",
    "Attempt",
    "Handshake",
    "Refusal",
    "by_application",
    "judge_encrypted",
    "judge_permissive",
    "judge_strict",
    "summarise",
]

HTTP, GRPC, TCP = 8080, 7070, 9090
PROTOCOL = {HTTP: "http1", GRPC: "grpc", TCP: "tcp"}


@dataclass(frozen=True)
class Attempt:
    """Requests to one port, and what the server pod's interface carried meanwhile."""

    port: int
    meshed: bool
    """Whether the caller is in the mesh."""
    sent: int
    answered: int
    """Answers by the application itself."""
    carried: int
    """Answers that show that the application received the marker."""
    ends: Mapping[str, int]
    """How the others ended: error or status, with counts."""
    packets: int
    tls_records: int
    plaintext_hits: int
    """How often the marker was seen in clear."""
    dropped: int = 0
    """Frames that the capture lost: what they carried, nobody has seen."""

    @property
    def refused(self) -> bool:
        """Every request was sent and none reached the application.

        A timeout alone may be a busy machine: it counts as a refusal only where nothing else happened, as with a mesh
        that drops packets.
        """
        return self.sent > 0 and self.answered == 0 and self.ends.get("timeout", 0) in {0, self.sent}

    @property
    def accepted(self) -> bool:
        """Every request was answered by the application."""
        return self.sent > 0 and self.answered == self.sent

    @property
    def lost(self) -> int:
        """How many ended otherwise, without being late."""
        return self.sent - self.answered - by_nobody(self.ends, self.sent)

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "caller": "meshed" if self.meshed else "outside of the mesh",
            "port": f"{self.port} ({PROTOCOL[self.port]})",
            "sent": self.sent,
            "answered": self.answered,
            "otherwise": ", ".join(f"{count}× {end}" for end, count in self.ends.items()),
            "packets": self.packets,
            "TLS records": self.tls_records,
            "marker in clear": self.plaintext_hits,
            "frames lost": self.dropped,
        }


@dataclass(frozen=True)
class Handshake:
    """A TLS handshake from outside of the mesh, without a client certificate."""

    port: int
    answered: bool
    client_certificate_requested: bool
    version: str = ""
    error: str = ""
    at: int | None = None
    """The proxy's own port, where it was tried there for the application's; None: at the port itself."""

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "port": self.port if self.at is None else f"{self.port}, by the proxy's {self.at}",
            "answered": self.answered,
            "version": self.version,
            "client certificate requested": self.client_certificate_requested,
            "error": self.error,
        }


@dataclass(frozen=True)
class Refusal:
    """What one workload did with plaintext and with mTLS."""

    attempts: tuple[Attempt, ...]
    handshakes: tuple[Handshake, ...]
    strict_ports: tuple[int, ...] = ()
    open_ports: tuple[int, ...] = ()

    @property
    def evidence(self) -> tuple[Evidence, Evidence]:
        """For the report."""
        return (
            Evidence("requests, and the wire at the server pod", [one.row for one in self.attempts]),
            Evidence("TLS handshakes from outside of the mesh", [one.row for one in self.handshakes]),
        )


def summarise(seen: Mapping[str, Any], *, port: int, meshed: bool, token: str) -> Attempt:
    """A capture and the records of the traffic that ran under it, in numbers."""
    records: Sequence[Record] = seen["records"]
    ends: dict[str, int] = {}
    for record in records:
        if not by_application(record):
            end = record.error or f"status {record.status}"
            ends[end] = ends.get(end, 0) + 1
    return Attempt(
        port=port,
        meshed=meshed,
        sent=len(records),
        answered=sum(map(by_application, records)),
        carried=sum(token in str(dict(record.reply)) for record in records if record.reply is not None),
        ends=ends,
        packets=int(seen.get("packets", 0)),
        tls_records=int(seen.get("tls_records", 0)),
        plaintext_hits=int(seen.get("plaintext_hits", 0)),
        dropped=int(seen.get("dropped", 0)),
    )


def by_application(record: Record) -> bool:
    """Whether the application itself answered."""
    return record.ok and record.reply is not None


def _unasked(history: Refusal) -> str:
    """Why the history is no basis for a judgement, "" if it is."""
    if not history.attempts:
        return "no request was sent"
    for one in history.attempts:
        if not one.sent:
            return f"port {one.port}: no request was sent"
        if not one.packets:
            return f"port {one.port}: the capture saw no packet, so it proves nothing"
    return ""


def _meshed_in_clear_or_lost(history: Refusal, ports: Sequence[int] | None = None) -> Judgement | None:
    """What to say of meshed requests (on these ports, or all) that were lost or not encrypted; None where all is well.

    What crossed the wire in clear did so whatever the machine did.
    """
    meshed = [one for one in history.attempts if one.meshed and (ports is None or one.port in ports)]
    if not meshed:
        return failed("no meshed client asked", *history.evidence)
    for one in meshed:
        if one.plaintext_hits:
            said = f"port {one.port}: the marker crossed the wire in clear {one.plaintext_hits} times"
            return proven(said, *history.evidence)
    for one in meshed:
        if not one.accepted or one.carried < one.sent:
            lost = f"{one.sent - one.carried} of {one.sent} meshed requests did not reach the server"
            return failed(f"port {one.port}: {lost}", *history.evidence)
    for one in meshed:
        if one.dropped:
            lossy = f"the capture lost {one.dropped} frames, so that it saw none in clear proves nothing"
            return inconclusive(f"port {one.port}: {lossy}", *history.evidence)
    if bare := [one.port for one in meshed if not one.tls_records]:
        return failed(f"port {bare[0]}: no TLS record crossed the wire", *history.evidence)
    return None


def _not_asked_for_a_certificate(history: Refusal, ports: Sequence[int]) -> Judgement | None:
    """What to say where a handshake on one of these ports was not asked for one; None where each was."""
    shaken = {one.port: one for one in history.handshakes}
    for port in ports:
        one = shaken.get(port)
        if one is not None and one.error == "timeout":
            return inconclusive(f"port {port}: a TLS handshake from outside ran into a timeout", *history.evidence)
        if one is None or not one.client_certificate_requested:
            return failed(f"port {port}: a TLS handshake from outside is not asked for a certificate",
                          *history.evidence)  # fmt: skip
    return None


def judge_encrypted(history: Refusal) -> Judgement:
    """Meshed requests arrive, nothing of them is on the wire in clear, and the server's proxy asks for certificates."""
    if problem := _unasked(history):
        return inconclusive(problem, *history.evidence)
    if unsound := _meshed_in_clear_or_lost(history):
        return unsound
    if unsound := _not_asked_for_a_certificate(history, [one.port for one in history.handshakes]):
        return unsound
    if not history.handshakes:
        return inconclusive("no handshake was tried: one proof is not two", *history.evidence)
    sent = sum(one.sent for one in history.attempts)
    return passed(
        f"{sent} requests arrived and not one was seen in clear; the server asks callers for a certificate",
        *history.evidence,
    )


def judge_strict(history: Refusal) -> Judgement:
    """On strict ports plaintext is refused and mTLS works; on open ports plaintext is taken."""
    if problem := _unasked(history):
        return inconclusive(problem, *history.evidence)
    strange = {one.port: one for one in history.attempts if not one.meshed}
    if not history.strict_ports or not {*history.strict_ports, *history.open_ports} <= strange.keys():
        return inconclusive("not every port was asked in plaintext", *history.evidence)
    for port in history.strict_ports:
        if not strange[port].answered and not strange[port].refused:
            return inconclusive(f"port {port}: some plaintext requests ran into a timeout", *history.evidence)
        if not strange[port].refused:
            answered = f"{strange[port].answered} of {strange[port].sent} plaintext requests were answered"
            return proven(f"port {port} ({PROTOCOL[port]}) is strict, and {answered}", *history.evidence)
    for port in history.open_ports:
        if strange[port].lost:
            return failed(f"port {port} is exempt, and plaintext was refused there", *history.evidence)
        if not strange[port].accepted:
            return inconclusive(f"port {port}: some plaintext requests ran into a timeout", *history.evidence)
    if unsound := _meshed_in_clear_or_lost(history, history.strict_ports):
        return unsound
    if unsound := _not_asked_for_a_certificate(history, history.strict_ports):
        return unsound
    ports = ", ".join(f"{port} ({PROTOCOL[port]})" for port in history.strict_ports)
    exempt = f"; taken on {', '.join(map(str, history.open_ports))}" if history.open_ports else ""
    return passed(f"plaintext refused and mTLS served on {ports}{exempt}", *history.evidence)


def judge_permissive(history: Refusal) -> Judgement:
    """Plaintext from outside is taken, in clear, and meshed callers are encrypted all the same."""
    if problem := _unasked(history):
        return inconclusive(problem, *history.evidence)
    strange = [one for one in history.attempts if not one.meshed]
    if not strange:
        return inconclusive("nobody asked in plaintext", *history.evidence)
    for one in strange:
        if one.lost:
            return failed(f"port {one.port}: {one.lost} of {one.sent} plaintext requests were refused",
                          *history.evidence)  # fmt: skip
        if not one.accepted:
            return inconclusive(f"port {one.port}: some plaintext requests ran into a timeout", *history.evidence)
        if not one.plaintext_hits:
            return inconclusive("the plaintext control was not seen in clear: the capture is blind", *history.evidence)
    if unsound := _meshed_in_clear_or_lost(history):
        return unsound
    return passed("plaintext is taken from outside, and meshed callers are encrypted", *history.evidence)
