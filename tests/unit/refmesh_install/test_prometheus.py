"""The Prometheus add-on: its objects, and whom its configuration finds, by Prometheus' own rules of relabelling."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping
from typing import Any
from unittest.mock import ANY

import pytest
import yaml
from aiohttp import web

from fixtures.cluster.parts import PARTS
from refmesh.errors import UsageProblem
from refmesh.injector.scrape import merged
from refmesh.install import addons, manifests, options, prometheus
from refmesh.install.apply import path_of
from refmesh.install.check import judge_prometheus
from refmesh.install.installer import Plan
from refmesh.install.options import Options
from refmesh.kubeclient import Kube
from tests.unit.refmesh_install.serving import client_of

ON = options.parse(None, ["addons.prometheus=true"])
OBJECTS = prometheus.objects(ON)


def by_kind(kind: str) -> dict[str, Any]:
    (found,) = (obj for obj in OBJECTS if obj["kind"] == kind)
    return found


def test_it_is_installed_when_asked_for_and_in_no_profile():
    for profile in options.PROFILES:
        assert addons.addon_objects(options.parse(profile, [])) == []
        assert addons.addon_objects(options.parse(profile, ["addons.prometheus=true"])) == OBJECTS
    assert options.parse(None, ["addons.prometheus=false"]) == Options()
    assert Plan("mesh:1", ON).objects()[-len(OBJECTS) :] == OBJECTS


def test_the_image_is_pinned_to_the_version_that_is_built_for_clusters_without_a_registry():
    assert Options().addons_prometheus_image == f"prom/prometheus:{PARTS['prometheus'].release}"
    chosen = options.parse(None, ["addons.prometheus=on", "addons.prometheus.image=reg.example:5000/p@sha256:0a"])
    assert addons.addon_objects(chosen)[-1]["spec"]["template"]["spec"]["containers"][0]["image"].endswith(
        "p@sha256:0a"
    )


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["addons.prometheus=perhaps"], "perhaps"),
        (["addons.grafana=true"], "addons_grafana"),
        (["addons.prometheus.image=p:1"], r"addons\.prometheus=true"),
        (["addons.prometheus=true", "addons.prometheus.image=a b"], "a b"),
    ],
)
def test_a_bad_setting_is_named(given, named):
    with pytest.raises(UsageProblem, match=named):
        options.parse(None, given)


def test_objects_have_paths_and_the_label_that_uninstall_looks_for():
    for obj in OBJECTS:
        assert path_of(obj).startswith(("/api/", "/apis/"))
        assert obj["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "refmesh"
    # Uninstall deletes refmesh's namespace, and by name what lies outside of it.
    assert [obj["kind"] for obj in addons.cluster_wide()] == ["ClusterRole", "ClusterRoleBinding"]


def test_it_may_see_pods_and_nothing_else():
    assert by_kind("ClusterRole")["rules"] == [
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list", "watch"]}
    ]


def test_it_fits_the_restricted_profile_and_what_it_keeps_is_bounded():
    pod = by_kind("Deployment")["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["requests"].keys() == {"cpu", "memory"}
    assert {"name": "data", "emptyDir": {"sizeLimit": "2Gi"}} in pod["volumes"]
    assert {arg.partition("=")[0] for arg in container["args"]} >= {
        "--storage.tsdb.retention.time",
        "--storage.tsdb.retention.size",
    }


def test_another_configuration_is_another_pod():
    one, two = (prometheus.deployment("p:1", text)["spec"]["template"] for text in ("a", "b"))
    assert one["metadata"]["annotations"] != two["metadata"]["annotations"]


def meta(namespace: str, ip: str, labels: Mapping[str, str], annotations: Mapping[str, str], port: int = 8080) -> Any:
    """The labels that Kubernetes discovery gives to one port of a pod."""

    def called(kind: str, values: Mapping[str, str]) -> dict[str, str]:
        return {f"__meta_kubernetes_pod_{kind}_{re.sub('[^a-zA-Z0-9_]', '_', k)}": v for k, v in values.items()}

    return {
        "__address__": f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}",
        "__scheme__": "http",
        "__metrics_path__": "/metrics",
        "__meta_kubernetes_namespace": namespace,
        "__meta_kubernetes_pod_name": "pod-1",
        "__meta_kubernetes_pod_ip": ip,
        "__meta_kubernetes_pod_phase": "Running",
        "__meta_kubernetes_pod_container_port_number": str(port),
        **called("label", labels),
        **called("annotation", annotations),
    }


def target(job: str, labels: Mapping[str, str]) -> dict[str, str] | None:
    """What Prometheus makes of discovered labels: the target's own, or None if it is dropped."""
    config = yaml.safe_load(by_kind("ConfigMap")["data"]["prometheus.yml"])
    (found,) = (one for one in config["scrape_configs"] if one["job_name"] == job)
    now = dict(labels)
    for rule in found["relabel_configs"]:
        pattern = re.compile(rule.get("regex", "(.*)"), re.DOTALL)
        text = ";".join(now.get(name, "") for name in rule.get("source_labels", ()))
        match = pattern.fullmatch(text)
        expanded = re.sub(r"\$(\d)", r"\\g<\1>", rule.get("replacement", "$1"))
        if rule["action"] in {"keep", "drop"}:
            if (match is None) is (rule["action"] == "keep"):
                return None
        elif rule["action"] == "labelmap":
            now |= {hit.expand(expanded): value for name, value in now.items() if (hit := pattern.fullmatch(name))}
        elif match is not None:
            now[rule["target_label"]] = match.expand(expanded)
    return {name: value for name, value in now.items() if not name.startswith("__meta_")}


