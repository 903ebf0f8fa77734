"""From where keys of token issuers are not fetched, and what the log says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection

import pytest

from refmesh.api.kinds import KINDS, parse
from refmesh.api.meta import Rejected
from refmesh.api.request_authentication import NOT_FETCHED
from refmesh.config.jwks import KeyFetcher
from tests.unit.refmesh_discovery.helpers import MemoryCluster
from tests.unit.refmesh_discovery.test_key_sets import Site, serving, tokens

KIND = next(kind for kind in KINDS if kind.name == "RequestAuthentication")


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.8.9.1:8080", "169.254.169.254", "0.0.0.0", "[::1]", "[fe80::1]", "[::ffff:127.0.0.1]"]
)
def test_an_address_that_leads_back_is_refused_with_its_field(host: str) -> None:
    found = parse(KIND, tokens(f"http://me:hunter2@{host}/keys"), "cluster.local")
    assert isinstance(found, Rejected)
    assert found.reason.startswith("spec.jwtRules[0].jwksUri: must not lead to ")
    assert found.reason.endswith(NOT_FETCHED)
    assert "hunter2" not in found.reason


@pytest.mark.parametrize("host", ["10.1.2.3", "idp.example.com", "[2001:db8::1]", "localhost.example.com"])
def test_other_addresses_are_the_users(host: str) -> None:
    assert not isinstance(parse(KIND, tokens(f"http://{host}/keys"), "cluster.local"), Rejected)


async def said(uri: str, caplog: pytest.LogCaptureFixture, own: Collection[str] = ()) -> str:
    """What the log says of keys that cannot be had."""
    fetcher = KeyFetcher(lambda *_: None, lambda: own)
    fetcher.offer(MemoryCluster().put("RequestAuthentication", tokens(uri)).snapshot())
    async with asyncio.timeout(20):
        while "cannot be had" not in caplog.text:  # noqa: ASYNC110 - a log has no event
            await asyncio.sleep(0.01)
    await fetcher.close()
    return caplog.messages[0]


@pytest.mark.parametrize("name", ["localhost", "0x7f000001"])
async def test_nothing_is_asked_that_a_name_leads_back_to(name: str, caplog: pytest.LogCaptureFixture) -> None:
    async with serving(Site()) as site:
        told = await said(site.uri.replace("//127.0.0.1", f"//me:hunter2@{name}"), caplog)
        assert told == f"the keys at {name} cannot be had ({NOT_FETCHED}); known ones stay in force"
        assert not site.asked.is_set()


async def test_nothing_is_asked_of_the_control_plane_itself(caplog: pytest.LogCaptureFixture) -> None:
    told = await said("https://192.0.2.7:15017/", caplog, own={"192.0.2.7"})
    assert told == f"the keys at 192.0.2.7 cannot be had ({NOT_FETCHED}); known ones stay in force"
