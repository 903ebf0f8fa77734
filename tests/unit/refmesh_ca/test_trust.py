"""Rotation: at every moment of it, every proxy can verify every other."""

from __future__ import annotations

import asyncio
import base64
import itertools
from typing import Any, cast

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from refmesh.ca import rotation, trust
from refmesh.ca.authority import PLUGGED, SECRET, Authority
from refmesh.ca.ledger import SETTLE_SECONDS, Entry, Ledger, laggards
from refmesh.ca.replicas import Page
from refmesh.ca.rotation import REQUEST, Rotator
from refmesh.ca.signing import Keyring
from refmesh.ca.trust import Phase, Trust
from refmesh.errors import EnvironmentProblem
from refmesh.kubeclient import Conflict, Kube
from tests.unit.refmesh_ca.helpers import IDENTITY, FakeKube, csr

OLD, NEW, OTHER = Keyring.create(), Keyring.create(), Keyring.create()


def verifies(roots: bytes, keyring: Keyring) -> bool:
    return keyring.root in x509.load_pem_x509_certificates(roots)


def test_whoever_is_one_phase_behind_is_trusted_and_trusts():
    steps = [trust.initial(OLD)]
    steps.append(trust.begin(steps[-1], NEW, "r", 1.0))
    while steps[-1].phase is not Phase.STABLE:
        steps.append(trust.advance(steps[-1], 2.0))
    assert [one.phase for one in steps] == ["stable", "distributing", "signing", "stable"]
    assert [one.keyring for one in steps] == [OLD, OLD, NEW, NEW]
    for before, after in itertools.pairwise(steps):
        assert after.generation > before.generation
        for one, other in ((before, after), (after, before), (after, after)):
            assert verifies(one.bundle, other.keyring)
    assert steps[-1].bundle == NEW.root_pem


def test_a_new_issuer_needs_no_new_root():
    renewed = OLD.renewed_issuer("cluster.local")
    step = trust.begin(trust.initial(OLD), renewed, "r", 1.0)
    assert (step.phase, step.kind, step.bundle) == (Phase.SIGNING, "issuer", OLD.root_pem)
    assert renewed.issuer_mark != OLD.issuer_mark
    assert trust.advance(step, 2.0).phase is Phase.STABLE


def test_one_rotation_at_a_time():
    with pytest.raises(ValueError, match="under way"):
        trust.begin(trust.begin(trust.initial(OLD), NEW, "a", 1.0), Keyring.create(), "b", 2.0)


@given(st.integers(0, 3), st.text("ab-9", max_size=8), st.integers(0, 2**40), st.floats(0, 2e9))
def test_what_is_dumped_is_read_again(steps, request, generation, since):
    state = Trust(OLD, request=request, generation=generation, since=since)
    for step in range(steps):
        state = trust.begin(state, NEW, request, since) if step == 0 else trust.advance(state, since)
    again = Trust.load(state.dump())
    assert again.dump() == state.dump()
    assert again.bundle == state.bundle


def test_keys_of_an_earlier_version_are_read():
    assert Trust.load(OLD.dump()).bundle == OLD.root_pem


def entry(generation: int, *, signed: float = 0.0, not_after: float = 1e9) -> Entry:
    return Entry("id", "mark", generation, not_after, signed)


@pytest.mark.parametrize(
    ("entries", "in_use", "now", "behind"),
    [
        ({}, {}, 0.0, ["a/b"]),
        ({"a/b": entry(1)}, {"a/b": 9}, 0.0, ["a/b"]),  # its word alone counts for nothing
        ({"a/b": entry(2)}, {"a/b": 1}, 0.0, ["a/b"]),  # signed, and not in use yet
        ({"a/b": entry(2)}, {"a/b": 2}, 0.0, []),
        ({"a/b": entry(2)}, {}, SETTLE_SECONDS + 1, []),
        ({"a/b": entry(3)}, {"a/b": 3}, 0.0, []),
    ],
)
def test_a_pod_follows_when_it_uses_what_was_signed_for_it(entries, in_use, now, behind):
    assert laggards(["a/b"], entries, in_use, 2, now) == behind


