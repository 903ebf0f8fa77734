"""Istio's own annotation for a pod's proxy, in refmesh's words."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.injector.patch import BadPod, Skip, patch, warnings
from refmesh.injector.proxy_config import PROXY_CONFIG, own_words, untaken
from tests.unit.refmesh_injector.pods import CONFIG, ENABLED, pod


def proxy_env(annotations: dict[str, str]) -> dict[str, str]:
    original = pod()
    original["metadata"]["annotations"] = annotations
    operations = patch(original, ENABLED, CONFIG)
    assert not isinstance(operations, Skip)
    containers = next(one["value"] for one in operations if one["path"] == "/spec/initContainers")
    return {one["name"]: one.get("value", "") for one in containers[1]["env"]}


def test_what_istio_calls_otherwise_reaches_the_proxy():
    said = "concurrency: 3\ndrainDuration: 1m1.5s\nterminationDrainDuration: 7s\nproxyMetadata:\n  SECRET_TTL: 15s\n"
    env = proxy_env({PROXY_CONFIG: said})
    assert env["REFMESH_CONCURRENCY"] == "3"
    assert env["REFMESH_LISTENER_DRAIN_SECONDS"] == "62"
    assert env["REFMESH_DRAIN_SECONDS"] == "7"
    assert env["REFMESH_CERTIFICATE_SECONDS"] == "15"


def test_the_form_of_our_own_adapter_is_read():
    assert proxy_env({PROXY_CONFIG: '{"proxyMetadata": {"SECRET_TTL": "15s"}}'})["REFMESH_CERTIFICATE_SECONDS"] == "15"


def test_refmeshs_own_annotation_wins():
    both = {PROXY_CONFIG: "concurrency: 3", "proxy.refmesh.io/concurrency": "2"}
    assert proxy_env(both)["REFMESH_CONCURRENCY"] == "2"


def test_a_lifetime_of_a_month_is_no_mistake():
    assert proxy_env({PROXY_CONFIG: "proxyMetadata: {SECRET_TTL: 720h}"})["REFMESH_CERTIFICATE_SECONDS"] == "999999"


def test_what_no_proxy_of_refmesh_follows_is_said():
    original = pod()
    said = {"tracing": {}, "concurrency": 0, "holdApplicationUntilProxyStarts": True, "proxyMetadata": {"A": "b"}}
    original["metadata"]["annotations"] = {PROXY_CONFIG: json.dumps(said)}
    assert [one.rpartition(" follow ")[2] for one in warnings(original)] == [
        "tracing",
        "concurrency 0",
        "proxyMetadata.A",
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("concurrency: many", "config.concurrency"),
        ("concurrency: -1", "config.concurrency"),
        ("drainDuration: soon", "config.drainDuration"),
        ("terminationDrainDuration: soon", "config.terminationDrainDuration"),
        ("proxyMetadata: [SECRET_TTL]", "config.proxyMetadata"),
        ("proxyMetadata: {SECRET_TTL: 15}", "config.proxyMetadata.SECRET_TTL"),
        ("- a", PROXY_CONFIG),
        ("a: [", PROXY_CONFIG),
        ("a: &x {b: c}\nd: &y {<<: [*x, *x]}\ne: {<<: [*y, *y]}", rf"{PROXY_CONFIG}: aliases \(\*name\) are not taken"),
        ("proxyMetadata: {A: " + "b" * 8192 + "}", rf"{PROXY_CONFIG}: there are 8212 letters; at most 8192 are taken"),
        ("tracing: " + "[" * 65, rf"{PROXY_CONFIG}: values lie more than 64 levels deep"),
        ("concurrency: !!int ''", f"{PROXY_CONFIG}: not valid YAML"),
        ("concurrency: " + "9" * 5000, f"{PROXY_CONFIG}: not valid YAML"),
        ("tracing: {sampling: " + "1:" * 4000 + "1.0}", f"{PROXY_CONFIG}: not valid YAML"),
    ],
)
def test_a_mistake_names_its_field(text, named):
    original = pod()
    original["metadata"]["annotations"] = {PROXY_CONFIG: text}
    with pytest.raises(BadPod, match=named):
        patch(original, ENABLED, CONFIG)


_keys = st.sampled_from(["concurrency", "drainDuration", "proxyMetadata", "SECRET_TTL", "x"])
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keys, inner, max_size=3),
    max_leaves=6,
)


@given(st.text(max_size=40) | st.dictionaries(_keys, _values, max_size=4).map(json.dumps))
def test_whatever_stands_there_is_read_or_refused_by_name(text):
    said = ""
    try:
        found = own_words({PROXY_CONFIG: text})
    except ValueError as error:
        said, found = str(error), {}
    if not found:
        assert PROXY_CONFIG in said
        return
    assert found[PROXY_CONFIG] == text
    assert all(value.isdecimal() for key, value in found.items() if key != PROXY_CONFIG)
    assert len(set(untaken(found))) == len(untaken(found))
