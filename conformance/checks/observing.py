"""TEL: a request's trace goes on through the proxies, and the server's proxy writes the request down.

Traces are judged by what arrives at the application: a proxy that takes part in a trace leaves its id and puts its own
span in the place of the caller's. Where nobody takes part, what was sent arrives as it was.
"""

from __future__ import annotations

import secrets

from conformance.catalogue import check, place
from conformance.checks.observing_judges import Logged, Passage, Traced, judge_log, judge_traces
from conformance.context import LIMITS, Context
from conformance.ground import HTTP, Ground, Place, Svc, Workload
from conformance.intents import LogAccesses, TraceRequests
from conformance.shut_gates import asked_anyway
from fixtures.workloads.traffic import Batch, Record

__all__ = ["GROUND"]

GROUND = place(
    Ground(
        name="obs",
        order=13,
        places=(Place("in", meshed=True), Place("out")),
        workloads=(
            Workload("client", "in", kind="client"),
            Workload("server", "in"),
            Workload("outsider", "out", kind="client"),
        ),
        services=(Svc("server", "in", "server", ports=HTTP),),
        # Some meshes, as Linkerd, settle what a proxy logs when its pod is created.
        standing=lambda spaces: (LogAccesses(spaces["in"], "server"),),
    )
)

HEADER = "traceparent"
ROW = 20
"""Traces begun in a row and all recorded: a mesh that records one in ten by itself does so once in 1e20 rows."""
HELD_BACK = 10.0
"""Seconds for which an Envoy collects lines of its log before it writes them, unless it is told otherwise."""
DRAINED = 8
"""Requests in a row, of which none may be left out: a connection of before, one of two, has none of them once in 256
rows."""
DRAINS = 60.0
"""Seconds in which connections of before are gone: Istio drains for 45, Kuma for 30."""
PLAN = {200: 12, 404: 8}
"""Requests by the status that the application is asked to give."""


def arrived(record: Record) -> str:
    """The trace context that the application got; several headers are joined."""
    headers = (record.reply or {}).get("headers", {})
    return ",".join(headers.get(HEADER, ()))


@check(
    id="TEL-04",
    title="A trace goes on through the proxies",
    proves=("traces", "context propagation"),
    judge=judge_traces,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://www.w3.org/TR/trace-context/",
)
def traces(ctx: Context) -> Traced:
    """Have every trace recorded, wait until the mesh begins such traces, then send traces of one's own."""
    ctx.apply(TraceRequests(ctx.space("in")))
    plain = Batch(url=ctx.url("server"), count=ROW, timeout=LIMITS.probe, fresh=True, fields=("headers",))

    def begins() -> bool:
        found = [arrived(record) for record in ctx.client().batch(plain)]
        return len(found) == ROW and all(one.endswith("-01") for one in found)

    ctx.in_force(begins, f"{ROW} traces in a row begun by the mesh and recorded")
    passages = []
    for flags in ("01", "00"):
        for _ in range(ROW // 2):
            sent = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-{flags}"
            batch = Batch(url=ctx.url("server"), count=1, timeout=LIMITS.request, headers={HEADER: sent},
                          fields=("headers",))  # fmt: skip
            (record,) = ctx.client().batch(batch)
            passages.append(Passage(sent, arrived(record), answered=record.status == 200 and record.reply is not None))
    begun = tuple(arrived(record) for record in ctx.client().batch(plain) if record.status == 200)
    return Traced(begun, tuple(passages))


@check(
    id="TEL-05",
    title="The access log has the request",
    proves=("access log",),
    judge=judge_log,
    ground=GROUND,
    requires=("INJ-01",),
    reference="https://istio.io/latest/docs/tasks/observability/logs/access-log/",
)
def access_log(ctx: Context) -> Logged:
    """Requests with a word of their own in the path; a last one shows when all before it have been written.

    Proxies keep connections to each other: what came to be before the log was wished for may be left out of it until it
    is drained. So it is in force when a whole row is written, each by a connection of its own.
    """
    ctx.apply(LogAccesses(ctx.space("in"), "server"))
    server, proxy = ctx.pod("server"), ctx.adapter.proxy

    def log() -> tuple[str, ...]:
        return tuple(ctx.kube.logs(server.namespace, server.name, proxy.container).splitlines()) if proxy else ()

    def ask(word: str, status: int = 200) -> bool:
        url = ctx.url("server", path=f"/{word}?codes={status}")
        batch = Batch(url=url, count=1, timeout=LIMITS.request, fresh=True, fields=("pod",))
        (record,) = ctx.client().batch(batch)
        return record.status == status and record.reply is not None

    def whole() -> bool:
        words = [secrets.token_hex(8) for _ in range(DRAINED)]
        asked = [ask(word) for word in words]
        ctx.watch(lambda: any(words[-1] in line for line in log()), HELD_BACK + 1.0)
        lines = log()
        return all(asked) and all(any(word in line for line in lines) for word in words)

    def begun() -> None:
        if proxy is None:
            return
        first = secrets.token_hex(8)
        ctx.in_force(
            lambda: ask(first) and any(first in line for line in log()),
            "a request in the log of the server's proxy",
            timeout=LIMITS.in_force + HELD_BACK,
        )
        ctx.watch(whole, DRAINS)

    def logged() -> Logged:
        sent = {secrets.token_hex(8): status for status, count in PLAN.items() for _ in range(count)}
        failures = sum(not ask(word, status) for word, status in sent.items())
        last = secrets.token_hex(8)
        ask(last)
        if proxy is not None:
            # Lines are written in order, some seconds late at most: the last one's means that all others are there.
            ctx.watch(lambda: any(last in line for line in log()), LIMITS.in_force + HELD_BACK)
        lines = log()
        return Logged(
            proxy is not None, sent, failures, {word: tuple(line for line in lines if word in line) for word in sent}
        )

    return asked_anyway(begun, logged, judge_log)
