"""ID, the upheavals: certificates that end, a root that is replaced, an authority that is away.

They shake the whole mesh, but for ID-02, so their ground is wide: no other check runs meanwhile.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from conformance.catalogue import check, place
from conformance.certificates import Credentials
from conformance.checks.authority import look, shake
from conformance.checks.handshakes import to_proxy
from conformance.checks.mtls_judges import by_application
from conformance.checks.peers import authority_of, by_nodes, counted, obtain
from conformance.checks.peers_judges import Arm
from conformance.checks.upheaval_judges import (
    Load,
    Outage,
    Renewal,
    Rotation,
    Shown,
    judge_budget,
    judge_closed,
    judge_renewal,
    judge_rotation,
    load,
    over,
)
from conformance.context import LIMITS, Context, NotExpressible, Pod
from conformance.ground import Ground, Place, Svc, Workload
from conformance.intents import RotateRoot, ShortCertificates
from conformance.outage import stopped
from conformance.planes import plane_of
from conformance.putting import put
from fixtures.workloads.manifests import PORTS
from fixtures.workloads.traffic import Batch

__all__ = ["ATTEMPTS", "BACK_SECONDS", "GROUND", "served"]

LIFETIME = 15
"""Seconds: long enough to take the control plane away within it, short enough for a suite of minutes."""
LEFT = 1 / 3
"""Share of its lifetime that a certificate has left when it is renewed, at the least: meshes renew after half of it or
two thirds."""
ROTATION_SECONDS = 45.0
BACK_SECONDS = 40.0
ATTEMPTS = 20
RATE = 20.0
KEPT = 4
"""Connections of the client that keeps them."""

GROUND = place(
    Ground(
        name="upheaval",
        order=95,
        wide=True,
        places=(Place("in", meshed=True), Place("out")),
        workloads=(
            Workload("client", "in", kind="client", intents=(ShortCertificates(LIFETIME),)),
            Workload("server", "in", sniffer=True, intents=(ShortCertificates(LIFETIME),)),
            Workload("outsider", "out", kind="client"),
        ),
        services=(Svc("server", "in", "server"),),
    )
)


def _client(ctx: Context) -> Pod:
    return Pod.of(ctx.kube.wait_pods_ready(ctx.space("in"), "app=client", count=1, timeout=LIMITS.ground_ready)[0])


@contextlib.contextmanager
def _under_load(ctx: Context, seconds: float) -> Iterator[Callable[[], tuple[Load, Load]]]:
    """Lines on new and requests on kept connections while the block runs.

    What is yielded tells what became of all that were due until it is called: what hangs is waited for.
    """
    fresh = replace(_fresh(ctx), count=None, rate=RATE, shed=True, duration=seconds, concurrency=8)
    kept = replace(fresh, url=ctx.url("server"), protocol="http1", fresh=False, concurrency=KEPT)
    client = ctx.client()
    with client.start(fresh) as one, client.start(kept) as other:
        began = ctx.now()

        def loads() -> tuple[Load, Load]:
            due = int(RATE * (ctx.now() - began))
            return load("new connections", one.finish(), due=due), load("kept connections", other.finish(), KEPT, due)

        yield loads


def _fresh(ctx: Context) -> Batch:
    """A TCP connection each: proxies keep connections for requests, and would shake hands for the first only."""
    return Batch(
        url=ctx.url("server", PORTS["tcp"], "", "tcp"),
        protocol="tcp",
        count=ATTEMPTS,
        concurrency=4,
        timeout=LIMITS.request,
        fresh=True,
        fields=("pod",),
    )


def served(ctx: Context, batch: Batch) -> bool:
    """Whether the meshed client is served, as it is in a mesh at rest."""
    return all(by_application(one) for one in ctx.client().batch(replace(batch, count=4, timeout=LIMITS.probe)))


# -- renewal -----------------------------------------------------------------------------------------------------------


@check(
    id="ID-02",
    title="A certificate is renewed before its expiry, and no connection notices",
    proves=("identity", "renewal"),
    judge=judge_renewal,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md",
    harmless=True,
)
def renewal(ctx: Context) -> Renewal:
    """Look at the server's certificate until the first one is over, under load."""
    ctx.render(ShortCertificates(LIFETIME))
    pod = ctx.pod("server")
    shown: list[Shown] = []

    def over() -> bool:
        seen = look(ctx, pod)
        if (certificate := seen.certificate) is not None:
            serial = f"{certificate.serial_number:x}"
            # By when the handshake began: at its end a certificate may be over that was valid when it was shown.
            shown.append(Shown(seen.at, serial, certificate.not_valid_after_utc.timestamp()))
        if not shown:
            return seen.error != "timeout"  # nothing that shows no certificate will show a new one
        return seen.at > shown[0].not_after + 1.0

    with _under_load(ctx, 3.0 * LIFETIME) as loads:
        ctx.watch(over, 2.0 * LIFETIME)
        return Renewal(LIFETIME, tuple(shown), loads())


# -- rotation ----------------------------------------------------------------------------------------------------------


def _roots(ctx: Context) -> tuple[str, ...]:
    """Fingerprints of the roots that the mesh publishes."""
    authority = authority_of(ctx, _client(ctx))
    if authority is None:
        return ()
    space, name, entry = authority.roots
    pem = (ctx.kube.get("v1", "ConfigMap", name, space) or {}).get("data", {}).get(entry, "")
    found = x509.load_pem_x509_certificates(pem.encode()) if pem else []
    return tuple(one.fingerprint(hashes.SHA256()).hex()[:16] for one in found)


