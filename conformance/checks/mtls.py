"""MTLS: what travels between meshed pods is encrypted, and strict means that plaintext is refused.

A response header proves nothing here. Each claim rests on two independent proofs: what a caller from outside of the
mesh gets (an answer, a refusal, a TLS handshake that asks for a client certificate), and the bytes on the wire,
captured on the server pod's own interface.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import partial

from conformance.catalogue import check, place
from conformance.checks.handshakes import own_port, to_proxy
from conformance.checks.mtls_judges import (
    GRPC,
    HTTP,
    PROTOCOL,
    TCP,
    Attempt,
    Handshake,
    Refusal,
    by_application,
    judge_encrypted,
    judge_permissive,
    judge_strict,
    summarise,
)
from conformance.context import LIMITS, Context, Pod
from conformance.ground import Ground, Place, Svc, Workload
from conformance.intents import Intent, Mode, MtlsMode, MutualTls, OwnMtls
from conformance.shut_gates import asked_anyway
from fixtures.workloads.traffic import Batch

__all__ = ["GATE", "GROUND", "attempt"]

ATTEMPTS = 20
"""Connections per claim. A policy is in force or not: this is no percentage, the number only guards against a fluke."""

GATE = "/gate"
"""The path by which plaintext is asked whether a policy is in force."""


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
        order=3,
        places=(Place("in", meshed=True), Place("strict", meshed=True), Place("out")),
        workloads=(
            Workload("client", "in", kind="client"),
            Workload("server", "in", sniffer=True),
            Workload("impostor", "in", pod="no-inject", intents=(OwnMtls(),)),
            Workload("strict", "strict", sniffer=True, probe="/"),
            Workload("ports", "strict", sniffer=True),
            Workload("outsider", "out", kind="client"),
        ),
        services=(
            Svc("server", "in", "server"),
            Svc("impostor", "in", "impostor"),
            Svc("strict", "strict", "strict"),
            Svc("ports", "strict", "ports"),
        ),
        standing=_standing,
    )
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


def handshake(ctx: Context, pod: Pod, port: int) -> Handshake:
    """Shake hands from outside of the mesh with what guards a port of a pod, showing no certificate."""
    at = own_port(ctx)
    batch = Batch(url=f"tls://{pod.host}:{at or port}", protocol="tls", count=1, timeout=LIMITS.probe)
    record = ctx.outsider().batch(to_proxy(ctx, pod, batch))[0]
    facts = record.tls or {}
    return Handshake(
        port=port,
        answered=bool(facts.get("server_certificate")),
        client_certificate_requested=bool(facts.get("client_certificate_requested")),
        version=str(facts.get("version") or ""),
        error=record.error or "",
        at=at,
    )


def both_ways(ctx: Context, workload: str, strict: tuple[int, ...], open_: tuple[int, ...] = ()) -> Refusal:
    """Ask every port as a stranger and as a meshed client, and shake hands as a stranger."""
    pod = ctx.pod(workload)
    attempts = [attempt(ctx, workload, port, meshed=meshed) for port in (*strict, *open_) for meshed in (False, True)]
    return Refusal(tuple(attempts), tuple(handshake(ctx, pod, port) for port in strict), strict, open_)


# -- checks ------------------------------------------------------------------------------------------------------------


def _spaces(ctx: Context) -> dict[str, str]:
    return {one.name: ctx.space(one.name) for one in ctx.ground.places}


def _refused(ctx: Context, workload: str, port: int) -> bool:
    """Whether a row of plaintext requests is refused: the mark of a strict policy.

    They ask for no probe's path: a mesh lets probes in under a strict policy too, and some, as Linkerd, from anywhere.
    """
    scheme = "tcp" if port == TCP else "http"
    batch = Batch(
        url=ctx.url(workload, port, "" if port == TCP else GATE, scheme),
        protocol=PROTOCOL[port],
        count=3,
        concurrency=3,
        body="gate",
        timeout=LIMITS.probe,
        fresh=True,
    )
    records = ctx.outsider().batch(batch)
    late = sum(record.error == "timeout" for record in records)
    return late in {0, len(records)} and not any(map(by_application, records))


def _strict_shows(ctx: Context, port: int) -> None:
    ctx.in_force(lambda: _refused(ctx, "strict", port), "plaintext refused by the strict namespace", successes=2)


@check(
    id="MTLS-01",
    title="Traffic between meshed pods is encrypted",
    proves=("mtls",),
    judge=judge_encrypted,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/reference/config/security/peer_authentication/",
)
def meshed_to_meshed(ctx: Context) -> Refusal:
    """Marked requests from a meshed client, under a capture at the server."""
    ctx.apply(MutualTls(ctx.space("in")))
    found = attempt(ctx, "server", HTTP, meshed=True)
    return Refusal((found,), (handshake(ctx, ctx.pod("server"), HTTP),))


@check(
    id="MTLS-02",
    title="Strict refuses plaintext",
    proves=("mtls", "strict"),
    judge=judge_strict,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/reference/config/security/peer_authentication/",
)
def strict(ctx: Context) -> Refusal:
    """A namespace is strict: ask its server in plaintext and in mTLS."""
    ctx.apply(strict_namespace(_spaces(ctx)))
    return asked_anyway(partial(_strict_shows, ctx, HTTP), partial(both_ways, ctx, "strict", (HTTP,)), judge_strict)


@check(
    id="MTLS-03",
    title="Permissive accepts plaintext and mTLS",
    proves=("mtls", "permissive"),
    judge=judge_permissive,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/reference/config/security/peer_authentication/",
)
def permissive(ctx: Context) -> Refusal:
    """A namespace is permissive: ask its server in plaintext and in mTLS."""
    ctx.apply(permissive_namespace(_spaces(ctx)))

    def shows() -> None:
        ctx.in_force(lambda: not _refused(ctx, "server", HTTP), "plaintext taken by the permissive namespace")

    def ask() -> Refusal:
        attempts = tuple(attempt(ctx, "server", HTTP, meshed=meshed) for meshed in (False, True))
        return Refusal(attempts, (handshake(ctx, ctx.pod("server"), HTTP),), (), (HTTP,))

    return asked_anyway(shows, ask, judge_permissive)


@check(
    id="MTLS-04",
    title="A port's exception from strict holds, and only there",
    proves=("mtls", "strict", "port override"),
    judge=judge_strict,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/reference/config/security/peer_authentication/",
)
def port_override(ctx: Context) -> Refusal:
    """One port of a strict workload is exempt. Plaintext taken there is the mark of the policy."""
    ctx.apply(strict_but_one_port(_spaces(ctx)))

    def shows() -> None:
        ctx.in_force(lambda: not _refused(ctx, "ports", TCP), "plaintext taken on the exempt port", successes=2)

    return asked_anyway(shows, partial(both_ways, ctx, "ports", (HTTP,), (TCP,)), judge_strict)


@check(
    id="MTLS-05",
    title="Strict refuses plaintext for TCP and gRPC too",
    proves=("mtls", "strict", "tcp", "grpc mtls"),
    judge=judge_strict,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/reference/config/security/peer_authentication/",
)
def strict_tcp_grpc(ctx: Context) -> Refusal:
    """A namespace is strict: ask its server's TCP and gRPC ports in plaintext and in mTLS."""
    ctx.apply(strict_namespace(_spaces(ctx)))
    return asked_anyway(partial(_strict_shows, ctx, TCP), partial(both_ways, ctx, "strict", (TCP, GRPC)), judge_strict)
