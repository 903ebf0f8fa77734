"""GW: the way in. One gateway, with a listener for HTTP and one where TLS ends, before a strict workload.

It is reached by the Service that carries its name in the label of GEP-1762 or is called like it, or by the address in
its status. What GW-05 asks, the way out, is beside it in `egress`.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from conformance.adapters import Manifest
from conformance.catalogue import check, place
from conformance.checks.authority import Look, shake
from conformance.checks.authorization_judges import Access, Attempt, judge_access
from conformance.checks.authorization_judges import summarise as asked
from conformance.checks.gateways_judges import Entered, Terminated, judge_entered, judge_terminated
from conformance.checks.mtls import attempt, handshake
from conformance.checks.mtls_judges import HTTP as PORT
from conformance.checks.mtls_judges import Refusal, by_application, judge_strict, summarise
from conformance.context import LIMITS, Context, NotExpressible, NotInForce, Pod, in_url
from conformance.forgery import site
from conformance.ground import HTTP, Ground, Place, Svc, Workload
from conformance.intents import Access as Policy
from conformance.intents import AccessRule, Effect, Ingress, Mode, MtlsMode
from conformance.model import Judgement
from conformance.shut_gates import asked_anyway
from fixtures.workloads.traffic import Batch, Record
from reports.errors import EnvironmentProblem

__all__ = ["ATTEMPTS", "GROUND", "SERVER"]

T = TypeVar("T")

HOST, OTHER = "shop.meshproof.example", "other.meshproof.example"
NAME, SECRET = "front", "front-certificate"
LABEL = "gateway.networking.k8s.io/gateway-name"
ATTEMPTS = 20
GATEWAY, SERVER = "gateway.networking.k8s.io/v1", "server"
Ways = Sequence[tuple[str, str, Callable[[], list[Record]]]]
"""Callers of the server: a name for people, the service account, and how requests are sent."""

GROUND = place(
    Ground(
        name="gw",
        order=12,
        places=(Place("in", meshed=True), Place("lax", meshed=True), Place("out")),
        workloads=(
            Workload("client", "in", kind="client", account="client"),
            Workload(SERVER, "in", sniffer=True),
            Workload("bystander", "lax"),
            Workload("outsider", "out", kind="client"),
            Workload("stranger", "out", replicas=2),
        ),
        services=(Svc(SERVER, "in", SERVER, ports=HTTP), Svc("bystander", "lax", "bystander", ports=HTTP)),
        standing=lambda spaces: (MtlsMode(spaces["in"], Mode.STRICT),),
        # What these checks require is seen in plaintext.
        server="bystander",
    )
)


@dataclass(frozen=True)
class Entrance:
    """The gateway, once requests get through it."""

    address: str
    account: str
    """Service account of its proxies; "" where the mesh does not say."""
    certificate: str
    """Fingerprint of the certificate that it was given."""


def entrance(ctx: Context) -> Entrance:
    """Put the gateway into the cluster and wait until a request gets through. Shared by the checks of the ground."""
    space = ctx.space("in")
    intent = Ingress(NAME, space, HOST, SERVER, PORT, SECRET)
    rendered = ctx.render(intent)
    _expect_class(ctx, rendered.objects)
    credentials = site(HOST)
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": space},
        "type": "kubernetes.io/tls",
        "stringData": {"tls.crt": credentials.chain, "tls.key": credentials.key},
    }
    ctx.kube.apply(secret)
    ctx.apply(intent)
    found: list[str] = []

    def through() -> bool:
        found[:] = [_address(ctx)]
        return bool(found[0]) and all(map(by_application, _ask(ctx, found[0], count=2, timeout=LIMITS.probe)))

    ctx.in_force(through, "the gateway that leads to the server", successes=2, timeout=LIMITS.ground_ready)
    return Entrance(found[0], rendered.account, _fingerprint(credentials.leaf))


def _expect_class(ctx: Context, objects: Iterable[Manifest]) -> None:
    """`EnvironmentProblem` where a gateway is to be of a class that the cluster does not have: nobody would make it."""
    for item in objects:
        name = item["spec"]["gatewayClassName"] if item["kind"] == "Gateway" else ""
        if name and ctx.kube.get(item["apiVersion"], "GatewayClass", name) is None:
            raise EnvironmentProblem(
                f"there is no GatewayClass {name} on this cluster",
                fix="have the mesh make it, or name another, if its adapter takes one, with --set gateway-class=NAME",
            )


def _address(ctx: Context) -> str:
    """Where the gateway is reached from within the cluster, as in a URL; "" while it has no address."""
    space = ctx.space("in")
    for service in ctx.kube.list("v1", "Service", space):
        meta, address = service["metadata"], str(service["spec"].get("clusterIP", ""))
        # Consul and Kuma give theirs the Gateway's name and not its label; no Service of the ground is called so.
        is_its = NAME in (meta["name"], meta.get("labels", {}).get(LABEL))
        if is_its and address not in {"", "None"}:
            return in_url(address)
    gateway = ctx.kube.get(GATEWAY, "Gateway", NAME, space) or {}
    addresses = gateway.get("status", {}).get("addresses") or []
    return in_url(str(addresses[0].get("value", ""))) if addresses else ""


def _asked(ctx: Context, ask: Callable[[str], T], judge: Callable[[T], Judgement]) -> T:
    """Ask the gateway at its address, though no request may have got through yet; without an address nobody can."""
    gate = partial(ctx.shared, entrance, judged=False)

    def collect() -> T:
        if not (address := _address(ctx)):
            gate()
        return ask(address)

    return asked_anyway(gate, collect, judge)


def _ask(
    ctx: Context, address: str, *, host: str = HOST, scheme: str = "http", count: int = ATTEMPTS, timeout: float = 0.0
) -> list[Record]:
    """Requests from outside of the mesh, each on a connection of its own."""
    batch = Batch(
        url=f"{scheme}://{address}/",
        count=count,
        concurrency=4,
        headers={"host": host},
        sni=host if scheme == "https" else "",
        timeout=timeout or LIMITS.request,
        fresh=True,
        fields=("pod",),
    )
    return ctx.outsider().batch(batch)


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()


@check(
    id="GW-01",
    title="Requests from outside get in by the mesh's gateway, for its host only",
    proves=("ingress",),
    judge=judge_entered,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/geps/gep-1762/",
)
def entered(ctx: Context) -> Entered:
    """Requests for the gateway's host and for one that it does not have."""
    return _asked(ctx, partial(_for_both, ctx), judge_entered)


