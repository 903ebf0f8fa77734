"""What is made for a Gateway."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.agent.hooks import _RETIRE_SECONDS
from refmesh.agent.settings import Settings
from refmesh.api.gateway import Gateway
from refmesh.ingress.names import bound_port, usable_port, workload_name
from refmesh.ingress.objects import gateway_objects
from refmesh.injector.containers import Config
from tests.unit.refmesh_ingress.doorways import gateway, https, key_pair, listener, opened, with_gateway

CONFIG = Config("mesh:1", "ROOT")


def objects(*listeners: dict[str, Any], **more: Any) -> dict[str, Any]:
    cluster = with_gateway(*listeners, **more)
    cluster.store.put_certificate(("shop", "cert"), key_pair())
    return {obj["kind"]: obj for obj in gateway_objects(opened(cluster)[1], CONFIG)}


def test_the_pod_fits_the_restricted_profile_and_is_not_injected() -> None:
    template = objects()["Deployment"]["spec"]["template"]
    assert template["metadata"]["labels"]["sidecar.istio.io/inject"] == "false"
    spec = template["spec"]
    assert spec["automountServiceAccountToken"] is False
    assert "initContainers" not in spec
    (proxy,) = spec["containers"]
    assert proxy["securityContext"]["readOnlyRootFilesystem"]
    assert proxy["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert proxy["securityContext"]["runAsNonRoot"]
    environment = {item["name"]: item.get("value") for item in proxy["env"]}
    assert environment["REFMESH_PROXY_TYPE"] == "router"
    assert environment["SERVICE_ACCOUNT"] == spec["serviceAccountName"] == "front-refmesh"


def test_a_proxy_that_ends_waits_for_its_connections_as_long_as_its_pod_is_given() -> None:
    spec = objects()["Deployment"]["spec"]["template"]["spec"]
    (proxy,) = spec["containers"]
    environment = {item["name"]: item.get("value", "x") for item in proxy["env"]}
    waits = _RETIRE_SECONDS + Settings.from_environment(environment).drain_seconds
    assert Settings.drain_seconds < waits < spec["terminationGracePeriodSeconds"]


def test_the_image_is_pulled_with_the_secrets_of_the_mesh() -> None:
    config = Config("mesh:1", "ROOT", pull_secrets=("a", "b"))
    made = {obj["kind"]: obj for obj in gateway_objects(opened(with_gateway(listener("a", 80)))[1], config)}
    spec = made["Deployment"]["spec"]["template"]["spec"]
    assert spec["imagePullSecrets"] == [{"name": "a"}, {"name": "b"}]
    assert "imagePullSecrets" not in objects(listener("a", 80))["Deployment"]["spec"]["template"]["spec"]


def test_everything_goes_with_its_gateway() -> None:
    made = objects(infrastructure={"labels": {"team": "red"}, "annotations": {"cloud": "small"}})
    for obj in made.values():
        assert obj["metadata"]["ownerReferences"][0]["uid"] == "uid-front"
        assert obj["metadata"]["labels"]["team"] == "red"
        assert obj["metadata"]["annotations"] == {"cloud": "small"}


@pytest.mark.parametrize(("said", "given"), [("4", "4"), ("many", None), ("0", None), ("-1", None), ("9" * 9, None)])
def test_a_gateway_says_how_many_cores_its_proxy_may_use(said: str, given: str | None) -> None:
    made = objects(infrastructure={"annotations": {"proxy.refmesh.io/concurrency": said}})
    (proxy,) = made["Deployment"]["spec"]["template"]["spec"]["containers"]
    environment = {item["name"]: item.get("value") for item in proxy["env"]}
    assert environment.get("REFMESH_CONCURRENCY") == given


def test_the_service_opens_the_ports_that_can_be_opened() -> None:
    made = objects(listener("a", 80), listener("b", 8080), https("c"), listener("d", 53, protocol="UDP"))
    ports = {item["port"]: item["targetPort"] for item in made["Service"]["spec"]["ports"]}
    assert ports == {80: 62080, 443: 62443, 8080: 8080}
    assert made["Service"]["spec"]["type"] == "LoadBalancer"
    assert objects(listener("d", 53, protocol="UDP")) == {}


@given(st.sets(st.integers(1, 65535), min_size=2, max_size=20))
def test_ports_never_meet(ports: set[int]) -> None:
    usable = {port for port in ports if usable_port(port)}
    assert len({bound_port(port) for port in usable}) == len(usable)
    assert all(bound_port(port) >= 1024 for port in usable)


@given(st.from_regex(r"[a-z0-9]([-a-z0-9]{0,70}[a-z0-9])?(\.[a-z0-9]{1,60})?", fullmatch=True))
def test_a_long_name_is_cut_to_one_that_a_service_can_have(name: str) -> None:
    found = workload_name(Gateway.parse(gateway(name=name), "cluster.local"))
    assert 0 < len(found) <= 63
    assert found[0].isalpha()
    assert found[-1].isalnum()
    assert "." not in found
