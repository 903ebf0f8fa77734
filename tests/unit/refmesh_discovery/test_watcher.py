"""Following the API server: nothing it does, short of saying so, makes refmesh forget what it knew."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.config import watcher as watcher_module
from refmesh.config.model import ABSENT, Snapshot, key_of
from refmesh.config.store import Store
from refmesh.config.watcher import Watcher
from refmesh.kubeclient import Kube
from tests.examples import at_least
from tests.unit.refmesh_discovery.apiserver import ApiServer
from tests.unit.refmesh_discovery.helpers import endpoint_slice, pod, policy, service

PODS, SERVICES = "/api/v1/pods", "/api/v1/services"
PEERS = "/apis/security.istio.io/v1/peerauthentications"
OLDER_PEERS = "/apis/security.istio.io/v1beta1/peerauthentications"


class Follower:
    """A watcher with the snapshots that it published."""

    def __init__(self, server: ApiServer) -> None:
        self.kube = Kube(server.url, None)
        self.snapshots: list[Snapshot] = []
        self.published = asyncio.Event()
        self.watcher = Watcher(self.kube, Store(), self.publish)

    def publish(self, snapshot: Snapshot) -> None:
        self.snapshots.append(snapshot)
        self.published.set()

    async def until(self, holds: Callable[[Snapshot], Any]) -> Snapshot:
        async with asyncio.timeout(10):
            while not (self.snapshots and holds(self.snapshots[-1])):
                self.published.clear()
                await self.published.wait()
        return self.snapshots[-1]


@asynccontextmanager
async def following(server: ApiServer) -> AsyncIterator[Follower]:
    follower = Follower(server)
    try:
        async with asyncio.timeout(20):
            await follower.watcher.start()
        yield follower
    finally:
        await follower.watcher.close()
        await follower.kube.close()


@pytest.fixture
async def server(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ApiServer]:
    monkeypatch.setattr(watcher_module, "_BACKOFF_SECONDS", (0.01, 0.02))
    monkeypatch.setattr(watcher_module, "_ABSENT_KIND_SECONDS", 0.02)
    async with ApiServer().serving() as found:
        found.items[SERVICES] = [service("echo")]
        found.items[PODS] = [pod("a")]
        yield found


async def test_the_first_snapshot_is_complete(server: ApiServer) -> None:
    async with following(server) as follower:
        assert set(follower.snapshots[0].pods) == {("shop", "a")}
        assert set(follower.snapshots[0].services) == {("shop", "echo")}


async def test_events_change_it_and_a_burst_becomes_few_snapshots(server: ApiServer) -> None:
    async with following(server) as follower:
        await server.watched(PODS, 1)
        for index in range(100):
            server.push(PODS, "ADDED", pod(f"p{index}", f"10.2.0.{index}"))
        server.push(PODS, "DELETED", pod("a"))
        await follower.until(lambda snapshot: len(snapshot.pods) == 100 and ("shop", "a") not in snapshot.pods)
        assert len(follower.snapshots) < 10


async def test_a_dead_api_server_empties_nothing(server: ApiServer) -> None:
    async with following(server) as follower:
        await server.watched(PODS, 1)
        server.failing = True
        server.cut()
        lists = len(server.lists)
        await asyncio.sleep(0.2)
        assert all(snapshot.pods for snapshot in follower.snapshots)
        server.failing = False
        server.items[PODS] = [pod("b", "10.1.0.7")]
        await follower.until(lambda snapshot: set(snapshot.pods) == {("shop", "b")})
        assert len(server.lists) > lists


async def test_a_cut_watch_resumes_where_it_was(server: ApiServer) -> None:
    async with following(server):
        await server.watched(PODS, 1)
        server.push(PODS, "BOOKMARK", {"metadata": {"resourceVersion": "123"}})
        server.cut()
        await server.watched(PODS, 2)
        assert (PODS, "123") in server.watches
        assert [path for path, _ in server.lists].count(PODS) == 1


async def test_an_expired_version_means_a_fresh_list(server: ApiServer) -> None:
    async with following(server) as follower:
        await server.watched(PODS, 1)
        server.items[PODS] = [pod("c", "10.1.0.5")]
        server.expired.add(PODS)
        server.cut()
        await follower.until(lambda snapshot: set(snapshot.pods) == {("shop", "c")})


async def test_a_long_list_is_taken_in_piece_by_piece(server: ApiServer) -> None:
    """What a second list has nowhere is gone, not what a piece of it lacks."""
    server.page_size, server.items[PODS] = 10, [pod(f"p{number}", f"10.1.0.{number}") for number in range(25)]
    async with following(server) as follower:
        assert len(follower.snapshots[0].pods) == 25
        assert [more for path, more in server.lists if path == PODS] == ["", "10", "20"]
        await server.watched(PODS, 1)
        server.items[PODS] = server.items[PODS][:3] + server.items[PODS][12:]
        server.expired.add(PODS)
        server.cut()
        await follower.until(lambda snapshot: len(snapshot.pods) == 16)
        assert {("shop", "p0"), ("shop", "p24")} <= set(follower.snapshots[-1].pods)
        assert min(len(one.pods) for one in follower.snapshots) == 16


async def test_others_have_their_turn_between_two_objects_of_a_list(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.items[PODS] = [pod(f"p{number}", f"10.1.0.{number}") for number in range(5)]
    happened, put = list[str](), Store.put

    def noted(store: Store, source: str, obj: Any) -> bool:
        happened.append(source)
        asyncio.get_running_loop().call_soon(happened.append, "another")
        return put(store, source, obj)

    monkeypatch.setattr(Store, "put", noted)
    async with following(server):
        assert happened.count("Pod") == 5
        assert ("Pod", "Pod") not in pairwise(happened)


async def test_a_list_that_breaks_off_loses_nothing_that_it_told(server: ApiServer) -> None:
    server.page_size, server.items[PODS] = 1, [pod("a"), pod("b", "10.1.0.2")]
    async with following(server) as follower:
        await server.watched(PODS, 1)
        server.items[PODS][0] = pod("a", "10.9.9.9")
        server.broken_lists.add((PODS, "1"))
        server.expired.add(PODS)
        server.cut()
        await follower.until(lambda snapshot: snapshot.pods["shop", "a"].address == "10.9.9.9")


async def test_an_object_that_nobody_foresaw_hinders_no_other(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    put = Store.put

    def failing(store: Store, source: str, obj: Any) -> bool:
        if obj["metadata"]["name"] == "odd":
            raise KeyError("odd")
        return put(store, source, obj)

    server.items[PODS] = [pod("a"), pod("odd", "10.1.0.8"), pod("b", "10.1.0.9")]
    monkeypatch.setattr(Store, "put", failing)
    async with following(server) as follower:
        assert set(follower.snapshots[0].pods) == {("shop", "a"), ("shop", "b")}
        await server.watched(PODS, 1)
        server.push(PODS, "MODIFIED", pod("odd", "10.1.0.8"))
        server.push(PODS, "ADDED", pod("c", "10.1.0.10"))
        await follower.until(lambda snapshot: ("shop", "c") in snapshot.pods)
    assert "Pod ('shop', 'odd') cannot be read" in caplog.text


async def test_an_error_that_nobody_foresaw_ends_no_watch(
    server: ApiServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(server) as follower:
        await server.watched(PODS, 1)
        monkeypatch.setattr(Store, "drop", lambda *_: 1 / 0)
        server.push(PODS, "DELETED", pod("a"))
        await server.watched(PODS, 2)
        monkeypatch.undo()
        server.push(PODS, "ADDED", pod("b", "10.1.0.9"))
        await follower.until(lambda snapshot: ("shop", "b") in snapshot.pods)
    assert "following pods failed" in caplog.text


async def test_a_kind_that_appears_later_is_picked_up(server: ApiServer) -> None:
    server.missing |= {PEERS, OLDER_PEERS}
    server.items[PEERS] = [policy("default", {"mtls": {"mode": "STRICT"}})]
    async with following(server) as follower:
        assert not follower.snapshots[0].peer_authentications
        server.missing.clear()
        await follower.until(lambda snapshot: snapshot.peer_authentications)


async def test_a_kind_that_is_served_in_an_older_version_alone_is_read_in_that(
    server: ApiServer, caplog: pytest.LogCaptureFixture
) -> None:
    server.missing.add(PEERS)
    server.items[OLDER_PEERS] = [policy("default", {"mtls": {"mode": "STRICT"}})]
    async with following(server) as follower:
        assert set(follower.snapshots[0].peer_authentications) == {("shop", "default")}
        await server.watched(OLDER_PEERS)
        server.push(OLDER_PEERS, "ADDED", policy("other", {"mtls": {"mode": "STRICT"}}))
        await follower.until(lambda snapshot: ("shop", "other") in snapshot.peer_authentications)
    assert "peerauthentications are read in security.istio.io/v1beta1" in caplog.text


async def test_a_version_that_is_served_no_more_takes_nothing_out_of_force(server: ApiServer) -> None:
    server.items[PEERS] = [policy("default", {"mtls": {"mode": "STRICT"}})]
    server.items[OLDER_PEERS] = [*server.items[PEERS], policy("other", {"mtls": {"mode": "STRICT"}})]
    async with following(server) as follower:
        await server.watched(PEERS)
        server.missing.add(PEERS)
        server.cut()
        await follower.until(lambda snapshot: ("shop", "other") in snapshot.peer_authentications)
        assert all(snapshot.peer_authentications for snapshot in follower.snapshots)
        server.missing.add(OLDER_PEERS)
        server.cut()
        await follower.until(lambda snapshot: not snapshot.peer_authentications)


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["Service", "Pod", "EndpointSlice", "PeerAuthentication"]),
        st.sampled_from(["a", "b"]),
        st.sampled_from(["put", "change", "drop"]),
    ),
    max_size=30,
)


def objects(source: str, name: str, *, changed: bool) -> dict[str, Any]:
    if source == "Service":
        return service(name, "10.0.0.9" if changed else "10.0.0.1")
    if source == "Pod":
        return pod(name, "10.1.0.9" if changed else "10.1.0.1")
    if source == "EndpointSlice":
        made = endpoint_slice("a" if changed else "b", [pod(name)])
        made["metadata"]["name"] = name
        return made
    return policy(name, {"mtls": {"mode": "NONSENSE" if changed else "STRICT"}})


@at_least(100)
@given(events=EVENTS)
def test_events_lead_to_the_same_state_as_a_list_of_what_is_left(events):
    store = Store()
    left: dict[tuple[str, str], Any] = {}
    for source, name, action in events:
        if action == "drop":
            store.drop(source, ("shop", name))
            left.pop((source, name), None)
        else:
            left[source, name] = objects(source, name, changed=action == "change")
            store.put(source, left[source, name])
    fresh = Store()
    for source in ("Service", "Pod", "EndpointSlice", "PeerAuthentication"):
        items = [item for (kind, _), item in left.items() if kind == source]
        for item in items:
            fresh.put(source, item)
            assert store.put(source, item) is False
        assert store.keep(source, {key_of(item) for item in items}) is False
    found, wanted = store.snapshot(), fresh.snapshot()
    for table in ("services", "pods", "slices", "peer_authentications", "rejected"):
        assert getattr(found, table) == getattr(wanted, table), table


async def test_the_first_snapshot_has_what_the_lists_lead_to() -> None:
    async with ApiServer().serving() as server:
        server.items[SERVICES] = [service("echo")]
        follower = Follower(server)
        store = follower.watcher._store

        async def listed() -> None:
            assert store.snapshot().services
            store.put_certificate(("shop", "cert"), ABSENT)
            follower.watcher.changed()

        async with asyncio.timeout(20):
            await follower.watcher.start(listed)
        assert [set(one.certificates) for one in follower.snapshots] == [{("shop", "cert")}]
        await follower.watcher.close()
        await follower.kube.close()
