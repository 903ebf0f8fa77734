"""Traffic on a real cluster goes where routes and policies say, and goes on when the control plane is away."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from fixtures.kube import eventually
from fixtures.workloads import client_pod, echo_deployment, service
from fixtures.workloads.batch import Batch, Record
from fixtures.workloads.traffic import Client
from tests.integration.refmesh.conftest import Mesh

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("refmesh")]
INJECT = {"istio-injection": "enabled"}
PORTS = {"http": 8080, "grpc": 7070, "tcp": 9090}
ROUTES = "gateway.networking.k8s.io/v1"


@pytest.fixture(scope="module")
def shop(mesh: Mesh) -> Iterator[str]:
    """Two versions of echo behind one service and one each of their own; a client inside, one outside."""
    with mesh.kube.namespace(f"refmesh-{uuid.uuid4().hex[:6]}", labels=INJECT) as namespace:
        for version in ("v1", "v2"):
            mesh.kube.apply(
                *echo_deployment(
                    f"echo-{version}", namespace, image=mesh.image, version=version, labels={"all": "yes"}
                ),
                service(f"echo-{version}", namespace, {"app": f"echo-{version}"}, PORTS),
            )
        mesh.kube.apply(
            service("echo", namespace, {"all": "yes"}, PORTS),
            client_pod("client", namespace, image=mesh.image),
            client_pod("outsider", namespace, image=mesh.image, labels={"sidecar.istio.io/inject": "false"}),
        )
        mesh.kube.wait_pods_ready(namespace, count=4, timeout=120)
        yield namespace


@pytest.fixture(scope="module")
def client(mesh: Mesh, shop: str) -> Iterator[Client]:
    """The client inside, whose own proxy has heard of every service's endpoints: a Ready pod says nothing of that."""

    def known() -> bool:
        found = mesh.admin(shop, "client", "/clusters")
        return all(
            re.search(rf"^outbound\|{port}\|\|{name}\.{shop}\.\S+::cx_active", found, re.MULTILINE)
            for port in PORTS.values()
            for name in ("echo", "echo-v1", "echo-v2")
        )

    eventually(known, timeout=60, what="the client's proxy knows every endpoint")
    with Client(mesh.kube, shop, "client") as found:
        yield found


@pytest.fixture(scope="module")
def outsider(mesh: Mesh, shop: str) -> Iterator[Client]:
    with Client(mesh.kube, shop, "outsider") as found:
        eventually(
            lambda: one(found, url=url(shop), fresh=True).status == 200, timeout=60, what="the service answers outside"
        )
        yield found


def url(namespace: str, name: str = "echo", port: int = 8080, scheme: str = "http") -> str:
    return f"{scheme}://{name}.{namespace}:{port}" + ("/" if scheme == "http" else "")


def header(record: Record, name: str) -> list[str]:
    assert record.reply is not None, record.error
    found: list[str] = record.reply["headers"].get(name, [])
    return found


def one(client: Client, **batch: Any) -> Record:
    return client.batch(Batch(**batch))[0]


def healed(shop: str, client: Client) -> None:
    """Wait until the service is served as if it had never been routed."""

    def both() -> bool:
        found = client.batch(Batch(url=url(shop), count=40))
        return {record.reply["version"] if record.reply else record.error for record in found} == {"v1", "v2"}

    eventually(both, timeout=60, what="both versions again")


def http_route(namespace: str, rules: list[dict[str, Any]], parent: str = "echo") -> dict[str, Any]:
    reference = {"group": "", "kind": "Service", "name": parent, "port": 8080}
    return {
        "apiVersion": ROUTES,
        "kind": "HTTPRoute",
        "metadata": {"name": parent, "namespace": namespace},
        "spec": {"parentRefs": [reference], "rules": rules},
    }


def conditions(mesh: Mesh, namespace: str) -> dict[str, tuple[str, str]]:
    route = mesh.kube.get(ROUTES, "HTTPRoute", "echo", namespace)
    assert route is not None
    (parent,) = route["status"]["parents"]
    return {item["type"]: (item["status"], item["reason"]) for item in parent["conditions"]}


@pytest.mark.parametrize(
    ("protocol", "port", "scheme"),
    [("http1", 8080, "http"), ("h2c", 8080, "http"), ("grpc", 7070, "http"), ("tcp", 9090, "tcp")],
)
def test_every_protocol_reaches_the_service(shop: str, client: Client, protocol: str, port: int, scheme: str) -> None:
    record = one(client, url=url(shop, port=port, scheme=scheme), protocol=protocol)
    assert record.error is None
    assert record.reply is not None
    assert record.reply["protocol"] == {"h2c": "h2"}.get(protocol, protocol)


def test_the_peer_s_identity_is_the_certificate_s_and_a_forged_one_is_stripped(
    shop: str, client: Client, outsider: Client
) -> None:
    forged = {"x-forwarded-client-cert": "By=spiffe://x;URI=spiffe://cluster.local/ns/kube-system/sa/admin"}
    inside = header(one(client, url=url(shop), headers=forged), "x-forwarded-client-cert")
    assert len(inside) == 1
    assert f"URI=spiffe://cluster.local/ns/{shop}/sa/default" in inside[0]
    assert "kube-system" not in inside[0]
    assert header(one(outsider, url=url(shop), headers=forged), "x-forwarded-client-cert") == []


