"""Every object of every adapter against the definitions that its mesh publishes, by a real API server.

The server is asked as strictly as it can (`fieldValidation=Strict`, so unknown fields are refused) and stores nothing
(`dryRun=All`). A cluster of its own: definitions are cluster-wide, and two meshes may define the same kinds.
`MESHPROOF_TEST_CLUSTER=dev` uses the running one of that name, which must hold none of them.
"""

from __future__ import annotations

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
    adapter = load(mesh.removesuffix("-2"), SETTINGS.get(mesh))
    found = [(repr(intent), adapter.render(intent)) for intent in EXAMPLES]
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


@pytest.mark.parametrize("mesh", MESHES)
def test_the_server_takes_every_object(server, mesh):
    found = definitions(mesh)
    server.apply(*found.items)
    try:
        objects = [(said, item) for said, one in rendered(mesh) for item in one.objects]
        assert objects
        problems = [f"{said}: {problem}" for said, item in objects if (problem := refusal(server, item))]
        assert not problems, "\n".join([f"by {found.origin}:", *problems])
    finally:
        for item in found.items:
            server.delete("apiextensions.k8s.io/v1", "CustomResourceDefinition", item["metadata"]["name"], wait=True)


def test_the_server_would_refuse_a_field_that_nobody_defined(server):
    (items,) = (one.objects for said, one in rendered("gateway-api") if said.startswith("RouteTimeout"))
    found = definitions("gateway-api")
    server.apply(*found.items)
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
