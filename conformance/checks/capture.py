"""INJ-12 and INJ-13: what a proxy stands before, and what it lets pass by."""

from __future__ import annotations

from conformance.catalogue import check
from conformance.checks.admission import admitted, gated
from conformance.checks.capture_judges import Captured, Excluded, Tries, judge_captured, judge_excluded
from conformance.checks.joining import EXEMPT_IN, EXEMPT_OUT, GROUND, in_force, plaintext
from conformance.context import LIMITS, Context
from conformance.intents import Bypass
from fixtures.workloads.traffic import Batch, Client

__all__: list[str] = []

NO_PORT = 70_000
"""A number that is no port."""


def _nobody_listens(ctx: Context, client: Client, what: str) -> Tries:
    """Connect to a pod outside of the mesh where nobody listens: the kernel refuses, unless somebody else answers."""
    url = f"http://{ctx.pod(ctx.ground.outsider).host}:{EXEMPT_OUT}/"
    batch = Batch(url=url, count=5, timeout=LIMITS.probe, fresh=True)
    return Tries.of(f"{what} to a port where nobody listens", client.batch(batch))


@check(
    id="INJ-12",
    title="Captured traffic cannot pass by the proxy",
    proves=("injection", "capture"),
    judge=judge_captured,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/ops/best-practices/security/",
)
def captured(ctx: Context) -> Captured:
    """Plaintext to a strict pod's own address; requests around its service; a port where nobody listens."""
    ctx.shared(in_force, judged=False)
    server = ctx.pod("strict")

    def inside(what: str, url: str) -> Tries:
        batch = Batch(url=url, count=10, concurrency=2, timeout=LIMITS.request, fresh=True)
        return Tries.of(f"from the mesh by {what}", ctx.client().batch(batch))

    return Captured(
        from_outside=(plaintext(ctx, server), plaintext(ctx, server, EXEMPT_IN)),
        by_service=inside("its service", ctx.url("strict")),
        around_service=(
            inside("a headless name", ctx.url("nameless")),
            inside("the pod's address", f"http://{server.host}:8080/"),
        ),
        nobody_listens=_nobody_listens(ctx, ctx.client(), "from the mesh"),
        nobody_listens_outside=_nobody_listens(ctx, ctx.outsider(), "from outside of the mesh"),
    )


@check(
    id="INJ-13",
    title="Exempt ports pass by the proxy, and nonsense is refused",
    proves=("injection", "excluded ports"),
    judge=judge_excluded,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://istio.io/latest/docs/reference/config/annotations/",
)
def excluded(ctx: Context) -> Excluded:
    """Plaintext to a pod with an exempt port; a client for which a port of others is exempt; an impossible port."""
    ctx.shared(in_force, judged=False)
    loose = ctx.pod("loose")
    nonsense = ctx.render(Bypass(inbound=(NO_PORT,)))
    body = gated(ctx, "nonsense", labels=nonsense.labels, annotations=nonsense.annotations)
    return Excluded(
        captured=plaintext(ctx, loose),
        excluded=plaintext(ctx, loose, EXEMPT_IN),
        outside=ctx.pod(ctx.ground.outsider).ip,
        captured_out=_nobody_listens(ctx, ctx.client(), "from the mesh"),
        excluded_out=_nobody_listens(ctx, ctx.client("direct"), "from a client for which it is exempt"),
        impossible=admitted(ctx, "a pod with an impossible exempt port", body, "lax")[0],
    )
