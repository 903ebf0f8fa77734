"""The real Envoy reads what is generated, and finds nothing wrong with it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from refmesh.agent.bootstrap import RUNTIME
from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, pod, policy, service
from tests.unit.refmesh_discovery.validating import complaint

SDS = {
    "name": "sds-grpc",
    "type": "STATIC",
    "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    },
    "load_assignment": {
        "cluster_name": "sds-grpc",
        "endpoints": [{"lb_endpoints": [{"endpoint": {"address": {"pipe": {"path": "/tmp/refmesh-none.sock"}}}}]}],
    },
}
HTTP = {"number": 80, "name": "http", "protocol": "HTTP"}
PORTS = {90: "tcp", 443: "tls"}


def inline_routes(listener: dict[str, Any], routes: dict[str, Any]) -> None:
    """Static configuration has no discovery: put the routes where their names stand."""
    for chain in [*listener.get("filterChains", []), listener.get("defaultFilterChain", {})]:
        for item in chain.get("filters", []):
            rds = item["typedConfig"].pop("rds", None)
            if rds is not None:
                item["typedConfig"]["routeConfig"] = routes[rds["routeConfigName"]]


def static_bootstrap(cluster: MemoryCluster) -> dict[str, Any]:
    world = cluster.world()
    found = {
        kind: {name: MessageToDict(message) for name, message in all_messages(world, ("shop", "echo-v1"), kind).items()}
        for kind in ResourceType
    }
    clusters = []
    for item in found[ResourceType.CLUSTER].values():
        if item.get("type") == "EDS":
            item["type"] = "STATIC"
            item.pop("edsClusterConfig")
            item["loadAssignment"] = found[ResourceType.ENDPOINT][item["name"]]
        clusters.append(item)
    for item in found[ResourceType.LISTENER].values():
        inline_routes(item, found[ResourceType.ROUTE])
    return {
        "node": {"id": "test", "cluster": "test"},
        "layered_runtime": RUNTIME,
        "static_resources": {
            "clusters": [SDS, *clusters],
            "listeners": list(found[ResourceType.LISTENER].values()),
        },
    }


def peer_authentication(mode: str, **more: Any) -> dict[str, Any]:
    return policy("default", {"mtls": {"mode": mode}, **more})


RICH_ROUTE = policy(
    "rich",
    {
        "hosts": ["echo"],
        "http": [
            {
                "match": [{"uri": {"prefix": "/a"}, "headers": {"x": {"regex": "b.*"}, "y": {}}}],
                "route": [
                    {"destination": {"host": "echo", "subset": "v1", "port": {"number": 80}}, "weight": 90},
                    {"destination": {"host": "echo", "subset": "v2", "port": {"number": 80}}, "weight": 10},
                ],
                "timeout": "2s",
                "retries": {"attempts": 3, "perTryTimeout": "1s", "retryOn": "5xx,503"},
                "fault": {
                    "delay": {"fixedDelay": "5s", "percentage": {"value": 10}},
                    "abort": {"httpStatus": 418, "percentage": {"value": 0.1}},
                },
                "headers": {
                    "request": {"set": {"a": "100%%", "from": "%REQ(x-a?:authority)%, %DOWNSTREAM_REMOTE_ADDRESS%"}},
                    "response": {"remove": ["b"]},
                },
                "rewrite": {"uri": "/b"},
            },
            {"match": [{"uri": {"exact": "/old"}}], "redirect": {"uri": "/new", "redirectCode": 308}},
            {"match": [{"scheme": {"exact": "https"}}], "redirect": {"prefixRewrite": "/new"}},
            {"match": [{"uri": {"exact": "/no"}}], "directResponse": {"status": 418, "body": {"string": "a" * 4096}}},
            {
                "match": [{"uri": {"prefix": "/c"}}],
                "route": [{"destination": {"host": "echo"}}],
                "fault": {"abort": {"grpcStatus": "OK", "percentage": {"value": 1}}},
                "rewrite": {"uriRegexRewrite": {"match": "/(c)", "rewrite": r"\1\0\\"}},
                "retries": {
                    "attempts": 2,
                    "backoff": "1ms",
                    "retryIgnorePreviousHosts": False,
                    "retryRemoteLocalities": True,
                },
                "corsPolicy": {"allowOrigins": [{"exact": "a"}], "unmatchedPreflights": "FORWARD"},
            },
            {"route": [{"destination": {"host": "echo"}}]},
        ],
    },
)
COOKIE = {"name": "u", "ttl": "0s", "attributes": [{"name": "SameSite", "value": "Strict"}, {"name": "Secure"}]}
RICH_RULE = policy(
    "rich",
    {
        "host": "echo",
        "trafficPolicy": {
            "loadBalancer": {"simple": "ROUND_ROBIN"},
            "connectionPool": {
                "tcp": {"maxConnections": 1, "connectTimeout": "1s"},
                "http": {"http1MaxPendingRequests": 1, "http2MaxRequests": 5, "maxRequestsPerConnection": 2},
            },
            "outlierDetection": {"consecutive5xxErrors": 3, "interval": "1s", "baseEjectionTime": "5s"},
            "retryBudget": {"percent": 20, "minRetryConcurrency": 1},
        },
        "subsets": [
            {"name": "v1", "labels": {"version": "v1"}},
            {
                "name": "v2",
                "labels": {"version": "v2"},
                "trafficPolicy": {"loadBalancer": {"consistentHash": {"httpCookie": COOKIE, "maglev": {}}}},
            },
        ],
    },
)
GATEWAY_ROUTE = policy(
    "split",
    {
        "parentRefs": [{"group": "", "kind": "Service", "name": "echo", "port": 80}],
        "rules": [
            {
                "matches": [{"path": {"type": "PathPrefix", "value": "/x"}, "method": "GET"}],
                "filters": [
                    {
                        "type": "URLRewrite",
                        "urlRewrite": {"path": {"type": "ReplacePrefixMatch", "replacePrefixMatch": "/"}},
                    }
                ],
                "backendRefs": [
                    {"name": "echo", "port": 80, "weight": 3},
                    {"name": "missing", "port": 80, "weight": 1},
                ],
            },
            {
                "filters": [
                    {"type": "RequestRedirect", "requestRedirect": {"hostname": "x.example", "scheme": "https"}}
                ],
            },
        ],
    },
)


def headless_echo() -> dict[str, Any]:
    made = service("echo")
    made["spec"]["clusterIP"], made["spec"]["clusterIPs"] = "None", ["None"]
    return made


def every(**values: str) -> dict[str, list[str]]:
    """Each field and its not-form."""
    return {form: [value] for name, value in values.items() for form in (name, f"not{name[0].upper()}{name[1:]}")}


EVERY_CONDITION = {
    "from": [
        {
            "source": every(
                principals="cluster.local/ns/a/sa/b*", requestPrincipals="*", namespaces="a*", ipBlocks="10.0.0.0/8",
                remoteIpBlocks="::1",
            )
        }
    ],
    "to": [{"operation": every(hosts="*.a", ports="80", methods="GET", paths="/a/{*}/b")}],
    "when": [
        {"key": key, "values": ["10.1.2.3" if key.endswith("ip") else "80"], "notValues": ["1.2.3.4"]}
        if not key.endswith("port")
        else {"key": key, "values": ["80"], "notValues": ["1"]}
        for key in (
            "source.ip", "remote.ip", "source.namespace", "source.principal", "request.auth.principal",
            "request.auth.audiences", "request.auth.presenter", "request.auth.claims[a][b]", "request.headers[x]",
            "destination.ip", "destination.port", "connection.sni",
        )
    ],
}  # fmt: skip

CERTIFICATES = {"caCertificates": "/c/ca.pem", "clientCertificate": "/c/tls.crt", "privateKey": "/c/tls.key"}
ORIGINATION = [
    (
        "DestinationRule",
        policy(
            "echo",
            {
                "host": "echo",
                "trafficPolicy": {"tls": {"mode": "SIMPLE"}},
                "subsets": [
                    {
                        "name": "v1",
                        "trafficPolicy": {
                            "tls": {
                                "mode": "MUTUAL",
                                "subjectAltNames": ["a", "spiffe://b", "::1", "c@d"],
                                **CERTIFICATES,
                            }
                        },
                    }
                ],
            },
        ),
    ),
    *(
        (source, policy(name, {spec: value, **more}))
        for name, host, protocol, resolution in (
            ("one", "*.example.com", "HTTP", "NONE"),
            ("two", "api.example.org", "GRPC", "DNS"),
            ("three", "10.9.9.9", "TCP", "NONE"),
        )
        for source, spec, value, more in (
            (
                "ServiceEntry",
                "hosts",
                [host],
                {"resolution": resolution, "ports": [{"number": 80, "protocol": protocol, "targetPort": 443}]},
            ),
            (
                "DestinationRule",
                "host",
                host,
                {"trafficPolicy": {"portLevelSettings": [{"port": {"number": 80}, "tls": {"mode": "SIMPLE"}}]}},
            ),
        )
    ),
]


PLACED = [
    ("Pod", pod(f"echo-{version}", address, version=version, labels={"istio-locality": f"r.{zone}"}))
    for version, address, zone in (("v1", "10.1.0.1", "a"), ("v2", "10.1.0.2", "b"))
]


AWAY = [{"destination": {"host": "echo", "port": {"number": 90}}}]
OUTSIDE: list[tuple[str, dict[str, Any]]] = [
    *PLACED,
    *(
        (
            "ServiceEntry",
            policy(
                name,
                {
                    "hosts": [f"{name}.example.com"],
                    "ports": [HTTP, *({"number": n, "name": k, "protocol": k.upper()} for n, k in PORTS.items())],
                    "resolution": resolution,
                    "endpoints": [{"address": "10.9.0.1", "labels": {"version": "v1"}, "weight": 2} | place],
                },
            ),
        )
        for name, resolution, place in (("a", "STATIC", {"locality": "r/a"}), ("b", "DNS", {}))
    ),
    (
        "DestinationRule",
        policy(
            "outside",
            {
                "host": "*.example.com",
                "trafficPolicy": {
                    "loadBalancer": {"simple": "ROUND_ROBIN", "warmup": {"duration": "1ms", "minimumPercent": 0}},
                    "outlierDetection": {"consecutive5xxErrors": 1},
                    "retryBudget": {"percent": 20},
                },
                "subsets": [
                    {
                        "name": "v1",
                        "labels": {"version": "v1"},
                        "trafficPolicy": {"loadBalancer": {"consistentHash": {"useSourceIp": True}}},
                    }
                ],
            },
        ),
    ),
    (
        "VirtualService",
        policy(
            "outside",
            {
                "hosts": ["*.example.com"],
                "http": [{"route": [{"destination": {"host": "a.example.com", "subset": "v1"}}]}],
                "tls": [
                    {"match": [{"sniHosts": ["a.example.com"], "destinationSubnets": ["10.20.0.0/16"]}], "route": AWAY},
                    {"match": [{"sniHosts": ["*.example.com"], "sourceLabels": {"app": "echo"}}], "route": AWAY},
                ],
                "tcp": [{"match": [{"destinationSubnets": ["10.20.0.0/16", "10.20.30.0/24"]}], "route": AWAY}],
            },
        ),
    ),
]


LARGE = policy(
    "large",
    {
        "parentRefs": [{"group": "", "kind": "Service", "name": "echo", "port": 80}],
        "rules": [
            {"matches": [{"method": {"type": "RegularExpression", "service": "a{990}" * 2, "method": "b{990}" * 2}}]}
        ],
    },
)
CASES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "plain": [],
    "strict": [("PeerAuthentication", peer_authentication("STRICT"))],
    "disable": [("PeerAuthentication", peer_authentication("DISABLE"))],
    "ports": [
        (
            "PeerAuthentication",
            peer_authentication(
                "STRICT",
                selector={"matchLabels": {"app": "echo"}},
                portLevelMtls={
                    "8080": {"mode": "PERMISSIVE"},
                    "9090": {"mode": "DISABLE"},
                    "7070": {"mode": "DISABLE"},
                },
            ),
        )
    ],
    "virtual service": [("VirtualService", RICH_ROUTE), ("DestinationRule", RICH_RULE)],
    "http route": [("HTTPRoute", GATEWAY_ROUTE)],
    "headless": [("Service", headless_echo())],
    "origination": [*ORIGINATION],
    "headless origination": [("Service", headless_echo()), *ORIGINATION],
    **{
        f"locality {name}": [*PLACED, ("DestinationRule", policy("near", {"host": "echo", "trafficPolicy": traffic}))]
        for name, traffic in {
            "failover": {"outlierDetection": {"consecutive5xxErrors": 1}},
            "shares": {"loadBalancer": {"localityLbSetting": {"distribute": [{"from": "*", "to": {"r/*": 100}}]}}},
        }.items()
    },
    "every limit": [
        (
            "DestinationRule",
            policy(
                "limits",
                {
                    "host": "echo",
                    "trafficPolicy": {
                        "connectionPool": {
                            "tcp": {
                                "tcpKeepalive": {"probes": 3, "time": "60s", "interval": "5s"},
                                "idleTimeout": "0s",
                                "maxConnectionDuration": "1h",
                            },
                            "http": {
                                "h2UpgradePolicy": "UPGRADE",
                                "maxConcurrentStreams": 5,
                                "http2KeepAlive": {"interval": "1ms", "timeout": "1ms"},
                            },
                        },
                        "outlierDetection": {"outlierDetectionHttpErrorCodes": [429, 503]},
                    },
                },
            ),
        )
    ],
    "rules for hosts outside": OUTSIDE,
    "authorization": [
        ("AuthorizationPolicy", policy(action.lower(), {"action": action, "rules": [EVERY_CONDITION, {}]}))
        for action in ("ALLOW", "DENY", "AUDIT")
    ],
    "as large an expression as is allowed, twice": [("GRPCRoute", LARGE)],
    "registry only": [
        ("Sidecar", policy("closed", {"outboundTrafficPolicy": {"mode": "REGISTRY_ONLY"}})),
        ("ServiceEntry", policy("known", {"hosts": ["api.example.com"], "ports": [HTTP], "resolution": "DNS"})),
    ],
}


@pytest.mark.parametrize("name", CASES)
def test_envoy_accepts_what_is_generated(name: str, tmp_path: Path) -> None:
    cluster = MemoryCluster().with_echo()
    for source, item in CASES[name]:
        cluster.put(source, item)
    assert not cluster.snapshot().rejected
    assert not complaint(static_bootstrap(cluster), tmp_path)
