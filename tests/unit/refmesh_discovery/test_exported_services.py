"""Services with `networking.istio.io/exportTo` are told to the proxies of the namespaces that it names."""

from __future__ import annotations

from typing import Any

import pytest

from refmesh.api.export_to import EVERYWHERE, exported_by
from refmesh.discovery.attachments import Attachments
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.standings import Standings

from .helpers import MemoryCluster, all_messages, endpoint_slice, message_of, metadata, pod, policy, service

NAME = "echo.shop.svc.cluster.local"
OUTBOUND = f"outbound|80||{NAME}"
SPACES = ("shop", "other", "third")


def exported(word: str, name: str = "echo", **more: Any) -> dict[str, Any]:
    item = service(name, **more)
    item["metadata"]["annotations"] = {"networking.istio.io/exportTo": word}
    return item


def cluster(word: str) -> MemoryCluster:
    found = MemoryCluster().with_echo()
    found.put("Namespace", *({"metadata": {"name": name}} for name in SPACES))
    for number, space in enumerate(SPACES):
        found.put("Pod", pod("client", f"10.1.1.{number}", space, app="client", account="client"))
    return found.put("Service", exported(word))


def told(found: MemoryCluster) -> set[str]:
    """The namespaces whose clients have all there is for the Service; the others have nothing of it."""
    world, whole = found.world(), set()
    for space in SPACES:
        names = {kind: set(all_messages(world, (space, "client"), kind)) for kind in ResourceType}
        there = {
            OUTBOUND in names[ResourceType.CLUSTER],
            OUTBOUND in names[ResourceType.ENDPOINT],
            {"10.0.0.1_80", "10.0.0.1_90", "10.0.0.1_70"} <= names[ResourceType.LISTENER],
            f"{NAME}:80" in names[ResourceType.ROUTE],
        }
        assert len(there) == 1
        if there == {True}:
            whole.add(space)
        else:
            assert not [name for kind in names.values() for name in kind if NAME in name or "10.0.0.1" in name]
    return whole


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("", set(SPACES)),
        ("*", set(SPACES)),
        ("other,*", set(SPACES)),
        (".", {"shop"}),
        ("other", {"other"}),
        (" ., other ", {"shop", "other"}),
        ("~", set()),
        ("no-such-namespace", set()),
    ],
)
def test_proxies_of_the_namespaces_that_are_named_are_told_and_no_others(word: str, expected: set[str]) -> None:
    assert told(cluster(word)) == expected


def test_it_changes_with_the_annotation() -> None:
    found = cluster("*")
    assert told(found) == set(SPACES)
    assert told(found.put("Service", exported("."))) == {"shop"}
    assert told(found.put("Service", service("echo"))) == set(SPACES)


def test_nothing_changes_for_others_when_it_comes_or_goes() -> None:
    found = cluster(".").put("Service", service("public", "10.0.0.9"))
    before = found.world()
    after = found.drop("Service", "echo").world()
    client = before.snapshot.pods["third", "client"]
    for kind in ResourceType:
        assert after.tables_of(client).get(kind) is before.tables_of(client).get(kind)


def test_a_namespace_that_is_told_shares_what_everybody_has() -> None:
    found = cluster(".").put("Service", service("public", "10.0.0.9"))
    world = found.world()
    for kind in (ResourceType.CLUSTER, ResourceType.LISTENER):
        shared, own = world.shared[kind], world.tables("shop")[kind]
        assert {name: own[name] for name in shared} == dict(shared)
        assert all("echo" in name or "10.0.0.1_" in name for name in own.keys() - shared.keys())


def test_rules_and_routes_hold_where_it_is_told() -> None:
    rule = {"host": NAME, "subsets": [{"name": "v1", "labels": {"version": "v1"}}]}
    route = {"hosts": [NAME], "http": [{"route": [{"destination": {"host": NAME, "subset": "v1"}}]}]}
    found = cluster(".").put("DestinationRule", policy("rule", rule)).put("VirtualService", policy("route", route))
    # Other namespaces' own words about it give their clients nothing.
    found.put("DestinationRule", policy("mine", {**rule, "exportTo": ["."]}, "other"))
    found.put("HTTPRoute", consumer_route("other"))
    assert told(found) == {"shop"}
    world = found.world()
    here = all_messages(world, ("shop", "client"), ResourceType.CLUSTER)
    assert {OUTBOUND, f"outbound|80|v1|{NAME}"} <= here.keys()
    routes = all_messages(world, ("shop", "client"), ResourceType.ROUTE)[f"{NAME}:80"]
    assert routes.virtual_hosts[0].routes[0].route.cluster == f"outbound|80|v1|{NAME}"


def consumer_route(namespace: str) -> dict[str, Any]:
    parent = {"group": "", "kind": "Service", "name": "echo", "namespace": "shop"}
    backend = {"name": "echo", "namespace": "shop", "port": 80}
    return policy("route", {"parentRefs": [parent], "rules": [{"backendRefs": [backend]}]}, namespace)


def test_pods_of_a_headless_one_are_reached_through_the_mesh_where_it_is_told() -> None:
    item = exported(".", "crew")
    item["spec"] |= {"clusterIP": "None", "clusterIPs": ["None"], "selector": {"app": "echo"}}
    pods = [pod("echo-v1", "10.1.0.1"), pod("echo-v2", "10.1.0.2", version="v2")]
    found = cluster("*").put("Service", item).put("EndpointSlice", endpoint_slice("crew", pods))
    world = found.world()
    seen = {
        space: {
            name
            for kind in (ResourceType.LISTENER, ResourceType.CLUSTER)
            for name in all_messages(world, (space, "client"), kind)
            if name.startswith(("10.1.0.", "direct|"))
        }
        for space in SPACES
    }
    assert seen["other"] == seen["third"] == set()
    assert {"10.1.0.1_8080", "10.1.0.2_8080", "direct|80||crew.shop.svc.cluster.local"} <= seen["shop"]


def test_a_route_by_the_clients_labels_is_no_way_in() -> None:
    match = {"sourceLabels": {"app": "client"}}
    route = {"hosts": [NAME], "http": [{"match": [match], "route": [{"destination": {"host": NAME}}]}]}
    assert told(cluster(".").put("VirtualService", policy("route", route))) == {"shop"}


def test_where_a_destination_is_told_to_no_client_the_object_says_so() -> None:
    route = {"hosts": ["web.example.com"], "http": [{"route": [{"destination": {"host": NAME}}]}]}
    for space, missing in (("other", True), ("shop", False)):
        found = cluster(".").put("VirtualService", policy("route", route, space))
        standing = Standings(Attachments.collect(found.snapshot(), MeshSettings())).of(
            "VirtualService", (space, "route")
        )
        assert standing is not None
        words = " ".join(problem.message for problem in standing.unresolved)
        assert ("exportTo" in words) == missing


def test_of_a_namespace_that_is_made_later_the_clients_are_told_from_then_on() -> None:
    found = cluster("late")
    assert told(found) == set()
    found.put("Namespace", {"metadata": metadata("late", "")}).put("Pod", pod("client", "10.1.1.9", "late"))
    assert OUTBOUND in all_messages(found.world(), ("late", "client"), ResourceType.CLUSTER)


def test_no_annotation_is_everybody() -> None:
    assert exported_by("", "shop") == exported_by(" , ", "shop") == EVERYWHERE
    assert message_of(MemoryCluster().with_echo().world().shared[ResourceType.CLUSTER][OUTBOUND], ResourceType.CLUSTER)
