"""What is said of Gateways, their listeners, their class and their routes."""

from __future__ import annotations

from typing import Any

import pytest

from refmesh.config.admission import kind_of, problem
from refmesh.config.ingress import own_gateways, wanted_certificates, without_gateways
from refmesh.config.model import Certificate
from refmesh.config.status import wanted_status
from tests.unit.refmesh_discovery.helpers import MemoryCluster
from tests.unit.refmesh_ingress.doorways import (
    HTTP,
    gateway,
    gateway_class,
    https,
    key_pair,
    listener,
    route,
    serving,
    with_gateway,
)

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"


def status(cluster: MemoryCluster, raw: dict[str, Any] | None = None, now: str = NOW) -> dict[str, Any]:
    found = cluster.store.raw["Gateway", ("shop", "front")]
    wanted = wanted_status(cluster.snapshot(), "Gateway", ("shop", "front"), raw or found, now)
    assert wanted is not None
    return wanted


def words(conditions: list[dict[str, Any]]) -> dict[str, tuple[str, str]]:
    return {item["type"]: (item["status"], item["reason"]) for item in conditions}


def test_a_gateway_is_programmed_once_it_serves_at_an_address() -> None:
    cluster = with_gateway().put("HTTPRoute", route())
    assert words(status(cluster)["conditions"]) == {
        "Accepted": ("True", "Accepted"),
        "Programmed": ("False", "Pending"),
    }
    found = status(serving(cluster))
    assert words(found["conditions"]) == {"Accepted": ("True", "Accepted"), "Programmed": ("True", "Programmed")}
    assert found["addresses"] == [{"type": "IPAddress", "value": "192.0.2.7"}]
    (one,) = found["listeners"]
    assert one["attachedRoutes"] == 1
    assert [kind["kind"] for kind in one["supportedKinds"]] == ["HTTPRoute", "GRPCRoute"]
    assert words(one["conditions"]) == {
        "Accepted": ("True", "Accepted"),
        "Conflicted": ("False", "NoConflicts"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
        "Programmed": ("True", "Programmed"),
    }
    assert {item["observedGeneration"] for item in (*one["conditions"], *found["conditions"])} == {5}


def test_a_mesh_without_gateways_says_nothing_of_them_and_reads_nothing_for_them() -> None:
    cluster = serving(with_gateway(https("one"))).put("HTTPRoute", route())
    snapshot = cluster.snapshot()
    assert wanted_certificates(snapshot)
    without = without_gateways(snapshot)
    assert not wanted_certificates(without)
    assert not list(own_gateways(without))
    for (kind, key), raw in cluster.store.raw.items():
        assert wanted_status(snapshot, kind, key, raw, NOW) is not None or kind == "Gateway"
        assert not wanted_status(without, kind, key, raw, NOW), kind


def test_a_status_that_is_right_is_not_written_again_and_times_stay() -> None:
    cluster = with_gateway()
    raw = gateway()
    raw["status"] = status(cluster, raw)
    assert wanted_status(cluster.snapshot(), "Gateway", ("shop", "front"), raw, LATER) is None
    changed = words_and_times(status(serving(cluster), raw, LATER))
    assert changed == {"Accepted": NOW, "Programmed": LATER}


def test_conditions_of_others_stay() -> None:
    cluster, foreign = with_gateway(), {"type": "example.com/Seen", "status": "True", "reason": "X"}
    raw = gateway()
    raw["status"] = status(cluster, raw)
    for entry in (raw["status"], raw["status"]["listeners"][0]):
        entry["conditions"].append(foreign)
    assert wanted_status(cluster.snapshot(), "Gateway", ("shop", "front"), raw, LATER) is None
    found = status(serving(cluster), raw, LATER)
    assert found["conditions"][-1] == found["listeners"][0]["conditions"][-1] == foreign


def words_and_times(found: dict[str, Any]) -> dict[str, str]:
    return {item["type"]: item["lastTransitionTime"] for item in found["conditions"]}


@pytest.mark.parametrize(
    ("bad", "condition", "reason"),
    [
        (listener("bad", 81, protocol="UDP"), "Accepted", "UnsupportedProtocol"),
        (listener("bad", 15006), "Accepted", "PortUnavailable"),
        (listener("bad", 80), "Accepted", "HostnameConflict"),
        (https("bad", port=80), "Accepted", "ProtocolConflict"),
        (https("bad", secret="missing"), "ResolvedRefs", "InvalidCertificateRef"),
        (listener("bad", 81, allowedRoutes={"kinds": [{"kind": "TCPRoute"}]}), "ResolvedRefs", "InvalidRouteKinds"),
        ({**https("bad"), "tls": {"certificateRefs": [{"kind": "Safe", "name": "x"}]}}, "ResolvedRefs",
         "InvalidCertificateRef"),
        ({**https("bad"), "tls": {"certificateRefs": [{"name": "x", "namespace": "far"}]}}, "ResolvedRefs",
         "RefNotPermitted"),
        ({**https("bad"), "tls": {"mode": "Passthrough"}}, "Accepted", "UnsupportedValue"),
        ({**https("bad"), "protocol": "TLS"}, "Accepted", "UnsupportedValue"),
        (listener("bad", 81, protocol="TCP", tls={"mode": "Passthrough"}), "Accepted", "UnsupportedValue"),
        (listener("bad", 81, protocol="TCP", allowedRoutes={"kinds": [{"kind": "HTTPRoute"}]}), "ResolvedRefs",
         "InvalidRouteKinds"),
    ],
)  # fmt: skip
def test_a_bad_listener_says_why_and_others_open(bad: dict[str, Any], condition: str, reason: str) -> None:
    cluster = serving(with_gateway(HTTP, listener("good", 8080), bad))
    for name in ("cert", "missing"):
        cluster.store.put_certificate(("shop", name), Certificate(problem="does not exist"))
    found = status(cluster)
    by_name = {item["name"]: words(item["conditions"]) for item in found["listeners"]}
    assert by_name["bad"][condition] == ("False", reason)
    assert by_name["good"]["Programmed"] == ("True", "Programmed")
    assert words(found["conditions"])["Programmed"] == ("True", "Programmed")


def test_nothing_is_said_before_the_secret_was_read() -> None:
    cluster = with_gateway(https("web"))
    raw = cluster.store.raw["Gateway", ("shop", "front")]
    assert wanted_status(cluster.snapshot(), "Gateway", ("shop", "front"), raw, NOW) is None
    cluster.store.put_certificate(("shop", "cert"), Certificate(problem="does not exist"))
    assert words(status(cluster)["conditions"])["Accepted"] == ("False", "ListenersNotValid")
    cluster.store.put_certificate(("shop", "cert"), key_pair())
    assert words(status(cluster)["conditions"])["Accepted"] == ("True", "Accepted")


def test_what_cannot_be_done_is_refused_with_its_field() -> None:
    raw = gateway(addresses=[{"value": "192.0.2.1"}])
    cluster = MemoryCluster().put("GatewayClass", gateway_class()).put("Gateway", raw)
    (accepted, _) = status(cluster, raw)["conditions"]
    assert accepted["reason"] == "UnsupportedAddress"
    assert accepted["message"].startswith("spec.addresses: ")
    for obj, part in (
        (gateway(HTTP, listener("udp", 53, protocol="UDP")), "spec.listeners: udp UnsupportedProtocol"),
        (gateway(infrastructure={"parametersRef": {}}), "spec.infrastructure.parametersRef: is not supported"),
        (gateway(HTTP, listener("http", 81)), "spec.listeners: must have names unlike each other"),
    ):
        obj |= {"apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway"}
        kind = kind_of(obj)
        assert kind is not None
        assert part in problem(kind, obj, "cluster.local")


def test_a_class_is_accepted_by_its_controller_only() -> None:
    for controller, expected in (("refmesh.io/mesh-controller", ("True", "Accepted")), ("example.com/x", None)):
        raw = gateway_class(controller)
        cluster = MemoryCluster().put("GatewayClass", raw).put("Gateway", gateway())
        found = wanted_status(cluster.snapshot(), "GatewayClass", ("", "refmesh"), raw, NOW)
        assert (words(found["conditions"])["Accepted"] if found else None) == expected
        of_gateway = wanted_status(cluster.snapshot(), "Gateway", ("shop", "front"), gateway(), NOW)
        assert (of_gateway is None) == (expected is None)


def test_a_route_hears_from_its_gateway() -> None:
    cluster = with_gateway(listener("web", hostname="a.com"))
    for spec, backend, expected in (
        ({}, "echo", {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("True", "ResolvedRefs")}),
        ({}, "gone", {"Accepted": ("True", "Accepted"), "ResolvedRefs": ("False", "BackendNotFound")}),
        ({"hostnames": ["b.com"]}, "echo", {"Accepted": ("False", "NoMatchingListenerHostname"),
                                            "ResolvedRefs": ("True", "ResolvedRefs")}),
    ):  # fmt: skip
        raw = route(spec=spec, backend=backend)
        found = wanted_status(cluster.put("HTTPRoute", raw).snapshot(), "HTTPRoute", ("shop", "r"), raw, NOW)
        assert found is not None
        (parent,) = found["parents"]
        assert words(parent["conditions"]) == expected
        assert parent["parentRef"] == raw["spec"]["parentRefs"][0]
