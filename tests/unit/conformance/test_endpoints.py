"""What the services of a ground select, and what their slices say."""

from __future__ import annotations

from conformance.endpoints import ready_endpoints, wanted_endpoints
from conformance.ground import Ground, Place, Svc, Workload

GROUND = Ground(
    name="g",
    places=(Place("in", meshed=True), Place("out")),
    workloads=(
        Workload("web-v1", "in", app="web", replicas=2),
        Workload("web-v2", "in", app="web", version="v2"),
        Workload("client", "in", kind="client"),
        Workload("web-far", "out", app="web"),
    ),
    services=(
        Svc("web", "in", "web"),
        Svc("web-v2", "in", "web", "v2"),
        Svc("client", "in", "client"),
        Svc("client-v1", "in", "client", "v1"),
        Svc("far", "out", "web"),
    ),
)


def test_a_service_selects_by_app_and_version_in_its_own_namespace() -> None:
    assert wanted_endpoints(GROUND, "in") == {"web": 3, "web-v2": 1, "client": 1, "client-v1": 0}
    assert wanted_endpoints(GROUND, "out") == {"far": 1}


def piece(service: str, *ready: bool | None) -> dict[str, object]:
    endpoints = [{"addresses": ["10.0.0.1"], "conditions": {} if one is None else {"ready": one}} for one in ready]
    return {"metadata": {"labels": {"kubernetes.io/service-name": service}}, "endpoints": endpoints or None}


def test_ready_endpoints_add_up_over_slices_and_unknown_counts_as_ready() -> None:
    found = ready_endpoints([piece("web", True, False), piece("web", None), piece("other"), {"metadata": {}}])
    assert (found["web"], found["other"], found["nobody"]) == (2, 0, 0)
