"""Policies on a real cluster: refused where they are written, closed where that was missed, shown to who asks."""

from __future__ import annotations

import json
import time
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from conformance.tokens import Issuer
from fixtures.kube import ApiProblem, eventually
from fixtures.workloads import client_pod, echo_deployment, service
from fixtures.workloads.batch import Batch
from fixtures.workloads.traffic import Client
from tests.integration.refmesh.conftest import Mesh

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("refmesh")]
VERSION = "security.istio.io/v1"
UNREADABLE: dict[str, Any] = {"rules": [{"when": [{"key": "request.unheard-of", "values": ["x"]}]}]}
FIELD = "spec.rules[0].when[0].key"
ISSUER = "https://issuer.test"


@pytest.fixture(scope="module")
def shop(mesh: Mesh) -> Iterator[str]:
    with mesh.kube.namespace(f"refmesh-{uuid.uuid4().hex[:6]}", labels={"istio-injection": "enabled"}) as namespace:
        mesh.kube.apply(
            *echo_deployment("echo", namespace, image=mesh.image),
            service("echo", namespace, {"app": "echo"}, {"http": 8080}),
            client_pod("client", namespace, image=mesh.image),
        )
        mesh.kube.wait_pods_ready(namespace, count=2, timeout=120)
        yield namespace


@pytest.fixture(scope="module")
def client(mesh: Mesh, shop: str) -> Iterator[Client]:
    with Client(mesh.kube, shop, "client") as found:
        eventually(lambda: status(found, shop) == 200, timeout=60, what="the client reaches the server")
        yield found


def status(client: Client, namespace: str, **headers: str) -> int | None:
    """The status of one request on a new connection."""
    return client.batch(Batch(url=f"http://echo.{namespace}:8080/", headers=headers, fresh=True))[0].status


def put(mesh: Mesh, namespace: str, kind: str, spec: dict[str, Any]) -> None:
    obj = {"apiVersion": VERSION, "kind": kind, "metadata": {"name": "p", "namespace": namespace}, "spec": spec}
    mesh.kube.apply(obj)


def test_what_cannot_be_put_in_force_is_refused_and_names_the_field(mesh: Mesh, shop: str) -> None:
    with pytest.raises(ApiProblem) as caught:
        put(mesh, shop, "AuthorizationPolicy", UNREADABLE)
    assert FIELD in caught.value.message
    assert mesh.kube.get(VERSION, "AuthorizationPolicy", "p", shop) is None


def test_what_gets_past_the_webhook_closes_what_it_selects_and_nothing_else(
    mesh: Mesh, shop: str, client: Client
) -> None:
    mesh.kube.delete("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "refmesh-validator")
    try:

        def taken() -> bool:
            put(mesh, shop, "AuthorizationPolicy", {"selector": {"matchLabels": {"app": "echo"}}, **UNREADABLE})
            return True

        eventually(taken, timeout=60, what="the API server has heard that nobody validates")
        eventually(lambda: status(client, shop) == 403, timeout=60, what="the server is closed")
        (pod,) = mesh.kube.list("v1", "Pod", shop, "app=echo")
        command = ["authz", "check", f"{pod['metadata']['name']}.{shop}", "-o", "json"]
        (row,) = json.loads(mesh.run(*command).stdout)
        assert (row["ACTION"], row["AuthorizationPolicy"], row["RULES"]) == ("ALLOW", f"p.{shop}", 0)
        assert FIELD in row["PROBLEM"]
        assert json.loads(mesh.run("authz", "check", f"client.{shop}", "-o", "json").stdout) == []
        (rejected,) = [item for item in rejections(mesh) if item["namespace"] == shop]
        assert FIELD in rejected["reason"]
    finally:
        mesh.kube.delete(VERSION, "AuthorizationPolicy", "p", shop)
        mesh.install()
    eventually(lambda: status(client, shop) == 200, timeout=60, what="the server is open again")


def rejections(mesh: Mesh) -> list[dict[str, Any]]:
    (pod,) = mesh.kube.wait_pods_ready("refmesh-system", "app=refmesh", count=1)
    with mesh.kube.forward("refmesh-system", pod["metadata"]["name"], 15016) as (host, port):
        with urllib.request.urlopen(f"http://{host}:{port}/debug/rejected", timeout=10) as page:
            found: list[dict[str, Any]] = json.load(page)
    return found


def test_a_token_that_does_not_hold_is_refused_whoever_sends_it(mesh: Mesh, shop: str, client: Client) -> None:
    issuer = Issuer()
    claims = {"iss": ISSUER, "sub": "alice", "exp": int(time.time()) + 600}
    rule = {"issuer": ISSUER, "jwks": issuer.key_set()}
    put(mesh, shop, "RequestAuthentication", {"selector": {"matchLabels": {"app": "echo"}}, "jwtRules": [rule]})
    try:
        bad = {"authorization": f"Bearer {Issuer().token(claims)}"}
        eventually(lambda: status(client, shop, **bad) == 401, timeout=60, what="a stranger's token is refused")
        assert status(client, shop, authorization=f"Bearer {issuer.token(claims)}") == 200
        assert status(client, shop) == 200
    finally:
        mesh.kube.delete(VERSION, "RequestAuthentication", "p", shop)
