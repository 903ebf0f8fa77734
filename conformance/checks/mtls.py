"""MTLS: what travels between meshed pods is encrypted, and strict means that plaintext is refused.

A response header proves nothing here. Each claim rests on two independent proofs: what a caller from outside of the
mesh gets (an answer, a refusal, a TLS handshake that asks for a client certificate), and the bytes on the wire,
captured on the server pod's own interface.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.catalogue import check, place
from conformance.context import LIMITS, Context, Pod
from conformance.ground import Ground, Place, Svc, Workload
from conformance.intents import Intent, Mode, MtlsMode
from conformance.model import Judgement, failed, inconclusive, passed
from fixtures.workloads.traffic import Batch, Record
from reports.model import Evidence

__all__ = [
    "GROUND",
    "Attempt",
    "Handshake",
    "Refusal",
    "both_ways",
    "encrypted",
    "judge_encrypted",
    "judge_permissive",
    "judge_strict",
]

HTTP, GRPC, TCP = 8080, 7070, 9090
PROTOCOL = {HTTP: "http1", GRPC: "grpc", TCP: "tcp"}
ATTEMPTS = 20
"""Connections per claim. A policy is in force or not: this is no percentage, the number only guards against a fluke."""


def strict_namespace(spaces: Mapping[str, str]) -> MtlsMode:
    """Everything in the namespace refuses plaintext."""
    return MtlsMode(spaces["strict"], Mode.STRICT)


def strict_but_one_port(spaces: Mapping[str, str]) -> MtlsMode:
    """One workload refuses plaintext on every port but one."""
    return MtlsMode(spaces["strict"], Mode.STRICT, workload="ports", ports={TCP: Mode.PERMISSIVE})


def permissive_namespace(spaces: Mapping[str, str]) -> MtlsMode:
    """Everything in the namespace takes plaintext and mTLS."""
    return MtlsMode(spaces["in"], Mode.PERMISSIVE)


def _standing(spaces: Mapping[str, str]) -> tuple[Intent, ...]:
    return strict_namespace(spaces), strict_but_one_port(spaces), permissive_namespace(spaces)


GROUND = place(
    Ground(
        name="mtls",
        order=2,
        places=(Place("in", meshed=True), Place("strict", meshed=True), Place("out")),
        workloads=(
            Workload("client", "in", kind="client"),
            Workload("server", "in", sniffer=True),
            Workload("strict", "strict", sniffer=True, probe="/"),
            Workload("ports", "strict", sniffer=True),
            Workload("outsider", "out", kind="client"),
        ),
        services=(Svc("server", "in", "server"), Svc("strict", "strict", "strict"), Svc("ports", "strict", "ports")),
        standing=_standing,
    )
)


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

    @property
    def refused(self) -> bool:
        """Every request was sent and none reached the application."""
        return self.sent > 0 and self.answered == 0

    @property
    def accepted(self) -> bool:
        """Every request was answered by the application."""
        return self.sent > 0 and self.answered == self.sent

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
        }


@dataclass(frozen=True)
class Handshake:
    """A TLS handshake from outside of the mesh, without a client certificate."""

    port: int
    answered: bool
    client_certificate_requested: bool
    version: str = ""
    error: str = ""

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "port": self.port,
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


# -- collecting --------------------------------------------------------------------------------------------------------


def attempt(ctx: Context, workload: str, port: int, *, meshed: bool) -> Attempt:
    """Send marked requests to a port of a workload's service while its interface is captured."""
    token = f"mark-{secrets.token_hex(12)}"
    client = ctx.client() if meshed else ctx.outsider()
    scheme = "tcp" if port == TCP else "http"
    batch = Batch(
        url=ctx.url(workload, port, "" if port == TCP else f"/{token}", scheme),
        protocol=PROTOCOL[port],
        count=ATTEMPTS,
        concurrency=4,
        method="GET" if port == TCP else "POST",
        body=token,
        timeout=LIMITS.request if meshed else LIMITS.probe,
        fresh=True,
    )
    seen = ctx.sniff(ctx.pod(workload), port, token, lambda: client.batch(batch))
    return summarise(seen, port=port, meshed=meshed, token=token)


