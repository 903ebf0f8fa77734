"""What routes, entries and policies promise, seen by traffic: who answered, who got a copy, what never arrived."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from fixtures.kube import eventually
from fixtures.workloads import client_pod, echo_deployment, service
from fixtures.workloads.batch import Batch, Record
from fixtures.workloads.manifests import ECHO_CONTROL
from fixtures.workloads.pod.certificate import make
from fixtures.workloads.traffic import Client, Control
from tests.integration.refmesh.conftest import Mesh

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("refmesh")]
PORTS = {"http": 8080, "grpc": 7070, "tcp": 9090}
ISTIO, GATEWAY = "networking.istio.io/v1", "gateway.networking.k8s.io/v1"
OUTSIDE = "203.0.113.7"
"""An address of nobody's (RFC 5737)."""
ROOTS_MOUNTED = {
    "sidecar.istio.io/userVolume": json.dumps({"roots": {"secret": {"secretName": "roots"}}}),
    "sidecar.istio.io/userVolumeMount": json.dumps({"roots": {"mountPath": "/etc/roots"}}),
}
_GREETER = """
import socketserver
class Greet(socketserver.BaseRequestHandler):
    def handle(self):
        self.request.sendall(b"welcome\\n")
        self.request.sendall(b"you said " + self.request.recv(100))
socketserver.ThreadingTCPServer(("", 9999), Greet).serve_forever()
"""


@pytest.fixture(scope="module")
def pairs() -> dict[str, bytes]:
    """Keys with certificates that sign themselves, and so are their own CA, by host."""
    return {host: make([host]) for host in ("secure.example", "other.example")}


@pytest.fixture(scope="module")
def shop(mesh: Mesh, pairs: dict[str, bytes]) -> Iterator[str]:
    """Two versions of echo behind one service and one each, an echo outside the mesh, one server that speaks first."""
    with mesh.kube.namespace(f"routing-{uuid.uuid4().hex[:6]}", labels={"istio-injection": "enabled"}) as namespace:
        for name in ("echo-v1", "echo-v2"):
            labels = {"all": "yes"}
            mesh.kube.apply(
                *echo_deployment(name, namespace, image=mesh.image, version=name[-2:], labels=labels),
                service(name, namespace, {"app": name}, PORTS),
            )
        outside = {"sidecar.istio.io/inject": "false"}
        mesh.kube.apply(
            service("echo", namespace, {"all": "yes"}, PORTS),
            *echo_deployment("away", namespace, image=mesh.image, labels=outside),
            _secret("roots", namespace, {f"{host}.pem": certificate(pem) for host, pem in pairs.items()}),
            client_pod("client", namespace, image=mesh.image, annotations=ROOTS_MOUNTED),
            client_pod("gold", namespace, image=mesh.image, labels={"tier": "gold"}),
            _greeter(namespace, mesh.image),
            service("greeter", namespace, {"app": "greeter"}, {"tcp": 9999}),
        )
        mesh.kube.wait_pods_ready(namespace, count=6, timeout=120)
        yield namespace


def certificate(pem: bytes) -> str:
    """The certificate of a pair."""
    return pem[pem.index(b"-----BEGIN CERTIFICATE") :].decode()


def _secret(name: str, namespace: str, data: dict[str, str]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "stringData": data,
    }


