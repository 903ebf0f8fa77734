"""TEL: what proxies say they counted is what clients sent, once, and for the right client.

Nothing but these checks talks to the services, which are new with the ground: the counters start from zero. A last
request of a status of its own is the mark that everything before it has been counted.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping

from conformance.adapters import Unsupported
from conformance.adapters.base import Exposition
from conformance.catalogue import check, place
from conformance.checks.telemetry_judges import (
    Counted,
    Scraped,
    judge_counts,
    judge_reachable,
    judge_sources,
    judge_strict_scrape,
    refused,
)
from conformance.context import LIMITS, Context, NotExpressible
from conformance.exposition import counters, over_network, total
from conformance.ground import HTTP, Ground, Place, Svc, Workload
from conformance.intents import Mode, MtlsMode, RequestMetrics
from fixtures.workloads.traffic import Batch

__all__ = ["GROUND"]

GROUND = place(
    Ground(
        name="tel",
        order=11,
        places=(Place("in", meshed=True), Place("strict", meshed=True), Place("out")),
        workloads=(
            Workload("client", "in", kind="client"),
            Workload("second", "in", kind="client"),
            Workload("server", "in"),
            Workload("bystander", "in"),
            Workload("guarded", "strict"),
            Workload("outsider", "out", kind="client"),
        ),
        services=(
            Svc("server", "in", "server", ports=HTTP),
            Svc("bystander", "in", "bystander", ports=HTTP),
            Svc("guarded", "strict", "guarded", ports=HTTP),
        ),
        standing=lambda spaces: (MtlsMode(spaces["strict"], Mode.STRICT),),
        # What these checks require is judged here too, by requests that would be counted at the server.
        server="bystander",
    )
)

PLAN = {"client": {200: 60, 404: 40}, "second": {200: 25}}
"""Requests by client and the status that the application is asked to give; 404 is retried by no mesh."""
LAST = 418
"""The status of the last request of each client."""
ROW = 4
"""Plaintext requests at once: of a single one that runs into a timeout nobody knows whether it was refused."""


def _exposition(ctx: Context) -> Exposition | None:
    return ctx.render(RequestMetrics()).exposition


def counted(ctx: Context) -> Counted:
    """Send what is planned, wait until the last request shows in the metrics, and read both sides once."""
    exposition = _exposition(ctx)
    service = ctx.host("server")
    sent: dict[str, dict[str, int]] = {}
    failures = 0
    for client, plan in PLAN.items():
        sent[client] = {}
        for status, count in {**plan, LAST: 1}.items():
            url = ctx.url("server", path=f"/?codes={status}")
            batch = Batch(url=url, count=count, concurrency=4, timeout=LIMITS.request, fields=("pod",))
            records = ctx.client(client).batch(batch)
            good = sum(record.status == status and record.reply is not None for record in records)
            failures += len(records) - good
            sent[client][str(status)] = good
    identities = {}
    for client in PLAN:
        identity = ctx.adapter.identity(ctx.space("in"), "default")
        if isinstance(identity, Unsupported):
            raise NotExpressible(identity.reason)
        identities[client] = identity
    if exposition is None:
        return Counted(None, service, sent, failures, identities, "")
    server = ctx.pod("server")
    last = {exposition.code: str(LAST), exposition.service: service}

    at_server = counters(
        ctx, server, exposition, lambda found: total(found, {**exposition.at_server, **last}) >= len(PLAN)
    )
    at_clients = {
        client: counters(
            ctx, ctx.pod(client), exposition, lambda found: total(found, {**exposition.at_client, **last}) >= 1
        )
        for client in PLAN
    }
    network = over_network(ctx, server, exposition)
    return Counted(exposition, service, sent, failures, identities, network, at_server, at_clients)


@check(
    id="TEL-01",
    title="Metrics of both sides' proxies can be scraped",
    proves=("metrics",),
    judge=judge_reachable,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/reference/config/metrics/",
)
def reachable(ctx: Context) -> Counted:
    """Send requests, then scrape from outside of the mesh."""
    return ctx.shared(counted)


@check(
    id="TEL-02",
    title="Counts equal what clients sent",
    proves=("metrics", "request count"),
    judge=judge_counts,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/reference/config/metrics/",
)
def counts(ctx: Context) -> Counted:
    """Known numbers of requests by client and status."""
    return ctx.shared(counted)


@check(
    id="TEL-03",
    title="Requests are counted for the client that sent them, with its identity",
    proves=("metrics", "peer identity"),
    judge=judge_sources,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/reference/config/metrics/",
)
def sources(ctx: Context) -> Counted:
    """Two clients of one service."""
    return ctx.shared(counted)


@check(
    id="TEL-06",
    title="Metrics can be scraped where plaintext is refused",
    proves=("metrics", "strict"),
    judge=judge_strict_scrape,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/ops/integrations/prometheus/",
)
def strict_scrape(ctx: Context) -> Scraped:
    """A strict namespace: requests and a scrape, all in plaintext from outside of the mesh."""
    exposition = _exposition(ctx)
    server, url = ctx.pod("guarded"), ctx.url("guarded")
    service = ctx.host("guarded")

    def plaintext() -> Mapping[str, int]:
        row = Batch(
            url=f"http://{server.host}:8080/",
            count=ROW,
            concurrency=ROW,
            timeout=LIMITS.probe,
            fresh=True,
            fields=(),
        )
        return dict(Tally(str(record.error or record.status) for record in ctx.outsider().batch(row)))

    if exposition is None:
        return Scraped(None, service, 0, plaintext(), "")
    ctx.in_force(lambda: refused(plaintext()), "plaintext refused by the strict namespace", successes=2)
    records = ctx.client().batch(Batch(url=url, count=10, timeout=LIMITS.request, fields=("pod",)))
    sent = sum(record.status == 200 and record.reply is not None for record in records)
    wanted = {**exposition.at_server, exposition.service: service}
    at_server = counters(ctx, server, exposition, lambda found: total(found, wanted) >= sent)
    return Scraped(exposition, service, sent, plaintext(), over_network(ctx, server, exposition), at_server)
