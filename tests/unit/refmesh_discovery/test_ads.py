"""The discovery server over real gRPC: who is let in, and what they get."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio
import pytest
from cryptography import x509
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest, DeltaDiscoveryResponse
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from refmesh.discovery import ads, gate
from refmesh.discovery.credentials import RenewedCredentials
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from tests.unit.refmesh_discovery.authority import TestAuthority
from tests.unit.refmesh_discovery.helpers import MemoryCluster, pod

C, E, _, L, R = ResourceType
METHOD = "/envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources"
NODE = "sidecar~10.1.0.1~echo-v1.shop~shop.svc.cluster.local"
IDENTITY = "spiffe://cluster.local/ns/shop/sa/echo"


class Serving:
    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.authority = TestAuthority()
        self.hub = ads.Hub()
        self.port = 0

    def publish(self) -> None:
        self.hub.publish(self.cluster.world())

    @asynccontextmanager
    async def stream(self, credentials: Any) -> AsyncIterator[Any]:
        options = [("grpc.ssl_target_name_override", "refmesh")]
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options) as channel:
            method: Any = channel.stream_stream(
                METHOD,
                request_serializer=DeltaDiscoveryRequest.SerializeToString,
                response_deserializer=DeltaDiscoveryResponse.FromString,
            )
            call = method()
            yield call
            call.cancel()


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    found = Serving(MemoryCluster().with_echo())
    credentials = RenewedCredentials(found.authority, ["refmesh"])
    service = ads.DiscoveryService(found.hub, MeshSettings())
    server, found.port = await ads.serve(service, "127.0.0.1:0", credentials.start())
    found.publish()
    yield found
    credentials.close()
    await ads.stop(server)


def first(kind: ResourceType, node: str = NODE, **more: Any) -> Any:
    request = DeltaDiscoveryRequest(type_url=kind.value, **more)
    request.node.id = node
    return request


async def refusal(call: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call.read()
    code: grpc.StatusCode = caught.value.code()
    return code


async def test_a_proxy_gets_what_its_pod_needs_and_then_only_changes(serving: Serving) -> None:
    async with serving.stream(serving.authority.client(IDENTITY)) as call:
        await call.write(first(C))
        response = await call.read()
        names = {item.name for item in response.resources}
        assert {"outbound|80||echo.shop.svc.cluster.local", "inbound|8080||", "PassthroughCluster"} <= names
        assert response.type_url == C.value
        await call.write(DeltaDiscoveryRequest(type_url=C.value, response_nonce=response.nonce))
        name = "outbound|80||echo.shop.svc.cluster.local"
        await call.write(DeltaDiscoveryRequest(type_url=E.value, resource_names_subscribe=[name]))
        while name not in {item.name for item in response.resources}:
            response = await call.read()
            await call.write(DeltaDiscoveryRequest(type_url=response.type_url, response_nonce=response.nonce))
        serving.cluster.drop("Pod", "echo-v2")
        serving.publish()
        response = await call.read()
        assert [item.name for item in response.resources] == [name]


@pytest.mark.parametrize(
    ("identity", "node", "expected"),
    [
        ("spiffe://cluster.local/ns/shop/sa/other", NODE, grpc.StatusCode.PERMISSION_DENIED),
        ("spiffe://cluster.local/ns/other/sa/echo", NODE, grpc.StatusCode.PERMISSION_DENIED),
        ("spiffe://elsewhere/ns/shop/sa/echo", NODE, grpc.StatusCode.PERMISSION_DENIED),
        (IDENTITY, "nonsense", grpc.StatusCode.INVALID_ARGUMENT),
        (IDENTITY, "~" * 100_000, grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_who_is_not_the_pod_gets_nothing(
    serving: Serving, identity: str, node: str, expected: grpc.StatusCode
) -> None:
    async with serving.stream(serving.authority.client(identity)) as call:
        await call.write(first(C, node))
        assert await refusal(call) is expected


async def test_a_pod_that_nobody_knows_is_refused(serving: Serving, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate, "_UNKNOWN_POD_SECONDS", 0.1)
    async with serving.stream(serving.authority.client(IDENTITY)) as call:
        await call.write(first(C, "sidecar~10.1.0.1~nobody.shop~x"))
        assert await refusal(call) is grpc.StatusCode.NOT_FOUND


async def test_a_pod_that_is_quicker_than_the_watch_is_waited_for(serving: Serving) -> None:
    async with serving.stream(serving.authority.client(IDENTITY)) as call:
        await call.write(first(C, "sidecar~10.1.0.3~late.shop~x"))
        reading = asyncio.ensure_future(call.read())
        serving.cluster.put("Pod", pod("late", "10.1.0.3"))
        serving.publish()
        assert len((await reading).resources) > 0


async def test_without_a_certificate_of_the_mesh_there_is_no_connection(serving: Serving) -> None:
    stranger = TestAuthority()
    chain, key = stranger.issue([x509.UniformResourceIdentifier(IDENTITY)])
    for credentials in (
        grpc.ssl_channel_credentials(serving.authority.trust_bundle_pem()),
        grpc.ssl_channel_credentials(serving.authority.trust_bundle_pem(), key, chain),
    ):
        async with serving.stream(credentials) as call:
            assert await refusal(call) is grpc.StatusCode.UNAVAILABLE


async def test_a_rejection_is_counted_and_logged_in_one_line(
    serving: Serving, caplog: pytest.LogCaptureFixture
) -> None:
    def count() -> float:
        return REGISTRY.get_sample_value("refmesh_nacks_total", {"type": "CDS"}) or 0.0

    before = count()
    async with serving.stream(serving.authority.client(IDENTITY)) as call:
        await call.write(first(C))
        response = await call.read()
        nack = DeltaDiscoveryRequest(type_url=C.value, response_nonce=response.nonce)
        nack.error_detail.message = "cluster x:\n \x1b[31mno such\u2028extension" + "!" * 10_000
        await call.write(nack)
        async with asyncio.timeout(20):
            while count() == before:  # noqa: ASYNC110 - the server has no hook for this, and needs none
                await asyncio.sleep(0.005)
        state, _peer = serving.hub.streams["shop", "echo-v1"]
        reason = state.status()["CDS"]["rejected"]
    assert count() == before + 1
    assert reason.startswith("cluster x: [31mno such extension!")
    assert len(reason) <= 2000
    said = [record.getMessage() for record in caplog.records if "rejected" in record.getMessage()]
    assert said == [f"proxy shop/echo-v1 rejected CDS and keeps what it had: {reason}"]


async def test_a_stream_that_ends_is_forgotten(serving: Serving) -> None:
    async with serving.stream(serving.authority.client(IDENTITY)) as call:
        await call.write(first(C))
        await call.read()
        assert ("shop", "echo-v1") in serving.hub.streams
    async with asyncio.timeout(20):
        while serving.hub.streams:  # noqa: ASYNC110 - the server has no hook for this, and needs none
            await asyncio.sleep(0.005)


async def test_of_two_streams_of_a_pod_the_newest_is_shown_and_each_goes_on(serving: Serving) -> None:
    credentials = serving.authority.client(IDENTITY)
    async with serving.stream(credentials) as older:
        await older.write(first(C))
        await older.read()
        (before,) = serving.hub.streams.values()
        async with serving.stream(credentials) as newer:
            await newer.write(first(C))
            assert (await newer.read()).resources
            assert serving.hub.streams["shop", "echo-v1"] != before
        async with asyncio.timeout(20):
            while serving.hub.streams["shop", "echo-v1"] != before:  # noqa: ASYNC110 - the hub wakes nobody here
                await asyncio.sleep(0.005)
        await older.write(first(L))
        assert (await older.read()).type_url == L.value


class Ended(Exception):
    """A stream was ended by the server."""


class Unread:
    """The server's end of a stream whose peer reads nothing."""

    def __init__(self) -> None:
        self.written = asyncio.Event()

    def peer(self) -> str:
        return "ipv4:10.1.0.1:1"

    async def write(self, _: Any) -> None:
        self.written.set()
        await asyncio.Event().wait()

    async def abort(self, code: grpc.StatusCode, _: str) -> None:
        raise Ended(code)