def _greeter(namespace: str, image: str) -> dict[str, Any]:
    container = {"name": "greeter", "image": image, "command": ["python", "-c", _GREETER]}
    metadata = {"name": "greeter", "namespace": namespace, "labels": {"app": "greeter"}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


@pytest.fixture(scope="module")
def client(mesh: Mesh, shop: str) -> Iterator[Client]:
    with Client(mesh.kube, shop, "client") as found:
        spread = Batch(url=f"tcp://echo.{shop}:9090", protocol="tcp", count=12, fresh=True)

        def known() -> bool:
            each = [one(found, url=f"http://echo-{version}.{shop}:8080/").status for version in ("v1", "v2")]
            return each == [200, 200] and set(versions(found.batch(spread))) == {"v1", "v2"}

        eventually(known, timeout=60, what="the client's proxy knows the services")
        yield found


@contextmanager
def applied(mesh: Mesh, namespace: str, version: str, kind: str, spec: dict[str, Any]) -> Iterator[None]:
    """An object of this kind for a while."""
    name = f"it-{uuid.uuid4().hex[:6]}"
    mesh.kube.apply(
        {"apiVersion": version, "kind": kind, "metadata": {"name": name, "namespace": namespace}, "spec": spec}
    )
    try:
        yield
    finally:
        mesh.kube.delete(version, kind, name, namespace)


def one(client: Client, **batch: Any) -> Record:
    return client.batch(Batch(**batch))[0]


def versions(records: list[Record]) -> Counter[str]:
    return Counter(record.reply["version"] if record.reply else str(record.error) for record in records)


def marked(rule: dict[str, Any], mark: str) -> dict[str, Any]:
    """The rule with a response header of its own, by which its being in force is seen."""
    return {**rule, "headers": {"response": {"set": {"x-mark": mark}}}}


def in_force(client: Client, url: str, mark: str, **batch: Any) -> None:
    def seen() -> bool:
        found = client.batch(Batch(url=url, count=3, **batch))
        return all((record.headers or {}).get("x-mark") == [mark] for record in found)

    eventually(seen, timeout=60, what=f"the rule {mark} is in force")


def count(mesh: Mesh, namespace: str, app: str, key: str) -> int:
    """How many requests with this key came to the pod, whoever heard of its answers."""
    (pod,) = mesh.kube.list("v1", "Pod", namespace, f"app={app}")
    code = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:16000/count?key={key}').read().decode())"
    done = mesh.kube.exec(namespace, pod["metadata"]["name"], ["python", "-c", code], container="echo")
    return int(json.loads(done.stdout)["counts"][key])


def to(host: str, **more: Any) -> dict[str, Any]:
    return {"route": [{"destination": {"host": host}}], **more}


def test_a_mirror_gets_every_request_and_its_answers_reach_nobody(mesh: Mesh, shop: str, client: Client) -> None:
    rule = marked(to("echo-v1", mirror={"host": "echo-v2"}), "mirror")
    url, key = f"http://echo.{shop}:8080/", uuid.uuid4().hex
    with applied(mesh, shop, ISTIO, "VirtualService", {"hosts": ["echo"], "http": [rule]}):
        in_force(client, url, "mirror")
        found = client.batch(Batch(url=url, count=40, headers={"x-meshproof-key": key}))
        assert versions(found) == {"v1": 40}
        eventually(lambda: count(mesh, shop, "echo-v2", key) == 40, timeout=60, what="every copy arrived")
        assert count(mesh, shop, "echo-v1", key) == 40


def test_a_delegate_answers_and_what_is_exported_elsewhere_does_not(mesh: Mesh, shop: str, client: Client) -> None:
    url, team = f"http://echo.{shop}:8080", f"team-{uuid.uuid4().hex[:6]}"
    matched = {"match": [{"uri": {"prefix": "/team/two"}}], **to(f"echo-v2.{shop}.svc.cluster.local")}
    rest = to(f"echo-v1.{shop}.svc.cluster.local")
    delegate = {"apiVersion": ISTIO, "kind": "VirtualService", "metadata": {"name": "d"}}
    elsewhere = {"hosts": ["echo"], "exportTo": [team], "http": [{"directResponse": {"status": 418}}]}
    named = {"match": [{"uri": {"prefix": "/team"}}], "delegate": {"name": "d", "namespace": team}}
    with mesh.kube.namespace(team, wait=True), applied(mesh, shop, ISTIO, "VirtualService", elsewhere):
        mesh.kube.apply({**delegate, "spec": {"http": [marked(matched, "delegate"), rest]}}, namespace=team)
        root = {"hosts": ["echo"], "http": [named, {"directResponse": {"status": 204}}]}
        with applied(mesh, shop, ISTIO, "VirtualService", root):
            in_force(client, f"{url}/team/two", "delegate")
            assert versions(client.batch(Batch(url=f"{url}/team/two", count=10))) == {"v2": 10}
            assert versions(client.batch(Batch(url=f"{url}/team/three", count=10))) == {"v1": 10}
            assert one(client, url=f"{url}/other").status == 204

        def answered_elsewhere() -> dict[str, str]:
            found = mesh.kube.list(ISTIO, "VirtualService", shop)
            return {c["type"]: c["status"] for obj in found for c in obj.get("status", {}).get("conditions", ())}

        eventually(lambda: answered_elsewhere().get("Accepted") == "True", timeout=60, what="the other one is judged")
        # The root is gone from the API server before it is gone from the client's proxy: 204 is its answer still.
        eventually(
            lambda: all(record.status != 204 for record in client.batch(Batch(url=url, count=10))),
            timeout=15,
            what="the root is not in force any more",
        )
        assert versions(client.batch(Batch(url=url, count=10))).keys() <= {"v1", "v2"}


def test_a_browser_s_preflight_is_answered_for_allowed_origins_only(mesh: Mesh, shop: str, client: Client) -> None:
    cors = {"allowOrigins": [{"exact": "https://good.example"}], "allowMethods": ["PUT"], "maxAge": "60s"}
    url = f"http://echo.{shop}:8080/"
    ask = {"access-control-request-method": "PUT"}
    with applied(
        mesh, shop, ISTIO, "VirtualService", {"hosts": ["echo"], "http": [marked(to("echo", corsPolicy=cors), "cors")]}
    ):
        in_force(client, url, "cors")
        good = one(client, url=url, method="OPTIONS", headers={"origin": "https://good.example", **ask})
        assert good.reply is None
        assert (good.headers or {})["access-control-allow-origin"] == ["https://good.example"]
        assert (good.headers or {})["access-control-allow-methods"] == ["PUT"]
        bad = one(client, url=url, method="OPTIONS", headers={"origin": "https://evil.example", **ask})
        assert "access-control-allow-origin" not in (bad.headers or {})


def test_clients_are_told_apart_by_their_labels(mesh: Mesh, shop: str, client: Client) -> None:
    rules = [
        marked(to("echo-v2", match=[{"sourceLabels": {"tier": "gold"}}]), "gold"),
        marked(to("echo-v1"), "others"),
    ]
    url = f"http://echo.{shop}:8080/"
    with (
        Client(mesh.kube, shop, "gold") as gold,
        applied(mesh, shop, ISTIO, "VirtualService", {"hosts": ["echo"], "http": rules}),
    ):
        in_force(gold, url, "gold")
        in_force(client, url, "others")
        assert versions(gold.batch(Batch(url=url, count=20))) == {"v2": 20}
        assert versions(client.batch(Batch(url=url, count=20))) == {"v1": 20}


def test_connections_are_routed_by_tcp_routes(mesh: Mesh, shop: str, client: Client) -> None:
    spec = {"hosts": ["echo"], "tcp": [{"match": [{"port": 9090}], **to("echo-v2")}]}
    probe = Batch(url=f"tcp://echo.{shop}:9090", protocol="tcp", count=12, fresh=True)
    with applied(mesh, shop, ISTIO, "VirtualService", spec):
        eventually(lambda: versions(client.batch(probe)) == {"v2": 12}, timeout=60, successes=2, what="all to v2")


def test_grpc_calls_of_one_connection_are_routed_and_spread_one_by_one(mesh: Mesh, shop: str, client: Client) -> None:
    backends = [{"name": "echo-v1", "port": 7070}, {"name": "echo-v2", "port": 7070}]
    rules = [
        {"matches": [{"headers": [{"name": "x-to", "value": "v2"}]}], "backendRefs": backends[1:]},
        {"backendRefs": backends},
    ]
    parent = {"group": "", "kind": "Service", "name": "echo", "port": 7070}
    probe: dict[str, Any] = {"url": f"http://echo.{shop}:7070/", "protocol": "grpc"}
    with applied(mesh, shop, GATEWAY, "GRPCRoute", {"parentRefs": [parent], "rules": rules}):

        def only_v2() -> bool:
            return versions(client.batch(Batch(**probe, count=20, headers={"x-to": "v2"}))) == {"v2": 20}

        eventually(only_v2, timeout=60, what="the route is in force")
        found = client.batch(Batch(**probe, count=100))
        assert sum(record.fresh for record in found) == 1
        # The chance of fewer than 15 of 100 at one half is below 1e-13.
        assert min(versions(found).values()) >= 15
        assert set(versions(found)) == {"v1", "v2"}


def test_a_web_socket_and_a_server_that_speaks_first_get_through(mesh: Mesh, shop: str, client: Client) -> None:
    socket = one(client, url=f"http://echo.{shop}:8080/", protocol="websocket")
    assert (socket.error, socket.status) == (None, 101)
    code = (
        "import socket\n"
        "s = socket.create_connection(('greeter', 9999), 5); s.settimeout(5)\n"
        "print(s.recv(8).decode(), end='')\n"
        "s.sendall(b'hello'); print(s.recv(100).decode())"
    )

    def heard() -> str:
        return mesh.kube.exec(shop, "client", ["python", "-c", code], container="client").stdout

    eventually(lambda: heard() == "welcome\nyou said hello\n", timeout=60, what="both words of the greeter")


def test_hosts_outside_are_reached_by_address_and_by_name(mesh: Mesh, shop: str, client: Client) -> None:
    (away,) = mesh.kube.list("v1", "Pod", shop, "app=away")
    ports = [{"number": 8080, "name": "http", "protocol": "HTTP"}]
    by_address = {
        "hosts": ["static.example"],
        "addresses": [OUTSIDE],
        "ports": ports,
        "resolution": "STATIC",
        "endpoints": [{"address": away["status"]["podIP"]}],
    }
    by_name = {
        "hosts": ["dns.example"],
        "ports": [{"number": 8088, "name": "http", "protocol": "HTTP", "targetPort": 8080}],
        "resolution": "DNS",
        "endpoints": [{"address": f"echo-v2.{shop}.svc.cluster.local"}],
    }
    with (
        applied(mesh, shop, ISTIO, "ServiceEntry", by_address),
        applied(mesh, shop, ISTIO, "ServiceEntry", by_name),
    ):

        def answered_by(name: str, **batch: Any) -> bool:
            record = one(client, fresh=True, timeout=2.0, **batch)
            return record.reply is not None and str(record.reply["pod"]).startswith(name)

        eventually(
            lambda: answered_by("away", url=f"http://{OUTSIDE}:8080/"), timeout=60, what="the static entry's endpoint"
        )
        named: dict[str, Any] = {"url": "http://192.0.2.1:8088/", "headers": {"host": "dns.example"}}
        eventually(lambda: answered_by("echo-v2", **named), timeout=60, what="the name's endpoint")


def test_a_proxy_speaks_tls_to_a_host_outside_that_it_can_verify_and_to_no_other(
    mesh: Mesh, shop: str, client: Client, pairs: dict[str, bytes]
) -> None:
    (away,) = mesh.kube.list("v1", "Pod", shop, "app=away")
    control = Control.of_pod(mesh.kube, shop, away["metadata"]["name"], ECHO_CONTROL)
    pem = pairs["secure.example"].decode()
    control.order("POST", "/certificate", {"certificate": certificate(pem.encode()), "key": pem})
    control.close()
    # The last one is the right one: where it is in force, the others are.
    rules = {
        "wrong-ca.example": {"caCertificates": "/etc/roots/other.example.pem", "sni": "secure.example"},
        "wrong-name.example": {"caCertificates": "/etc/roots/secure.example.pem"},
        "no-file.example": {"caCertificates": "/etc/roots/none.pem", "sni": "secure.example"},
        "secure.example": {"caCertificates": "/etc/roots/secure.example.pem"},
    }
    entry = {
        "hosts": list(rules),
        "ports": [{"number": 80, "name": "http", "protocol": "HTTP", "targetPort": 8443}],
        "resolution": "STATIC",
        "endpoints": [{"address": away["status"]["podIP"]}],
    }
    key = uuid.uuid4().hex

    def ask(host: str, **headers: str) -> Record:
        return one(client, url="http://192.0.2.1/", headers={"host": host, **headers}, fresh=True)

    with ExitStack() as stack:
        stack.enter_context(applied(mesh, shop, ISTIO, "ServiceEntry", entry))
        for host, tls in rules.items():
            spec = {"host": host, "trafficPolicy": {"tls": {"mode": "SIMPLE", **tls}}}
            stack.enter_context(applied(mesh, shop, ISTIO, "DestinationRule", spec))
        eventually(lambda: ask("secure.example").status == 200, timeout=60, what="TLS by the proxy")
        for host in rules:
            found = ask(host, **{"x-meshproof-key": key})
            assert (host, found.status) == (host, 200 if host == "secure.example" else 503)
        reply = ask("secure.example").reply
        assert reply is not None
        assert (reply["pod"], reply["tls"]["sni"]) == (away["metadata"]["name"], "secure.example")
        assert count(mesh, shop, "away", key) == 1


def test_only_what_is_registered_can_be_called_where_that_is_asked_for(mesh: Mesh, shop: str, client: Client) -> None:
    """With two control planes, one of which leads: the other takes over when it goes."""
    (away,) = mesh.kube.list("v1", "Pod", shop, "app=away")
    direct: dict[str, Any] = {"url": f"http://{away['status']['podIP']}:8080/", "fresh": True}
    assert one(client, **direct).status == 200
    mesh.install("--set", "meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY", "--set", "replicas=2")
    try:
        eventually(lambda: one(client, **direct).status == 502, timeout=60, what="a stranger is out of reach")
        assert one(client, url=f"http://echo.{shop}:8080/", fresh=True).status == 200
        before = eventually(lambda: _leader(mesh), timeout=60, what="a leader")
        mesh.kube.delete("v1", "Pod", before.partition("_")[0], "refmesh-system")
        eventually(lambda: _leader(mesh) != before, timeout=60, what="another leader")
        parent = {"group": "", "kind": "Service", "name": "echo", "port": 8080}
        rules = [{"backendRefs": [{"name": "echo-v1", "port": 8080}]}]
        with applied(mesh, shop, GATEWAY, "HTTPRoute", {"parentRefs": [parent], "rules": rules}):
            eventually(lambda: _accepted(mesh, shop), timeout=60, what="a status, by the new leader")
    finally:
        mesh.install()
    eventually(lambda: one(client, **direct).status == 200, timeout=60, what="strangers are reachable again")


def _leader(mesh: Mesh) -> str:
    lease = mesh.kube.get("coordination.k8s.io/v1", "Lease", "refmesh-status", "refmesh-system")
    assert lease is not None
    holder = str(lease["spec"]["holderIdentity"])
    assert holder
    return holder


def _accepted(mesh: Mesh, namespace: str) -> bool:
    (route,) = mesh.kube.list(GATEWAY, "HTTPRoute", namespace)
    (parent,) = route["status"]["parents"]
    return all(item["status"] == "True" for item in parent["conditions"])