def test_a_sidecar_is_found_at_the_port_that_no_rule_captures():
    annotations, _ = merged({"prometheus.io/scrape": "true", "prometheus.io/port": "9000"})
    labels = {"app": "reviews", "version": "v1", "reporter": "mallory", "app.kubernetes.io/name": "reviews"}
    assert target("kubernetes-pods", meta("shop", "10.0.0.7", labels, annotations)) == {
        "__address__": "10.0.0.7:15020",
        "__scheme__": "http",
        "__metrics_path__": "/stats/prometheus",
        "namespace": "shop",
        "pod": "pod-1",
        "app": "reviews",
        "version": "v1",
        "app_kubernetes_io_name": "reviews",
    }


def test_ipv6_applications_outside_of_the_mesh_and_pods_that_are_over():
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": "9000", "prometheus.io/scheme": "https"}
    found = target("kubernetes-pods", meta("shop", "fd00::7", {}, annotations))
    assert found is not None
    assert (found["__address__"], found["__scheme__"], found["__metrics_path__"]) == (
        "[fd00::7]:9000",
        "https",
        "/metrics",
    )
    over = meta("shop", "10.0.0.7", {}, annotations) | {"__meta_kubernetes_pod_phase": "Succeeded"}
    assert target("kubernetes-pods", over) is None
    assert target("kubernetes-pods", meta("shop", "10.0.0.7", {"app": "web"}, {})) is None


def test_a_control_plane_is_found_at_its_port_for_metrics_alone():
    template = manifests.deployment("mesh:1", Options())["spec"]["template"]
    ports = [port["containerPort"] for port in template["spec"]["containers"][0]["ports"]]
    found = [
        target("refmesh", meta("refmesh-system", "10.0.0.2", template["metadata"]["labels"], {}, p)) for p in ports
    ]
    (one,) = (labels for labels in found if labels is not None)
    assert (one["__address__"], one["app"], one["pod"]) == ("10.0.0.2:15014", "refmesh", "pod-1")


class Api:
    """Plays the API server for single objects; what it has, by path."""

    def __init__(self) -> None:
        self.stored: dict[str, Any] = {}

    async def handle(self, request: web.Request) -> web.Response:
        if request.method == "PATCH":
            obj = json.loads(await request.read())
            self.stored[request.path] = obj | {"metadata": obj["metadata"] | {"generation": 1}}
        if request.path.endswith("/pods"):
            return web.json_response({"metadata": {"resourceVersion": "1"}, "items": []})
        found = self.stored.get(request.path)
        if request.method == "DELETE":
            self.stored.pop(request.path, None)
        return web.json_response(found or {"message": "not found"}, status=200 if found else 404)


@pytest.fixture
async def api() -> AsyncIterator[tuple[Api, Kube]]:
    playing = Api()
    async with client_of(playing.handle) as kube:
        yield playing, kube


async def test_what_is_no_longer_asked_for_is_taken_away(api):
    playing, kube = api
    said: list[str] = []
    assert await addons.put(kube, ON, said.append) == by_kind("Deployment") | {"metadata": ANY}
    assert playing.stored.keys() == {path_of(obj) for obj in OBJECTS}
    assert await addons.put(kube, Options(), said.append) is None
    assert playing.stored == {}
    assert await addons.put(kube, Options(), said.append) is None
    assert [line.partition(":")[0] for line in said] == ["Prometheus taken away"]


async def test_somebody_elses_prometheus_is_left_alone(api):
    playing, kube = api
    path = path_of(by_kind("Deployment"))
    playing.stored[path] = {"metadata": {"name": "prometheus"}}
    assert await addons.put(kube, Options(), pytest.fail) is None
    assert path in playing.stored


def test_check_says_whether_it_is_ready():
    deployment = by_kind("Deployment")
    assert not judge_prometheus(deployment).ok
    assert "describe pod -l app=prometheus" in judge_prometheus(deployment).detail
    assert judge_prometheus(deployment | {"status": {"availableReplicas": 1}}).ok
