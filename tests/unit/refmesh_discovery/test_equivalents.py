"""Equivalents change what the proxy is given, and not what it does."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from refmesh import defects
from refmesh.api.routing import Destination, Match, NamedMatch, Rule, TextMatch
from refmesh.defects.registry import seam
from refmesh.discovery import endpoints, names, route_match, routes
from refmesh.injector.containers import Config
from refmesh.injector.patch import patch


@pytest.fixture(autouse=True)
def sound_again() -> Iterator[None]:
    kept = [*map(seam, defects.equivalents())]
    sound = [getattr(owner, name) for owner, name in kept]
    yield
    for (owner, name), function in zip(kept, sound, strict=True):
        setattr(owner, name, function)


def split() -> Any:
    rule = Rule(
        matches=(Match(headers=(NamedMatch("x-user", TextMatch("exact", "a.b (c)")),)),),
        destinations=(Destination("web", 80, weight=90, subset="v1"), Destination("web", 80, weight=10, subset="v2")),
    )
    return routes.route_configuration(routes.RouteSpec("web", 80, (rule,)))


def shares(configuration: Any) -> dict[str, float]:
    clusters = configuration.virtual_hosts[0].routes[0].route.weighted_clusters.clusters
    whole = sum(one.weight.value for one in clusters)
    return {one.name: one.weight.value / whole for one in clusters}


@pytest.mark.parametrize("name", ["variant-clusters-backwards", "variant-weights-tenfold"])
def test_shares_stay(name: str) -> None:
    sound = split()
    defects.switch_on(name)
    assert split() != sound
    assert shares(split()) == shares(sound)


def test_routes_are_renamed_wherever_they_are_named() -> None:
    sound = split()
    defects.switch_on("variant-routes-renamed")
    renamed = split()
    assert renamed.name == names.route_name("web", 80) != sound.name
    renamed.name = sound.name
    renamed.virtual_hosts[0].name = sound.virtual_hosts[0].name
    assert renamed == sound


@pytest.mark.parametrize("value", ["a.b (c)", "", "^$", "a|b", "\\d"])
def test_an_exact_match_by_regular_expression_matches_exactly(value: str) -> None:
    defects.switch_on("variant-exact-by-regex")
    matcher = route_match.string_matcher(TextMatch("exact", value))
    assert re.fullmatch(matcher.safe_regex.regex, value)
    assert not re.fullmatch(matcher.safe_regex.regex, f"{value}x")
    assert route_match.string_matcher(TextMatch("prefix", value)).prefix == value


def test_endpoints_are_the_same_in_another_order() -> None:
    addresses = (endpoints.Address("10.0.0.1", 80, mtls=True), endpoints.Address("10.0.0.2", 80))
    sound = endpoints.assignment("c", addresses).endpoints[0].lb_endpoints
    defects.switch_on("variant-endpoints-backwards")
    assert list(endpoints.assignment("c", addresses).endpoints[0].lb_endpoints) == list(sound)[::-1]


def test_two_workers_unless_the_user_says_otherwise() -> None:
    defects.switch_on("variant-two-workers")
    config = Config(image="i", root_pem="r", control_plane="c", trust_domain="t")
    for own, workers in (({}, "2"), ({"proxy.refmesh.io/concurrency": "3"}, "3")):
        pod = {"metadata": {"annotations": own}, "spec": {"containers": [{"name": "app", "image": "a"}]}}
        found = patch(pod, {"istio-injection": "enabled"}, config)
        assert isinstance(found, list)
        proxy = next(op["value"] for op in found if op["path"] == "/spec/initContainers")[1]
        assert {"name": "REFMESH_CONCURRENCY", "value": workers} in proxy["env"]
