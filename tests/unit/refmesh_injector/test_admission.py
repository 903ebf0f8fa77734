"""The validating webhook says what the parsers say, and stands in nobody's way otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.config.admission import review
from refmesh.config.store import Store

GOOD = {"rules": [{"to": [{"operation": {"methods": ["GET"]}}]}]}
BAD = {"rules": [{"to": [{"operation": {"methods": ["get"]}}]}]}


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


def test_what_does_nothing_beside_what_the_cluster_has_is_a_warning() -> None:
    entry = policy({"hosts": ["a.b.c"], "ports": [{"number": 80}]}, "ServiceEntry", "networking.istio.io/v1")
    rule = policy(
        {"host": "a.b.c", "trafficPolicy": {"outlierDetection": {}}}, "DestinationRule", "networking.istio.io/v1"
    )
    for first, second in ((entry, rule), (rule, entry)):
        store = Store()
        store.put(first["kind"], first)
        request = {"request": {"uid": "1", "object": second}}
        found = review(
            json.dumps(request).encode(), "cluster.local", store.now("service_entries", "destination_rules")
        )["response"]
        assert found["allowed"]
        (warning,) = found["warnings"]
        assert warning.startswith("refmesh: spec.trafficPolicy.outlierDetection has no effect at a.b.c: ")
