"""Which Telemetry speaks for a pod, what it may say, and that it changes listeners of those pods only."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from envoy.config.trace.v3.opentelemetry_pb2 import OpenTelemetryConfig
from envoy.extensions.filters.network.http_connection_manager.v3.http_connection_manager_pb2 import (
    HttpConnectionManager,
)

from refmesh.api.kinds import KINDS, parse
from refmesh.api.meta import Rejected
from refmesh.api.telemetry import Tag
from refmesh.discovery.observation import Observation, TelemetryPolicies
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.world import Generator
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, pod, policy
from tests.unit.refmesh_discovery.test_envoy_accepts import SDS, static_bootstrap
from tests.unit.refmesh_discovery.test_generation import encodes
from tests.unit.refmesh_discovery.validating import complaint

ROOT = "refmesh-system"
KIND = next(kind for kind in KINDS if kind.name == "Telemetry")
BASE = Observation(sampling=1.0)
ECHO = {"selector": {"matchLabels": {"app": "echo"}}}
OFF = {"accessLogging": [{"disabled": True}]}
L = ResourceType.LISTENER


def traced(**said: Any) -> dict[str, Any]:
    return {"tracing": [said]}


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"metrics": []}, "spec.metrics: is not supported by refmesh"),
    (
        {"accessLogging": [{"filter": {"expression": "a.b"}}]},
        "spec.accessLogging[0].filter.expression: has no attribute",
    ),
    ({"accessLogging": [{"providers": [{"name": "otel"}]}]}, "spec.accessLogging[0].providers[0].name: must be envoy"),
    ({"accessLogging": [{"match": {"mode": "BOTH"}}]}, "spec.accessLogging[0].match.mode: must be one of"),
    (traced(randomSamplingPercentage=101), "spec.tracing[0].randomSamplingPercentage: must be between 0 and 100"),
    (traced(providers=[{"name": "zipkin"}]), "spec.tracing[0].providers[0].name: must be refmesh"),
    (traced(customTags={"a": {}}), "spec.tracing[0].customTags['a']: needs exactly one of"),
    (traced(customTags={"a": {"header": {"name": "b c"}}}), "spec.tracing[0].customTags['a'].header.name: does not"),
    (traced(useRequestIdForTraceSampling=True), "spec.tracing[0].useRequestIdForTraceSampling: is not supported"),
]


@pytest.mark.parametrize(("spec", "sentence"), MISTAKES)
def test_a_mistake_is_rejected_with_the_field_s_name(spec: Any, sentence: str) -> None:
    found = parse(KIND, policy("it", spec), "cluster.local")
    assert isinstance(found, Rejected)
    assert found.reason.startswith(sentence)


def telemetry(name: str, spec: dict[str, Any], namespace: str = "shop", created: str = "2026-01-01T00:00:00Z") -> Any:
    return policy(name, spec, namespace, created=created)


@pytest.mark.parametrize(
    ("policies", "client", "server"),
    [
        ([], BASE, BASE),
        ([telemetry("m", OFF, ROOT)], replace(BASE, access_log=False), replace(BASE, access_log=False)),
        ([telemetry("m", OFF, ROOT), telemetry("n", {"accessLogging": [{}]})], BASE, BASE),
        ([telemetry("m", OFF, "elsewhere")], BASE, BASE),
        ([telemetry("w", {**OFF, **ECHO}, ROOT)], BASE, BASE),
        (
            [telemetry("n", {"accessLogging": [{"disabled": True, "match": {"mode": "CLIENT"}}]})],
            replace(BASE, access_log=False),
            BASE,
        ),
        (
            # Field by field: the workload's sampling, the namespace's silence, the mesh's logs.
            [
                telemetry("m", OFF, ROOT),
                telemetry("n", traced(disableSpanReporting=True, randomSamplingPercentage=5)),
                telemetry("w", {**traced(randomSamplingPercentage=50.5), **ECHO}),
            ],
            Observation(False, 50.5, silent=True),
            Observation(False, 50.5, silent=True),
        ),
        (
            [
                telemetry("new", traced(randomSamplingPercentage=7), created="2026-02-01T00:00:00Z"),
                telemetry("old", traced(randomSamplingPercentage=8)),
            ],
            replace(BASE, sampling=8.0),
            replace(BASE, sampling=8.0),
        ),
        (
            [telemetry("n", {"tracing": [{"randomSamplingPercentage": 2}, {"match": {"mode": "SERVER"},
                                         "customTags": {"a": {"literal": {"value": "b"}}}}]})],
            replace(BASE, sampling=2.0),
            replace(BASE, sampling=2.0, tags=(Tag("a", "literal", "b"),)),
        ),
    ],
)  # fmt: skip
def test_the_narrower_speaks_field_by_field(policies: list[Any], client: Observation, server: Observation) -> None:
    snapshot = MemoryCluster().with_echo().put("Telemetry", *policies).snapshot()
    assert not snapshot.rejected
    found = TelemetryPolicies.collect(snapshot.telemetries.values(), ROOT, BASE)
    one = snapshot.pods["shop", "echo-v1"]
    assert (found.client(one, snapshot), found.server(one, snapshot)) == (client, server)


def test_a_mesh_that_does_not_trace_is_not_made_to_by_a_policy() -> None:
    snapshot = MemoryCluster().put("Telemetry", telemetry("m", traced(randomSamplingPercentage=5), ROOT)).snapshot()
    found = TelemetryPolicies.collect(snapshot.telemetries.values(), ROOT, Observation())
    assert found.client(MemoryCluster().with_echo().snapshot().pods["shop", "echo-v1"], snapshot) == Observation()


def cluster_of(settings: MeshSettings) -> MemoryCluster:
    cluster = MemoryCluster().with_echo()
    cluster.put("Pod", pod("other-1", "10.2.0.1", app="other"), pod("other-2", "10.2.0.2", app="other"))
    cluster.generator = Generator(settings)
    return cluster


def managers(cluster: MemoryCluster, name: str, listener: str) -> list[Any]:
    """The connection managers in a listener of a pod."""
    found = all_messages(cluster.world(), ("shop", name), L)[listener]
    chains = [*found.filter_chains, found.default_filter_chain]
    packed = [item.typed_config for chain in chains for item in chain.filters]
    return [
        HttpConnectionManager.FromString(item.value)
        for item in packed
        if item.type_url.endswith("HttpConnectionManager")
    ]


def sampling(cluster: MemoryCluster, name: str) -> set[float | None]:
    found = [*managers(cluster, name, "10.0.0.1_80"), *managers(cluster, name, "virtualInbound")]
    return {item.tracing.random_sampling.value if item.HasField("tracing") else None for item in found}


def test_nothing_of_tracing_is_configured_where_it_is_off() -> None:
    for item in managers(cluster_of(MeshSettings()), "echo-v1", "10.0.0.1_80"):
        assert not item.HasField("tracing")
        assert not item.HasField("request_id_extension")


def test_a_policy_of_a_workload_reaches_its_listeners_in_both_directions_and_nobody_else() -> None:
    cluster = cluster_of(MeshSettings(observation=BASE))
    cluster.put("Telemetry", telemetry("w", {**traced(randomSamplingPercentage=30), **OFF, **ECHO}))
    assert sampling(cluster, "echo-v1") == {30.0}
    assert sampling(cluster, "other-1") == {1.0}
    logs = {
        name: {log.name for item in managers(cluster, name, "10.0.0.1_80") for log in item.access_log}
        for name in ("echo-v1", "other-1")
    }
    assert logs["other-1"] - logs["echo-v1"] == {"envoy.access_loggers.stdout"}
    cluster.drop("Telemetry", "w")
    assert sampling(cluster, "echo-v1") == {1.0}


def test_pods_of_which_the_same_is_said_share_what_is_encoded_once() -> None:
    cluster = cluster_of(MeshSettings(observation=BASE)).put(
        "Telemetry", telemetry("n", traced(disableSpanReporting=True))
    )
    first = cluster.world()
    one, two = (first.tables_of(first.snapshot.pods["shop", name])[L] for name in ("echo-v1", "other-1"))
    assert one is two
    assert one is not first.shared[L]
    (silent,) = managers(cluster, "echo-v1", "10.0.0.1_80")
    config = OpenTelemetryConfig.FromString(silent.tracing.provider.typed_config.value)
    assert config.grpc_service.envoy_grpc.cluster_name == "BlackHoleCluster"
    before = encodes()
    cluster.put("Namespace", {"metadata": {"name": "news"}})
    second = cluster.world()
    assert second.tables_of(second.snapshot.pods["shop", "echo-v1"])[L] is one
    assert encodes() == before


def test_envoy_accepts_every_choice(tmp_path: Path) -> None:
    tags = {
        "a": {"literal": {"value": "b %"}},
        "c": {"header": {"name": "x-d", "defaultValue": "e"}},
        "f": {"environment": {"name": "HOME"}},
    }
    settings = MeshSettings(
        observation=BASE, text_log=True, trace_collector=("otel.obs.svc.cluster.local", 4317), trace_b3=True
    )
    cluster = cluster_of(settings).put("Telemetry", telemetry("n", traced(customTags=tags)))
    assert not cluster.snapshot().rejected
    whole = static_bootstrap(cluster)
    whole["static_resources"]["clusters"].append({**SDS, "name": "xds-grpc"})
    assert not complaint(whole, tmp_path)