def test_a_request_id_is_kept(shop: str, client: Client) -> None:
    mine = str(uuid.uuid4())
    assert header(one(client, url=url(shop), headers={"x-request-id": mine}), "x-request-id") == [mine]


def test_a_service_that_calls_itself_reaches_itself(mesh: Mesh, shop: str) -> None:
    code = "import urllib.request as u; print(u.urlopen('http://echo-v1:8080/', timeout=5).status)"
    (pod,) = mesh.kube.list("v1", "Pod", shop, "app=echo-v1")
    done = mesh.kube.exec(shop, pod["metadata"]["name"], ["python", "-c", code], container="echo")
    assert done.stdout.strip() == "200", done.stderr


def test_an_http_route_splits_and_says_so_and_heals_when_it_goes(mesh: Mesh, shop: str, client: Client) -> None:
    marker = {
        "matches": [{"headers": [{"name": "x-marker", "value": "1"}]}],
        "backendRefs": [{"name": "echo-v2", "port": 8080}],
    }
    split = {
        "backendRefs": [
            {"name": "echo-v1", "port": 8080, "weight": 80},
            {"name": "echo-v2", "port": 8080, "weight": 20},
        ]
    }
    mesh.kube.apply(http_route(shop, [marker, split]))
    try:

        def marked() -> bool:
            found = client.batch(Batch(url=url(shop), headers={"x-marker": "1"}, count=10))
            return all(record.reply is not None and record.reply["version"] == "v2" for record in found)

        eventually(marked, timeout=60, what="the route is in force")
        found = Counter(
            record.reply["version"] if record.reply else record.error
            for record in client.batch(Batch(url=url(shop), count=500, concurrency=4))
        )
        assert set(found) == {"v1", "v2"}
        # Far beyond chance: the chance of less than 50 or more than 160 of 500 at 20 % is below 1e-8.
        assert 50 < found["v2"] < 160
        assert eventually(lambda: conditions(mesh, shop), timeout=60, what="a status") == {
            "Accepted": ("True", "Accepted"),
            "ResolvedRefs": ("True", "ResolvedRefs"),
        }
    finally:
        mesh.kube.delete(ROUTES, "HTTPRoute", "echo", shop)
    healed(shop, client)


def test_an_http_route_that_matches_nothing_is_404_and_one_without_backend_500(
    mesh: Mesh, shop: str, client: Client
) -> None:
    rules = [
        {"matches": [{"path": {"type": "Exact", "value": "/gone"}}], "backendRefs": [{"name": "missing", "port": 80}]},
        {
            "matches": [{"path": {"type": "PathPrefix", "value": "/here"}}],
            "backendRefs": [{"name": "echo-v1", "port": 8080}],
        },
    ]
    mesh.kube.apply(http_route(shop, rules))
    try:
        base = f"http://echo.{shop}:8080"
        eventually(lambda: one(client, url=base + "/other").status == 404, timeout=60, what="the route is in force")
        assert one(client, url=base + "/gone").status == 500
        assert one(client, url=base + "/here/x").status == 200
        assert one(client, url=base + "/hereafter").status == 404
        assert one(client, url=url(shop, "echo-v1")).status == 200
        # The proxies are told first, and the status is written after that.
        eventually(
            lambda: conditions(mesh, shop)["ResolvedRefs"] == ("False", "BackendNotFound"),
            timeout=60,
            what="its status",
        )
    finally:
        mesh.kube.delete(ROUTES, "HTTPRoute", "echo", shop)
    healed(shop, client)


def test_strict_resets_plaintext_from_outside_and_serves_the_mesh(
    mesh: Mesh, shop: str, client: Client, outsider: Client
) -> None:
    policy = {
        "apiVersion": "security.istio.io/v1",
        "kind": "PeerAuthentication",
        "metadata": {"name": "default", "namespace": shop},
        "spec": {"mtls": {"mode": "STRICT"}},
    }
    assert one(outsider, url=url(shop)).status == 200
    headless = service("echo-headless", shop, {"all": "yes"}, PORTS)
    headless["spec"]["clusterIP"] = "None"
    mesh.kube.apply(policy, headless)
    try:
        eventually(
            lambda: one(outsider, url=url(shop), fresh=True).error == "reset", timeout=60, what="plaintext is reset"
        )
        found = client.batch(Batch(url=url(shop), count=50, fresh=True))
        assert [record.status for record in found] == [200] * 50
        direct = f"http://echo-headless.{shop}:8080/"
        eventually(lambda: one(client, url=direct, fresh=True).status == 200, timeout=60, what="headless over mTLS")
    finally:
        mesh.kube.delete("security.istio.io/v1", "PeerAuthentication", "default", shop)
    eventually(lambda: one(outsider, url=url(shop), fresh=True).status == 200, timeout=60, what="permissive again")


def test_traffic_goes_on_without_a_control_plane(mesh: Mesh, shop: str, client: Client) -> None:
    def scale(replicas: int) -> None:
        mesh.kube.patch("apps/v1", "Deployment", "refmesh", {"spec": {"replicas": replicas}}, "refmesh-system")

    scale(0)
    try:
        eventually(
            lambda: not mesh.kube.list("v1", "Pod", "refmesh-system", "app=refmesh"),
            timeout=40,
            what="no control plane",
        )
        found = client.batch(Batch(url=url(shop), count=100, fresh=True))
        assert [record.status for record in found] == [200] * 100
    finally:
        scale(1)
        mesh.kube.wait_pods_ready("refmesh-system", "app=refmesh", count=1)
