"""Statuses say what is, keep what others wrote, and are written only when something changed."""

from __future__ import annotations

from typing import Any
from unittest.mock import ANY

from refmesh.config.ingress import CONTROLLER
from refmesh.config.status import wanted_parents
from tests.unit.refmesh_discovery.helpers import MemoryCluster, policy, service
from tests.unit.refmesh_discovery.test_generation import headless

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
PARENT = {"group": "", "kind": "Service", "name": "echo", "port": 80}


def route(backend: str = "echo", parent: dict[str, Any] = PARENT, **rule: Any) -> dict[str, Any]:
    rules = [{"backendRefs": [{"name": backend, "port": 80}], **rule}]
    return policy("r", {"parentRefs": [parent], "rules": rules}, generation=3)


def conditions(raw: dict[str, Any], cluster: MemoryCluster | None = None) -> dict[str, tuple[str, str]]:
    snapshot = (cluster or MemoryCluster().with_echo()).put("HTTPRoute", raw).snapshot()
    parents = wanted_parents(snapshot, "HTTPRoute", ("shop", "r"), raw, NOW)
    assert parents is not None
    assert parents[-1]["controllerName"] == CONTROLLER
    return {item["type"]: (item["status"], item["reason"]) for item in parents[-1]["conditions"]}


def test_a_sound_route_is_accepted_and_resolved() -> None:
    assert conditions(route()) == {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}


def test_what_is_wrong_is_said() -> None:
    assert conditions(route("missing"))["ResolvedRefs"] == ("False", "BackendNotFound")
    assert conditions(route(parent={**PARENT, "port": 81}))["Accepted"] == ("False", "NoMatchingParent")
    assert conditions(route(parent={**PARENT, "port": 90}))["Accepted"] == ("False", "NoMatchingParent")
    assert conditions(route(parent={**PARENT, "name": "nobody"}))["Accepted"] == ("False", "NoMatchingParent")
    assert conditions(route(filters=[{"type": "Nope"}]))["Accepted"] == ("False", "UnsupportedValue")


def test_a_route_of_a_headless_service_is_not_said_to_be_in_force() -> None:
    assert conditions(route(), headless(MemoryCluster().with_echo()))["Accepted"] == ("False", "NoMatchingParent")


def test_a_status_that_is_right_is_not_written_again() -> None:
    raw = route()
    snapshot = MemoryCluster().with_echo().put("HTTPRoute", raw).snapshot()
    raw["status"] = {"parents": wanted_parents(snapshot, "HTTPRoute", ("shop", "r"), raw, NOW)}
    assert wanted_parents(snapshot, "HTTPRoute", ("shop", "r"), raw, LATER) is None


def test_entries_stay_where_they_are_whoever_ordered_them() -> None:
    raw, second = route(), {**PARENT, "port": 90}
    raw["spec"]["parentRefs"].append(second)
    other = {"controllerName": "example.com/other", "parentRef": PARENT, "conditions": []}
    gone = {"controllerName": CONTROLLER, "parentRef": {**PARENT, "name": "gone"}, "conditions": []}
    snapshot = MemoryCluster().with_echo().put("HTTPRoute", raw).snapshot()
    one, two = wanted_parents(snapshot, "HTTPRoute", ("shop", "r"), raw, NOW) or []
    raw["status"] = {"parents": [one, other]}
    assert wanted_parents(snapshot, "HTTPRoute", ("shop", "r"), raw, LATER) == [one, other, {**two, "conditions": ANY}]
    raw["status"] = {"parents": [two, gone, other, {**one, "conditions": []}]}
    found = wanted_parents(snapshot, "HTTPRoute", ("shop", "r"), raw, NOW)
    assert found == [two, other, one]
    raw["status"] = {"parents": found}
    assert wanted_parents(snapshot, "HTTPRoute", ("shop", "r"), raw, LATER) is None


