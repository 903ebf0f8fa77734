"""MTLS, the peers: whose certificate is accepted, with which TLS version, and what an application is told of it.

The runner asks the mesh's own authority for certificates, as a workload would, and shows them by itself: what is wrong
about a certificate is then exactly one thing. Two independent proofs: how the caller's requests end, and how many the
application behind the proxy counts.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from conformance.adapters import Authority, Unsupported
from conformance.catalogue import check
from conformance.certificates import Credentials, Refused, issue, key_pem, new_request, token_for
from conformance.checks.handshakes import account_of, own_port, to_proxy
from conformance.checks.mtls import ATTEMPTS, GROUND
from conformance.checks.mtls_judges import HTTP
from conformance.checks.peers_judges import (
    OLD,
    Arm,
    Arms,
    Header,
    Headers,
    Hello,
    Hellos,
    arm,
    judge_arms,
    judge_headers,
    judge_hellos,
)
from conformance.context import LIMITS, Context, NotExpressible, Pod
from conformance.forgery import forge
from conformance.intents import CertificateRequest, OwnMtls, PeerHeader
from fixtures.workloads.manifests import PORTS
from fixtures.workloads.traffic import Batch, Record
from reports.errors import EnvironmentProblem

__all__ = ["authority_of", "by_nodes", "obtain"]

DETECTION = 15.0
"""Seconds in which a proxy has given up to find out the protocol of a connection: Linkerd's takes 10."""
USUAL_SECONDS = 600
PAST_SECONDS = 1.5
"""How long after its expiry a certificate is shown: clocks are compared to the second."""
DEFAULT_HEADER = "x-forwarded-client-cert"


# -- certificates ------------------------------------------------------------------------------------------------------


def authority_of(ctx: Context, pod: Pod) -> Authority | None:
    """Where certificates for a pod come from; None without a mesh, where nobody signs any."""
    return ctx.render(CertificateRequest(pod.namespace, account_of(pod))).authority


def identity_of(ctx: Context, pod: Pod) -> str:
    """The identity that the mesh declares for a pod."""
    declared = ctx.adapter.identity(pod.namespace, account_of(pod))
    if isinstance(declared, Unsupported):
        raise NotExpressible(declared.reason)
    return declared


def obtain(ctx: Context, pod: Pod, seconds: int = USUAL_SECONDS) -> Credentials | None:
    """A certificate of the mesh's own authority for a pod's identity; None where there is no authority.

    `EnvironmentProblem` where it signs none: what it signs is judged by others, here it is only needed.
    """
    authority = authority_of(ctx, pod)
    if authority is None:
        return None
    bound = (pod.name, str(pod.object["metadata"]["uid"]))
    token = token_for(ctx.kube, pod.namespace, account_of(pod), bound, authority.audience)
    csr, key = new_request((identity_of(ctx, pod),))
    try:
        chain = issue(ctx.kube, authority, token, csr, seconds)
    except Refused as refusal:
        whom = f"{pod.name} in {pod.namespace}"
        raise EnvironmentProblem(f"the certificate authority signs no certificate for {whom}: {refusal}") from refusal
    return Credentials("".join(chain), key_pem(key))


def own(ctx: Context, pod: Pod) -> Credentials:
    """The same; without an authority the best that anybody can do, a certificate of one's own making."""
    return obtain(ctx, pod) or forge(identity_of(ctx, pod))


LONGEST = 4
"""At most so many times the shortest lifetime that the authority signs."""


@dataclass(frozen=True, repr=False)
class Brief:
    """A certificate that is about to expire, and what became of it while it was young."""

    credentials: Credentials
    young: Arm


def brief(ctx: Context) -> Brief:
    """The shortest certificate that the authority signs, shown at once. Shared, so that it ages meanwhile.

    On a busy machine it may be over before its requests are; then a longer one is shown, and only that is kept.
    """
    pod = _client(ctx)
    authority = authority_of(ctx, pod)
    times = 1
    while True:
        credentials = obtain(ctx, pod, times * authority.shortest) if authority else None
        credentials = credentials or forge(identity_of(ctx, pod))
        young = shown(ctx, "a certificate before its expiry", credentials, welcome=True)
        if by_nodes(ctx, ctx.now()) < credentials.not_after or times == LONGEST:
            return Brief(credentials, young)
        times *= 2


