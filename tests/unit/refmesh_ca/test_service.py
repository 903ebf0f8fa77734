"""The real service over real TLS and gRPC on loopback; only the API server is played."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from typing import Any, cast

import grpc
import grpc.aio
import pytest
from cryptography import x509

from refmesh.ca import service
from refmesh.ca.authority import ROOT_CONFIG_MAP, SECRET, Authority
from refmesh.ca.messages import METHOD, CertificateRequest, CertificateResponse
from refmesh.ca.signing import Keyring
from refmesh.kubeclient import Kube
from tests.unit.refmesh_ca.helpers import GOOD, IDENTITY, FakeKube, csr, token

API, HUMAN = token("system:serviceaccount:shop:cart", "https://kubernetes"), token("ada")

CART = ("system:serviceaccount:shop:cart", "istio-ca")


@asynccontextmanager
async def served(fake: FakeKube) -> AsyncIterator[grpc.aio.Channel]:
    """A channel to the service, whose API server is played."""
    kube = cast("Kube", fake)
    authority = await Authority.load_or_create(kube, "refmesh-system", "cluster.local")
    running = await service.start(
        authority=authority, kube=kube, names=["refmesh"], host="127.0.0.1", port=0, trust_domain="cluster.local"
    )
    credentials = grpc.ssl_channel_credentials(authority.trust_bundle_pem())
    options = (("grpc.ssl_target_name_override", "refmesh"),)
    async with grpc.aio.secure_channel(f"127.0.0.1:{running.port}", credentials, options=options) as channel:
        yield channel
    await running.close()


@pytest.fixture
async def call():
    users = {GOOD: CART, API: (CART[0], "https://kubernetes"), HUMAN: ("ada", "istio-ca")}
    async with served(FakeKube(users)) as channel:

        async def invoke(request: bytes, token: str | None = GOOD, method: str = METHOD) -> bytes:
            metadata = (("authorization", f"Bearer {token}"),) if token is not None else ()
            call = channel.unary_unary(method, None, None)
            return cast("bytes", await call(request, metadata=metadata, timeout=5))

        yield invoke


async def status_of(awaitable: Any) -> grpc.StatusCode:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await awaitable
    return caught.value.code()


async def test_a_token_and_a_csr_become_a_chain(call):
    reply = CertificateResponse.decode(await call(CertificateRequest(csr(uri="spiffe://x/y"), 600).encode()))
    leaf = x509.load_pem_x509_certificate(reply.chain[0].encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [IDENTITY]
    assert len(reply.chain) == 3


@pytest.mark.parametrize("token", [None, "", "bad", token("bad"), API, HUMAN, "x" * 20_000])
async def test_without_a_fitting_token_nothing_is_signed(call, token):
    code = await status_of(call(CertificateRequest(csr()).encode(), token))
    assert code == grpc.StatusCode.UNAUTHENTICATED


@pytest.mark.parametrize("request_bytes", [b"", b"\xff\xff", CertificateRequest("nonsense").encode()])
async def test_garbage_is_an_invalid_argument(call, request_bytes):
    assert await status_of(call(request_bytes)) == grpc.StatusCode.INVALID_ARGUMENT


async def test_a_huge_message_is_refused_unread(call):
    assert await status_of(call(b"x" * 200_000)) == grpc.StatusCode.RESOURCE_EXHAUSTED


@pytest.mark.parametrize("limit", ["_MAX_AT_ONCE", "_MAX_OF_AN_ADDRESS"])
async def test_more_requests_than_there_is_room_for_are_told_to_come_again(monkeypatch, limit):
    class SlowKube(FakeKube):
        async def create(self, api: str, plural: str, body: Any, namespace: str | None = None) -> Any:
            if plural == "tokenreviews":
                reviewed.append(body)
                await asyncio.Event().wait()
            return await super().create(api, plural, body, namespace)

    reviewed = list[Any]()
    monkeypatch.setattr(service, limit, 5)
    async with served(SlowKube()) as channel:
        request, metadata = CertificateRequest(csr()).encode(), (("authorization", f"Bearer {GOOD}"),)
        calls = [channel.unary_unary(METHOD, None, None)(request, metadata=metadata) for _ in range(20)]
        done = set[Any]()
        async with asyncio.timeout(20):
            while len(done) < 15:
                done, _ = await asyncio.wait([asyncio.ensure_future(call.code()) for call in calls], timeout=0.1)
        assert {code.result() for code in done} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
        assert len(reviewed) == 5


async def test_who_crowds_in_from_one_address_leaves_room_for_others():
    handler = service._Handler(cast("Any", None), cast("Any", None), "cluster.local")
    with ExitStack() as held:
        for _ in range(service._MAX_OF_AN_ADDRESS):
            held.enter_context(handler._place("ipv4:10.1.0.1"))
        with pytest.raises(service._Crowded), handler._place("ipv4:10.1.0.1"):
            pass
        with handler._place("ipv4:10.1.0.2"):
            pass
    with handler._place("ipv4:10.1.0.1"):
        assert dict(handler._under_way) == {"ipv4:10.1.0.1": 1}


async def test_what_no_api_server_would_call_valid_takes_no_place_and_asks_nobody(monkeypatch):
    class Asked(FakeKube):
        async def create(self, api: str, plural: str, body: Any, namespace: str | None = None) -> Any:
            assert plural != "tokenreviews"
            return await super().create(api, plural, body, namespace)

    monkeypatch.setattr(service, "_MAX_AT_ONCE", 0)
    async with served(Asked()) as channel:
        for bearer in ("x", "a.b.c", API, token("late", seconds=-400), token("other", aud="istio-ca2")):
            metadata = (("authorization", f"Bearer {bearer}"),)
            call = channel.unary_unary(METHOD, None, None)(CertificateRequest(csr()).encode(), metadata=metadata)
            assert await status_of(call) == grpc.StatusCode.UNAUTHENTICATED


async def test_who_opens_streams_and_sends_nothing_keeps_nobody_out(monkeypatch):
    monkeypatch.setattr(service, "_MAX_AT_ONCE", 2)
    async with served(FakeKube({GOOD: CART})) as channel:
        silent = [channel.stream_unary(METHOD, None, None)(None) for _ in range(10)]
        await channel.channel_ready()
        await asyncio.sleep(0.2)  # their headers are on the way; a server does not answer to them
        request, metadata = CertificateRequest(csr()).encode(), (("authorization", f"Bearer {GOOD}"),)
        for _ in range(5):
            assert await channel.unary_unary(METHOD, None, None)(request, metadata=metadata, timeout=20)
        for one in silent:
            one.cancel()


async def test_other_methods_are_unimplemented(call):
    assert await status_of(call(b"", method="/a.B/C")) == grpc.StatusCode.UNIMPLEMENTED


async def test_replicas_that_race_agree_on_the_winner_s_keys():
    winner = Keyring.create()
    kube = FakeKube()
    kube.race = {"data": {key: base64.b64encode(value).decode() for key, value in winner.dump().items()}}
    authority = await Authority.load_or_create(cast("Kube", kube), "refmesh-system", "cluster.local")
    assert authority.trust_bundle_pem() == winner.root_pem


async def test_keys_survive_a_restart():
    kube = FakeKube()
    first = await Authority.load_or_create(cast("Kube", kube), "refmesh-system", "cluster.local")
    again = await Authority.load_or_create(cast("Kube", kube), "refmesh-system", "cluster.local")
    assert first.trust_bundle_pem() == again.trust_bundle_pem()
    assert set(kube.stored) == {SECRET, ROOT_CONFIG_MAP}
    assert kube.stored[ROOT_CONFIG_MAP]["data"] == {"root-cert.pem": first.trust_bundle_pem().decode()}
