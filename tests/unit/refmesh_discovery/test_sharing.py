"""Keys of issuers and certificates of gateways, of which there is room for some: whose are had."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.api.istio_gateway import MOST_SERVERS
from refmesh.api.request_authentication import MOST_RULES
from refmesh.config.ingress import wanted_certificates
from refmesh.config.jwks import wanted_addresses
from refmesh.config.sharing import chosen
from tests.unit.refmesh_discovery.helpers import MemoryCluster, policy
from tests.unit.refmesh_ingress.classic_doors import DOOR, istio_gateway, secure, with_door
from tests.unit.refmesh_ingress.doorways import key_pair

IDP = "https://idp.example.com/keys"


def things(namespace: str, count: int) -> list[tuple[str, str]]:
    return [(namespace, f"{namespace}{index:03}") for index in range(count)]


def counted(found: list[str]) -> dict[str, int]:
    return {letter: sum(thing.startswith(letter) for thing in found) for letter in "abc"}


@pytest.mark.parametrize(
    ("wanted", "held", "numbers"),
    [
        ([("a", 60), ("b", 40)], "", {"a": 60, "b": 40, "c": 0}),
        ([("a", 500), ("b", 500), ("c", 10)], "", {"a": 45, "b": 45, "c": 10}),
        ([("a", 500), ("b", 1)], "a", {"a": 99, "b": 1, "c": 0}),
        ([("a", 500), ("b", 500)], "a", {"a": 80, "b": 20, "c": 0}),
        ([("a", 500), ("b", 70)], "b", {"a": 30, "b": 70, "c": 0}),
        ([("a", 500), ("b", 30), ("c", 30)], "bc", {"a": 40, "b": 30, "c": 30}),
    ],
)
def test_namespaces_have_as_many_each_and_what_is_in_force_counts_a_quarter(
    wanted: list[tuple[str, int]], held: str, numbers: dict[str, int]
) -> None:
    asked = [one for namespace, count in wanted for one in things(namespace, count)]
    assert counted(chosen(asked, {thing for _, thing in asked if thing[0] in held}, 100)) == numbers


def test_of_a_namespace_what_is_in_force_comes_first_and_then_the_older() -> None:
    assert chosen(things("a", 5), {"a003", "a004"}, 4) == ["a003", "a004", "a000", "a001"]


WANTED = st.lists(st.tuples(st.sampled_from("abcd"), st.integers(0, 30)), max_size=60)


@given(WANTED, st.sets(st.integers(0, 30)), st.integers(1, 12))
def test_the_choice_holds_once_it_is_in_force(wanted: list[tuple[str, int]], held: set[int], room: int) -> None:
    first = chosen(wanted, held, room)
    assert len(first) == min(room, len({thing for _, thing in wanted}))
    assert set(chosen(wanted, set(first), room)) == set(first)


def test_who_asks_for_keys_of_ever_more_issuers_ends_no_others_tokens() -> None:
    cluster = MemoryCluster().put("RequestAuthentication", issuers([IDP], "shop"))
    cluster.store.put_keys(IDP, "{}")
    many = [[f"http://x/{number}-{index}" for index in range(MOST_RULES)] for number in range(3)]
    for number, uris in enumerate(many):
        cluster.put("RequestAuthentication", issuers(uris, "tenant", f"r{number}"))
    cluster.put("RequestAuthentication", issuers(["https://young.example.com/keys"], "young"))
    found = wanted_addresses(cluster.snapshot())
    assert len(found) == 500
    assert {IDP, "https://young.example.com/keys"} <= found.keys()


def issuers(uris: list[str], namespace: str, name: str = "r") -> dict[str, Any]:
    rules = [{"issuer": "x", "jwksUri": uri} for uri in uris]
    return policy(name, {"jwtRules": rules}, namespace)


def test_a_gateway_that_names_ever_more_secrets_closes_no_other() -> None:
    cluster = with_door(("IstioGateway", istio_gateway(secure("shop-tls", "shop.com"), namespace="shop")))
    cluster.store.put_certificate((DOOR[0], "shop-tls"), key_pair())
    for number in range(2):
        many = [secure(f"{number}-{index:03}", f"h{number}-{index}.com") for index in range(MOST_SERVERS)]
        cluster.put("IstioGateway", istio_gateway(*many, name=f"g{number}", namespace="aaa"))
    cluster.put("IstioGateway", istio_gateway(secure("young-tls", "young.com"), namespace="young"))
    found = wanted_certificates(cluster.snapshot())
    assert len(found) == 500
    assert {(DOOR[0], "shop-tls"), (DOOR[0], "young-tls")} <= found
