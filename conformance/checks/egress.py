"""GW-05: the ways out. Out there are two pods without a Service: what the mesh knows of them is what it is told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial

from conformance.catalogue import check
from conformance.checks.authorization_judges import Attempt
from conformance.checks.authorization_judges import summarise as asked
from conformance.checks.gateways import ATTEMPTS, GROUND, SERVER
from conformance.checks.gateways_judges import Left, judge_left
from conformance.checks.mtls_judges import HTTP as PORT
from conformance.checks.mtls_judges import TCP as TCP_PORT
from conformance.checks.mtls_judges import by_application
from conformance.context import LIMITS, Context, Pod
from conformance.intents import OutsideHost, WayOut
from conformance.model import Judgement
from conformance.shut_gates import asked_anyway
from fixtures.workloads.traffic import Batch

__all__: list[str] = []

OUTSIDE = "outside.meshproof.example"
KNOWN_PORT = 8099
"""Where a pod outside listens only as far as the mesh is told that it does."""


@check(
    id="GW-05",
    title="A workload may call any address, or only what is registered, as it is told",
    proves=("egress",),
    judge=judge_left,
    ground=GROUND,
    requires=("INJ-01",),
    level="extended",
    reference="https://istio.io/latest/docs/tasks/traffic-management/egress/egress-control/",
)
def left(ctx: Context) -> Left:
    """Calls to a pod outside while everything may be called, while only what is registered may, and then as before.

    The pod has no Service; one port of it is registered as a host outside, which is the mark of that. The mark of the
    policy is what becomes of calls to another such pod, of which nothing is registered and nothing is judged.
    """
    pod, _ = ctx.pods("stranger")
    host = OutsideHost("outside", ctx.space("in"), OUTSIDE, pod.ip, KNOWN_PORT, PORT)
    anything, registered = (WayOut(ctx.space("in"), "client", registered_only=only) for only in (False, True))
    attempts: list[Attempt] = []
    try:
        for policy, phase in ((anything, "at first"), (registered, "only registered ones"), (anything, "at last")):
            ctx.apply(host, policy)
            told = policy.registered_only
            attempts += asked_anyway(partial(_told, ctx, told), partial(_called, ctx, told, phase), _judge_calls)
    finally:
        ctx.remove(*ctx.render(anything).objects, *ctx.render(host).objects)
    return Left(tuple(attempts))


def _told(ctx: Context, registered_only: bool) -> None:
    """Wait until calls end as the policy has it."""
    pod, other = ctx.pods("stranger")
    told = partial(_answered, ctx, not registered_only, *_unregistered(other))
    ctx.in_force(partial(_answered, ctx, True, _known(pod)), "the port of a pod outside that it is told of")
    ctx.in_force(told, f"that {'no unknown' if registered_only else 'any'} address is called", successes=2)


def _called(ctx: Context, registered_only: bool, phase: str) -> Sequence[Attempt]:
    (pod, _), server = ctx.pods("stranger"), ctx.pod(SERVER)
    calls = (
        *((pod, not registered_only, "a pod that nobody registered", one) for one in _unregistered(pod)),
        (pod, True, "a registered port of it", _known(pod)),
        (server, True, "a service", _out(ctx.url(SERVER))),
    )
    return [
        asked(f"{words} by {batch.protocol}, {phase}", wanted, *ctx.counting(at, partial(ctx.client().batch, batch)))
        for at, wanted, words, batch in calls
    ]


def _judge_calls(attempts: Iterable[Attempt]) -> Judgement:
    return judge_left(Left(tuple(attempts)))


def _known(pod: Pod) -> Batch:
    return _out(f"http://{pod.host}:{KNOWN_PORT}/")


def _out(url: str) -> Batch:
    return Batch(
        url=url,
        protocol="tcp" if url.startswith("tcp") else "http1",
        count=ATTEMPTS,
        concurrency=ATTEMPTS,
        timeout=LIMITS.probe,
        fresh=True,
        fields=("pod",),
    )


def _unregistered(pod: Pod) -> tuple[Batch, ...]:
    return _out(f"http://{pod.host}:{PORT}/"), _out(f"tcp://{pod.host}:{TCP_PORT}")


def _answered(ctx: Context, wanted: bool, *batches: Batch) -> bool:
    """Whether the application answers a few calls of each kind, or none of them."""
    few = [replace(one, count=2) for one in batches]
    return all(by_application(record) is wanted for one in few for record in ctx.client().batch(one))