async def requests() -> AsyncIterator[Any]:
    yield first(C)
    await asyncio.Event().wait()


async def test_a_pod_that_reads_nothing_has_a_few_streams_at_most() -> None:
    hub = ads.Hub()
    hub.publish(MemoryCluster().with_echo().world())
    service = ads.DiscoveryService(hub, MeshSettings(), authenticate=False)
    held = []
    for _ in range(ads._MOST_OF_A_POD):
        context = Unread()
        held.append(asyncio.create_task(service._stream(requests(), context)))
        await context.written.wait()
    with pytest.raises(Ended, match="RESOURCE_EXHAUSTED"):
        async with asyncio.timeout(20):
            await service._stream(requests(), Unread())
    assert not any(stream.done() for stream in held)
    for stream in held:
        stream.cancel()
    await asyncio.gather(*held, return_exceptions=True)
    assert not hub.streams
    assert not service._open


@pytest.mark.parametrize(
    ("node", "expected"),
    [
        (NODE, ("shop", "echo-v1")),
        ("sidecar~1~a.b.c~d", ("c", "a.b")),
        ("", None),
        ("a~b~c", None),
        ("sidecar~1~.x~d", None),
        ("sidecar~1~x~d", None),
    ],
)
def test_pod_of_node(node: str, expected: tuple[str, str] | None) -> None:
    assert gate.pod_of_node(node) == expected


@given(st.lists(st.text(st.sampled_from("a.~\x00é"), max_size=6), max_size=6).map("~".join) | st.text())
def test_a_node_id_names_one_pod_of_one_namespace_or_none(node: str) -> None:
    found = gate.pod_of_node(node)
    if found is not None:
        namespace, name = found
        assert node.split("~")[2] == f"{name}.{namespace}"
        assert namespace
        assert name
        assert not set("~.") & set(namespace)