def _by_certificate(ctx: Context, name: str, credentials: Credentials | None, *, welcome: bool) -> Arm | None:
    if credentials is None:
        return None
    pod = ctx.pod("server")
    batch = Batch(
        url=f"https://{pod.host}:8080/",
        count=ATTEMPTS,
        concurrency=4,
        timeout=LIMITS.request,
        fresh=True,
        certificate=credentials.chain,
        key=credentials.key,
    )
    return counted(ctx, pod, name, lambda: ctx.outsider().batch(to_proxy(ctx, pod, batch)), welcome=welcome)


@check(
    id="ID-03",
    title="The authority's root is replaced under load without an error",
    proves=("identity", "rotation"),
    judge=judge_rotation,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://github.com/spiffe/spiffe/blob/main/standards/SPIFFE_Trust_Domain_and_Bundle.md",
)
def rotation(ctx: Context) -> Rotation:
    """Ask for a new root, wait until the old one is gone, and show certificates of both afterwards."""
    wish = ctx.render(RotateRoot(secrets.token_hex(6)))
    before, started = _roots(ctx), time.monotonic()
    old = obtain(ctx, _client(ctx))
    seen: list[tuple[str, ...]] = []

    def over() -> bool:
        seen.append(_roots(ctx))
        return not before or (bool(seen[-1]) and not set(seen[-1]) & set(before))

    with _under_load(ctx, 2 * ROTATION_SECONDS) as under_load:
        try:
            for one in wish.objects:
                put(ctx.kube, one)
            ctx.watch(over, ROTATION_SECONDS)
            seconds = time.monotonic() - started
            ctx.watch(
                lambda: time.monotonic() > started + seconds + 2.0, 3.0
            )  # what drops the old root last, errs last
            loads = under_load()
        finally:
            ctx.remove(*wish.objects)
    both = any(set(one) > set(before) for one in seen)
    return Rotation(
        before,
        seen[-1] if seen else before,
        both,
        seconds,
        loads,
        _by_certificate(ctx, "a certificate below the old root", old, welcome=False),
        _by_certificate(ctx, "a certificate below the new root", obtain(ctx, _client(ctx)), welcome=True),
    )


# -- outage ------------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _away(ctx: Context) -> Iterator[bool]:
    """Take the control plane away while the block runs; yields whether there was one.

    `NotExpressible` where that would take no authority away.
    """
    where = plane_of(ctx.adapter)
    if where is None or ctx.kube.get("apps/v1", "Deployment", where[1], where[0]) is None:
        yield False
        return
    authority = authority_of(ctx, _client(ctx))
    if authority is not None and authority.apart:
        raise NotExpressible("certificates are signed by another authority than the control plane, which would stay")
    port = authority.port if authority is not None else 443
    # Certificates last for less than a busy node needs to have pods leave the API.
    with stopped(ctx.kube, where, silent=lambda pod: not _answers(ctx, Pod.of(pod), port)):
        yield True


def _answers(ctx: Context, pod: Pod, port: int) -> bool:
    """Whether anything shakes hands there."""
    return shake(ctx, f"{pod.host}:{port}").certificate is not None


def _end(certificate: x509.Certificate | None) -> float:
    return certificate.not_valid_after_utc.timestamp() if certificate else 0.0


def outage(ctx: Context) -> Outage:
    """Take the control plane away for longer than the certificates last, and give it back. Shared by two checks."""
    ctx.render(ShortCertificates(LIFETIME))
    server = ctx.pod("server")
    fresh = _fresh(ctx)
    # A server that ends with the authority shows nothing more, and its certificate was good all the same.
    known = _end(look(ctx, server).certificate)
    ordered = ctx.now()
    with _away(ctx) as down:
        # The client's own certificate is not to be seen from here; both are renewed within the same lifetime, so what
        # is judged as valid is asked at once, and what is judged as expired a whole lifetime after the last renewal.
        gone = ctx.now()
        known = max(known, _end(look(ctx, server).certificate))
        records = ctx.client().batch(fresh)
        during = load("new connections without an authority", records)
        lost = (one.start + one.seconds for one in records if not by_application(one))
        asked = min(lost, default=ctx.now()) - ordered
        valid_for = max(known, _end(look(ctx, server).certificate)) - by_nodes(ctx, ctx.now())
        if down:
            ctx.watch(lambda: ctx.now() > gone + LIFETIME + 2.0, LIFETIME + 5.0)
        after = counted(ctx, server, "expired certificates", lambda: ctx.client().batch(fresh), welcome=False)
        expired = over((known, _end(look(ctx, server).certificate)), by_nodes(ctx, ctx.now()))

    ctx.watch(partial(served, ctx, fresh), BACK_SECONDS)
    back = load("new connections, the authority is back", ctx.client().batch(fresh))
    return Outage(down, during, valid_for, after, expired, back, asked, LIFETIME * LEFT)


@check(
    id="ID-05",
    title="Existing certificates work on while the authority is away",
    proves=("identity", "outage"),
    judge=judge_budget,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md",
)
def budget(ctx: Context) -> Outage:
    """The control plane is taken away; new connections are made with what certificates there are."""
    return ctx.shared(outage)


@check(
    id="ID-06",
    title="Expired certificates are refused: the mesh fails closed",
    proves=("identity", "outage", "expiry"),
    judge=judge_closed,
    ground=GROUND,
    requires=("INJ-01",),
    reference="RFC 5280, section 6.1.3 (the current time is within the validity period)",
)
def closed(ctx: Context) -> Outage:
    """The same outage, beyond the expiry of every certificate; then the authority comes back."""
    return ctx.shared(outage)
