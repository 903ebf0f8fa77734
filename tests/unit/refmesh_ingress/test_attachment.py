"""Who is attached to which listener, and which host belongs to whom."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.api.hostnames import covers, intersection, specificity
from refmesh.discovery.gateways import ports_of
from tests.unit.refmesh_discovery.helpers import MemoryCluster, policy
from tests.unit.refmesh_ingress.doorways import https, key_pair, listener, opened, route, with_gateway

LABELS = st.sampled_from(["a", "b", "example", "com"])
EXACT = st.lists(LABELS, min_size=1, max_size=4).map(".".join)
PATTERNS = st.one_of(st.just(""), EXACT, EXACT.map(lambda name: f"*.{name}"))


def stands_for(pattern: str, host: str) -> bool:
    """By the specification's words, label by label."""
    if not pattern:
        return True
    if not pattern.startswith("*."):
        return pattern == host
    wanted, given = pattern.split(".")[1:], host.split(".")
    return len(given) > len(wanted) and given[-len(wanted) :] == wanted


@given(one=PATTERNS, other=PATTERNS, host=EXACT)
def test_the_intersection_stands_for_exactly_the_hosts_of_both(one: str, other: str, host: str) -> None:
    common = intersection(one, other)
    both = stands_for(one, host) and stands_for(other, host)
    assert both == (common is not None and stands_for(common, host))


@given(one=PATTERNS, other=PATTERNS)
def test_who_covers_another_is_not_more_specific(one: str, other: str) -> None:
    if covers(one, other) and one != other:
        assert specificity(other) < specificity(one)
        assert not covers(other, one)


def outcome(cluster: MemoryCluster, name: tuple[str, str] = ("shop", "r"), kind: str = "HTTPRoute") -> str:
    _, found = opened(cluster)
    (result,) = [item for (of_kind, key, _), item in found.outcomes.items() if (of_kind, key) == (kind, name)]
    return result.reason


@pytest.mark.parametrize(
    ("parent", "spec", "expected"),
    [
        ({}, {}, "Accepted"),
        ({"sectionName": "web"}, {}, "Accepted"),
        ({"sectionName": "nope"}, {}, "NoMatchingParent"),
        ({"port": 80}, {}, "Accepted"),
        ({"port": 81}, {}, "NoMatchingParent"),
        ({"sectionName": "web", "port": 81}, {}, "NoMatchingParent"),
        ({}, {"hostnames": ["a.example.com", "other.org"]}, "Accepted"),
        ({}, {"hostnames": ["*.com"]}, "Accepted"),
        ({}, {"hostnames": ["example.com", "other.org"]}, "NoMatchingListenerHostname"),
    ],
)
def test_a_route_is_told_how_near_it_came(parent: dict[str, Any], spec: dict[str, Any], expected: str) -> None:
    cluster = with_gateway(listener("web", hostname="*.example.com"))
    assert outcome(cluster.put("HTTPRoute", route(parent=parent, spec=spec))) == expected


def test_whose_routes_a_listener_takes() -> None:
    selector = {"matchLabels": {"team": "red"}, "matchExpressions": [{"key": "old", "operator": "DoesNotExist"}]}
    for allowed, expected in (
        ({}, "NotAllowedByListeners"),
        ({"namespaces": {"from": "Same"}}, "NotAllowedByListeners"),
        ({"namespaces": {"from": "All"}}, "Accepted"),
        ({"namespaces": {"from": "Selector", "selector": selector}}, "Accepted"),
        ({"namespaces": {"from": "Selector", "selector": {"matchLabels": {"team": "blue"}}}}, "NotAllowedByListeners"),
        ({"namespaces": {"from": "All"}, "kinds": [{"kind": "GRPCRoute"}]}, "NotAllowedByListeners"),
    ):
        cluster = with_gateway(listener("web", allowedRoutes=allowed))
        cluster.put("Namespace", {"metadata": {"name": "far", "labels": {"team": "red"}}})
        assert outcome(cluster.put("HTTPRoute", route(namespace="far")), ("far", "r")) == expected


