"""The delta protocol: whatever happens, and in whatever order, a proxy ends up with exactly what there is for it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from hypothesis import example, given
from hypothesis import strategies as st

from refmesh.discovery.resource import Encoded, ResourceType
from refmesh.discovery.stream import STALL_SECONDS, ProxyState
from tests.examples import at_least
from tests.unit.refmesh_discovery.simulated import SimulatedProxy, Toy, exchange

C, E, _, L, R = ResourceType
NAMES = st.sampled_from(["a", "b", "c", "d"])


Both = tuple[Toy, Toy]
"""What all proxies share, and what the proxy has alone, which stands before it where both have a name."""


@st.composite
def worlds(draw: st.DrawFn, *, flaws: bool) -> Both:
    def toy(reachable: set[str], versions: st.SearchStrategy[int]) -> Toy:
        clusters = draw(st.dictionaries(NAMES, versions, max_size=4))
        reachable = reachable | set(clusters)
        listeners = draw(st.dictionaries(NAMES, versions, max_size=4)) if reachable else {}
        return Toy(
            clusters=clusters,
            endpoints=draw(st.dictionaries(NAMES, versions, max_size=4)),
            listeners=listeners,
            routes={name: draw(st.sampled_from(sorted(reachable))) for name in listeners},
            bad=frozenset(draw(st.sets(NAMES, max_size=2))) if flaws else frozenset(),
        )

    shared = toy(set(), st.integers(0, 2))
    return shared, toy(set(shared.clusters), st.integers(2, 4))


def steps(*, flaws: bool) -> st.SearchStrategy[list[tuple[str, object]]]:
    return st.lists(
        st.one_of(
            st.tuples(st.just("world"), worlds(flaws=flaws)),
            st.tuples(st.just("talk"), st.integers(0, 4)),
            st.tuples(st.just("reconnect"), st.none()),
        ),
        max_size=25,
    )


def play(script: list[tuple[str, object]], last: Both) -> SimulatedProxy:
    """Run a script, then let the last world settle."""
    server, proxy, now = ProxyState(), SimulatedProxy(), 0.0
    tables, own = Toy().tables(), Toy().tables()
    server.offer(tables, own)
    proxy.connect()
    for kind, value in [*script, ("world", last)]:
        now += 0.01
        if isinstance(value, tuple):
            shared, alone = value
            tables, own = shared.tables(tables), alone.tables(own)
            server.offer(tables, own)
        elif kind == "talk":
            assert isinstance(value, int)
            exchange(server, proxy, now, answers=value)
        else:
            server = ProxyState()
            server.offer(tables, own)
            proxy.connect()
    exchange(server, proxy, now)
    assert server.in_step
    assert server.responses(now) == []
    assert server.wake(now) is None
    for table_kind in (C, E, L, R):
        wanted = proxy.subscribed.get(table_kind)
        there = {name: item.version for name, item in {**tables[table_kind], **own[table_kind]}.items()}
        assert proxy.has[table_kind] == {name: there[name] for name in there if wanted is None or name in wanted}
    return proxy


@at_least(200)
@given(script=steps(flaws=False), last=worlds(flaws=False))
def test_a_proxy_ends_equal_to_a_fresh_one_and_nothing_breaks_on_the_way(script, last):
    assert play(script, last).violations == []


CROSSING = [
    ("world", (Toy(clusters={"a": 0, "b": 0}), Toy())),
    ("talk", 0),
    ("world", (Toy(clusters={"b": 0}, listeners={"a": 0}, routes={"a": "b"}), Toy())),
    ("reconnect", None),
    ("talk", 2),
    ("world", (Toy(clusters={"a": 0}), Toy())),
    ("talk", 0),
]
"""Endpoints of a are on their way when the proxy says that it no longer wants them."""


@at_least(200)
@given(script=steps(flaws=True), last=worlds(flaws=False))
@example(script=CROSSING, last=(Toy(), Toy()))
def test_rejected_pushes_heal_with_the_next_good_version(script, last):
    play(script, last)


def test_a_rejection_is_reported_and_the_next_version_sent() -> None:
    server, proxy = ProxyState(), SimulatedProxy()
    bad = Toy(clusters={"a": 1, "b": 1}, bad=frozenset({"a"}))
    tables = bad.tables()
    server.offer(tables, {})
    proxy.connect()
    exchange(server, proxy, 0.0)
    assert proxy.has[C] == {"b": "1"}
    assert server.status()["CDS"]["rejected"] == "bad ['a']"
    server.offer(replace(bad, clusters={"a": 2, "b": 1}, bad=frozenset()).tables(tables), {})
    exchange(server, proxy, 0.1)
    assert proxy.has[C] == {"a": "2", "b": "1"}
    assert server.status()["CDS"]["rejected"] == ""


def test_a_rejection_is_reported_until_what_was_rejected_is_acknowledged_or_gone() -> None:
    server, proxy = ProxyState(), SimulatedProxy()
    world = Toy(clusters={"a": 1, "b": 1, "c": 1}, bad=frozenset({"a", "c"}))
    tables = world.tables()

    def reported(**clusters: int) -> tuple[str, int]:
        nonlocal tables
        tables = replace(world, clusters=clusters).tables(tables)
        server.offer(tables, {})
        exchange(server, proxy, 0.0)
        status = server.status()["CDS"]
        return status["rejected"], status["kept"]

    server.offer(tables, {})
    proxy.connect()
    assert reported(a=1, b=1, c=1) == ("bad ['a', 'c']", 2)
    assert reported(a=1, b=2, c=1) == ("bad ['a', 'c']", 2)
    world = replace(world, bad=frozenset({"c"}))
    assert reported(a=2, b=2, c=1) == ("bad ['a', 'c']", 1)
    assert reported(a=2, b=2) == ("", 0)


@pytest.mark.parametrize(
    ("kind", "reason"), [(C, "no such extension"), (C, "b: " + "!" * 4100), (R, "Only one wildcard in route b")]
)
def test_everything_of_a_rejected_push_is_in_doubt_where_the_proxy_may_have_taken_none_of_it(
    kind: ResourceType, reason: str
) -> None:
    server = ProxyState()

    def answer(versions: dict[str, int], problem: str) -> int:
        found = {name: Encoded(name, str(version), b"") for name, version in versions.items()}
        server.offer({kind: found}, {})
        (push,) = server.responses(0.0)
        request = DeltaDiscoveryRequest(type_url=kind.value, response_nonce=push.nonce)
        if problem:
            request.error_detail.message = problem
        server.request(request)
        return int(server.status()[kind.short]["kept"])

    server.request(DeltaDiscoveryRequest(type_url=kind.value))
    assert answer({"a": 1, "b": 1}, reason) == 2
    assert answer({"a": 1, "b": 2}, "") == 1
    assert answer({"a": 2, "b": 2}, "") == 0


def test_changes_that_pile_up_become_one_response() -> None:
    server = ProxyState()
    tables = Toy(clusters={"a": 0}).tables()
    server.offer(tables, {})
    server.request(DeltaDiscoveryRequest(type_url=C.value))
    first = server.responses(0.0)
    assert [response.kind for response in first] == [C]
    for version in range(1, 50):
        tables = Toy(clusters={"a": version}).tables(tables)
        server.offer(tables, {})
        assert server.responses(0.1) == []
    server.request(DeltaDiscoveryRequest(type_url=C.value, response_nonce=first[0].nonce))
    (second,) = server.responses(0.2)
    assert [item.version for item in second.resources] == ["49"]


def test_a_proxy_that_does_not_answer_delays_others_only_for_a_while() -> None:
    server = ProxyState()
    server.offer(Toy(clusters={"a": 0}, listeners={"l": 0}).tables(), {})
    for kind in (C, L):
        server.request(DeltaDiscoveryRequest(type_url=kind.value))
    assert [response.kind for response in server.responses(0.0)] == [C]
    assert server.responses(STALL_SECONDS / 2) == []
    assert server.wake(0.0) == STALL_SECONDS
    assert [response.kind for response in server.responses(STALL_SECONDS)] == [L]


def test_what_a_proxy_asks_for_again_is_sent_again_and_what_is_missing_is_named() -> None:
    server = ProxyState()
    server.offer(Toy(clusters={"a": 0}).tables(), {})
    asked = DeltaDiscoveryRequest(type_url=E.value, resource_names_subscribe=["a", "nobody"])
    for _ in range(2):
        server.request(asked)
        (response,) = server.responses(0.0)
        assert [item.name for item in response.resources] == ["a"]
        assert response.removed == ("nobody",)


def test_a_stale_nonce_acknowledges_nothing() -> None:
    server = ProxyState()
    server.offer(Toy(clusters={"a": 0}).tables(), {})
    server.request(DeltaDiscoveryRequest(type_url=C.value))
    server.responses(0.0)
    server.request(DeltaDiscoveryRequest(type_url=C.value, response_nonce="999"))
    assert not server.in_step


def test_an_unknown_type_is_ignored() -> None:
    server = ProxyState()
    assert server.request(DeltaDiscoveryRequest(type_url="type.googleapis.com/nobody")) is None
    assert server.responses(0.0) == []


def test_a_cluster_that_changed_while_a_proxy_was_away_gets_its_endpoints_though_it_has_them() -> None:
    tables = Toy(clusters={"a": 2, "b": 1}).tables()
    server = ProxyState()
    server.offer(tables, {})
    server.request(DeltaDiscoveryRequest(type_url=C.value, initial_resource_versions={"a": "1", "b": "1"}))
    assert [[item.name for item in one.resources] for one in server.responses(0.0)] == [["a"]]
    has = {name: item.version for name, item in tables[E].items()}
    again = DeltaDiscoveryRequest(type_url=E.value, resource_names_subscribe=["a", "b"], initial_resource_versions=has)
    server.request(again)
    assert [(one.kind, [item.name for item in one.resources]) for one in server.responses(0.1)] == [(E, ["a"])]
    assert server.responses(0.2) == []


def test_after_a_reconnect_only_the_difference_is_sent() -> None:
    tables = Toy(clusters={"a": 1, "b": 1}).tables()
    server = ProxyState()
    server.offer(tables, {})
    server.request(DeltaDiscoveryRequest(type_url=C.value, initial_resource_versions={"a": "1", "b": "0", "gone": "1"}))
    first, second = server.responses(0.0), []
    assert [[item.name for item in response.resources] for response in first] == [["b"]]
    server.request(DeltaDiscoveryRequest(type_url=C.value, response_nonce=first[0].nonce))
    second = server.responses(0.1)
    assert [response.removed for response in second] == [("gone",)]
