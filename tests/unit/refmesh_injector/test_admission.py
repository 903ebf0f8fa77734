"""The validating webhook says what the parsers say, and stands in nobody's way otherwise."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.api.hostnames import covers
from refmesh.api.kinds import KINDS
from refmesh.config import effects
from refmesh.config.admission import review
from refmesh.config.store import Store
from tests.examples import at_least
from tests.unit.refmesh_discovery.test_envoy_accepts import CASES

GOOD = {"rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]}
BAD = {"rules": [{"to": [{"operation": {"methods": ["get"]}}]}]}
ISSUER = {"issuer": "x", "jwksUri": "https://keys.test/set"}


def policy(spec: Any, kind: str = "AuthorizationPolicy", version: str = "security.istio.io/v1") -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": "p", "namespace": "shop"}, "spec": spec}


def asked(obj: Any, operation: str = "CREATE", old: Any = None) -> dict[str, Any]:
    request = {"uid": "1", "operation": operation, "object": obj, "oldObject": old}
    found = review(json.dumps({"apiVersion": "admission.k8s.io/v1", "request": request}).encode(), "cluster.local")
    assert found["response"]["uid"] == "1"
    response: dict[str, Any] = found["response"]
    return response


@pytest.mark.parametrize("version", ["security.istio.io/v1", "security.istio.io/v1beta1"])
def test_a_bad_object_is_refused_with_its_field(version: str) -> None:
    assert asked(policy(GOOD, version=version))["allowed"]
    refused = asked(policy(BAD, version=version))
    assert not refused["allowed"]
    assert refused["status"]["message"] == "refmesh: spec.rules[0].to[0].operation.methods[0]: must be in upper case"


@pytest.mark.parametrize(
    ("kind", "version", "spec", "field"),
    [
        ("PeerAuthentication", "security.istio.io/v1", {"mtls": {"mode": "LAX"}}, "spec.mtls.mode"),
        ("RequestAuthentication", "security.istio.io/v1", {"jwtRules": [{"issuer": "x"}]}, "spec.jwtRules[0].jwks"),
        *(
            (
                "RequestAuthentication",
                "security.istio.io/v1",
                {"jwtRules": [{**ISSUER, **more}]},
                f"spec.jwtRules[0].{of}",
            )
            for of, more in (
                ("outputPayloadToHeader: is 'Authorization'", {"outputPayloadToHeader": "Authorization"}),
                (
                    "outputClaimToHeaders[1].header: is 'x-t'",
                    {
                        "fromHeaders": [{"name": "X-T"}],
                        "outputClaimToHeaders": [{"header": name, "claim": "sub"} for name in ("authorization", "x-t")],
                    },
                ),
                ("outputPayloadToHeader", {"fromCookies": ["a"], "outputPayloadToHeader": "cookie"}),
                ("timeout: must be at most 60s", {"timeout": "1h"}),
                ("timeout: must be at least 1ms", {"timeout": "0s"}),
            )
        ),
        ("DestinationRule", "networking.istio.io/v1", {"subsets": [{}]}, "spec."),
        ("VirtualService", "networking.istio.io/v1alpha3", {"hosts": ["a"], "http": [{"bogus": 1}]}, "spec.http[0]"),
    ],
)
def test_every_kind_of_refmesh_is_judged(kind: str, version: str, spec: Any, field: str) -> None:
    refused = asked(policy(spec, kind, version))
    assert not refused["allowed"]
    assert field in refused["status"]["message"]


def test_kinds_of_others_are_none_of_its_business() -> None:
    assert asked(policy(BAD, version="security.example.com/v1"))["allowed"]
    assert asked(policy({}, kind="EnvoyFilter", version="networking.istio.io/v1alpha3"))["allowed"]


def test_an_object_that_was_bad_before_can_be_let_go() -> None:
    assert asked(policy(BAD), "UPDATE", policy(BAD))["allowed"]
    assert not asked(policy(BAD), "UPDATE", policy(GOOD))["allowed"]


@given(st.binary(max_size=100) | st.sampled_from([b"[]", b'{"request": {"uid": 1, "object": {}}}', b'{"request": 1}']))
def test_garbage_is_no_review(body: bytes) -> None:
    with pytest.raises(ValueError, match="AdmissionReview"):
        review(body, "cluster.local")


REAL = [
    {"apiVersion": kind.api_version, "kind": kind.written or kind.name, **item}
    for kind in KINDS
    for objects in CASES.values()
    for name, item in objects
    if name == kind.name
]
DEEP = "lists of lists"
ODD: st.SearchStrategy[Any] = st.sampled_from(
    [
        DEEP,
        None,
        True,
        0,
        -1,
        1e308,
        10**4000,
        "",
        "x" * 5_000,
        "\ud800",
        "\x00",
        [],
        {},
        [[]],
        {"a": {}},
        ["*"] * 500,
    ]
).map(deepcopy)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value inside of a JSON value."""
    if len(path) > 12:
        return []
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, one in inside for found in [(*path, key), *places(one, (*path, key))]]


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    """A real review of one of the kinds, with values changed, dropped, renamed or buried."""
    obj = draw(st.sampled_from(REAL))
    request = {"uid": "1", "operation": "UPDATE", "object": obj, "oldObject": {**obj, "spec": {}}, "namespace": "shop"}
    body = json.loads(json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}))
    for _ in range(draw(st.integers(1, 3))):
        # Most of what is interesting is in the object.
        found = [path for path in places(body) if len(path) > 3] if draw(st.booleans()) else places(body)
        *way, last = draw(st.sampled_from(found or places(body) or [("request",)]))
        parent = body
        for key in way:
            parent = parent[key]
        kind = draw(st.sampled_from(["change", "drop", "add"]))
        if kind == "drop":
            parent.pop(last, None) if isinstance(parent, dict) else parent.pop(last)
        elif kind == "add" and isinstance(parent, dict):
            parent[draw(st.sampled_from(["rules", "spec", "x" * 5_000, "\n", "http", "selector"]))] = draw(ODD)
        else:
            parent[last] = draw(ODD)
    depth = draw(st.sampled_from([5, 300, 900, 1500]))
    return json.dumps(body).replace(f'"{DEEP}"', "[" * depth + "]" * depth).encode()


