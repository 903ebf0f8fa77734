"""Every object of every adapter against the definitions that its mesh publishes, by a real API server.

The server is asked as strictly as it can (`fieldValidation=Strict`, so unknown fields are refused) and stores nothing
(`dryRun=All`). A cluster of its own: definitions are cluster-wide, and two meshes may define the same kinds.
`MESHPROOF_TEST_CLUSTER=dev` uses the running one of that name, which must hold none of them.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from conformance.adapters import Rendered, Unsupported, load
from fixtures.cluster.embedded.provider import EmbeddedProvider
from fixtures.kube import ApiProblem, Kube
from tests.meshes.definitions import MESHES, definitions
from tests.meshes.examples import EXAMPLES, NAMESPACE

pytestmark = pytest.mark.cluster

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "gateway-api": {"namespace-labels": "mesh=on", "pod-labels": "mesh=on", "opt-out-labels": "mesh=off"},
    "kuma-2": {"version": "2"},
    "cilium": {"ztunnel": True},
}
ALSO: Mapping[str, Mapping[str, Any]] = {"kuma-2": {"version": "2", "trust-domain": "example.org"}}
"""Settings by which a mesh writes other objects for the same definitions."""
DIGEST = "test.meshproof.io/digest"
STRICT = [("dryRun", "All"), ("fieldValidation", "Strict"), ("fieldManager", "meshproof-test")]


@pytest.fixture(scope="module")
def server(testrun_uid: str, worker_id: str) -> Iterator[Kube]:
    provider = EmbeddedProvider()
    given = os.environ.get("MESHPROOF_TEST_CLUSTER")
    name = given or f"schema-{testrun_uid[:6]}-{worker_id}"
    if given:
        cluster = next(one for one in provider.list() if one.name == given)
    else:
        cluster = provider.create(name, ephemeral_owner=os.getpid())
    kube = Kube.connect(cluster.kubeconfig, cluster.context)
    try:
        kube.create_namespace(NAMESPACE)
        yield kube
    finally:
        kube.close()
        if not given:
            provider.delete(name)


def rendered(mesh: str) -> list[tuple[str, Rendered]]:
    settings = [SETTINGS.get(mesh), *([ALSO[mesh]] if mesh in ALSO else [])]
    adapters = [load(mesh.removesuffix("-2"), one) for one in settings]
    found = [(repr(intent), adapter.render(intent)) for adapter in adapters for intent in EXAMPLES]
    return [(said, one) for said, one in found if isinstance(one, Rendered)]


def refusal(kube: Kube, item: Mapping[str, Any]) -> str:
    """What the server has against an object that is to be created; "" if nothing."""
    where = kube.api.kind(item["apiVersion"], item["kind"])
    namespace = item["metadata"].get("namespace", NAMESPACE)
    assert namespace == NAMESPACE
    try:
        kube.api.call("POST", where.path(namespace=namespace), query=STRICT, body=dict(item))
    except ApiProblem as error:
        return error.message or error.problem
    return ""


def serve(kube: Kube, items: tuple[dict[str, Any], ...]) -> None:
    """See to it that these definitions are in force: what an earlier mesh defined otherwise goes first."""
    for item in items:
        there = kube.get(item["apiVersion"], item["kind"], item["metadata"]["name"])
        if there is not None and there["metadata"].get("labels", {}).get(DIGEST) != digest(item):
            kube.delete(item["apiVersion"], item["kind"], item["metadata"]["name"], wait=True)
    kube.apply(*({**item, "metadata": {**item["metadata"], "labels": {DIGEST: digest(item)}}} for item in items))


def digest(item: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(item, sort_keys=True, default=str).encode()).hexdigest()[:20]


@pytest.mark.parametrize("mesh", MESHES)
def test_the_server_takes_every_object(server, mesh):
    found = definitions(mesh)
    serve(server, found.items)
    objects = [(said, item) for said, one in rendered(mesh) for item in one.objects]
    assert objects
    problems = [f"{said}: {problem}" for said, item in objects if (problem := refusal(server, item))]
    assert not problems, "\n".join([f"by {found.origin}:", *problems])


def test_the_server_would_refuse_a_field_that_nobody_defined(server):
    (items,) = (one.objects for said, one in rendered("gateway-api") if said.startswith("RouteTimeout"))
    serve(server, definitions("gateway-api").items)
    (route,) = items
    assert refusal(server, route) == ""
    spoilt = {**route, "spec": {**route["spec"], "timeuot": "1s"}}
    assert 'unknown field "spec.timeuot"' in refusal(server, spoilt)


@pytest.mark.parametrize("mesh", MESHES)
def test_parts_of_existing_objects_are_labels_and_annotations_only(mesh):
    for _, one in rendered(mesh):
        for part in one.merges:
            assert part.keys() == {"apiVersion", "kind", "metadata"}
            assert part["metadata"].keys() <= {"name", "namespace", "labels", "annotations"}


def test_what_is_declared_is_declared_with_a_reason():
    for mesh in MESHES:
        adapter = load(mesh.removesuffix("-2"), SETTINGS.get(mesh))
        for intent in EXAMPLES:
            found = adapter.render(intent)
            if isinstance(found, Unsupported):
                assert len(found.reason) > 20, (mesh, intent)