def summarise(seen: Mapping[str, Any], *, port: int, meshed: bool, token: str) -> Attempt:
    """A capture and the records of the traffic that ran under it, in numbers."""
    records: Sequence[Record] = seen["records"]
    ends: dict[str, int] = {}
    for record in records:
        if not _by_application(record):
            end = record.error or f"status {record.status}"
            ends[end] = ends.get(end, 0) + 1
    return Attempt(
        port=port,
        meshed=meshed,
        sent=len(records),
        answered=sum(map(_by_application, records)),
        carried=sum(token in str(dict(record.reply)) for record in records if record.reply is not None),
        ends=ends,
        packets=int(seen.get("packets", 0)),
        tls_records=int(seen.get("tls_records", 0)),
        plaintext_hits=int(seen.get("plaintext_hits", 0)),
    )


def _by_application(record: Record) -> bool:
    return record.ok and record.reply is not None


def handshake(ctx: Context, pod: Pod, port: int) -> Handshake:
    """Shake hands with a pod from outside of the mesh, showing no certificate."""
    batch = Batch(url=f"tls://{pod.ip}:{port}", protocol="tls", count=1, timeout=LIMITS.probe)
    record = ctx.outsider().batch(batch)[0]
    facts = record.tls or {}
    return Handshake(
        port=port,
        answered=bool(facts.get("server_certificate")),
        client_certificate_requested=bool(facts.get("client_certificate_requested")),
        version=str(facts.get("version") or ""),
        error=record.error or "",
    )


def both_ways(ctx: Context, workload: str, strict: tuple[int, ...], open_: tuple[int, ...] = ()) -> Refusal:
    """Ask every port as a stranger and as a meshed client, and shake hands as a stranger."""
    pod = ctx.pod(workload)
    attempts = [attempt(ctx, workload, port, meshed=meshed) for port in (*strict, *open_) for meshed in (False, True)]
    return Refusal(tuple(attempts), tuple(handshake(ctx, pod, port) for port in strict), strict, open_)


# -- judging -----------------------------------------------------------------------------------------------------------


def encrypted(attempts: Sequence[Attempt]) -> str:
    """Why the meshed requests were not encrypted on the wire, "" if they were."""
    for one in attempts:
        if one.plaintext_hits:
            return f"port {one.port}: the marker crossed the wire in clear {one.plaintext_hits} times"
        if not one.tls_records:
            return f"port {one.port}: no TLS record crossed the wire"
    return ""


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


def _meshed_in_clear_or_lost(history: Refusal) -> str:
    meshed = [one for one in history.attempts if one.meshed]
    if not meshed:
        return "no meshed client asked"
    for one in meshed:
        if not one.accepted or one.carried < one.sent:
            return f"port {one.port}: {one.sent - one.carried} of {one.sent} meshed requests did not reach the server"
    return encrypted(meshed)


def judge_encrypted(history: Refusal) -> Judgement:
    """Meshed requests arrive, nothing of them is on the wire in clear, and the server's proxy asks for certificates."""
    if problem := _unasked(history):
        return inconclusive(problem, *history.evidence)
    if problem := _meshed_in_clear_or_lost(history):
        return failed(problem, *history.evidence)
    for one in history.handshakes:
        if not one.client_certificate_requested:
            return failed(f"port {one.port}: a TLS handshake from outside is not asked for a certificate",
                          *history.evidence)  # fmt: skip
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
        if not strange[port].refused:
            answered = f"{strange[port].answered} of {strange[port].sent} plaintext requests were answered"
            return failed(f"port {port} ({PROTOCOL[port]}) is strict, and {answered}", *history.evidence)
    for port in history.open_ports:
        if not strange[port].accepted:
            return failed(f"port {port} is exempt, and plaintext was refused there", *history.evidence)
    if problem := _meshed_in_clear_or_lost(
        Refusal(tuple(one for one in history.attempts if one.port in history.strict_ports), ())
    ):
        return failed(problem, *history.evidence)
    asked = {one.port for one in history.handshakes if one.client_certificate_requested}
    if missing := [port for port in history.strict_ports if port not in asked]:
        return failed(f"port {missing[0]}: a TLS handshake from outside is not asked for a certificate",
                      *history.evidence)  # fmt: skip
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
        if not one.accepted:
            return failed(f"port {one.port}: {one.sent - one.answered} of {one.sent} plaintext requests were refused",
                          *history.evidence)  # fmt: skip
        if not one.plaintext_hits:
            return inconclusive("the plaintext control was not seen in clear: the capture is blind", *history.evidence)
    if problem := _meshed_in_clear_or_lost(history):
        return failed(problem, *history.evidence)
    return passed("plaintext is taken from outside, and meshed callers are encrypted", *history.evidence)


