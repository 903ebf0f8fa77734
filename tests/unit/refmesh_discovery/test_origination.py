"""TLS by the client's proxy: what is generated and what the agent serves, in a real Envoy before real TLS servers."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from envoy.extensions.transport_sockets.tls.v3.tls_pb2 import UpstreamTlsContext
from google.protobuf.json_format import MessageToDict

from refmesh.agent.files import FileServer
from refmesh.agent.secrets import SecretServer
from refmesh.api.client_tls import ClientTls, never_ready, read
from refmesh.api.destination_rule import TrafficPolicy
from refmesh.api.fields import Field
from refmesh.config.model import Protocol
from refmesh.discovery.clusters import ExternalCluster, external_cluster
from refmesh.discovery.endpoints import Address
from refmesh.discovery.names import direct_cluster, outbound_cluster
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.settings import MeshSettings
from refmesh.discovery.world import Generator
from tests.unit.refmesh_discovery.authority import TestAuthority
from tests.unit.refmesh_discovery.envoy_process import ENVOY
from tests.unit.refmesh_discovery.helpers import (
    MemoryCluster,
    all_messages,
    endpoint_slice,
    message_of,
    pod,
    policy,
    service,
)
from tests.unit.refmesh_discovery.test_envoy_accepts import SDS

HOST = "api.example.com"
_FILTERS = "type.googleapis.com/envoy.extensions.filters"
PATIENCE_SECONDS = 20.0


@dataclass
class Outside:
    """A TLS server on loopback that says who it was asked for; HTTP/1.1 only."""

    port: int
    seen: list[dict[str, Any]] = field(default_factory=list)


@contextmanager
def outside(pair: Path, clients: Path | None = None) -> Iterator[Outside]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    listener = socket.create_server(("127.0.0.1", 0))
    found, names = Outside(listener.getsockname()[1]), dict[Any, str | None]()
    context.sni_callback = lambda connection, name, _: names.__setitem__(connection, name)

    def answer(plain: socket.socket) -> None:
        with suppress(OSError), plain, context.wrap_socket(plain, server_side=True) as secured:
            while secured.recv(65536):
                shown = (secured.getpeercert() or {}).get("subjectAltName")
                alpn = secured.selected_alpn_protocol()
                found.seen.append({"sni": names.get(secured), "alpn": alpn, "client": shown})
                secured.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    def accept() -> None:
        while True:
            try:
                plain, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(plain,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield found
    finally:
        listener.close()


def files(folder: Path, authority: TestAuthority, name: str, host: str) -> tuple[Path, Path, Path]:
    """Certificate, key, and both in one, for a host."""
    chain, key = authority.issue([x509.DNSName(host)])
    paths = folder / f"{name}.crt", folder / f"{name}.key", folder / f"{name}.pem"
    for path, content in zip(paths, (chain, key, key + b"\n" + chain), strict=True):
        path.write_bytes(content)
    return paths


def cluster(port: int, name: str, tls: dict[str, Any], protocol: Protocol = Protocol.HTTP) -> Any:
    wanted = read(Field({"mode": "SIMPLE", **tls}, "tls"))
    name = outbound_cluster(80, "", name)
    return external_cluster(
        ExternalCluster(name, "DNS", (Address("127.0.0.1", port),), protocol, TrafficPolicy(tls=wanted)), MeshSettings()
    )


def bootstrap(clusters: list[Any], sds: str) -> dict[str, Any]:
    """One listener: the header `to` names the cluster."""
    manager = {
        "@type": f"{_FILTERS}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "in",
        "http_filters": [
            {
                "name": "router",
                "typed_config": {"@type": f"{_FILTERS}.http.router.v3.Router"},
            }
        ],
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster_header": "to"}}],
                }
            ]
        },
    }
    agent = json.loads(json.dumps(SDS))
    agent["load_assignment"]["endpoints"][0]["lb_endpoints"][0]["endpoint"]["address"]["pipe"]["path"] = sds
    address = {"socket_address": {"address": "127.0.0.1", "port_value": 0}}
    return {
        "node": {"id": "test", "cluster": "test"},
        "admin": {"address": address},
        "static_resources": {
            "clusters": [agent, *(MessageToDict(item) for item in clusters)],
            "listeners": [
                {
                    "name": "in",
                    "address": address,
                    "filter_chains": [{"filters": [{"name": "http", "typed_config": manager}]}],
                }
            ],
        },
    }


@dataclass
class Proxy:
    port: int

    def status(self, name: str, host: str = HOST) -> int:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as connection:
            connection.request("GET", "/", headers={"host": host, "to": outbound_cluster(80, "", name)})
            reply = connection.getresponse()
            reply.read()
            return reply.status


@contextmanager
def proxy(folder: Path, clusters: list[Any]) -> Iterator[Proxy]:
    secrets = SecretServer(str(folder / "sds"), FileServer(poll_seconds=0.1))
    secrets.start()
    config, admin = folder / "envoy.json", folder / "admin"
    config.write_text(json.dumps(bootstrap(clusters, secrets.path)))
    with (folder / "envoy.log").open("wb") as log:
        process = subprocess.Popen(
            [ENVOY, "-c", config, "--admin-address-path", admin, "--concurrency", "1", "--use-dynamic-base-id",
             "--disable-hot-restart"], stdout=log, stderr=log,
        )  # fmt: skip
    try:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not (port := listening(admin)):
            assert process.poll() is None, (folder / "envoy.log").read_text()
            assert time.monotonic() < deadline, (folder / "envoy.log").read_text()
            time.sleep(0.02)
        yield Proxy(port)
    finally:
        process.terminate()
        process.wait()


def listening(admin: Path) -> int:
    """The port of the listener; 0 as long as it is not open."""
    if not (admin.exists() and admin.read_text()):
        return 0
    with closing(http.client.HTTPConnection(admin.read_text(), timeout=5)) as connection:
        connection.request("GET", "/listeners?format=json")
        found = json.loads(connection.getresponse().read()).get("listener_statuses") or []
        connection.request("GET", "/ready")
        reply = connection.getresponse()
        ready = (reply.read(), reply.status)[1] == 200
    return int(found[0]["local_address"]["socket_address"]["port_value"]) if found and ready else 0


def test_a_proxy_speaks_tls_to_whom_it_can_verify_and_to_nobody_else(tmp_path: Path, monkeypatch: Any) -> None:
    trusted, other = TestAuthority(), TestAuthority()
    roots, wrong, late = tmp_path / "ca.pem", tmp_path / "other.pem", tmp_path / "late.pem"
    roots.write_bytes(trusted.trust_bundle_pem())
    wrong.write_bytes(other.trust_bundle_pem())
    monkeypatch.setenv("SSL_CERT_FILE", str(wrong))
    good = files(tmp_path, trusted, "server", HOST)
    client = files(tmp_path, trusted, "client", "client.example.com")
    mutual = {"mode": "MUTUAL", "caCertificates": str(roots), "clientCertificate": str(client[0])}
    with outside(good[2]) as simple, outside(good[2], roots) as asking:
        clusters = [
            cluster(simple.port, HOST, {"caCertificates": str(roots)}),
            cluster(simple.port, "*.example.com", {"caCertificates": str(roots)}),
            cluster(simple.port, "named.example.com", {"caCertificates": str(roots), "sni": HOST}),
            cluster(simple.port, "same.example.com", {"caCertificates": str(roots), "subjectAltNames": ["a.b", HOST]}),
            cluster(simple.port, "wrong-ca", {"caCertificates": str(wrong)}),
            cluster(simple.port, "system", {}),
            cluster(simple.port, "wrong-name", {"caCertificates": str(roots), "subjectAltNames": ["a.example.com"]}),
            cluster(simple.port, "wrong-sni", {"caCertificates": str(roots), "sni": "b.example.com"}),
            cluster(simple.port, "unverified", {"insecureSkipVerify": True}),
            cluster(simple.port, "late", {"caCertificates": str(late)}),
            cluster(asking.port, "mutual", {**mutual, "privateKey": str(client[1])}),
            cluster(asking.port, "anonymous", {"caCertificates": str(roots)}),
            cluster(asking.port, "keyless", {**mutual, "privateKey": str(tmp_path / "none")}),
            cluster(simple.port, "unreadable", {"caCertificates": never_ready("shop/r").roots}),
        ]
        with proxy(tmp_path, clusters) as envoy:
            for name in (HOST, "*.example.com", "same.example.com", "unverified"):
                assert envoy.status(name) == 200, name
                assert simple.seen.pop() == {"sni": HOST, "alpn": "http/1.1", "client": None}, name
            # What the rule says stands above what requests say.
            assert envoy.status("named.example.com", "whatever.example.org") == 200
            assert simple.seen.pop()["sni"] == HOST
            # The name that a request asks for must be in the certificate.
            assert envoy.status(HOST, "b.example.com") == 503
            assert envoy.status("*.example.com", "b.example.com") == 503
            for name in ("wrong-ca", "system", "wrong-name", "wrong-sni", "late", "anonymous", "keyless", "unreadable"):
                assert envoy.status(name) == 503, name
            assert simple.seen == []
            assert envoy.status("mutual") == 200
            assert asking.seen == [{"sni": HOST, "alpn": "http/1.1", "client": (("DNS", "client.example.com"),)}]
            late.write_bytes(trusted.trust_bundle_pem())
            deadline = time.monotonic() + PATIENCE_SECONDS
            while envoy.status("late") != 200:
                assert time.monotonic() < deadline
                time.sleep(0.05)


def transport(found: Any) -> Any:
    context = UpstreamTlsContext()
    assert found.transport_socket.typed_config.Unpack(context)
    return context


def generated(*items: tuple[str, dict[str, Any]]) -> dict[str, Any]:
    memory = MemoryCluster().with_echo()
    for source, item in items:
        memory.put(source, item)
    assert not memory.snapshot().rejected
    table = memory.world().shared[ResourceType.CLUSTER]
    return {name: message_of(item, ResourceType.CLUSTER) for name, item in table.items()}


def test_ports_and_subsets_may_speak_otherwise_than_the_host() -> None:
    rule = {
        "host": "echo",
        "trafficPolicy": {
            "tls": {"mode": "SIMPLE"},
            "portLevelSettings": [{"port": {"number": 90}, "tls": {"mode": "DISABLE"}}],
        },
        "subsets": [{"name": "v1", "trafficPolicy": {"tls": {"mode": "SIMPLE", "sni": "v1.example.com"}}}],
    }
    found = generated(("DestinationRule", policy("r", rule)))
    host = "echo.shop.svc.cluster.local"
    whole = transport(found[outbound_cluster(80, "", host)])
    assert (whole.sni, whole.auto_sni_san_validation) == (host, True)
    source = whole.common_tls_context.combined_validation_context.validation_context_sds_secret_config
    assert source.name == "file-root:system"
    for port in (80, 90):
        assert transport(found[outbound_cluster(port, "v1", host)]).sni == "v1.example.com"
    plain = found[outbound_cluster(90, "", host)]
    assert not plain.HasField("transport_socket")
    assert not plain.transport_socket_matches


def test_http_2_is_offered_where_it_is_spoken() -> None:
    entry = {"hosts": [HOST], "ports": [{"number": 80, "protocol": "GRPC", "targetPort": 443}], "resolution": "DNS"}
    rule = {"host": HOST, "trafficPolicy": {"tls": {"mode": "SIMPLE"}}}
    found = generated(("ServiceEntry", policy("e", entry)), ("DestinationRule", policy("r", rule)))
    assert list(transport(found[outbound_cluster(80, "", HOST)]).common_tls_context.alpn_protocols) == ["h2"]


def headless(name: str) -> dict[str, Any]:
    made = service(name)
    made["spec"]["clusterIP"], made["spec"]["clusterIPs"] = "None", ["None"]
    return made


def listener_of(memory: MemoryCluster, pod_key: tuple[str, str], name: str = "10.1.0.1_8080") -> bytes:
    """What the proxy of a pod has for an endpoint; nothing where that is reached as any address is."""
    found = all_messages(memory.world(), pod_key, ResourceType.LISTENER).get(name)
    return found.SerializeToString() if found is not None else b""


DIRECT = direct_cluster(80, "echo.shop.svc.cluster.local")


@pytest.mark.parametrize("observed", [False, True])
@pytest.mark.parametrize("namespace", ["shop", "client"])
def test_endpoints_of_a_headless_service_get_tls_although_they_have_no_proxy(namespace: str, *, observed: bool) -> None:
    memory = MemoryCluster().with_echo(meshed=False).put("Service", headless("echo"))
    for where in ("shop", "client", "other"):
        memory.put("Pod", pod("caller", "10.3.0.1", where, app="caller"))
    if observed:  # those have listeners that are not shared with others
        memory.put("Sidecar", policy("s", {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}}, "refmesh-system"))
    rule = {"host": "echo.shop.svc.cluster.local", "trafficPolicy": {"tls": {"mode": "SIMPLE"}}}
    memory.put("DestinationRule", policy("r", rule, namespace))
    world = memory.world()
    for caller in ("shop", "client", "other"):
        secured = namespace in ("shop", caller)
        assert (DIRECT.encode() in listener_of(memory, (caller, "caller"))) is secured, caller
        made = message_of(world.tables(caller)[ResourceType.CLUSTER][DIRECT], ResourceType.CLUSTER)
        assert transport(made).sni.startswith("echo.shop." if secured else "outbound_.80")


def test_a_namespace_may_have_plaintext_where_others_have_tls() -> None:
    memory = MemoryCluster().with_echo(meshed=False).put("Service", headless("echo"))
    memory.put("Pod", pod("caller", "10.3.0.1", "client", app="caller"))
    for namespace, mode in (("shop", "SIMPLE"), ("client", "DISABLE")):
        rule = {"host": "echo.shop.svc.cluster.local", "trafficPolicy": {"tls": {"mode": mode}}}
        memory.put("DestinationRule", policy("r", rule, namespace))
    assert DIRECT.encode() in listener_of(memory, ("shop", "echo-v1"))
    assert listener_of(memory, ("client", "caller")) == b""
    # What an entry says of the address stays.
    port = {"number": 8080, "name": "http", "protocol": "HTTP"}
    entry = {"hosts": [HOST], "addresses": ["10.1.0.2"], "ports": [port], "resolution": "NONE"}
    memory.put("ServiceEntry", policy("e", entry)).drop("DestinationRule", "r")
    assert b"10.1.0.2_8080" in listener_of(memory, ("client", "caller"), "10.1.0.2_8080")


@pytest.mark.parametrize("named", ["a", "z"])
@pytest.mark.parametrize("allow", [False, True])
def test_of_two_headless_services_with_a_pod_the_one_with_tls_counts_for_every_proxy(
    named: str, *, allow: bool
) -> None:
    memory = MemoryCluster().with_echo(meshed=False).put("Service", headless("echo"))
    memory.generator = Generator(MeshSettings(allow_unknown=allow))
    pods = [pod("echo-v1", "10.1.0.1", meshed=False)]
    memory.put("Service", headless(named)).put("EndpointSlice", endpoint_slice(named, pods))
    memory.put("DestinationRule", policy("r", {"host": named, "trafficPolicy": {"tls": {"mode": "SIMPLE"}}}))
    mode = "REGISTRY_ONLY" if allow else "ALLOW_ANY"
    memory.put("Sidecar", policy("s", {"outboundTrafficPolicy": {"mode": mode}}, "client"))
    for namespace in ("shop", "client"):
        memory.put("Pod", pod("caller", "10.3.0.1", namespace, app="caller"))
        expected = direct_cluster(80, f"{named}.shop.svc.cluster.local")
        assert expected.encode() in listener_of(memory, (namespace, "caller")), namespace


def test_the_meshs_own_tls_is_spoken_to_whomever_a_rule_names() -> None:
    mutual, port = {"mode": "ISTIO_MUTUAL"}, {"number": 80, "protocol": "HTTP"}
    entry = {"hosts": [HOST], "ports": [port], "resolution": "NONE"}
    passing = {"tls": mutual, "loadBalancer": {"simple": "PASSTHROUGH"}}
    found = generated(
        ("ServiceEntry", policy("e", entry)),
        ("DestinationRule", policy("outside", {"host": HOST, "trafficPolicy": {"tls": mutual}})),
        ("DestinationRule", policy("passing", {"host": "echo", "trafficPolicy": passing})),
    )
    for host, match in (
        (HOST, {"prefix": "spiffe://cluster.local/"}),
        ("echo.shop.svc.cluster.local", {"exact": "spiffe://cluster.local/ns/shop/sa/echo"}),
    ):
        context = transport(found[outbound_cluster(80, "", host)])
        assert context.sni == f"outbound_.80_._.{host}"
        validation = context.common_tls_context.combined_validation_context.default_validation_context
        assert [MessageToDict(san.matcher) for san in validation.match_typed_subject_alt_names] == [match]
    # Nor is an endpoint of a headless service spared that has no proxy.
    memory = MemoryCluster().with_echo(meshed=False).put("Service", headless("echo"))
    memory.put("DestinationRule", policy("r", {"host": "echo", "trafficPolicy": {"tls": mutual}}))
    assert DIRECT.encode() in listener_of(memory, ("shop", "echo-v1"))


def test_a_rule_that_cannot_be_served_is_named_and_leaves_others_alone() -> None:
    memory = MemoryCluster().with_echo()
    bad = {"host": "echo", "trafficPolicy": {"tls": {"mode": "SIMPLE", "credentialName": "c"}}}
    memory.put("DestinationRule", policy("bad", bad))
    memory.put("DestinationRule", policy("good", {"host": "b", "trafficPolicy": {"tls": {"mode": "SIMPLE"}}}))
    snapshot = memory.snapshot()
    assert snapshot.destination_rules["shop", "good"].host == "b.shop.svc.cluster.local"
    (rejected,) = snapshot.rejected.values()
    assert "spec.trafficPolicy.tls.credentialName" in rejected.reason
    assert "sidecar.istio.io/userVolume" in rejected.reason


def tls_policy(mode: Any) -> dict[str, Any]:
    return {"trafficPolicy": {"tls": {"mode": mode}}}


NEVER = ClientTls("SIMPLE", roots="/dev/null/DestinationRule/shop/r")


@pytest.mark.parametrize(
    ("spec", "stands_in"),
    [
        (tls_policy("SIMPLE"), NEVER),
        (tls_policy("simple"), NEVER),
        (tls_policy(["SIMPLE"]), NEVER),
        ({"trafficPolicy": {"tls": "SIMPLE"}}, NEVER),
        ({"trafficPolicy": {"portLevelSettings": [1, {"tls": {"mode": "MUTUAL"}}]}}, NEVER),
        ({"subsets": [{"labels": 1, **tls_policy("SIMPLE")}]}, NEVER),
        ({**tls_policy("ISTIO_MUTUAL"), "subsets": [tls_policy("SIMPLE")]}, NEVER),
        (tls_policy("ISTIO_MUTUAL"), ClientTls("ISTIO_MUTUAL")),
        (tls_policy("DISABLE"), None),
        (tls_policy(None), None),
        ({"trafficPolicy": 1, "subsets": {"tls": 1}}, None),
        ({**tls_policy("SIMPLE"), "host": 1}, None),
    ],
)
def test_a_rule_that_asks_for_tls_and_cannot_be_read_sends_nothing_in_plaintext(
    spec: dict[str, Any], stands_in: ClientTls | None
) -> None:
    entry = {"hosts": [HOST], "ports": [{"number": 80, "protocol": "HTTP", "targetPort": 443}], "resolution": "DNS"}
    memory = MemoryCluster().put("ServiceEntry", policy("e", entry))
    memory.put("DestinationRule", policy("r", {"host": HOST, **tls_policy("SIMPLE")}))
    assert not memory.snapshot().rejected
    memory.put("DestinationRule", policy("r", {"host": HOST.upper(), **spec, "unknown": 1}))
    snapshot = memory.snapshot()
    assert [rejected.meta.name for rejected in snapshot.rejected.values()] == ["r"]
    rule = snapshot.destination_rules.get(("shop", "r"))
    assert (rule.policy.tls if rule is not None else None) == stands_in
    made = message_of(memory.world().shared[ResourceType.CLUSTER][outbound_cluster(80, "", HOST)], ResourceType.CLUSTER)
    assert made.HasField("transport_socket") is (stands_in is not None)
    if stands_in == NEVER:
        wanted = transport(made).common_tls_context.combined_validation_context.validation_context_sds_secret_config
        assert wanted.name == f"file-root:{NEVER.roots}"