@at_least(300)
@given(damaged())
def test_a_damaged_review_is_answered_shortly_or_is_none(body: bytes) -> None:
    try:
        found = review(body, "cluster.local")
    except ValueError:
        return
    response = dict(found["response"])
    assert isinstance(response.pop("uid"), str)
    assert response["allowed"] is ("status" not in response)
    assert len(json.dumps(response)) <= 4096


def networking(kind: str, name: str, spec: Any, namespace: str = "shop", created: str = "2026-01-01T00:00:00Z") -> Any:
    metadata = {"name": name, "namespace": namespace, "creationTimestamp": created}
    return {"apiVersion": "networking.istio.io/v1", "kind": kind, "metadata": metadata, "spec": spec}


def warnings(obj: Any, *others: Any) -> list[str]:
    store = Store()
    for other in others:
        store.put(other["kind"], other)
    request = json.dumps({"request": {"uid": "1", "object": obj}}).encode()
    found = review(request, "cluster.local", store.now("service_entries", "destination_rules", "services"))["response"]
    assert found["allowed"]
    return list(found.get("warnings", []))


def test_what_does_nothing_beside_what_the_cluster_has_is_a_warning() -> None:
    entry = networking("ServiceEntry", "e", {"hosts": ["a.b.c"], "ports": [{"number": 80}]})
    rule = networking("DestinationRule", "r", {"host": "a.b.c", "trafficPolicy": {"outlierDetection": {}}}, "far")
    told = "spec.trafficPolicy.outlierDetection has no effect at a.b.c: "
    (of_rule,) = warnings(rule, entry)
    assert of_rule.startswith(f"refmesh: {told}")
    # Who writes the entry is told whose field it is.
    (of_entry,) = warnings(entry, rule)
    assert of_entry.startswith(f"refmesh: DestinationRule far/r: {told}")


def test_a_fault_that_picks_no_request_is_a_warning() -> None:
    away = {"route": [{"destination": {"host": "a"}}], "fault": {"abort": {"httpStatus": 503}}}
    (told,) = warnings(networking("VirtualService", "v", {"hosts": ["a"], "http": [away]}))
    assert told.startswith("refmesh: spec.http[0].fault.abort has no effect: ")


def test_what_does_nothing_at_a_headless_service_is_a_warning() -> None:
    made = {"metadata": {"name": "db", "namespace": "shop"}, "spec": {"clusterIP": "None", "ports": [{"port": 80}]}}
    of_service = {"apiVersion": "v1", "kind": "Service", **made}
    rule = networking("DestinationRule", "r", {"host": "db", "trafficPolicy": {"outlierDetection": {}}})
    (told,) = warnings(rule, of_service)
    assert told.startswith("refmesh: spec.trafficPolicy.outlierDetection has no effect at db.shop.svc.cluster.local: ")
    of_service["spec"] = {"clusterIP": "10.0.0.1", "ports": [{"port": 80}]}
    assert warnings(rule, of_service) == []


def test_a_rule_is_judged_by_the_entry_that_decides() -> None:
    static = {"resolution": "STATIC", "endpoints": [{"address": "1.2.3.4", "labels": {"version": "1"}}]}
    older = networking("ServiceEntry", "e", {"hosts": ["a.b.c"], "ports": [{"number": 80}], **static})
    spec = {"hosts": ["a.b.c"], "ports": [{"number": 80}]}
    younger = networking("ServiceEntry", "e", spec, "far", "2026-02-01T00:00:00Z")
    balancer = {"loadBalancer": {"simple": "RANDOM"}}
    subsets = [{"name": "v1", "labels": {"version": "1"}}]
    rule = networking("DestinationRule", "r", {"host": "a.b.c", "trafficPolicy": balancer, "subsets": subsets})
    assert warnings(rule, older, younger) == []
    assert warnings(younger, older, rule) == []
    # What is written decides, not what it was before; and where each decides somewhere, it is said where.
    assert len(warnings(networking("ServiceEntry", "e", spec), older, rule)) == 2
    younger["spec"] = spec | {"ports": [{"number": 80}, {"number": 90}]}
    for told in (warnings(rule, older, younger), warnings(younger, older, rule)):
        assert len(told) == 2
        assert all(" has no effect at a.b.c:90: " in warning for warning in told)


def test_not_every_rule_of_the_cluster_is_compared_with_every_host_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = list[tuple[str, str]]()

    def noted(pattern: str, name: str) -> bool:
        compared.append((pattern, name))
        return covers(pattern, name)

    monkeypatch.setattr(effects, "covers", noted)
    names = [f"{letter}.b.c" for letter in "defghijk"]
    rules = [networking("DestinationRule", name[0], {"host": name}) for name in names]
    entry = networking("ServiceEntry", "e", {"hosts": names, "ports": [{"number": 80}]})
    assert warnings(entry, *rules) == []
    assert len(compared) == len(names)
    assert warnings(rules[0], entry, *rules) == []
    assert len(compared) == len(names) + 1
