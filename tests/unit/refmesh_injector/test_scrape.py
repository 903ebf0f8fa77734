from __future__ import annotations

import json

import pytest

from refmesh.api.workload import owner_name, workload_name
from refmesh.injector.patch import Skip, patch, warnings
from refmesh.injector.scrape import merged
from tests.unit.refmesh_injector.pods import CONFIG, ENABLED, pod

OURS = {"prometheus.io/scrape": "true", "prometheus.io/port": "15020", "prometheus.io/path": "/stats/prometheus"}


def test_every_injected_pod_can_be_scraped() -> None:
    assert merged({}) == (OURS, {})


def test_the_applications_own_annotations_move_into_the_sidecar() -> None:
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": "9102", "prometheus.io/path": "/m"}
    found, environment = merged(annotations)
    assert found == OURS
    assert json.loads(environment["REFMESH_APP_METRICS"]) == {"port": 9102, "path": "/m"}


def test_the_agent_never_asks_itself() -> None:
    assert merged(OURS) == (OURS, {})


@pytest.mark.parametrize("name", ["prometheus.istio.io/merge-metrics", "prometheus.io/scrape"])
def test_opting_out_leaves_all_as_it_is(name: str) -> None:
    assert merged({name: "false"}) == ({}, {})


@pytest.mark.parametrize(("path", "asked"), [("metrics", "/metrics"), ("?format=p", "/?format=p"), ("/a b", "/a b")])
def test_a_path_is_one_without_its_slash_too(path: str, asked: str) -> None:
    _, environment = merged({"prometheus.io/scrape": "true", "prometheus.io/path": path})
    assert json.loads(environment["REFMESH_APP_METRICS"]) == {"port": 80, "path": asked}


@pytest.mark.parametrize("port", ["http", "0", "65536", "9" * 5000, "\u0663"])
def test_a_port_that_cannot_be_asked_is_told_and_all_is_left_as_it_is(port: str) -> None:
    annotations = {"prometheus.io/scrape": "true", "prometheus.io/port": port}
    assert merged(annotations) == ({}, {})
    original = pod()
    original["metadata"]["annotations"] = annotations
    assert not isinstance(patch(original, ENABLED, CONFIG), Skip)
    (warning,) = warnings(original)
    assert "prometheus.io/port" in warning
    original["metadata"]["annotations"] = annotations | {"prometheus.istio.io/merge-metrics": "false"}
    assert not warnings(original)


def owned(kind: str, name: str, **labels: str) -> dict[str, object]:
    return {"name": "p", "labels": labels, "ownerReferences": [{"kind": kind, "name": name, "controller": True}]}


def test_a_workload_is_what_the_user_made() -> None:
    assert workload_name(owned("ReplicaSet", "web-5d4f", **{"pod-template-hash": "5d4f"})) == "web"
    assert workload_name(owned("StatefulSet", "db")) == "db"
    assert workload_name(owned("Job", "backup-29381440")) == "backup"
    assert workload_name({"name": "single"}) == "single"
    assert owner_name({"name": "single"}) == ""