def _for_both(ctx: Context, address: str) -> Entered:
    pod = ctx.pod(SERVER)
    known = ctx.counting(pod, lambda: _ask(ctx, address))
    unknown = ctx.counting(pod, lambda: _ask(ctx, address, host=OTHER))
    return Entered(asked("the gateway's host", True, *known), asked("a host that it does not have", False, *unknown))


@check(
    id="GW-02",
    title="From the gateway to a workload it is mTLS",
    proves=("ingress", "mtls"),
    judge=judge_strict,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/reference/config/security/peer_authentication/",
)
def encrypted(ctx: Context) -> Refusal:
    """The workload is strict: marked requests by the gateway and in plaintext, under a capture at the workload."""
    return _asked(ctx, partial(_watched, ctx), judge_strict)


def _watched(ctx: Context, address: str) -> Refusal:
    token = f"mark-{secrets.token_hex(12)}"
    batch = Batch(
        url=f"http://{address}/{token}",
        count=ATTEMPTS,
        concurrency=4,
        method="POST",
        body=token,
        headers={"host": HOST},
        timeout=LIMITS.request,
        fresh=True,
    )
    seen = ctx.sniff(ctx.pod(SERVER), PORT, token, partial(ctx.outsider().batch, batch))
    by_gateway = summarise(seen, port=PORT, meshed=True, token=token)
    plain = attempt(ctx, SERVER, PORT, meshed=False)
    ctx.expect_strict("in", taken=plain.accepted)
    return Refusal((by_gateway, plain), (handshake(ctx, ctx.pod(SERVER), PORT),), (PORT,))


@check(
    id="GW-03",
    title="The gateway has an identity that can be allowed and refused",
    proves=("ingress", "authorization"),
    judge=judge_access,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://istio.io/latest/docs/reference/config/security/authorization-policy/",
)
def authorised(ctx: Context) -> Access:
    """The workload lets in the gateway alone, and then the meshed client alone."""
    front = ctx.shared(entrance, judged=False)
    if not front.account:
        raise NotExpressible("nobody says which service account its gateway runs as")
    pod = ctx.pod(SERVER)
    direct = Batch(url=ctx.url(SERVER), count=ATTEMPTS, timeout=LIMITS.request, fresh=True, fields=("pod",))
    ways: Ways = (
        ("the gateway", front.account, lambda: _ask(ctx, front.address)),
        ("the client", "client", lambda: ctx.client().batch(direct)),
    )
    attempts: list[Attempt] = []
    try:
        for allowed, account, _ in ways:
            rule = AccessRule(accounts=((ctx.space("in"), account),))
            ctx.apply(Policy("way-in", ctx.space("in"), SERVER, Effect.ALLOW, (rule,)))
            gate = partial(ctx.in_force, partial(_as_allowed, ways, allowed), f"only {allowed} is let in", successes=2)
            attempts += asked_anyway(gate, partial(_each_way, ctx, pod, ways, allowed), _judge_ways)
    finally:
        ctx.remove(*ctx.render(Policy("way-in", ctx.space("in"), SERVER, Effect.ALLOW, ())).objects)
        # The next check's requests are none of this policy's.
        ctx.watch(lambda: all(all(map(by_application, send())) for _, _, send in ways), LIMITS.in_force)
    return Access(tuple(attempts))


def _each_way(ctx: Context, pod: Pod, ways: Ways, allowed: str) -> Sequence[Attempt]:
    return [
        asked(f"{name}, while only {allowed} is let in", name == allowed, *ctx.counting(pod, send))
        for name, _, send in ways
    ]


def _judge_ways(attempts: Iterable[Attempt]) -> Judgement:
    return judge_access(Access(tuple(attempts)))


def _as_allowed(ways: Ways, allowed: str) -> bool:
    return all(all(by_application(one) is (name == allowed) for one in send()) for name, _, send in ways)


@check(
    id="GW-04",
    title="TLS ends at the gateway, with the certificate that it was given",
    proves=("ingress", "tls termination"),
    judge=judge_terminated,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://gateway-api.sigs.k8s.io/guides/tls/",
)
def terminated(ctx: Context) -> Terminated:
    """A handshake and requests for the gateway's host, over TLS."""
    gate = ctx.shared(entrance, judged=False)

    def seen() -> Look:
        return shake(ctx, f"{gate.address}:443", HOST)

    try:
        ctx.in_force(lambda: seen().certificate is not None, "a certificate at the gateway's port for TLS")
    except NotInForce:
        return Terminated(gate.certificate, "", (), 0, seen().error)
    records, arrived = ctx.counting(ctx.pod(SERVER), lambda: _ask(ctx, gate.address, scheme="https"))
    ends = tuple("application" if by_application(one) else one.error or f"status {one.status}" for one in records)
    last = seen()
    shown = _fingerprint(last.certificate) if last.certificate else ""
    return Terminated(gate.certificate, shown, ends, arrived, last.error)
