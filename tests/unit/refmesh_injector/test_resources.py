"""What the mesh's containers ask for and may use."""

from __future__ import annotations

from typing import Any

import pytest

from refmesh.injector.operations import apply_operations
from refmesh.injector.patch import BadPod, Skip, patch
from refmesh.injector.resources import of_init, quantity
from tests.unit.refmesh_injector.pods import CLASSIC, CONFIG, ENABLED, pod

DEFAULT = {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "512Mi"}}


def said(**words: str) -> dict[str, str]:
    return {f"sidecar.istio.io/proxy{key}": value for key, value in words.items()}


def injected(annotations: dict[str, str], config: Any = CONFIG, **spec: Any) -> dict[str, dict[str, Any]]:
    """The resources of the containers of an injected pod, by name."""
    original = pod(**spec)
    original["metadata"]["annotations"] = dict(annotations)
    operations = patch(original, ENABLED, config)
    assert not isinstance(operations, Skip)
    apply_operations(original, operations)
    every = [*original["spec"]["initContainers"], *original["spec"]["containers"]]
    return {one["name"]: one.get("resources", {}) for one in every}


@pytest.mark.parametrize("config", [CONFIG, CLASSIC])
def test_a_quota_that_counts_limits_of_cpu_finds_them_where_they_are_asked_for(config: Any) -> None:
    found = injected(said(CPULimit="1"), config)
    for name in ("refmesh-init", "refmesh-proxy"):
        assert found[name].keys() == {"requests", "limits"}
        assert all(found[name][kind].keys() == {"cpu", "memory"} for kind in found[name])
    assert found["app"] == {}


@pytest.mark.parametrize(
    ("words", "requests", "limits"),
    [
        ({}, {}, {}),
        ({"CPU": "100m", "Memory": "128Mi"}, {"cpu": "100m", "memory": "128Mi"}, {}),
        ({"CPULimit": "500m", "MemoryLimit": "1Gi"}, {}, {"cpu": "500m", "memory": "1Gi"}),
        # a default gives way to what the pod says of the other end
        ({"CPU": "4", "Memory": "1Gi"}, {"cpu": "4", "memory": "1Gi"}, {"memory": "1Gi"}),
        ({"CPULimit": "5m", "MemoryLimit": "32Mi"}, {"cpu": "5m", "memory": "32Mi"}, {"cpu": "5m", "memory": "32Mi"}),
        ({"CPU": "1000m", "CPULimit": "1"}, {"cpu": "1000m"}, {"cpu": "1"}),
    ],
)
def test_istios_annotations_are_followed(words: dict[str, str], requests: Any, limits: Any) -> None:
    expected = {"requests": DEFAULT["requests"] | requests, "limits": DEFAULT["limits"] | limits}
    assert injected(said(**words))["refmesh-proxy"] == expected


def test_what_captures_may_use_what_the_proxy_may() -> None:
    assert of_init(said(CPULimit="5m"))["limits"]["cpu"] == of_init(said(CPULimit="5m"))["requests"]["cpu"] == "5m"
    assert of_init({}) == {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"CPU": "fast"}, "proxyCPU: 'fast' is not a quantity"),
        ({"MemoryLimit": "1 Gi"}, "proxyMemoryLimit: '1 Gi' is not a quantity"),
        ({"Memory": "-1Mi"}, "proxyMemory: '-1Mi' is not a quantity"),
        ({"CPU": "2", "CPULimit": "1500m"}, "proxyCPU: 2 is more than the limit of 1500m"),
        ({"Memory": "2G", "MemoryLimit": "1Gi"}, "proxyMemory: 2G is more than the limit of 1Gi"),
    ],
)
def test_what_cannot_be_is_refused_in_a_sentence(words: dict[str, str], message: str) -> None:
    with pytest.raises(BadPod, match=f"annotation sidecar.istio.io/{message}"):
        injected(said(**words))


@pytest.mark.parametrize(
    ("text", "amount"),
    [("1", 1), ("100m", 0.1), ("1k", 1000), ("1Ki", 1024), ("1.5Gi", 1.5 * 2**30), ("1e3", 1000), (".5", 0.5)],
)
def test_quantities_are_read_as_kubernetes_does(text: str, amount: float) -> None:
    assert float(quantity(text) or 0) == amount
    assert quantity(f"{text}x") is None
