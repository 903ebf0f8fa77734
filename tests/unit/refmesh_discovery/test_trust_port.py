"""What concerns trust on the discovery port: who may ask for hints, and what replicas tell each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import grpc
import grpc.aio
import pytest

from refmesh.ca import trust
from refmesh.ca.authority import Authority
from refmesh.ca.hints import METHOD, Hint, Question
from refmesh.ca.ledger import Entry
from refmesh.ca.news import News
from refmesh.ca.replicas import Replicas
from refmesh.ca.signing import Keyring
from refmesh.discovery import ads, gate
from refmesh.discovery.credentials import RenewedCredentials
from refmesh.discovery.settings import MeshSettings
from refmesh.errors import EnvironmentProblem
from tests.unit.refmesh_discovery.helpers import MemoryCluster, pod

NAME = "refmesh.refmesh-system.svc"
NODE = "sidecar~10.1.0.1~echo-v1.shop~shop.svc.cluster.local"
ECHO = "spiffe://cluster.local/ns/shop/sa/echo"
STATE = trust.initial(Keyring.create())


def authority(state: trust.Trust = STATE) -> Authority:
    return Authority(state, trust_domain="cluster.local", namespace="refmesh-system")


class Serving:
    """A discovery port with hints, and what there is behind it."""

    def __init__(self) -> None:
        self.authority = authority()
        self.hub = ads.Hub()
        on_node = pod("on-node", "192.168.0.5")
        on_node["spec"]["hostNetwork"] = True
        self.hub.publish(MemoryCluster().with_echo().put("Pod", on_node).world())
        self.service = ads.DiscoveryService(self.hub, MeshSettings())
        self.replicas = Replicas(self.authority, list, name=NAME)
        self.server: Any = None
        self.port = 0

    async def admit(self, node: str, context: Any) -> str:
        return "/".join((await self.service.gate.admit(node, context)).key)

    @asynccontextmanager
    async def channel(self, identity: str, keyring: Keyring = STATE.keyring) -> AsyncIterator[Any]:
        chain, key = keyring.server_pair((), identity, keyring.policy.maximum)
        credentials = grpc.ssl_channel_credentials(STATE.bundle, key, chain)
        options = [("grpc.ssl_target_name_override", NAME)]
        async with grpc.aio.secure_channel(f"127.0.0.1:{self.port}", credentials, options) as found:
            yield found

    async def ask(self, identity: str, question: bytes, keyring: Keyring = STATE.keyring) -> Hint:
        async with self.channel(identity, keyring) as channel:
            return Hint.decode(await channel.unary_unary(METHOD, None, None)(question, timeout=10))

    async def waiting(self, known: int) -> asyncio.Task[Hint]:
        """A question that has arrived, and is held back."""
        asking = asyncio.create_task(self.ask(ECHO, Question(NODE, known).encode()))
        async with asyncio.timeout(20):
            while self.authority.ledger.in_use() != {"shop/echo-v1": known}:  # noqa: ASYNC110 - no hook
                await asyncio.sleep(0.005)
        assert not asking.done()
        return asking


@pytest.fixture
async def serving() -> AsyncIterator[Serving]:
    found = Serving()
    credentials = RenewedCredentials(found.authority, [NAME])
    news = News(found.authority, found.admit, lambda: 250)
    others = (news.handler(), found.replicas.handler())
    found.server, found.port = await ads.serve(found.service, "127.0.0.1:0", credentials.start(), others)
    yield found
    credentials.close()
    await ads.stop(found.server)


async def test_a_pod_hears_of_new_trust_and_speaks_for_itself(serving: Serving) -> None:
    known = serving.authority.trust.generation
    waiting = await serving.waiting(known)
    serving.authority.adopt(replace(serving.authority.trust, generation=known + 1))
    assert await waiting == Hint(known + 1, 2500)
    assert serving.authority.ledger.in_use() == {"shop/echo-v1": known}


async def test_a_pod_has_one_question_and_the_older_is_answered(serving: Serving) -> None:
    known = serving.authority.trust.generation
    older = await serving.waiting(known)
    newer = asyncio.create_task(serving.ask(ECHO, Question(NODE, known).encode()))
    async with asyncio.timeout(20):  # a question lasts up to 55 seconds
        assert await older == Hint(known, 2500)
    assert not newer.done()
    serving.authority.adopt(replace(serving.authority.trust, generation=known + 1))
    assert await newer == Hint(known + 1, 2500)


async def test_the_end_does_not_wait_for_those_who_wait_for_news(serving: Serving) -> None:
    asking = await serving.waiting(serving.authority.trust.generation)
    async with asyncio.timeout(40):  # a question lasts up to 55 seconds
        await ads.stop(serving.server)
        with pytest.raises(grpc.aio.AioRpcError):
            await asking


@pytest.mark.parametrize(
    ("identity", "question", "status"),
    [
        ("spiffe://cluster.local/ns/shop/sa/other", Question(NODE, 9), grpc.StatusCode.PERMISSION_DENIED),
        (ECHO, Question("sidecar~10.1.0.1~nobody.shop~x", 9), grpc.StatusCode.NOT_FOUND),
        (ECHO, Question("sidecar~192.168.0.5~on-node.shop~x", 9), grpc.StatusCode.NOT_FOUND),
        (ECHO, Question("", 9), grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_nobody_speaks_for_others(
    serving: Serving, monkeypatch: pytest.MonkeyPatch, identity: str, question: Question, status: grpc.StatusCode
) -> None:
    monkeypatch.setattr(gate, "_UNKNOWN_POD_SECONDS", 0.1)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await serving.ask(identity, question.encode())
    assert caught.value.code() is status
    assert serving.authority.ledger.in_use() == {}


async def test_without_a_certificate_of_the_mesh_nobody_asks(serving: Serving) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await serving.ask(ECHO, Question(NODE, 0).encode(), Keyring.create())
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


async def test_what_is_no_question_is_refused(serving: Serving) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await serving.ask(ECHO, b"\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_replicas_tell_each_other_what_they_signed(serving: Serving) -> None:
    serving.authority.ledger.note("shop/echo-v1", Entry(ECHO, "mark", 3, 1e9))
    serving.authority.ledger.confirm("shop/echo-v1", 3)
    other = Replicas(authority(), lambda: ["127.0.0.1"], port=serving.port, name=NAME)
    (page,) = await other.ask()
    assert page["in_use"] == {"shop/echo-v1": 3}
    assert page["workloads"]["shop/echo-v1"]["issuer"] == "mark"


async def test_a_workload_is_told_nothing_by_a_replica(serving: Serving) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async with serving.channel(ECHO) as channel:
            await channel.unary_unary("/refmesh.trust.v1.Replicas/Followed", None, None)(b"", timeout=5)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED


async def test_who_is_no_replica_is_not_believed() -> None:
    """A pod at a replica's address has a certificate of the mesh, but not in the control plane's name."""
    answers = Replicas(authority(), list, name=NAME)
    chain, key = STATE.keyring.server_pair((), ECHO, STATE.keyring.policy.maximum)
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((answers.handler(),))
    credentials = grpc.ssl_server_credentials([(key, chain)], STATE.bundle, require_client_auth=True)
    port = server.add_secure_port("127.0.0.1:0", credentials)
    await server.start()
    try:
        with pytest.raises(EnvironmentProblem, match=r"Replica 127\.0\.0\.1 does not say"):
            await Replicas(authority(), lambda: ["127.0.0.1"], port=port, name=NAME).ask()
    finally:
        await server.stop(0)


async def test_a_certificate_is_replaced_only_where_there_is_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """gRPC may die of a replacement while others shake hands, so that there must be few, and each with a pause."""
    fetches: list[Any] = []
    monkeypatch.setattr(grpc, "dynamic_ssl_server_credentials", lambda _first, fetch, _clients: fetches.append(fetch))
    credentials = RenewedCredentials(authority(), [NAME])
    credentials.start()
    (fetch,) = fetches
    assert fetch() is None
    credentials.renew()
    begun = time.monotonic()
    assert isinstance(fetch(), grpc.ServerCertificateConfiguration)
    assert time.monotonic() - begun > 0.02
    assert fetch() is None
    credentials.close()
