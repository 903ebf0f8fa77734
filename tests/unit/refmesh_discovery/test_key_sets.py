"""Key sets of token issuers: what is usable, and how they are fetched."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from conformance.tokens import Issuer
from refmesh.api import request_authentication
from refmesh.api.key_sets import key_set_problem, usable_keys
from refmesh.config import jwks
from refmesh.config.jwks import KeyFetcher, wanted_addresses
from refmesh.config.kept_keys import KeptKeys, fitting, kept
from refmesh.discovery.jwt import TokenRules
from tests.unit.refmesh_discovery.helpers import MemoryCluster, policy

_POINT = ec.derive_private_key(7, ec.SECP256R1()).public_key().public_numbers()
EDWARDS = {"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "x": "A" * 43}
ELLIPTIC = {
    "kty": "EC",
    "crv": "P-256",
    "alg": "ES256",
    **{
        name: base64.urlsafe_b64encode(number.to_bytes(32, "big")).decode()
        for name, number in (("x", _POINT.x), ("y", _POINT.y))
    },
}
GOOD = json.loads(Issuer().key_set())["keys"][0]


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ([GOOD], ""),
        ([], "must hold 1 to 100 keys"),
        ([GOOD, 1], "has a key at 1 that is no object"),
        ([{**GOOD, "d": "x"}], "is private"),
        ([{"kty": "oct", "k": "x"}], "is private"),
        ([{**GOOD, "n": "AQAB"}], "has no n of 2048 to 8192 bits"),
        ([{**GOOD, "n": "!"}], "has no n"),
        ([{**GOOD, "e": "AA"}], "is no RSA key"),
        ([{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}], "is no point on its curve"),
        ([{"kty": "EC", "crv": "P-1"}], "is on no known curve"),
        ([{"kty": "OKP", "crv": "Ed25519", "x": "AA"}], "has no x of 32 bytes"),
        ([{"kty": "PQ"}], "is not of a known kind"),
        ([{**GOOD, "alg": "PS256"}], ""),
        ([{**GOOD, "alg": ""}], ""),
        ([{**GOOD, "alg": "RSA-OAEP"}], ""),
        ([{**GOOD, "alg": "ES256"}], "has a key at 0 that has an alg for other keys; its own is RS or PS"),
        ([ELLIPTIC], ""),
        ([{**ELLIPTIC, "alg": "ES384"}], "has an alg for other keys"),
        ([EDWARDS], ""),
        ([{**EDWARDS, "alg": "Ed25519"}], "has an alg for other keys"),
        ([{**GOOD, "kid": 1}], "has a kid, alg or use that is no text"),
    ],
)
def test_a_key_that_envoy_cannot_use_is_named(keys: list[Any], problem: str) -> None:
    found = key_set_problem(json.dumps({"keys": keys}))
    assert problem in found
    assert bool(found) is bool(problem)


@given(st.text(max_size=50) | st.sampled_from(["{}", "[]", "null", '{"keys": 1}', "[" * 5000]))
def test_what_is_no_key_set_has_no_usable_key(text: str) -> None:
    assert key_set_problem(text)
    assert usable_keys(text) == ""


def test_keys_for_other_purposes_are_left_out() -> None:
    text = json.dumps({"keys": [{"kty": "PQ"}, GOOD]})
    assert json.loads(usable_keys(text))["keys"] == [GOOD]


@pytest.fixture
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Issuers of these tests are where keys are not fetched from."""
    for module in (request_authentication, jwks):
        monkeypatch.setattr(module, "leads_back", lambda _: False)


class Site:
    """An issuer's web server; `answer` is what it says next."""

    def __init__(self) -> None:
        self.answer = web.Response(text=json.dumps({"keys": [GOOD]}))
        self.asked = asyncio.Event()
        self.uri = ""

    async def handle(self, _: web.Request) -> web.Response:
        self.asked.set()
        return self.answer


@pytest.fixture
async def site(near: None) -> AsyncIterator[Site]:
    async with serving(Site()) as found:
        yield found


@asynccontextmanager
async def serving(found: Site) -> AsyncIterator[Site]:
    app = web.Application()
    app.router.add_get("/keys", found.handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.uri = f"http://127.0.0.1:{runner.addresses[0][1]}/keys"
    yield found
    await runner.cleanup()


def tokens(uri: str) -> dict[str, Any]:
    return policy("t", {"jwtRules": [{"issuer": "x", "jwksUri": uri}]})


async def test_keys_are_fetched_and_forgotten_with_the_last_that_names_them(site: Site) -> None:
    cluster, put = MemoryCluster().with_echo(), asyncio.Queue[tuple[str, str | None]]()
    fetcher = KeyFetcher(lambda uri, keys: put.put_nowait((uri, keys)))
    fetcher.offer(cluster.put("RequestAuthentication", tokens(site.uri)).snapshot())
    uri, keys = await asyncio.wait_for(put.get(), 10)
    assert uri == site.uri
    assert keys is not None
    assert json.loads(keys)["keys"] == [GOOD]
    cluster.store.put_keys(uri, keys)
    assert cluster.snapshot().jwks == {uri: keys}
    fetcher.offer(cluster.drop("RequestAuthentication", "t").snapshot())
    assert await asyncio.wait_for(put.get(), 10) == (site.uri, None)
    await fetcher.close()


@pytest.mark.parametrize(
    "answer",
    [
        web.Response(status=500),
        web.Response(text="x" * (2 << 20)),
        web.Response(text="{}"),
        web.Response(body=b"\xff\xfe"),
        web.Response(status=302, headers={"location": "http://127.0.0.1:1/"}),
    ],
    ids=["error", "too long", "no keys", "no text", "elsewhere"],
)
async def test_other_answers_change_nothing(site: Site, answer: web.Response, caplog: pytest.LogCaptureFixture) -> None:
    put: list[Any] = []
    site.answer = answer
    fetcher = KeyFetcher(lambda *keys: put.append(keys))
    fetcher.offer(MemoryCluster().put("RequestAuthentication", tokens(site.uri)).snapshot())
    await asyncio.wait_for(site.asked.wait(), 10)
    async with asyncio.timeout(10):
        while "cannot be had" not in caplog.text:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)
    await fetcher.close()
    assert put == []