def test_of_several_replicas_the_newest_signature_counts():
    first, second = Ledger(), Ledger()
    first.note("a/b", entry(1))
    second.note("a/b", entry(2))
    assert Ledger.merged([second.rows(), first.rows()])["a/b"].generation == 2


def test_nobody_is_waited_for_for_ever():
    state = trust.begin(trust.initial(OLD), NEW, "r", 100.0)
    wait: Any = rotation.still_waited_for
    assert wait(["a/b"], {}, {}, state, now=150.0, maximum=60.0) == ["a/b"]
    assert wait(["a/b"], {}, {}, state, now=161.0, maximum=60.0) == []
    expired = {"a/b": entry(0, not_after=140.0)}
    assert wait(["a/b"], expired, {}, state, now=150.0, maximum=60.0) == []


# -- two replicas against one API server -------------------------------------------------------------------------------


class VersionedKube(FakeKube):
    """Refuses to replace a version that is not the newest, as an API server does."""

    async def get(self, _api: str, _plural: str, name: str, _namespace: str | None = None) -> Any:
        found = self.stored.get(name)
        if found is None:
            return None
        return {**found, "metadata": {**found["metadata"]}}

    async def create(self, api: str, plural: str, body: Any, namespace: str | None = None) -> Any:
        body = {**body, "metadata": {**body["metadata"], "resourceVersion": "1"}}
        return await super().create(api, plural, body, namespace)

    async def replace(self, _api: str, _plural: str, name: str, body: Any, _namespace: str | None = None) -> Any:
        known, sent = self.stored[name]["metadata"]["resourceVersion"], body["metadata"]["resourceVersion"]
        if known != sent:
            raise Conflict(409, "the object has been modified")
        self.stored[name] = {**body, "metadata": {**body["metadata"], "resourceVersion": str(int(known) + 1)}}
        return self.stored[name]


async def alone() -> list[Page]:
    return []


async def replica(kube: FakeKube, pods: list[str]) -> tuple[Authority, Rotator]:
    authority = await Authority.load_or_create(cast("Kube", kube), "refmesh-system", "cluster.local")
    return authority, Rotator(cast("Kube", kube), authority, lambda: pods, alone)


def enrol(authority: Authority, pod: str) -> None:
    authority.sign(csr(), IDENTITY, pod=pod)
    authority.ledger.confirm(pod, authority.trust.generation)


def ask(kube: FakeKube, kind: str, request: str) -> None:
    metadata = {"name": REQUEST, "resourceVersion": "1"}
    kube.stored[REQUEST] = {"metadata": metadata, "data": {"kind": kind, "id": request}}


async def test_two_replicas_rotate_the_root_once_and_agree():
    kube = VersionedKube()
    (one, first), (two, second) = await replica(kube, ["a/b"]), await replica(kube, ["a/b"])
    before = one.trust_bundle_pem()
    ask(kube, "root", "now")
    for phase in (Phase.DISTRIBUTING, Phase.SIGNING, Phase.STABLE):
        for rotator in (first, second, first):
            await rotator.step()
        assert one.trust.phase is two.trust.phase is phase
        assert one.trust_bundle_pem() == two.trust_bundle_pem()
        if phase is not Phase.STABLE:
            await first.step()
            assert first.waiting == ["a/b"]
            enrol(one, "a/b")
            enrol(two, "a/b")
    assert before not in one.trust_bundle_pem()
    await first.step()
    assert one.trust.phase is Phase.STABLE  # the same request is not taken up again


async def test_a_replica_that_starts_in_a_rotation_asks_everybody_to_come_again():
    kube = VersionedKube()
    _, first = await replica(kube, ["a/b"])
    ask(kube, "root", "now")
    await first.step()
    late, second = await replica(kube, ["a/b"])
    before = late.trust.generation
    await second.step()
    assert (late.trust.phase, late.trust.generation) == (Phase.DISTRIBUTING, before + 1)


async def test_a_change_wakes_who_waits():
    authority, rotator = await replica(kube := VersionedKube(), [])
    waiting = asyncio.create_task(authority.changed(authority.trust.generation, 5.0))
    await asyncio.sleep(0)
    ask(kube, "issuer", "x")
    await rotator.step()
    assert await waiting == authority.trust.generation


# -- plugged in --------------------------------------------------------------------------------------------------------


