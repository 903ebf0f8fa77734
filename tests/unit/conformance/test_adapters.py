from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from conformance import adapters
from conformance.adapters import Adapter, Rendered, Unsupported, known, load
from conformance.adapters.none import NoMesh
from conformance.intents import (
    Backend,
    BackendGrant,
    Bypass,
    CertificateRequest,
    ConnectionLimit,
    Inject,
    InLocality,
    LocalityFailover,
    Marker,
    Mode,
    MtlsMode,
    NoInject,
    OutlierEjection,
    RequestRoute,
    Retry,
    RetryBudget,
    RoundRobin,
    RouteRule,
    RouteTimeout,
    Scope,
    StickyHeader,
    Target,
    WeightedRoute,
)
from reports.errors import UsageProblem

V1, V2, V3 = (Backend(name, version=name, service=f"web-{name}") for name in ("v1", "v2", "v3"))
MARK = Marker("x-mark", "abc", V3)
INTENTS = [
    Inject(Scope.NAMESPACE),
    Inject(Scope.POD),
    NoInject(Scope.NAMESPACE),
    NoInject(Scope.POD),
    Bypass((9090,), (25, 26)),
    MtlsMode("ns", Mode.STRICT),
    MtlsMode("ns", Mode.STRICT, workload="web", ports={9090: Mode.PERMISSIVE}),
    WeightedRoute("ns", "web", 8080, ((V1, 90), (V2, 10)), MARK),
    WeightedRoute("ns", "web", 8080, ((V1, 90), (V2, 10)), MARK, "service"),
    OutlierEjection("ns", "web", 8080, 5, 1.0, 2.0, 50, MARK),
    ConnectionLimit("ns", "web", 8080, 2, 1, 2, MARK),
    RoundRobin("ns", "web", 8080, MARK),
    StickyHeader("ns", "web", 8080, "x-user", MARK),
    InLocality("r", "z"),
    LocalityFailover(OutlierEjection("ns", "web", 8080, 5, 1.0, 2.0, 100, MARK)),
    RouteTimeout("ns", "web", 8080, 1.5),
    RequestRoute("ns", "web", 8080, (RouteRule((Target(V1),)),), MARK),
    RetryBudget("ns", "web", 8080, Retry(3, (503,)), 20, 1, MARK),
    BackendGrant("ns", "web-v1", "other"),
    CertificateRequest("ns", "sa"),
]


class Mine(NoMesh):
    name = "mine"


def rendered(intent) -> Rendered:
    found = load("refmesh").render(intent)
    assert isinstance(found, Rendered)
    return found


def test_known_meshes_end_with_the_negative_control():
    assert known()[-1] == "none"
    assert {"istio", "refmesh"} < set(known())
    assert all(isinstance(load(name), Adapter) for name in known())


def test_an_unknown_mesh_is_one_sentence_with_the_known_ones():
    with pytest.raises(UsageProblem, match=r"no mesh is called 'istoi'(.|\n)*refmesh"):
        load("istoi")


@pytest.mark.parametrize("intent", INTENTS, ids=lambda one: type(one).__name__)
def test_without_a_mesh_every_intent_is_nothing(intent):
    assert load("none").render(intent) == Rendered()


@pytest.mark.parametrize("intent", INTENTS, ids=lambda one: type(one).__name__)
def test_refmesh_renders_every_intent_into_its_own_namespace(intent):
    found = rendered(intent)
    assert found.objects or found.labels or found.annotations or found.authority
    for item in found.objects:
        assert item["metadata"]["namespace"] == "ns"
        assert {"apiVersion", "kind", "spec"} <= item.keys()


def test_weights_by_version():
    rule, route = rendered(WeightedRoute("ns", "web", 8080, ((V1, 90), (V2, 10)), MARK)).objects
    assert [one["name"] for one in rule["spec"]["subsets"]] == ["v1", "v2", "v3"]
    marked, shares = route["spec"]["http"]
    assert marked["match"] == [{"headers": {"x-mark": {"exact": "abc"}}}]
    assert marked["route"] == [{"destination": {"host": "web", "subset": "v3"}}]
    assert [(one["destination"]["subset"], one["weight"]) for one in shares["route"]] == [("v1", 90), ("v2", 10)]


def test_weights_by_service():
    (route,) = rendered(WeightedRoute("ns", "web", 8080, ((V1, 90), (V2, 10)), MARK, "service")).objects
    assert route["kind"] == "HTTPRoute"
    assert route["spec"]["parentRefs"] == [{"group": "", "kind": "Service", "name": "web", "port": 8080}]
    assert route["spec"]["rules"][1]["backendRefs"] == [
        {"name": "web-v1", "port": 8080, "weight": 90},
        {"name": "web-v2", "port": 8080, "weight": 10},
    ]


def test_policies_keep_their_mark_in_the_same_object():
    rule, route = rendered(OutlierEjection("ns", "web", 8080, 5, 1.0, 2.5, 50, MARK)).objects
    assert rule["spec"]["trafficPolicy"]["outlierDetection"] == {
        "consecutive5xxErrors": 5,
        "interval": "1s",
        "baseEjectionTime": "2500ms",
        "maxEjectionPercent": 50,
    }
    assert rule["spec"]["subsets"] == [{"name": "v3", "labels": {"version": "v3"}}]
    assert route["spec"]["http"][-1] == {"route": [{"destination": {"host": "web"}}]}


def test_port_modes_need_a_workload():
    found = load("refmesh").render(MtlsMode("ns", Mode.STRICT, ports={1: Mode.PERMISSIVE}))
    assert isinstance(found, Unsupported)


def test_adapters_come_by_entry_point(monkeypatch):
    def offered(name, value):
        point = EntryPoint(name=name, value=value, group=adapters.GROUP)
        monkeypatch.setattr(adapters, "entry_points", lambda **_: [point])

    offered("mine", f"{__name__}:Mine")
    assert "mine" in known()
    assert load("mine").name == "mine"
    offered("mine", "no.such.module:Thing")
    with pytest.raises(UsageProblem, match="cannot be loaded"):
        load("mine")
    offered("mine", "builtins:dict")
    with pytest.raises(UsageProblem, match="is not an Adapter"):
        load("mine")