def test_other_controllers_entries_stay_and_times_change_only_with_the_status() -> None:
    raw = route()
    other = {"controllerName": "example.com/other", "parentRef": PARENT, "conditions": []}
    snapshot = MemoryCluster().with_echo().put("HTTPRoute", raw).snapshot()
    raw["status"] = {"parents": [other, *(wanted_parents(snapshot, "HTTPRoute", ("shop", "r"), raw, NOW) or [])]}
    broken = MemoryCluster().with_echo().drop("Service", "echo").put("HTTPRoute", raw).snapshot()
    parents = wanted_parents(broken, "HTTPRoute", ("shop", "r"), raw, LATER)
    assert parents is not None
    assert parents[0] == other
    assert {item["lastTransitionTime"] for item in parents[1]["conditions"]} == {LATER}


def test_a_route_of_a_gateway_is_none_of_our_business() -> None:
    raw = policy("r", {"parentRefs": [{"name": "a-gateway"}], "rules": []})
    snapshot = MemoryCluster().with_echo().put("HTTPRoute", raw).snapshot()
    assert wanted_parents(snapshot, "HTTPRoute", ("shop", "r"), raw, NOW) is None


def test_a_backend_elsewhere_needs_a_grant_of_its_owner_and_says_so() -> None:
    raw = route()
    raw["spec"]["rules"] = [{"backendRefs": [{"name": "other", "namespace": "far", "port": 80}]}]
    cluster = MemoryCluster().with_echo().put("Service", service("other", "10.0.0.9", "far"))
    assert conditions(raw, cluster)["ResolvedRefs"] == ("False", "RefNotPermitted")
    grant: dict[str, Any] = {
        "metadata": {"name": "g", "namespace": "far"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": "shop"}],
            "to": [{"group": "", "kind": "Service", "name": "other"}],
        },
    }
    assert conditions(raw, cluster.put("ReferenceGrant", grant))["ResolvedRefs"] == ("True", "ResolvedRefs")
    grant["spec"]["from"][0]["kind"] = "GRPCRoute"
    assert conditions(raw, cluster.put("ReferenceGrant", grant))["ResolvedRefs"] == ("False", "RefNotPermitted")


def test_a_consumer_s_route_may_send_on_to_its_own_parent() -> None:
    raw = policy("r", {"parentRefs": [{**PARENT, "namespace": "shop"}], "rules": []}, namespace="consumer")
    raw["spec"]["rules"] = [{"backendRefs": [{"name": "echo", "namespace": "shop", "port": 80}]}]
    snapshot = MemoryCluster().with_echo().put("HTTPRoute", raw).snapshot()
    parents = wanted_parents(snapshot, "HTTPRoute", ("consumer", "r"), raw, NOW)
    assert parents is not None
    assert {item["status"] for item in parents[0]["conditions"]} == {"True"}


def test_an_entry_for_a_parent_that_was_dropped_goes() -> None:
    raw = policy("r", {"parentRefs": [{"name": "a-gateway"}], "rules": []})
    other = {"controllerName": "example.com/other", "parentRef": {"name": "a-gateway"}, "conditions": []}
    raw["status"] = {"parents": [{"controllerName": CONTROLLER, "parentRef": PARENT, "conditions": []}, other]}
    snapshot = MemoryCluster().with_echo().put("HTTPRoute", raw).snapshot()
    assert wanted_parents(snapshot, "HTTPRoute", ("shop", "r"), raw, NOW) == [other]


def test_a_grpc_route_has_a_status_too() -> None:
    raw = route()
    snapshot = MemoryCluster().with_echo().put("GRPCRoute", raw).snapshot()
    parents = wanted_parents(snapshot, "GRPCRoute", ("shop", "r"), raw, NOW)
    assert parents is not None
    assert {item["observedGeneration"] for item in parents[0]["conditions"]} == {3}


def test_an_http_route_that_a_grpc_route_leaves_nothing_says_so() -> None:
    grpc = policy("g", {"parentRefs": [PARENT], "rules": [{"backendRefs": [{"name": "echo", "port": 80}]}]})
    cluster = MemoryCluster().with_echo().put("GRPCRoute", grpc)
    assert conditions(route(), cluster)["Accepted"] == ("False", "Conflicted")
    every_port = {key: value for key, value in PARENT.items() if key != "port"}
    assert conditions(route(parent=every_port), cluster)["Accepted"] == ("True", "Accepted")