# -- traffic -----------------------------------------------------------------------------------------------------------


def counted(ctx: Context, pod: Pod, name: str, traffic: Callable[[], Sequence[Record]], *, welcome: bool) -> Arm:
    """Traffic to one pod, and what its application counts of it."""
    records, served = ctx.counting(pod, traffic)
    return arm(name, records, served, welcome=welcome)


def shown(ctx: Context, name: str, credentials: Credentials | None, *, welcome: bool) -> Arm:
    """Ask a strict port over TLS of the caller's own, showing a certificate or none."""
    pod = ctx.pod("ports")
    batch = Batch(
        url=f"https://{pod.host}:{HTTP}/",
        count=ATTEMPTS,
        concurrency=4,
        timeout=LIMITS.request if welcome else LIMITS.probe,
        fresh=True,
        certificate=credentials.chain if credentials else "",
        key=credentials.key if credentials else "",
    )
    return counted(ctx, pod, name, lambda: ctx.outsider().batch(to_proxy(ctx, pod, batch)), welcome=welcome)


def by_nodes(ctx: Context, at: float) -> float:
    """A moment of the runner's by the clock of a node: authority and proxies go by theirs, and ours may be off."""
    return at + ctx.outsider().ahead


def _client(ctx: Context) -> Pod:
    """The meshed client's pod."""
    return Pod.of(ctx.kube.wait_pods_ready(ctx.space("in"), "app=client", count=1, timeout=LIMITS.ground_ready)[0])


# -- checks ------------------------------------------------------------------------------------------------------------


@check(
    id="MTLS-06",
    title="A client with a certificate of another authority is refused",
    proves=("mtls", "strict", "trust"),
    judge=judge_arms,
    ground=GROUND,
    requires=("MTLS-02",),
    reference="https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md (section 5)",
)
def foreign_authority(ctx: Context) -> Arms:
    """Show the strict server a certificate of the mesh's authority, and the same by a forger."""
    ctx.shared(brief, judged=False)
    client = _client(ctx)
    genuine = own(ctx, client)
    return Arms(
        (
            shown(ctx, "a certificate of the mesh's authority", genuine, welcome=True),
            shown(
                ctx, "the same names by another authority", forge(identity_of(ctx, client), genuine.leaf), welcome=False
            ),
            shown(ctx, "no certificate", None, welcome=False),
        )
    )


@check(
    id="MTLS-07",
    title="A server with the wrong identity is refused by the client",
    proves=("mtls", "secure naming"),
    judge=judge_arms,
    ground=GROUND,
    requires=("MTLS-01",),
    reference="https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md (section 5)",
)
def wrong_server(ctx: Context) -> Arms:
    """A server without a proxy shows its own certificate, somebody else's, and a forged one to the same client."""
    ctx.render(OwnMtls())
    pod = ctx.pod("impostor")
    right = own(ctx, pod)
    stranger = own(ctx, _client(ctx))
    batch = Batch(
        url=ctx.url("impostor", PORTS["https"]), count=ATTEMPTS, concurrency=4, timeout=LIMITS.request, fresh=True
    )

    def asked(name: str, credentials: Credentials, *, welcome: bool) -> Arm:
        ctx.certify(pod, credentials)
        return counted(ctx, pod, name, lambda: ctx.client().batch(batch), welcome=welcome)

    return Arms(
        (
            asked("the server's own identity", right, welcome=True),
            asked("another workload's identity, by the mesh's authority", stranger, welcome=False),
            asked(
                "the server's identity, by another authority", forge(identity_of(ctx, pod), right.leaf), welcome=False
            ),
            asked("the server's own identity again", right, welcome=True),
        )
    )