def test_of_two_kinds_for_one_host_the_older_is_taken() -> None:
    cluster = with_gateway()
    old = policy("g", {"parentRefs": [{"name": "front"}], "rules": []}, created="2025-01-01T00:00:00Z")
    cluster.put("GRPCRoute", old).put("HTTPRoute", route())
    assert outcome(cluster) == "Conflicted"
    assert outcome(cluster, ("shop", "g"), "GRPCRoute") == "Accepted"
    cluster.put("HTTPRoute", route(created="2024-01-01T00:00:00Z"))
    assert outcome(cluster) == "Accepted"


def sites(cluster: MemoryCluster) -> dict[str, list[str]]:
    """Host -> names of the backends of its rules, in order."""
    snapshot, found = opened(cluster)
    return {
        site.domain: [target.host.partition(".")[0] for rule in site.rules for target in rule.destinations]
        for port in ports_of(snapshot, found)
        for chain in port.chains
        for site in chain.sites
    }


def test_listeners_are_isolated_and_more_specific_routes_come_first() -> None:
    cluster = with_gateway(listener("all"), listener("wild", hostname="*.a.com"), listener("one", hostname="x.a.com"))
    cluster.put("HTTPRoute", route("everywhere", parent={"sectionName": "all"}, backend="all"))
    cluster.put("HTTPRoute", route("b", parent={"sectionName": "all"}, spec={"hostnames": ["b.com"]}, backend="b"))
    cluster.put("HTTPRoute", route("w", parent={"sectionName": "wild"}, backend="wild"))
    cluster.put("HTTPRoute", route("y", parent={"sectionName": "wild"}, spec={"hostnames": ["y.a.com"]}, backend="y"))
    # Of the wildcard's listener, but for a host that is another listener's.
    cluster.put("HTTPRoute", route("x", parent={"sectionName": "wild"}, spec={"hostnames": ["x.a.com"]}, backend="x"))
    assert sites(cluster) == {
        "*": ["all"],
        "b.com": ["b", "all"],
        "*.a.com": ["wild"],
        "y.a.com": ["y", "wild"],
        "x.a.com": [],
    }


def test_a_host_of_another_listener_is_misdirected_over_tls() -> None:
    cluster = with_gateway(https("web", hostname="a.com"), https("wild", hostname="*.b.com"))
    cluster.store.put_certificate(("shop", "cert"), key_pair())
    snapshot, found = opened(cluster.put("HTTPRoute", route()))
    (port,) = ports_of(snapshot, found)
    told = {chain.server_names: {site.domain: site.misdirected for site in chain.sites} for chain in port.chains}
    assert told == {
        ("a.com",): {"a.com": False, "*.b.com": True},
        ("*.b.com",): {"*.b.com": False, "a.com": True},
    }


HOSTS = st.sampled_from(["", "a.com", "*.a.com", "x.a.com", "*.x.a.com", "com", "*.com"])


@given(listeners=st.lists(HOSTS, unique=True, min_size=1), routes=st.lists(HOSTS, max_size=4), host=EXACT)
def test_a_request_is_judged_by_the_listener_that_names_its_host_best(
    listeners: list[str], routes: list[str], host: str
) -> None:
    cluster = with_gateway(
        *(listener(f"l{index}", 80, **({"hostname": name} if name else {})) for index, name in enumerate(listeners))
    )
    for index, name in enumerate(routes):
        spec = {"hostnames": [name]} if name else {}
        cluster.put("HTTPRoute", route(f"r{index}", backend=f"r{index}", spec=spec))
    found = sites(cluster)
    # As Envoy chooses: the exact name, then the longest wildcard, then `*`.
    chosen = min(
        (domain for domain in found if stands_for("" if domain == "*" else domain, host)),
        key=lambda domain: specificity("" if domain == "*" else domain),
        default=None,
    )
    best = min((name for name in listeners if stands_for(name, host)), key=specificity, default=None)
    if best is None:
        assert chosen is None
        return
    assert chosen is not None
    expected = {f"r{index}" for index, name in enumerate(routes) if stands_for(name, host)}
    assert set(found[chosen]) == expected