# -- checks ------------------------------------------------------------------------------------------------------------


def _spaces(ctx: Context) -> dict[str, str]:
    return {one.name: ctx.space(one.name) for one in ctx.ground.places}


def _refused(ctx: Context, workload: str, port: int) -> bool:
    """Whether a row of plaintext requests is refused: the mark of a strict policy."""
    scheme = "tcp" if port == TCP else "http"
    batch = Batch(
        url=ctx.url(workload, port, "" if port == TCP else "/", scheme),
        protocol=PROTOCOL[port],
        count=3,
        concurrency=3,
        body="gate",
        timeout=LIMITS.probe,
        fresh=True,
    )
    return not any(map(_by_application, ctx.outsider().batch(batch)))


@check(
    id="MTLS-01",
    title="Traffic between meshed pods is encrypted",
    proves=("mtls",),
    judge=judge_encrypted,
    ground=GROUND,
    requires=("INJ-01",),
)
def meshed_to_meshed(ctx: Context) -> Refusal:
    """Marked requests from a meshed client, under a capture at the server."""
    found = attempt(ctx, "server", HTTP, meshed=True)
    return Refusal((found,), (handshake(ctx, ctx.pod("server"), HTTP),))


@check(
    id="MTLS-02",
    title="Strict refuses plaintext",
    proves=("mtls", "strict"),
    judge=judge_strict,
    ground=GROUND,
    requires=("INJ-01",),
)
def strict(ctx: Context) -> Refusal:
    """A namespace is strict: ask its server in plaintext and in mTLS."""
    ctx.apply(strict_namespace(_spaces(ctx)))
    ctx.in_force(lambda: _refused(ctx, "strict", HTTP), "plaintext refused by the strict namespace", successes=2)
    return both_ways(ctx, "strict", (HTTP,))


@check(
    id="MTLS-03",
    title="Permissive accepts plaintext and mTLS",
    proves=("mtls", "permissive"),
    judge=judge_permissive,
    ground=GROUND,
    requires=("INJ-01",),
)
def permissive(ctx: Context) -> Refusal:
    """A namespace is permissive: ask its server in plaintext and in mTLS."""
    ctx.apply(permissive_namespace(_spaces(ctx)))
    ctx.in_force(lambda: not _refused(ctx, "server", HTTP), "plaintext taken by the permissive namespace")
    attempts = [attempt(ctx, "server", HTTP, meshed=meshed) for meshed in (False, True)]
    return Refusal(tuple(attempts), (handshake(ctx, ctx.pod("server"), HTTP),), (), (HTTP,))


@check(
    id="MTLS-04",
    title="A port's exception from strict holds, and only there",
    proves=("mtls", "strict", "port override"),
    judge=judge_strict,
    ground=GROUND,
    requires=("INJ-01",),
)
def port_override(ctx: Context) -> Refusal:
    """One port of a strict workload is exempt. Plaintext taken there is the mark of the policy."""
    ctx.apply(strict_but_one_port(_spaces(ctx)))
    ctx.in_force(lambda: not _refused(ctx, "ports", TCP), "plaintext taken on the exempt port", successes=2)
    return both_ways(ctx, "ports", (HTTP,), (TCP,))


@check(
    id="MTLS-05",
    title="Strict refuses plaintext for TCP and gRPC too",
    proves=("mtls", "strict", "tcp", "grpc"),
    judge=judge_strict,
    ground=GROUND,
    requires=("INJ-01",),
)
def strict_tcp_grpc(ctx: Context) -> Refusal:
    """A namespace is strict: ask its server's TCP and gRPC ports in plaintext and in mTLS."""
    ctx.apply(strict_namespace(_spaces(ctx)))
    ctx.in_force(lambda: _refused(ctx, "strict", TCP), "plaintext refused by the strict namespace", successes=2)
    return both_ways(ctx, "strict", (TCP, GRPC))
