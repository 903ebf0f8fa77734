"""Routes that are known before what they name: requests never meet a cluster that is on its way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.config.forerunners import LONGEST_SECONDS, Forerunners
from refmesh.config.model import Snapshot
from refmesh.config.store import Store, table_of
from tests.unit.refmesh_discovery.helpers import policy, service

ROUTE, RULE = ("shop", "echo"), ("shop", "versions")


class Mesh:
    """What is published of what is written, and the clock."""

    def __init__(self) -> None:
        self.store, self.now = Store(), 0.0
        self.forerunners = Forerunners(clock=lambda: self.now)
        self.store.put("Service", service("echo"))
        self.snapshot()

    def route(self, *subsets: str, name: str = "echo", host: str = "echo") -> None:
        destinations = [{"destination": {"host": host, "subset": one}} for one in subsets]
        spec = {"hosts": ["echo"], "http": [{"route": [one]} for one in destinations]}
        self.store.put("VirtualService", policy(name, spec))

    def rule(self, *subsets: str, host: str = "echo") -> None:
        listed = [{"name": one, "labels": {"version": one}} for one in subsets]
        self.store.put("DestinationRule", policy("versions", {"host": host, "subsets": listed}))

    def snapshot(self) -> Snapshot:
        return self.forerunners.held_back(self.store.snapshot())

    def in_force(self) -> list[str]:
        item = self.snapshot().virtual_services.get(ROUTE)
        return [one.subset for rule in item.rules for one in rule.destinations] if item is not None else []


def test_one_that_comes_first_waits_for_its_destination_rule() -> None:
    mesh = Mesh()
    mesh.route("v2")
    assert mesh.in_force() == []
    assert mesh.forerunners.seconds_left == LONGEST_SECONDS
    mesh.now = 0.1
    mesh.rule("v1", "v2")
    assert mesh.in_force() == ["v2"]
    assert mesh.forerunners.seconds_left is None


def test_meanwhile_it_stays_as_it_was() -> None:
    mesh = Mesh()
    mesh.rule("v1")
    mesh.route("v1")
    assert mesh.in_force() == ["v1"]
    mesh.route("v1", "v2")
    mesh.route("v2", name="another")
    held = mesh.snapshot()
    assert mesh.in_force() == ["v1"]
    assert ("shop", "another") not in held.virtual_services
    assert mesh.snapshot().virtual_services is held.virtual_services, "what did not change is the same table"
    mesh.rule("v1", "v2")
    assert mesh.in_force() == ["v1", "v2"]


def test_it_waits_no_longer_than_a_moment_whatever_else_is_written_and_once_only() -> None:
    mesh = Mesh()
    mesh.route("nowhere")
    assert mesh.in_force() == []
    mesh.now = LONGEST_SECONDS / 2
    mesh.route("nowhere", "either")
    assert mesh.in_force() == []
    assert mesh.forerunners.seconds_left == LONGEST_SECONDS / 2
    mesh.now = LONGEST_SECONDS
    assert mesh.in_force() == ["nowhere", "either"]
    mesh.rule("other")
    assert mesh.in_force() == ["nowhere", "either"]


def test_nothing_else_waits_and_what_stands_is_not_taken_away() -> None:
    mesh = Mesh()
    mesh.rule("v1")
    mesh.route("v1")
    assert mesh.in_force() == ["v1"]
    mesh.store.drop("DestinationRule", RULE)
    assert mesh.in_force() == ["v1"]
    assert mesh.snapshot().destination_rules == {}
    mesh.store.drop("VirtualService", ROUTE)
    assert mesh.in_force() == []
    assert mesh.forerunners.seconds_left is None


def test_one_that_waits_and_is_deleted_is_gone() -> None:
    mesh = Mesh()
    mesh.route("v2")
    assert mesh.in_force() == []
    mesh.store.drop("VirtualService", ROUTE)
    assert mesh.in_force() == []
    assert mesh.forerunners.seconds_left is None


def test_a_wildcards_subsets_are_its_hosts_too() -> None:
    mesh = Mesh()
    mesh.rule("v2", host="*.example.com")
    mesh.route("v2", host="api.example.com")
    assert mesh.in_force() == ["v2"]


def test_at_the_start_everything_was_listed_and_nothing_waits() -> None:
    store = Store()
    store.put("VirtualService", policy("echo", {"hosts": ["echo"], "http": [
        {"route": [{"destination": {"host": "echo", "subset": "nowhere"}}]}
    ]}))  # fmt: skip
    assert Forerunners().held_back(store.snapshot()).virtual_services.keys() == {ROUTE}


_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["route", "rule", "drop route", "drop rule", "wait"]),
        st.lists(st.sampled_from(["v1", "v2"]), unique=True),
    ),
    max_size=12,
)


@given(events=_EVENTS)
def test_in_any_order_no_new_route_is_ahead_of_its_subsets_and_in_the_end_all_is_as_written(events: Any) -> None:
    mesh = Mesh()
    since: dict[str, float] = {}
    before: list[str] = []
    for what, subsets in events:
        if what == "wait":
            mesh.now += 0.4
        elif what.startswith("drop"):
            mesh.store.drop(*(("VirtualService", ROUTE) if what == "drop route" else ("DestinationRule", RULE)))
        else:
            (mesh.route if what == "route" else mesh.rule)(*subsets)
        found = mesh.in_force()
        written = mesh.store.snapshot().virtual_services.get(ROUTE)
        since = {} if written is None else since | {what: since.get(what, mesh.now)}
        rules = mesh.store.snapshot().destination_rules.get(RULE)
        known = {one.name for one in rules.subsets} if rules is not None else set()
        if found != before and not set(found) <= known:
            assert mesh.now - min(since.values(), default=mesh.now) >= LONGEST_SECONDS
        before = found
    mesh.now += LONGEST_SECONDS
    assert mesh.snapshot().virtual_services == mesh.store.snapshot().virtual_services


def _gateway_api(kind: str, *backends: dict[str, Any]) -> dict[str, Any]:
    """A route of the Service `echo`, at a Gateway too where its kind has no other parents."""
    parents = [{"group": "", "kind": "Service", "name": "echo"}, {"name": "front"}]
    names = {"hostnames": ["echo.example.com"]} if kind == "TLSRoute" else {}
    return policy("echo", {"parentRefs": parents, "rules": [{"backendRefs": list(backends)}]} | names)


@pytest.mark.parametrize("kind", ["HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute"])
def test_a_route_of_gateway_api_that_comes_first_waits_for_its_services_as_it_was(kind: str) -> None:
    mesh = Mesh()

    def in_force() -> list[str]:
        item = table_of(mesh.snapshot(), kind).get(ROUTE)
        return [] if item is None else [one.host.split(".")[0] for rule in item.rules for one in rule.destinations]

    mesh.store.put(kind, _gateway_api(kind, {"name": "echo", "port": 80}))
    assert in_force() == ["echo"]
    mesh.store.put(kind, _gateway_api(kind, {"name": "echo", "port": 80}, {"name": "echo-v2", "port": 80}))
    assert in_force() == ["echo"]
    mesh.now = 0.1
    mesh.store.put("Service", service("echo-v2"))
    assert in_force() == ["echo", "echo-v2"]
    mesh.store.put(kind, _gateway_api(kind, {"name": "nowhere", "port": 80}))
    assert in_force() == ["echo", "echo-v2"]
    mesh.now += LONGEST_SECONDS
    assert in_force() == ["nowhere"]


def test_what_can_be_right_in_no_cluster_waits_for_nothing() -> None:
    mesh = Mesh()
    bucket = {"group": "storage.example.com", "kind": "Bucket", "name": "pictures", "port": 80}
    mesh.store.put("HTTPRoute", _gateway_api("HTTPRoute", bucket))
    assert ROUTE in mesh.snapshot().http_routes
    assert mesh.forerunners.seconds_left is None
