"""An issuer that ends: replaced in time where that is possible, and no dead end where it is not."""

from __future__ import annotations

import asyncio
import ssl
import time
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import grpc
import pytest
from cryptography import x509

from refmesh.ca import authority as authorities
from refmesh.ca import service, signing, trust
from refmesh.ca.authority import PLUGGED, SECRET, Authority
from refmesh.ca.messages import METHOD, CertificateRequest
from refmesh.ca.rotation import Rotator
from refmesh.ca.signing import IssuerExpired, Keyring
from refmesh.ca.trust import Phase, Trust
from refmesh.discovery.credentials import RenewedCredentials
from refmesh.errors import EnvironmentProblem
from refmesh.injector import webhook
from refmesh.kubeclient import Kube
from tests.unit.refmesh_ca.helpers import GOOD, IDENTITY, FakeKube, aged, csr, without_root_key
from tests.unit.refmesh_ca.test_service import CART, served, status_of
from tests.unit.refmesh_ca.test_trust import VersionedKube, alone, plug, replica

NEW = Keyring.create()
DAY = timedelta(days=1)
EXPIRED = signing.ISSUER_LIFETIME + DAY


def keep(kube: VersionedKube, state: Trust) -> None:
    """Refmesh's own Secret, as a control plane wrote it."""
    body = authorities._secret(state, "refmesh-system")
    kube.stored[SECRET] = {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}


def running(kube: VersionedKube, state: Trust) -> tuple[Authority, Rotator]:
    """A replica that has been there since before the issuer expired."""
    keep(kube, state)
    authority = Authority(state, trust_domain="cluster.local", namespace="refmesh-system")
    return authority, Rotator(cast("Kube", kube), authority, lambda: ["a/b"], alone)


def signs(authority: Authority) -> bool:
    leaf = x509.load_pem_x509_certificate(authority.sign(csr(), IDENTITY)[0].encode())
    return leaf.not_valid_after_utc > datetime.now(UTC)


def expired(monkeypatch: pytest.MonkeyPatch, *, plugged: bool) -> Keyring:
    keyring = aged(EXPIRED, monkeypatch)
    return Keyring.load(without_root_key(keyring), dated=False) if plugged else keyring


async def test_a_running_authority_whose_issuer_expired_takes_up_the_one_that_is_plugged_in(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kube = VersionedKube()
    authority, rotator = running(kube, trust.initial(expired(monkeypatch, plugged=True)))
    await rotator.step()
    assert "has expired" in rotator.problem
    with pytest.raises(IssuerExpired, match="cacerts"):
        signs(authority)
    plug(kube, NEW.dump())
    await rotator.step()
    assert authority.trust.keyring.issuer == NEW.issuer
    assert signs(authority)
    assert not rotator.problem
    # whoever was signed for before is not waited for in between: nobody could follow
    assert authority.trust.phase is Phase.SIGNING


@pytest.mark.parametrize("plugged", [True, False])
async def test_a_control_plane_that_starts_with_an_expired_issuer_finds_another(
    monkeypatch: pytest.MonkeyPatch, plugged: bool
) -> None:
    kube = VersionedKube()
    old = expired(monkeypatch, plugged=plugged)
    keep(kube, trust.initial(old))
    if plugged:
        with pytest.raises(EnvironmentProblem, match=f"has expired.*{PLUGGED}"):
            await replica(kube, [])
        plug(kube, NEW.dump())
    (one, _), (two, _) = await replica(kube, []), await replica(kube, [])
    assert signs(one)
    assert one.trust.keyring.issuer == two.trust.keyring.issuer
    assert one.trust.keyring.root == (NEW.root if plugged else old.root)


@pytest.mark.parametrize("phase", [Phase.DISTRIBUTING, Phase.SIGNING])
async def test_an_issuer_that_expires_in_a_rotation_ends_the_waiting(
    monkeypatch: pytest.MonkeyPatch, phase: Phase
) -> None:
    kube = VersionedKube()
    old = expired(monkeypatch, plugged=False)
    state = trust.begin(trust.initial(old), NEW, "r", time.time())
    if phase is Phase.SIGNING:  # of a new issuer that was meant to last for less
        state = trust.begin(trust.initial(NEW), old, "r", time.time())
        state = trust.advance(state, time.time())
    authority, rotator = running(kube, state)
    await rotator.step()
    assert signs(authority)


async def test_what_is_plugged_in_must_be_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = VersionedKube()
    plug(kube, expired(monkeypatch, plugged=True).dump())
    with pytest.raises(EnvironmentProblem, match=r"cacerts cannot be.*is not valid now"):
        await replica(kube, [])


async def test_an_issuer_of_refmeshs_own_is_renewed_before_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    kube = VersionedKube()
    old = aged(signing.ISSUER_LIFETIME - 29 * DAY, monkeypatch)
    authority, rotator = running(kube, trust.initial(old))
    await rotator.step()
    assert (authority.trust.phase, authority.trust.kind) == (Phase.SIGNING, "issuer")
    assert authority.trust.keyring.root == old.root
    assert not authority.trust.keyring.ending(time.time())
    assert not aged(signing.ISSUER_LIFETIME - 31 * DAY, monkeypatch).ending(time.time())


@pytest.mark.parametrize("why", ["plugged in", "the root ends as well"])
async def test_an_issuer_that_cannot_be_renewed_is_told_in_time(monkeypatch: pytest.MonkeyPatch, why: str) -> None:
    kube = VersionedKube()
    with monkeypatch.context() as short:
        if why != "plugged in":
            short.setattr(signing, "ROOT_LIFETIME", signing.ISSUER_LIFETIME)
        old = aged(signing.ISSUER_LIFETIME - 29 * DAY, monkeypatch)
    if why == "plugged in":
        plug(kube, without_root_key(old))
    authority, rotator = running(kube, trust.initial(old))
    await rotator.step()
    assert authority.trust.phase is Phase.STABLE
    assert "ends soon" in rotator.problem


async def test_the_signing_port_says_why_nothing_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    old = expired(monkeypatch, plugged=True)
    found = list[Authority]()
    sound = service.start

    async def start(**options: Any) -> service.Service:
        found.append(options["authority"])
        return await sound(**options)

    monkeypatch.setattr(service, "start", start)
    async with served(FakeKube({GOOD: CART})) as channel:
        found[0].trust = trust.initial(old)
        call = channel.unary_unary(METHOD, None, None)
        request = CertificateRequest(csr()).encode()
        answer = call(request, metadata=(("authorization", f"Bearer {GOOD}"),), timeout=5)
        assert await status_of(answer) == grpc.StatusCode.UNAVAILABLE


async def test_certificates_of_the_control_planes_own_are_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    authority = Authority(trust.initial(NEW), trust_domain="cluster.local", namespace="refmesh-system")
    credentials = RenewedCredentials(authority, ["refmesh"])
    assert credentials.renew()
    loads = asyncio.Queue[None]()

    def load(*_: Any) -> None:
        loads.put_nowait(None)
        authority.server_credentials(["refmesh"])

    monkeypatch.setattr(webhook, "_load", load)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    task = asyncio.create_task(webhook._keep_certificate(context, authority, ["refmesh"]))
    try:
        for generation, keyring in ((1, expired(monkeypatch, plugged=True)), (2, NEW)):
            await asyncio.sleep(0)
            authority.adopt(Trust(keyring, generation=authority.trust.generation + generation))
            await asyncio.wait_for(loads.get(), 5)
            assert credentials.renew() is (keyring is NEW)
            assert not task.done()
    finally:
        task.cancel()