def plug(kube: FakeKube, data: dict[str, bytes]) -> None:
    encoded = {key: base64.b64encode(value).decode() for key, value in data.items()}
    kube.stored[PLUGGED] = {"metadata": {"name": PLUGGED, "resourceVersion": "1"}, "data": encoded}


async def test_a_plugged_in_authority_signs_and_its_root_key_is_not_copied():
    kube = VersionedKube()
    plug(kube, NEW.dump())
    authority, rotator = await replica(kube, [])
    assert authority.trust_bundle_pem() == NEW.root_pem
    assert "root-key.pem" not in kube.stored[SECRET]["data"]
    for kind in ("root", "issuer"):
        ask(kube, kind, f"a new {kind}")
        await rotator.step()
        assert authority.trust.phase is Phase.STABLE  # what is plugged in is replaced by plugging in something else
        assert f"'a new {kind}' cannot be done" in rotator.problem
        assert "into the Secret that was plugged in" in rotator.problem
    ask(kube, "", "")
    await rotator.step()
    assert not rotator.problem
    plug(kube, OLD.dump())
    for _ in range(3):
        await rotator.step()
    assert authority.trust_bundle_pem() == OLD.root_pem


def bundle(*keyrings: Keyring) -> dict[str, bytes]:
    return {"root-cert.pem": b"".join(one.root_pem for one in keyrings)}


@pytest.mark.parametrize("order", [*itertools.permutations((OLD, NEW, OTHER))])
async def test_all_roots_of_a_plugged_in_bundle_are_trusted_and_the_issuers_signs(order):
    kube = VersionedKube()
    plug(kube, NEW.dump() | bundle(*order))
    authority, rotator = await replica(kube, [])
    again, _ = await replica(kube, [])
    await rotator.step()
    for one in (authority, again):
        assert one.trust.keyring.root == NEW.root
        assert all(verifies(one.trust_bundle_pem(), keyring) for keyring in order)
    assert authority.trust.generation == again.trust.generation


async def test_an_edit_of_the_bundle_alone_takes_effect_once():
    kube = VersionedKube()
    plug(kube, NEW.dump())
    authority, rotator = await replica(kube, [])
    for roots in ((NEW, OTHER), (OTHER, NEW, OLD), (NEW,)):
        before = authority.trust.generation
        plug(kube, NEW.dump() | bundle(*roots))
        for _ in range(3):
            await rotator.step()
        assert (authority.trust.phase, authority.trust.generation) == (Phase.STABLE, before + 1)
        assert set(authority.trust.roots) == {one.root_pem for one in roots}
        assert authority.trust.keyring.root == NEW.root


async def test_a_root_that_the_bundle_names_before_and_after_a_rotation_is_trusted_all_along():
    kube = VersionedKube()
    plug(kube, OLD.dump() | bundle(OLD, OTHER))
    authority, rotator = await replica(kube, [])
    plug(kube, NEW.dump() | bundle(OTHER, NEW))
    phases = []
    for trusted in ((OLD, NEW, OTHER), (OLD, NEW, OTHER), (NEW, OTHER)):
        await rotator.step()
        phases.append(authority.trust.phase)
        assert set(authority.trust.roots) == {one.root_pem for one in trusted}
    assert phases == [Phase.DISTRIBUTING, Phase.SIGNING, Phase.STABLE]
    await rotator.step()
    assert authority.trust.phase is Phase.STABLE


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ca-key.pem": OLD.dump()["ca-key.pem"]}, "ca-key.pem is not the key of ca-cert.pem"),
        ({"root-cert.pem": OLD.root_pem}, "does not lead to root-cert.pem"),
        ({"root-cert.pem": OLD.root_pem + OTHER.root_pem}, "does not lead to root-cert.pem"),
        ({"ca-cert.pem": b""}, "cannot be read"),
    ],
)
async def test_what_cannot_be_plugged_in_is_refused_in_one_sentence(changes, words):
    kube = VersionedKube()
    plug(kube, NEW.dump() | changes)
    with pytest.raises(EnvironmentProblem, match="refmesh-system/cacerts cannot be the mesh's authority") as caught:
        await replica(kube, [])
    assert words in str(caught.value)