class Silent(Site):
    """It never answers."""

    async def handle(self, _: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return self.answer


def test_an_address_of_several_rules_is_waited_for_by_the_most_patient() -> None:
    rules = [{"issuer": "x", "jwksUri": "http://x/keys", **more} for more in ({"timeout": "7s"}, {}, {"timeout": "1s"})]
    cluster = MemoryCluster().put("RequestAuthentication", policy("t", {"jwtRules": rules}))
    assert wanted_addresses(cluster.snapshot()) == {"http://x/keys": 7.0}


@pytest.mark.usefixtures("near")
async def test_an_issuer_is_waited_for_as_long_as_its_rule_says(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Silent()) as found:
        fetcher = KeyFetcher(lambda *_: None)
        rule = {"issuer": "x", "jwksUri": found.uri, "timeout": "20ms"}
        fetcher.offer(MemoryCluster().put("RequestAuthentication", policy("t", {"jwtRules": [rule]})).snapshot())
        async with asyncio.timeout(20):
            while "TimeoutError)" not in caplog.text:  # noqa: ASYNC110 - a log has no event
                await asyncio.sleep(0.01)
        await fetcher.close()


class ConfigMaps:
    """The one ConfigMap."""

    def __init__(self) -> None:
        self.found: dict[str, Any] | None = None
        self.written = asyncio.Event()

    async def get(self, *_: Any) -> dict[str, Any] | None:
        return self.found

    async def create(self, _api: str, _plural: str, body: dict[str, Any], _namespace: str) -> None:
        self.found = body
        self.written.set()

    async def replace(self, _api: str, _plural: str, _name: str, body: dict[str, Any], namespace: str) -> None:
        await self.create("", "", body, namespace)


def keeper(maps: ConfigMaps) -> KeptKeys:
    return KeptKeys(maps, "ns", lambda: True)  # type: ignore[arg-type]


async def write(maps: ConfigMaps, cluster: MemoryCluster) -> None:
    maps.written.clear()
    kept_keys = keeper(maps)
    kept_keys.start()
    kept_keys.offer(cluster.snapshot())
    await asyncio.wait_for(maps.written.wait(), 20)
    await kept_keys.close()


@pytest.mark.usefixtures("near")
async def test_keys_outlive_the_process_although_their_issuer_is_away() -> None:
    away, maps, keys = "http://127.0.0.1:1/keys", ConfigMaps(), usable_keys(json.dumps({"keys": [GOOD]}))
    before = MemoryCluster().with_echo().put("RequestAuthentication", tokens(away))
    before.store.put_keys(away, keys)
    await write(maps, before)

    after = MemoryCluster().with_echo().put("RequestAuthentication", tokens(away))
    for uri, restored in (await keeper(maps).load()).items():
        after.store.put_keys(uri, restored)
    assert after.snapshot().jwks == {away: keys}
    assert TokenRules.collect(after.snapshot(), "ns").keys[away] == keys

    # A replica that leads and has fetched only some takes no other's away.
    other = policy("other", {"jwtRules": [{"issuer": "y", "jwksUri": "http://127.0.0.1:2/"}]})
    leader = MemoryCluster().with_echo().put("RequestAuthentication", tokens(away), other)
    leader.store.put_keys("http://127.0.0.1:2/", keys)
    await write(maps, leader)
    assert await keeper(maps).load() == {away: keys, "http://127.0.0.1:2/": keys}


async def test_kept_keys_that_nothing_names_any_more_are_forgotten() -> None:
    cluster, put, maps = MemoryCluster(), list[Any](), ConfigMaps()
    cluster.store.put_keys("http://gone/", usable_keys(json.dumps({"keys": [GOOD]})))
    KeyFetcher(lambda *keys: put.append(keys)).offer(cluster.snapshot())
    assert put == [("http://gone/", None)]
    maps.found = {"metadata": {"name": "m"}, "data": {"keys.json": json.dumps({"http://gone/": {"keys": [GOOD]}})}}
    await write(maps, cluster)
    assert await keeper(maps).load() == {}


@given(st.text(max_size=30) | st.sampled_from(['{"u": {"keys": [{"kty": "oct", "k": "x"}]}}', "[]", "[" * 5000]))
def test_what_stands_in_the_map_is_not_believed(text: str) -> None:
    assert kept({"data": {"keys.json": text}}) == {}


def test_one_long_key_set_costs_no_other_its_place() -> None:
    sets = {"long": "x" * (1 << 20)} | {f"short{number}": "x" * 1000 for number in range(1000)}
    chosen = fitting(sets)
    assert "long" not in chosen
    assert 400 < len(chosen) < 512
