"""What the proxies of gateways get: sound for Envoy, and keys for nobody else."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from envoy.service.discovery.v3.discovery_pb2 import DeltaDiscoveryRequest
from google.protobuf.json_format import MessageToDict

from refmesh.config.certificates import certificate_of
from refmesh.config.ingress import wanted_certificates
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.stream import ProxyState
from tests.unit.refmesh_discovery.authority import TestAuthority
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, pod, policy, service
from tests.unit.refmesh_discovery.test_envoy_accepts import EVERY_CONDITION, RICH_RULE, SDS, inline_routes
from tests.unit.refmesh_discovery.validating import complaint
from tests.unit.refmesh_ingress.doorways import (
    HTTP,
    gateway,
    https,
    key_pair,
    listener,
    route,
    router_pod,
    with_gateway,
)

DOOR = ("shop", "front-1")
TERMINATING = {
    "name": "door",
    "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
    "filter_chains": [
        {
            "transport_socket": {
                "name": "tls",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                    "common_tls_context": {"tls_certificate_sds_secret_configs": [{"name": "s"}]},
                },
            }
        }
    ],
}


def secured() -> MemoryCluster:
    cluster = with_gateway(
        HTTP,
        listener("other", hostname="*.example.com"),
        https("web", hostname="shop.example"),
        https("rest", secret="second"),
    )
    redirect = {
        "type": "RequestRedirect",
        "requestRedirect": {"path": {"type": "ReplaceFullPath", "replaceFullPath": "/x"}},
    }
    cluster.put("HTTPRoute", route(spec={"hostnames": ["a.example.com", "shop.example"]}))
    cluster.put("HTTPRoute", route("moved", spec={"rules": [{"filters": [redirect]}]}))
    grpc = {"parentRefs": [{"name": "front"}], "hostnames": ["rpc.example.com"]}
    cluster.put("GRPCRoute", policy("calls", {**grpc, "rules": [{"backendRefs": [{"name": "echo", "port": 70}]}]}))
    cluster.put("DestinationRule", RICH_RULE)
    for name in ("cert", "second"):
        cluster.store.put_certificate(("shop", name), key_pair())
    return cluster


@pytest.mark.parametrize("guarded", [False, True])
def test_envoy_accepts_a_gateway_s_configuration(guarded: bool, tmp_path: Path) -> None:
    cluster = secured()
    if guarded:
        cluster.put("AuthorizationPolicy", policy("outside", {"rules": [EVERY_CONDITION]}))
    assert envoy_accepts(cluster, DOOR, tmp_path) == {"0.0.0.0_80", "0.0.0.0_443"}


def envoy_accepts(cluster: MemoryCluster, door: tuple[str, str], tmp_path: Path) -> set[str]:
    """Have Envoy look at all that a gateway gets; the names of its listeners."""
    world = cluster.world()
    found = {
        kind: {name: MessageToDict(message) for name, message in all_messages(world, door, kind).items()}
        for kind in ResourceType
    }
    clusters = list(found[ResourceType.CLUSTER].values())
    for item in clusters:
        if item.get("type") == "EDS":
            item["type"] = "STATIC"
            item.pop("edsClusterConfig")
            item["loadAssignment"] = found[ResourceType.ENDPOINT][item["name"]]
    listeners = list(found[ResourceType.LISTENER].values())
    for item in listeners:
        inline_routes(item, found[ResourceType.ROUTE])
    ads = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "sds-grpc"}}],
    }
    bootstrap = {
        "node": {"id": "test", "cluster": "test"},
        "dynamic_resources": {"ads_config": ads},
        "static_resources": {
            "clusters": [SDS, *clusters],
            "listeners": listeners,
            # Secrets as Envoy takes them; the listeners ask for theirs over ADS.
            "secrets": list(found[ResourceType.SECRET].values()),
        },
    }
    assert not complaint(bootstrap, tmp_path)
    return set(found[ResourceType.LISTENER])


def secrets_of(cluster: MemoryCluster, key: tuple[str, str]) -> set[str]:
    return set(all_messages(cluster.world(), key, ResourceType.SECRET))


def test_keys_reach_the_gateway_that_names_them_and_no_other_proxy() -> None:
    cluster = secured().put("Gateway", gateway(name="back")).put("Pod", router_pod("back-1", "10.1.9.2", "back"))
    # Has the label, but not the account, which the certificate proves.
    impostor = router_pod("front-2", "10.1.9.3")
    impostor["spec"]["serviceAccountName"] = "echo"
    cluster.put("Pod", impostor).put("Pod", pod("far", "10.1.9.4", "far"))
    assert secrets_of(cluster, DOOR) == {"kubernetes://shop/cert", "kubernetes://shop/second"}
    for key in (("shop", "back-1"), ("shop", "front-2"), ("shop", "echo-v1"), ("far", "far")):
        assert secrets_of(cluster, key) == set()
    world = cluster.world()
    assert not any(tables.get(ResourceType.SECRET) for tables in (world.shared, *world.by_namespace.values()))


def test_a_key_goes_with_the_gateway_that_had_it() -> None:
    cluster = secured()
    made = cluster.generator._routers._made
    assert secrets_of(cluster, DOOR)
    assert ResourceType.SECRET in {kind for _, kind, _ in made}
    cluster.drop("Pod", "front-1").world()
    assert made == {}


def test_no_text_shows_a_key() -> None:
    cluster = secured()
    world = cluster.world()
    shown = repr((cluster.snapshot(), world.own(world.snapshot.pods[DOOR])))
    assert "PRIVATE KEY" not in shown
    assert "BEGIN CERTIFICATE" in shown


def test_a_secret_elsewhere_needs_a_grant_of_its_owner() -> None:
    reference = {"certificateRefs": [{"name": "cert", "namespace": "far"}]}
    cluster = with_gateway({**https("web"), "tls": reference})
    assert wanted_certificates(cluster.snapshot()) == set()
    grant: dict[str, Any] = {
        "metadata": {"name": "g", "namespace": "far"},
        "spec": {
            "from": [{"group": "gateway.networking.k8s.io", "kind": "Gateway", "namespace": "shop"}],
            "to": [{"group": "", "kind": "Secret", "name": "cert"}],
        },
    }
    assert wanted_certificates(cluster.put("ReferenceGrant", grant).snapshot()) == {("far", "cert")}
    grant["spec"]["to"][0]["name"] = "another"
    assert wanted_certificates(cluster.put("ReferenceGrant", grant).snapshot()) == set()


def test_what_a_secret_must_hold() -> None:
    def secret(chain: str, key: str) -> dict[str, Any]:
        return {"data": {"tls.crt": base64.b64encode(chain.encode()), "tls.key": base64.b64encode(key.encode())}}

    good, other = key_pair(), key_pair()
    assert certificate_of(secret(good.chain, good.key)) == good
    assert certificate_of(None).problem == "does not exist"
    assert certificate_of({"data": {"tls.crt": "eA=="}}).problem == "has no tls.key"
    assert "not base64" in certificate_of({"data": {"tls.crt": "!", "tls.key": "!"}}).problem
    assert "no PEM certificate" in certificate_of(secret("x", good.key)).problem
    assert "no PEM key" in certificate_of(secret(good.chain, "x")).problem
    assert "is not the key" in certificate_of(secret(good.chain, other.key)).problem


KEYS: dict[str, tuple[Any, str]] = {
    "RSA of 1024 bits": (rsa.generate_private_key(65537, 1024), "has an RSA key that is not of 2048 to 8192 bits"),
    "RSA of 2048 bits": (rsa.generate_private_key(65537, 2048), ""),
    "P-256": (ec.generate_private_key(ec.SECP256R1()), ""),
    "P-384": (ec.generate_private_key(ec.SECP384R1()), ""),
    "P-521": (ec.generate_private_key(ec.SECP521R1()), ""),
    "secp256k1": (ec.generate_private_key(ec.SECP256K1()), "has a key on secp256k1"),
    "P-224": (ec.generate_private_key(ec.SECP224R1()), "has a key on secp224r1"),
    "Ed25519": (ed25519.Ed25519PrivateKey.generate(), ""),
    "DSA": (dsa.generate_private_key(2048), "has a key that is neither"),
}


@pytest.mark.parametrize("name", KEYS)
def test_a_key_is_good_where_envoy_takes_it(name: str, tmp_path: Path) -> None:
    private, problem = KEYS[name]
    authority = TestAuthority()
    leaf = authority.build("leaf", private, x509.BasicConstraints(ca=False, path_length=None), [x509.DNSName("x")])
    key = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    data = {"tls.crt": leaf.public_bytes(Encoding.PEM), "tls.key": key}
    found = certificate_of({"data": {name: base64.b64encode(part) for name, part in data.items()}})
    assert found.problem.startswith(problem)
    assert bool(found.problem) is bool(problem)
    terminated = {
        "certificate_chain": {"inline_bytes": base64.b64encode(data["tls.crt"]).decode()},
        "private_key": {"inline_bytes": base64.b64encode(key).decode()},
    }
    secret = {"name": "s", "tls_certificate": terminated}
    refused = complaint({"static_resources": {"secrets": [secret], "listeners": [TERMINATING]}}, tmp_path)
    assert bool(refused) is bool(problem), refused


def test_requests_go_on_as_http1_unless_the_port_says_otherwise() -> None:
    clusters = all_messages(secured().world(), DOOR, ResourceType.CLUSTER)
    options = {name: MessageToDict(item).get("typedExtensionProtocolOptions", {}) for name, item in clusters.items()}
    (http,) = options["outbound|80||echo.shop.svc.cluster.local"].values()
    assert "httpProtocolOptions" in http["explicitHttpConfig"]
    # Named by a GRPCRoute only: as it came.
    (auto,) = options["outbound|70||echo.shop.svc.cluster.local"].values()
    assert "useDownstreamProtocolConfig" in auto


@pytest.mark.parametrize(("word", "reached"), [("*", True), (".", True), ("elsewhere", False)])
def test_a_gateway_reaches_the_services_that_its_namespace_is_told_of(word: str, reached: bool) -> None:
    cluster, item = secured(), service("echo")
    item["metadata"]["annotations"] = {"networking.istio.io/exportTo": word}
    world = cluster.put("Service", item).world()
    name = "outbound|80||echo.shop.svc.cluster.local"
    # A cluster without endpoints would keep its Envoy waiting for them.
    for kind in (ResourceType.CLUSTER, ResourceType.ENDPOINT):
        assert (name in all_messages(world, DOOR, kind)) is reached
    assert any(name in str(message) for message in all_messages(world, DOOR, ResourceType.ROUTE).values())


def test_a_new_route_does_not_touch_the_listener() -> None:
    cluster = secured()
    before = cluster.world()
    first = before.own(before.snapshot.pods[DOOR])
    cluster.put("HTTPRoute", route("late", path="/late"))
    after = cluster.world()
    second = after.own(after.snapshot.pods[DOOR])
    assert second[ResourceType.LISTENER] == first[ResourceType.LISTENER]
    assert second[ResourceType.ROUTE] != first[ResourceType.ROUTE]


def test_a_proxy_without_anything_hears_so() -> None:
    state = ProxyState()
    state.offer({}, {})
    state.request(DeltaDiscoveryRequest(type_url=ResourceType.LISTENER.value))
    (answer,) = state.responses(0.0)
    assert (answer.resources, answer.removed) == ((), ())
    assert state.responses(0.0) == []
