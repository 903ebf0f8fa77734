"""ID-09: what a control plane tells a proxy, it tells that proxy only."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from conformance.adapters import Authority
from conformance.catalogue import check
from conformance.certificates import CALL_SECONDS, Credentials, secure_channel
from conformance.checks.handshakes import account_of
from conformance.checks.injection import GROUND
from conformance.checks.peers import authority_of, obtain
from conformance.context import Context, NotExpressible, Pod
from conformance.model import Judgement, failed, inconclusive, passed, proven
from reports.model import Evidence

if TYPE_CHECKING:
    from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

__all__ = ["Call", "calling", "first_request", "judge_calls"]

METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
REFUSALS = {"PERMISSION_DENIED", "UNAUTHENTICATED"}
CLUSTER = "type.googleapis.com/envoy.config.cluster.v3.Cluster"


@dataclass(frozen=True)
class Call:
    """One caller who says that it is some pod's proxy, and what it was told."""

    who: str
    claims: str
    """Namespace and name of the pod."""
    own: bool
    """Whether it is that pod's: the certificate that it shows says so."""
    told: int
    """Resources that it was sent."""
    end: str = ""
    """The gRPC status that ended the call, where one did."""
    certified: bool = True
    """Whether it showed a certificate of the mesh."""

    @property
    def refused(self) -> bool:
        """Whether it was ended for who the caller is. Without a certificate there may be no connection at all."""
        return self.end.partition(":")[0] in (REFUSALS if self.certified else {*REFUSALS, "UNAVAILABLE"})

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {"caller": self.who, "claims to be": self.claims, "own": self.own, "told": self.told, "end": self.end}


def judge_calls(history: tuple[Call, ...]) -> Judgement:
    """A proxy is told its own configuration; who shows another's certificate, or none, is told nothing of it."""
    evidence = Evidence("calls for configuration", [one.row for one in history])
    if not history:
        return failed("nobody tells proxies their configuration", evidence)
    for one in history:
        if not one.own and one.told:
            return proven(f"{one.who} was told {one.told} clusters of {one.claims}", evidence)
    if not all(one.told for one in history if one.own):
        return inconclusive("a proxy was not told its own configuration: that others are not proves nothing", evidence)
    if unclear := [one for one in history if not one.own and not one.refused]:
        return inconclusive(f"{unclear[0].who} was neither told anything nor refused", evidence)
    strangers = [one for one in history if not one.own]
    return passed(f"told to the pod itself only; refused: {', '.join(one.who for one in strangers)}", evidence)


def first_request(ctx: Context, pod: Pod) -> DeltaDiscoveryRequest:
    """The first request of a pod's proxy: all clusters."""
    from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest

    domain = f"{pod.namespace}.svc.{ctx.domain}"
    request = DeltaDiscoveryRequest(type_url=CLUSTER)
    request.node.id = f"sidecar~{pod.ip}~{pod.name}.{pod.namespace}~{domain}"
    request.node.metadata.update({"NAMESPACE": pod.namespace, "SERVICE_ACCOUNT": account_of(pod)})
    return request


@contextmanager
def calling(
    ctx: Context, authority: Authority, credentials: Credentials | None, requests: Iterable[DeltaDiscoveryRequest]
) -> Iterator[Iterator[DeltaDiscoveryResponse]]:
    """Call for configuration, and cancel the call when the block ends; the answers end as a gRPC call does."""
    from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse

    assert authority.discovery is not None
    with secure_channel(ctx.kube, authority, authority.discovery, credentials) as channel:
        call = channel.stream_stream(METHOD, DeltaDiscoveryRequest.SerializeToString, DeltaDiscoveryResponse.FromString)
        answers = call(iter(requests), timeout=CALL_SECONDS)
        try:
            yield answers
        finally:
            answers.cancel()


def _call(
    ctx: Context, authority: Authority, who: str, credentials: Credentials | None, pod: Pod, *, own: bool
) -> Call:
    """Ask as the proxy of a pod, and see what the first answer is."""
    import grpc

    enough = threading.Event()

    def requests() -> Iterator[DeltaDiscoveryRequest]:
        yield first_request(ctx, pod)
        enough.wait(CALL_SECONDS)  # who has no more to ask goes on listening

    told, end = 0, ""
    with calling(ctx, authority, credentials, requests()) as answers:
        try:
            told = len(next(answers).resources)
        except StopIteration:
            end = "the call ended"
        except grpc.RpcError as error:
            end = f"{error.code().name}: {error.details()}"
        finally:
            enough.set()
    return Call(who, f"{pod.namespace}/{pod.name}", own, told, end, credentials is not None)


@check(
    id="ID-09",
    title="A proxy's configuration is told to that proxy only",
    proves=("identity", "discovery"),
    judge=judge_calls,
    ground=GROUND,
    requires=("ID-01",),
    level="extended",
    reference="https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol (node identification is a claim)",
)
def own_configuration(ctx: Context) -> tuple[Call, ...]:
    """Ask for a pod's clusters with its certificate, with that of a pod of another namespace, and with none."""
    server, other = ctx.pod("server"), ctx.pod("optin")
    authority = authority_of(ctx, server)
    if authority is None:
        return ()
    if authority.discovery is None:
        raise NotExpressible("nobody says where proxies are told their configuration")
    credentials = obtain(ctx, server)
    return (
        _call(ctx, authority, f"{server.name} of {server.namespace}", credentials, server, own=True),
        _call(ctx, authority, f"{server.name} of {server.namespace}", credentials, other, own=False),
        _call(ctx, authority, "somebody without a certificate", None, server, own=False),
    )
