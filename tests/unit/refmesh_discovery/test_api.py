"""Reading objects: mistakes name their field, nothing unsupported is dropped in silence, nothing crashes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.api.destination_rule import MOST_SUBSETS, DestinationRule
from refmesh.api.fields import parse_duration
from refmesh.api.http_route import HTTPRoute
from refmesh.api.kinds import KINDS, parse
from refmesh.api.meta import Rejected, short_host
from refmesh.api.peer_authentication import MtlsMode, PeerAuthentication
from refmesh.api.routing import Match, NamedMatch, TextMatch
from refmesh.api.virtual_service import VirtualService
from tests.examples import at_least
from tests.unit.refmesh_discovery.helpers import policy

BY_NAME = {kind.name: kind for kind in KINDS}
DOMAIN = "cluster.local"


def read(kind: str, spec: Any) -> Any:
    return parse(BY_NAME[kind], policy("it", spec), DOMAIN)


ROUTE = [{"destination": {"host": "echo"}}]
PARENT = {"parentRefs": [{"group": "", "kind": "Service", "name": "a"}]}
MISTAKES = [
    ("PeerAuthentication", {"mtls": {"mode": "STRCT"}}, "spec.mtls.mode: must be one of"),
    ("PeerAuthentication", {"mtls": {"mode": 3}}, "spec.mtls.mode: must be a string"),
    ("PeerAuthentication", {"portLevelMtls": {"8080": {}}}, "spec.portLevelMtls: needs a spec.selector"),
    (
        "PeerAuthentication",
        {"selector": {"matchLabels": {"a": "b"}}, "portLevelMtls": {"http": {}}},
        "spec.portLevelMtls['http']: must be named by a port number",
    ),
    ("PeerAuthentication", [], "spec: must be an object"),
    ("VirtualService", {"tcp": [{"route": ROUTE}]}, "spec.hosts: is required"),
    ("VirtualService", {"hosts": ["a"]}, "spec.http: needs at least one rule"),
    ("VirtualService", {"hosts": ["a"], "http": [{}]}, "spec.http[0].route: is required"),
    ("VirtualService", {"http": [{"delegate": {"name": "b"}}]}, "spec.http[0].delegate: cannot stand in a delegate"),
    ("VirtualService", {"hosts": ["a"], "tcp": []}, "spec.http: needs at least one rule"),
    ("VirtualService", {"hosts": ["a"], "gateways": ["a/b/c"], "http": [{"route": ROUTE}]}, "spec.gateways[0]: must"),
    ("VirtualService", {"hosts": ["a"], "http": [{"route": ROUTE, "timeout": "5"}]}, "spec.http[0].timeout: must be a"),
    (
        "VirtualService",
        {"hosts": ["a"], "http": [{"route": ROUTE, "match": [{"uri": {"regex": "("}}]}]},
        "spec.http[0].match[0].uri.regex: is not a regular expression that RE2 takes: missing ): (",
    ),
    (
        "VirtualService",
        {"hosts": ["a"], "http": [{"route": ROUTE, "match": [{"uri": {"regex": ".{1000}.{1000}"}}]}]},
        "spec.http[0].match[0].uri.regex: takes 16004 instructions of RE2, at most 2000",
    ),
    (
        "VirtualService",
        {"hosts": ["a"], "http": [{"route": ROUTE, "fault": {"delay": {"fixedDelay": "0s"}}}]},
        "spec.http[0].fault.delay.fixedDelay: must be at least 1ms",
    ),
    (
        "VirtualService",
        {"hosts": ["a"], "http": [{"route": ROUTE, "retries": {"retryOn": "503,5xxx"}}]},
        "spec.http[0].retries.retryOn: '5xxx' is neither an HTTP status nor one of 5xx, cancelled",
    ),
    (
        "VirtualService",
        {"hosts": ["a"], "http": [{"route": [ROUTE[0] | {"weight": 1_000_000}] * 4295}]},
        "spec.http[0].route: has weights of 4295000000 in all, and Envoy takes 4294967295 at most",
    ),
    (
        "VirtualService",
        {"hosts": ["a"], "tcp": [{"route": [ROUTE[0] | {"weight": 1_000_000}] * 4295}]},
        "spec.tcp[0].route: has weights of 4295000000 in all",
    ),
    (
        "HTTPRoute",
        {**PARENT, "rules": [{"backendRefs": [{"name": "a", "port": 80, "weight": 1_000_000}] * 4295}]},
        "spec.rules[0].backendRefs: has weights of 4295000000 in all",
    ),
    *(
        (
            "DestinationRule",
            {
                "host": "a",
                "trafficPolicy": {"loadBalancer": {"consistentHash": {"httpCookie": {**cookie, "ttl": "1s"}}}},
            },
            f"spec.trafficPolicy.loadBalancer.consistentHash.httpCookie.{field}: must have 256 characters at most",
        )
        for cookie, field in (
            ({"name": "a" * 257}, "name"),
            ({"name": "a", "path": "/" + "a" * 256}, "path"),
            ({"name": "a", "attributes": [{"name": "a", "value": "a" * 257}]}, "attributes[0].value"),
        )
    ),
    ("DestinationRule", {"host": "no such host!!"}, "spec.host: is no name of a host: 'no such host!!'"),
    ("DestinationRule", {"host": "*.local"}, "spec.host: must name a single Service"),
    ("DestinationRule", {"host": "*.shop.svc.cluster.local"}, "spec.host: must name a single Service"),
    ("DestinationRule", {"host": "*"}, "spec.host: must name a single Service"),
    (
        "DestinationRule",
        {"host": "a", "trafficPolicy": {"connectionPool": {"tcp": {"connectTimeout": "0s"}}}},
        "spec.trafficPolicy.connectionPool.tcp.connectTimeout: must be at least 1ms",
    ),
    (
        "VirtualService",
        {"hosts": ["a"], "http": [{"route": ROUTE, "match": [{"uri": {"exact": "/", "prefix": "/"}}]}]},
        "spec.http[0].match[0].uri: must have one of",
    ),
    (
        "VirtualService",
        {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "b"}, "weight": -1}]}]},
        "spec.http[0].route[0].weight: must be between 0",
    ),
    (
        "VirtualService",
        {"hosts": ["a"], "http": [{"route": [{"destination": {"host": "b"}, "weight": 0}] * 2}]},
        "spec.http[0].route: has no destination with a weight above 0",
    ),
    ("DestinationRule", {"host": ""}, "spec.host: must not be empty"),
    (
        "DestinationRule",
        {"host": "a", "subsets": [{"name": f"v{index}"} for index in range(MOST_SUBSETS + 1)]},
        "spec.subsets: has 257 entries, at most 256 are taken: divide them among several objects",
    ),
    (
        "RequestAuthentication",
        {"jwtRules": [{"issuer": "a", "jwksUri": "http://a/b"}] * 257},
        "spec.jwtRules: has 257 entries, at most 256 are taken",
    ),
    (
        "IstioGateway",
        {"selector": {"a": "b"}, "servers": [{"port": {"number": 80, "protocol": "HTTP"}, "hosts": ["*"]}] * 513},
        "spec.servers: has 513 entries, at most 512 are taken",
    ),
    (
        "Gateway",
        {"gatewayClassName": "a", "listeners": [{"name": "a", "port": 80, "protocol": "HTTP"}] * 65},
        "spec.listeners: has 65 entries, at most 64 are taken",
    ),
    (
        "Gateway",
        {
            "gatewayClassName": "a",
            "listeners": [
                {"name": "a", "port": 80, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "a"}] * 65}}
            ],
        },
        "spec.listeners[0].tls.certificateRefs: has 65 entries, at most 64 are taken",
    ),
    ("DestinationRule", {"host": "a", "subsets": [{"name": "v"}, {"name": "v"}]}, "spec.subsets[1].name: 'v' is used"),
    (
        "DestinationRule",
        {"host": "a", "trafficPolicy": {"outlierDetection": {"maxEjectionPercent": 101}}},
        "spec.trafficPolicy.outlierDetection.maxEjectionPercent: must be between 0 and 100",
    ),
    (
        "DestinationRule",
        {"host": "a", "trafficPolicy": {"retryBudget": {"percent": 101}}},
        "spec.trafficPolicy.retryBudget.percent: must be between 0 and 100",
    ),
    (
        "DestinationRule",
        {"host": "a", "trafficPolicy": {"loadBalancer": {"consistentHash": {}}}},
        "spec.trafficPolicy.loadBalancer.consistentHash: needs exactly one of",
    ),
    *(
        (
            "DestinationRule",
            {"host": "a", "trafficPolicy": {"portLevelSettings": [{"port": {"number": 80}, "tls": tls}]}},
            f"spec.trafficPolicy.portLevelSettings[0].tls.{problem}",
        )
        for tls, problem in (
            ({"mode": "TLS"}, "mode: must be one of DISABLE, SIMPLE, MUTUAL, ISTIO_MUTUAL"),
            (
                {"mode": "SIMPLE", "credentialName": "c"},
                "credentialName: is not supported by refmesh, whose control plane",
            ),
            ({"mode": "SIMPLE", "privateKey": "/k"}, "privateKey: has no meaning with mode SIMPLE; use MUTUAL"),
            ({"mode": "MUTUAL", "clientCertificate": "/c"}, "privateKey: is required with mode MUTUAL"),
            ({"mode": "DISABLE", "sni": "a"}, "sni: has no meaning with mode DISABLE"),
            ({"mode": "ISTIO_MUTUAL", "caCertificates": "/c"}, "caCertificates: has no meaning with mode ISTIO_MUTUAL"),
            ({"mode": "SIMPLE", "caCertificates": "ca.pem"}, "caCertificates: must be the absolute path"),
            ({"mode": "SIMPLE", "caCertificates": ["/c"]}, "caCertificates: must be a string"),
            ({"mode": "SIMPLE", "caCertificates": "/a/../c"}, "caCertificates: must be the absolute path"),
            ({"mode": "SIMPLE", "sni": "*.a"}, "sni: must be a host name without wildcards"),
            ({"mode": "SIMPLE", "sni": "10.0.0.1"}, "sni: must be a host name without wildcards"),
            ({"mode": "SIMPLE", "subjectAltNames": ["a", "*.b"]}, "subjectAltNames[1]: must be one name"),
            (
                {"mode": "SIMPLE", "insecureSkipVerify": True, "caCertificates": "/c"},
                "caCertificates: says how to verify the server, which insecureSkipVerify switches off",
            ),
            ({"mode": "SIMPLE", "caCrl": "/c"}, "caCrl: is not supported by refmesh"),
        )
    ),
    (
        "HTTPRoute",
        {**PARENT, "rules": [{"filters": [{"type": "Nope"}]}]},
        "spec.rules[0].filters[0].type: Nope is not supported",
    ),
    (
        "HTTPRoute",
        {
            "parentRefs": [{"group": "", "kind": "Service", "name": "a"}],
            "rules": [{"matches": [{"path": {"value": "x"}}]}],
        },
        "spec.rules[0].matches[0].path.value: must start with /",
    ),
    ("Sidecar", {"ingress": []}, "spec.ingress: is not supported by refmesh"),
    ("Sidecar", {"inboundConnectionPool": {}}, "spec.inboundConnectionPool: is not supported by refmesh"),
    ("Sidecar", {"outboundTrafficPolicy": {"mode": "SOME"}}, "spec.outboundTrafficPolicy.mode: must be one of"),
    (
        "Sidecar",
        {"outboundTrafficPolicy": {"egressProxy": {}}},
        "spec.outboundTrafficPolicy.egressProxy: is not supported",
    ),
    ("Sidecar", {"workloadSelector": {"matchLabels": {}}}, "spec.workloadSelector.matchLabels: is not supported"),
    ("Sidecar", {"egress": [{"hosts": ["./*"]}]}, "spec.egress[0].hosts: must have `*/*`"),
    ("Sidecar", {"egress": [{"hosts": []}]}, "spec.egress[0].hosts: is required"),
    ("Sidecar", {"egress": [{"hosts": ["*/*"], "bind": "127.0.0.1"}]}, "spec.egress[0].bind: is not supported"),
    (
        "Sidecar",
        {"egress": [{"hosts": ["*/*"], "captureMode": "NONE"}]},
        "spec.egress[0].captureMode: is not supported",
    ),
]


@pytest.mark.parametrize(("kind", "spec", "sentence"), MISTAKES)
def test_a_mistake_is_rejected_with_the_field_s_name(kind: str, spec: Any, sentence: str) -> None:
    found = read(kind, spec)
    assert isinstance(found, Rejected)
    assert found.reason.startswith(sentence)
    assert (found.meta.namespace, found.meta.name) == ("shop", "it")


WORDS = st.sampled_from(
    [
        "spec", "metadata", "name", "namespace", "hosts", "http", "match", "uri", "exact", "prefix", "regex", "route",
        "destination", "host", "subset", "port", "number", "weight", "timeout", "retries", "attempts", "fault", "delay",
        "fixedDelay", "percentage", "value", "abort", "httpStatus", "mtls", "mode", "selector", "matchLabels",
        "portLevelMtls", "trafficPolicy", "connectionPool", "tcp", "maxConnections", "outlierDetection", "interval",
        "subsets", "labels", "parentRefs", "group", "kind", "rules", "backendRefs", "filters", "type", "matches",
        "path", "headers", "set", "add", "remove", "redirect", "rewrite", "80", "",
    ]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), WORDS,
    st.sampled_from(["Service", "STRICT", "1s", "(", "/a", "RequestRedirect", "echo", 1e400, -1, 2**70, "\ud800"]),
)  # fmt: skip
TREES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(WORDS, inner, max_size=4)),
    max_leaves=30,
)


@at_least(250)
@given(obj=TREES, kind=st.sampled_from(KINDS))
def test_no_object_whatsoever_crashes_a_parser(obj, kind):
    parse(kind, obj, DOMAIN)
    parse(kind, {"metadata": {"name": "a"}, "spec": obj}, DOMAIN)


SOUND: dict[str, Any] = {
    "VirtualService": {
        "hosts": ["echo"],
        "http": [{"match": [{"uri": {"prefix": "/"}}], "route": ROUTE, "retries": {"attempts": 1}, "timeout": "1s"}],
    },
    "DestinationRule": {
        "host": "echo",
        "trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 1}}, "outlierDetection": {"interval": "1s"}},
        "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
    },
    "PeerAuthentication": {
        "selector": {"matchLabels": {"app": "a"}},
        "mtls": {"mode": "STRICT"},
        "portLevelMtls": {"80": {"mode": "DISABLE"}},
    },
    "HTTPRoute": {
        "parentRefs": [{"group": "", "kind": "Service", "name": "echo"}],
        "rules": [{"matches": [{"path": {"value": "/"}}], "backendRefs": [{"name": "echo", "port": 80}]}],
    },
}


@st.composite
def damaged(draw: st.DrawFn) -> tuple[str, Any]:
    """A sound object with one place replaced by anything."""
    kind = draw(st.sampled_from(sorted(SOUND)))

    def damage(tree: Any) -> Any:
        if isinstance(tree, dict) and tree and draw(st.booleans()):
            key = draw(st.sampled_from(sorted(tree)))
            return {**tree, key: damage(tree[key])}
        if isinstance(tree, list) and tree and draw(st.booleans()):
            return [damage(tree[0]), *tree[1:]]
        return draw(TREES)

    return kind, damage(SOUND[kind])


@at_least(250)
@given(case=damaged())
def test_a_damaged_object_is_read_or_rejected_with_a_reason(case):
    kind, spec = case
    found = read(kind, spec)
    if isinstance(found, Rejected):
        assert ": " in found.reason


@pytest.mark.parametrize("kind", SOUND)
def test_sound_objects_are_read(kind: str) -> None:
    assert not isinstance(read(kind, SOUND[kind]), Rejected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("1s", 1.0), ("1m30s", 90.0), ("250ms", 0.25), ("0.5s", 0.5), ("0s", 0.0), ("1h", 3600.0), ("100us", 1e-4)],
)
def test_durations(text: str, expected: float) -> None:
    found = parse_duration(text)
    assert found is not None
    assert found.total_seconds() == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "1", "s", "1 s", "-1s", "1d", "9999999h", "1s" * 100])
def test_what_is_no_duration(text: str) -> None:
    assert parse_duration(text) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("reviews", "reviews.shop.svc.cluster.local"),
        ("reviews.other", "reviews.other.svc.cluster.local"),
        ("reviews.other.svc", "reviews.other.svc.cluster.local"),
        ("Reviews.other.svc.cluster.local.", "reviews.other.svc.cluster.local"),
        ("api.example.com", "api.example.com"),
    ],
)
def test_short_hosts(host: str, expected: str) -> None:
    assert short_host(host, "shop", DOMAIN) == expected


@pytest.mark.parametrize("host", ["echo", "Echo.shop.svc.cluster.local.", "api.example.com", "*.example.com", "*.com"])
def test_hosts_of_destination_rules(host: str) -> None:
    assert isinstance(read("DestinationRule", {"host": host}), DestinationRule)


def test_peer_authentication() -> None:
    found = read("PeerAuthentication", SOUND["PeerAuthentication"])
    assert isinstance(found, PeerAuthentication)
    assert (found.mode, dict(found.selector), dict(found.ports)) == (
        MtlsMode.STRICT,
        {"app": "a"},
        {80: MtlsMode.DISABLE},
    )


def test_virtual_service() -> None:
    found = read(
        "VirtualService",
        {
            "hosts": ["echo", "api.x.example"],
            "http": [
                {
                    "match": [
                        {"uri": {"exact": "/a"}, "headers": {"End-User": {"exact": "j"}}, "withoutHeaders": {"x": {}}}
                    ],
                    "route": [
                        {"destination": {"host": "echo", "subset": "v1"}, "weight": 90},
                        {"destination": {"host": "echo.other", "port": {"number": 81}}, "weight": 10},
                    ],
                    "retries": {"attempts": 3, "retryOn": "5xx, 503,connect-failure"},
                    "timeout": "1s",
                },
                {"route": ROUTE},
            ],
        },
    )
    assert isinstance(found, VirtualService)
    assert found.hosts == ("echo.shop.svc.cluster.local", "api.x.example")
    first, second = found.rules
    assert first.matches == (
        Match(
            path=TextMatch("exact", "/a"),
            headers=(
                NamedMatch("end-user", TextMatch("exact", "j")),
                NamedMatch("x", TextMatch("present"), invert=True),
            ),
        ),
    )
    assert [(item.host, item.subset, item.port, item.weight) for item in first.destinations] == [
        ("echo.shop.svc.cluster.local", "v1", None, 90),
        ("echo.other.svc.cluster.local", "", 81, 10),
    ]
    assert first.timeout == timedelta(seconds=1)
    assert first.retry is not None
    assert (first.retry.on, first.retry.statuses) == ("5xx,connect-failure,retriable-status-codes", (503,))
    assert second.destinations[0].weight == 100


def limited(count: int, **more: Any) -> dict[str, Any]:
    return {"connectionPool": {"tcp": {"maxConnections": count}}, **more}


def at_port(number: int, settings: dict[str, Any]) -> dict[str, Any]:
    return {"portLevelSettings": [{"port": {"number": number}, **settings}]}


@pytest.mark.parametrize(
    ("subset", "port", "expected"),
    [
        ({}, 90, ("RANDOM", True, 7, "SIMPLE", True)),
        # What the settings of a port leave out is at its default, not as the level says for the other ports.
        ({}, 80, (None, False, 100, "DISABLE", False)),
        # The settings of a port are the host's word there, over which goes the subset's, for whatever ports that is.
        (limited(1, tls={"mode": "ISTIO_MUTUAL"}), 80, (None, False, 1, "ISTIO_MUTUAL", False)),
        (limited(1), 80, (None, False, 1, "DISABLE", False)),
        (limited(1), 90, ("RANDOM", True, 1, "SIMPLE", True)),
        ({"outlierDetection": {}, **at_port(90, limited(2))}, 80, (None, True, 100, "DISABLE", False)),
        # Those of the subset are all that there is, but for the budget, which the settings of a port cannot have.
        (limited(1, **at_port(90, limited(2))), 90, (None, False, 2, None, True)),
        (limited(1, **at_port(80, limited(2))), 80, (None, False, 2, None, False)),
    ],
)
def test_levels_of_a_destination_rule_go_over_each_other_as_in_istio(
    subset: dict[str, Any], port: int, expected: tuple[str | None, bool, int, str | None, bool]
) -> None:
    host = limited(7, tls={"mode": "SIMPLE"}, outlierDetection={}, retryBudget={}, loadBalancer={"simple": "RANDOM"})
    whole = host | at_port(80, limited(100, tls={"mode": "DISABLE"}))
    subsets = [{"name": "v1", "trafficPolicy": subset}]
    rule = read("DestinationRule", {"host": "echo", "trafficPolicy": whole, "subsets": subsets})
    assert isinstance(rule, DestinationRule)
    found = rule.policy_of("v1", port)
    assert found.pool is not None
    limit, budget = found.pool.max_connections, found.retry_budget is not None
    assert (found.balancer, found.outlier is not None, limit, found.tls_mode, budget) == expected


def test_http_route_keeps_only_service_parents_and_names_bad_backends() -> None:
    found = read(
        "HTTPRoute",
        {
            "parentRefs": [{"name": "a-gateway"}, {"group": "", "kind": "Service", "name": "echo", "port": 80}],
            "rules": [
                {
                    "backendRefs": [
                        {"name": "a", "port": 1},
                        {"name": "b", "namespace": "other", "port": 1},
                        {"name": "c"},
                        {"kind": "Bucket", "group": "x", "name": "d", "port": 1},
                    ]
                }
            ],
        },
    )
    assert isinstance(found, HTTPRoute)
    assert [(item.namespace, item.name, item.port) for item in found.parents] == [("shop", "echo", 80)]
    assert [item.invalid.partition(":")[0] for item in found.rules[0].destinations] == [
        "",
        "",
        "BackendNotFound",
        "InvalidKind",
    ]