@check(
    id="MTLS-09",
    title="TLS below version 1.2 is refused",
    proves=("mtls", "tls version"),
    judge=judge_hellos,
    ground=GROUND,
    requires=("MTLS-01",),
    reference="RFC 8996",
)
def versions(ctx: Context) -> Hellos:
    """Offer a strict and a permissive server each old version alone, in a hello written by hand.

    A proxy that takes an old hello for no TLS at all, as Linkerd's, waits for the rest of whatever it is.
    """

    def offer(pod: Pod, version: str) -> Hello:
        url = f"tls://{pod.host}:{own_port(ctx) or HTTP}"
        patience = DETECTION if version in OLD else LIMITS.probe
        batch = Batch(url=url, protocol="tls", timeout=patience, tls_version=version)
        record = ctx.outsider().batch(to_proxy(ctx, pod, batch))[0]
        facts = record.tls or {}
        return Hello(HTTP, version, str(facts.get("version") or ""), str(facts.get("alert") or ""), record.error or "")

    return Hellos(
        tuple(
            offer(ctx.pod(workload), version) for workload in ("strict", "server") for version in ("", "TLSv1.2", *OLD)
        )
    )


@check(
    id="MTLS-10",
    title="A forged peer header reaches no application",
    proves=("mtls", "peer header"),
    judge=judge_headers,
    ground=GROUND,
    requires=("MTLS-01", "MTLS-03"),
    reference="https://www.envoyproxy.io/docs/envoy/latest/configuration/http/http_conn_man/headers",
)
def forged_header(ctx: Context) -> Headers:
    """Callers in the mesh, outside of it, and outside with a certificate of the mesh claim to be somebody else."""
    name = ctx.render(PeerHeader()).header or DEFAULT_HEADER
    client, server = _client(ctx), ctx.pod("server")
    genuine = own(ctx, client)
    forged = f"forged-{secrets.token_hex(8)}"
    claim = f"By=spiffe://nobody;Hash=00;URI={ctx.adapter.identity('kube-system', forged)}"
    usual = Batch(
        url=ctx.url("server"), count=ATTEMPTS, concurrency=4, timeout=LIMITS.request, fresh=True, headers={name: claim}
    )
    secure = replace(usual, url=f"https://{server.host}:{HTTP}/", certificate=genuine.chain, key=genuine.key)
    with_certificate = to_proxy(ctx, server, secure)
    verified = identity_of(ctx, client)

    def count(caller: str, identity: str, records: Sequence[Record], wire: int | None = None) -> Header:
        arrived = [record for record in records if record.ok and record.reply is not None]
        seen = [",".join((record.reply or {}).get("headers", {}).get(name, [])) for record in arrived]
        return Header(
            caller,
            identity,
            len(records),
            len(arrived),
            sum(forged in one for one in seen),
            sum(bool(identity) and identity in one for one in seen),
            wire,
            next((one for one in seen if one), ""),
            sum(record.error == "timeout" for record in records),
        )

    plain = ctx.sniff(server, HTTP, forged, lambda: ctx.outsider().batch(usual))
    return Headers(
        name,
        (
            count("outside of the mesh, plaintext", "", plain["records"], int(plain.get("plaintext_hits", 0))),
            count("outside of the mesh, with a certificate", verified, ctx.outsider().batch(with_certificate)),
            count("in the mesh", verified, ctx.client().batch(usual)),
            count("in the mesh, HTTP/2", verified, ctx.client().batch(replace(usual, protocol="h2c"))),
        ),
    )


@check(
    id="MTLS-11",
    title="An expired client certificate is refused",
    proves=("mtls", "strict", "expiry"),
    judge=judge_arms,
    ground=GROUND,
    requires=("MTLS-06",),
    reference="RFC 5280, section 6.1.3 (the current time is within the validity period)",
)
def expired(ctx: Context) -> Arms:
    """Show the strict server a certificate before and after its expiry, and a fresh one beside it."""
    short = ctx.shared(brief, judged=False)
    left = short.credentials.not_after + PAST_SECONDS - by_nodes(ctx, ctx.now())
    if left < 4 * LIMITS.request:  # else nobody signs anything short, and the judge says so
        time.sleep(max(0.0, left))  # a certificate says itself when it ends: there is nothing to look for before
    late = by_nodes(ctx, ctx.now()) - short.credentials.not_after
    unsound = "" if late > 0 else f"the shortest certificate to be had expires only in {-late:.0f} s"
    return Arms(
        (
            short.young,
            shown(ctx, "the same certificate after its expiry", short.credentials, welcome=False),
            shown(ctx, "a fresh certificate", own(ctx, _client(ctx)), welcome=True),
        ),
        unsound if short.young.answered else "",
    )
