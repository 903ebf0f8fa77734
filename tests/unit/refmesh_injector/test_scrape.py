from __future__ import annotations

import json

import pytest

from refmesh.api.workload import owner_name, workload_name
from refmesh.injector.scrape import merged

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


@pytest.mark.parametrize(("name", "value"), [("port", "http"), ("port", "0"), ("path", "metrics"), ("path", "/a b")])
def test_what_cannot_be_scraped_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(ValueError, match=f"prometheus.io/{name}"):
        merged({"prometheus.io/scrape": "true", f"prometheus.io/{name}": value})


def owned(kind: str, name: str, **labels: str) -> dict[str, object]:
    return {"name": "p", "labels": labels, "ownerReferences": [{"kind": kind, "name": name, "controller": True}]}


def test_a_workload_is_what_the_user_made() -> None:
    assert workload_name(owned("ReplicaSet", "web-5d4f", **{"pod-template-hash": "5d4f"})) == "web"
    assert workload_name(owned("StatefulSet", "db")) == "db"
    assert workload_name(owned("Job", "backup-29381440")) == "backup"
    assert workload_name({"name": "single"}) == "single"
    assert owner_name({"name": "single"}) == ""
