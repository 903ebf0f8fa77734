"""CB-04, CB-06 and CB-09: how many hosts may be ejected, by how many errors, and whose cap a cap is."""

from __future__ import annotations

import secrets
from functools import partial

from conformance.catalogue import check
from conformance.checks.balancing import GROUND, MARKED, hosts
from conformance.checks.threshold import (
    Phase,
    Shares,
    Threshold,
    judge_below,
    judge_maximum,
    judge_per_client,
)
from conformance.context import LIMITS, Context
from conformance.gates import CALM
from conformance.intents import ConnectionLimit, OutlierEjection
from conformance.shut_gates import asked_anyway
from fixtures.workloads.traffic import Batch, Client

__all__: list[str] = []

CONSECUTIVE, INTERVAL, EJECTION, MOST = 5, 1.0, 60.0, 50
"""Nobody comes back while the check looks."""
REQUESTS, RATE = 240, 60.0
"""The hosts fail in the first half second of four; what is judged comes more than a second later, because proxies need
time to act on an ejection: Envoy tells its workers of the first at once, and of others once a second."""
CONNECTIONS, PENDING = 2, 1
CROWD, DELAY = 16, 3.0
MEETINGS = 3
"""Times that the clients are given to meet."""


def phases(ctx: Context) -> Threshold:
    """Let every host fail four times in a row, then, in a phase of its own, six times, and see who answers later."""
    marker = ctx.marker(MARKED)
    ctx.apply(OutlierEjection(ctx.space("in"), "doomed", 8080, CONSECUTIVE, INTERVAL, EJECTION, MOST, marker))
    ctx.gate("doomed", marker, CALM)

    def phase(errors: int) -> Phase:
        batch = Batch(
            url=ctx.url("doomed", path=f"/?codes=500&first={errors}"),
            headers={"x-meshproof-key": secrets.token_hex(8)},
            count=REQUESTS,
            rate=RATE,
            timeout=LIMITS.request,
            fields=("pod",),
        )
        return Phase.of(ctx.client().batch(batch))

    return Threshold(hosts(ctx), CONSECUTIVE, MOST, below=phase(CONSECUTIVE - 1), beyond=phase(CONSECUTIVE + 1))


@check(
    id="CB-04",
    title="No more hosts are ejected than the declared share",
    proves=("outlier ejection", "maximum ejection"),
    judge=judge_maximum,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier",
)
def maximum(ctx: Context) -> Threshold:
    """The two phases."""
    return ctx.shared(phases)


@check(
    id="CB-09",
    title="Below the threshold nobody is ejected",
    proves=("outlier ejection",),
    judge=judge_below,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/outlier",
)
def below(ctx: Context) -> Threshold:
    """The two phases."""
    return ctx.shared(phases)


@check(
    id="CB-06",
    title="A cap holds for each client by itself",
    proves=("connection limit",),
    judge=judge_per_client,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://www.envoyproxy.io/docs/envoy/latest/intro/arch_overview/upstream/circuit_breaking",
)
def per_client(ctx: Context) -> Shares:
    """One client uses its cap up with long requests; meanwhile another asks a little."""
    marker = ctx.marker(MARKED)
    ctx.apply(ConnectionLimit(ctx.space("in"), "shares", 8080, CONNECTIONS, PENDING, CONNECTIONS, marker), passing=True)
    return asked_anyway(partial(ctx.gate, "shares", marker, CALM), partial(_met, ctx), judge_per_client)


def _met(ctx: Context) -> Shares:
    crowd = Batch(
        url=ctx.url("shares", path=f"/?delay={round(DELAY * 1000)}ms"),
        count=CROWD,
        concurrency=CROWD,
        timeout=LIMITS.request,
        fields=("pod",),
    )
    one = Batch(url=ctx.url("shares"), count=10, timeout=LIMITS.request, fields=("pod",))
    other = ctx.client("second")
    # A proxy without a connection yet has its first requests all wait, and refuses what is beyond the cap for those.
    ctx.client().batch(one)
    found = _meeting(ctx, crowd, one, other)
    for _ in range(MEETINGS - 1):
        # Whether they met is a matter of time alone, on a busy machine; what came of it decides nothing here.
        if found.met:
            break
        found = _meeting(ctx, crowd, one, other)
    return found


def _meeting(ctx: Context, crowd: Batch, one: Batch, other: Client) -> Shares:
    with ctx.client().start(crowd) as job:
        # Refusals come at once: then the cap is used up.
        ctx.watch(lambda: bool(job.records()), DELAY / 2)
        asked = other.batch(one)
        many = job.wait(3 * DELAY + LIMITS.request)
    return Shares.of(CONNECTIONS + PENDING, many, asked, least=CONNECTIONS)
