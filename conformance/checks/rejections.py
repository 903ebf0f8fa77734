"""TEL-07: what a proxy rejects of its configuration is counted, so that somebody is told.

A rejected push changes nothing at the proxy: traffic goes on by the last good configuration, and nothing else shows
that what the user wrote is not in force.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from conformance.adapters import Authority
from conformance.adapters.installed import running_pods
from conformance.catalogue import check
from conformance.certificates import CALL_SECONDS, Credentials
from conformance.checks.discovery import calling, first_request
from conformance.checks.injection import GROUND
from conformance.checks.peers import authority_of, obtain
from conformance.context import LIMITS, Context, NotExpressible, Pod
from conformance.exposition import series
from conformance.model import Judgement, failed, inconclusive, passed
from reports.model import Evidence

__all__ = ["Rejections", "judge_rejections"]

TIMES = 3
"""Pushes that are rejected."""
_INTERNAL = 13
"""The code of google.rpc.Status with which Envoy rejects."""


@dataclass(frozen=True)
class Rejections:
    """Pushes that a proxy rejected, and what the control plane had counted before and after."""

    rejected: int
    before: float | None
    """None: it could not be read."""
    after: float | None

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence(
            "rejected pushes", {"rejected": self.rejected, "counted before": self.before, "counted after": self.after}
        )


def judge_rejections(history: Rejections | None) -> Judgement:
    """Every rejected push is counted; other proxies may have rejected something meanwhile."""
    if history is None:
        return failed("nobody tells proxies their configuration")
    if history.before is None or history.after is None:
        return inconclusive("what the control plane counts could not be read", history.evidence)
    if history.rejected < TIMES:
        why = f"{history.rejected} of {TIMES} pushes were rejected: the others never came"
        return inconclusive(why, history.evidence)
    counted = history.after - history.before
    if counted < history.rejected:
        return failed(f"{history.rejected} pushes were rejected, {counted:.0f} were counted as such", history.evidence)
    return passed(f"all {history.rejected} pushes that were rejected were counted", history.evidence)


def _reject(ctx: Context, authority: Authority, credentials: Credentials | None, pod: Pod) -> bool:
    """As a pod's proxy, ask for its clusters and reject what comes (a NACK); whether anything came."""
    import grpc
    from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

    pushed: list[DeltaDiscoveryResponse] = []
    told = threading.Event()

    def requests() -> Iterator[DeltaDiscoveryRequest]:
        yield (first := first_request(ctx, pod))
        if told.wait(CALL_SECONDS) and pushed:
            answer = DeltaDiscoveryRequest(type_url=first.type_url, response_nonce=pushed[0].nonce)
            answer.error_detail.code = _INTERNAL
            answer.error_detail.message = "rejected by a test of conformance"
            yield answer
        # Nothing more is asked, and the call ends when the answer has been read.

    with calling(ctx, authority, credentials, requests()) as answers:
        try:
            pushed.append(next(answers))
            told.set()
            for _ in answers:
                pass
        except (StopIteration, grpc.RpcError):
            pass  # that it ended at all is enough: what was counted shows the rest
        finally:
            told.set()
    return bool(pushed)


def _counted(ctx: Context, authority: Authority, where: tuple[int, str, str]) -> float | None:
    """What all pods of the control plane have counted; None where one could not be read."""
    running = running_pods(ctx.kube, authority.namespace, authority.selector)
    found = [series(ctx.kube, authority.namespace, name, *where) for name in running]
    if not found or None in found:
        return None
    return sum(one.value for counters in found for one in counters or ())


@check(
    id="TEL-07",
    title="What a proxy rejects of its configuration is counted",
    proves=("metrics", "discovery"),
    judge=judge_rejections,
    ground=GROUND,
    requires=("ID-01",),
    level="extended",
    reference="https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol (ACK/NACK)",
)
def rejected_pushes(ctx: Context) -> Rejections | None:
    """Reject, as a pod's proxy, what it is told; read the control plane's counter before and after."""
    server = ctx.pod("server")
    authority = authority_of(ctx, server)
    if authority is None:
        return None
    where = authority.rejections
    if authority.discovery is None or where is None:
        raise NotExpressible("nobody says where the control plane counts what proxies reject")
    before = _counted(ctx, authority, where)
    credentials = obtain(ctx, server)
    rejected = sum(_reject(ctx, authority, credentials, server) for _ in range(TIMES))
    seen = [before]

    def complete() -> bool:
        seen.append(_counted(ctx, authority, where))
        return before is None or (seen[-1] is not None and seen[-1] >= before + rejected)

    ctx.watch(complete, LIMITS.in_force)
    return Rejections(rejected, before, seen[-1])
