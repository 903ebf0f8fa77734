"""Reading AuthorizationPolicies, whom they select, and the rules for ports that carry bytes."""

from __future__ import annotations

from typing import Any

import pytest
from envoy.config.rbac.v3.rbac_pb2 import RBAC
from envoy.extensions.filters.network.rbac.v3 import rbac_pb2
from google.protobuf.json_format import MessageToDict
from hypothesis import given
from hypothesis import strategies as st

from refmesh.api.authorization_policy import Action, AuthorizationPolicy, Rule
from refmesh.api.fields import Invalid
from refmesh.api.kinds import KINDS, stand_in
from refmesh.api.selection import Selection
from refmesh.config.model import Pod
from refmesh.discovery.authorization import AuthorizationPolicies
from refmesh.discovery.jwt import TokenRules
from refmesh.discovery.matchers import namespace_identity, principal_identity, request_principal
from refmesh.discovery.resource import ResourceType
from tests.unit.refmesh_discovery.helpers import MemoryCluster, all_messages, metadata, policy
from tests.unit.refmesh_ingress.doorways import router_pod

KIND = next(kind for kind in KINDS if kind.name == "AuthorizationPolicy")


def parse(**spec: Any) -> AuthorizationPolicy:
    return AuthorizationPolicy.parse(policy("p", spec), "cluster.local")


def with_rule(**rule: Any) -> dict[str, Any]:
    return {"rules": [rule]}


def source(**fields: Any) -> dict[str, Any]:
    return with_rule(**{"from": [{"source": fields}]})


def operation(**fields: Any) -> dict[str, Any]:
    return with_rule(to=[{"operation": fields}])


def condition(key: str, **fields: Any) -> dict[str, Any]:
    return with_rule(when=[{"key": key, **fields}])


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"action": "CUSTOM"}, "spec.action: must be one of ALLOW, DENY, AUDIT, not 'CUSTOM'"),
        ({"provider": {"name": "x"}}, "spec.provider: is not supported by refmesh"),
        (with_rule(**{"from": []}), "spec.rules[0].from: must not be an empty list"),
        (source(), "spec.rules[0].from[0].source: must have at least one field"),
        (source(principals=[]), "spec.rules[0].from[0].source.principals: must not be an empty list"),
        (source(ipBlocks=["10.0.0.0/33"]), "spec.rules[0].from[0].source.ipBlocks[0]: must be an IP address"),
        (source(ipBlocks=["fe80::1%x"]), "spec.rules[0].from[0].source.ipBlocks[0]: must be an IP address"),
        (source(principals=["spiffe://a/b"]), "source.principals[0]: is written without spiffe://: 'a/b'"),
        (source(principal=["x"]), "spec.rules[0].from[0].source.principal: is not supported"),
        (operation(ports=["http"]), "operation.ports[0]: must be a port number in quotes"),
        (operation(paths=["admin"]), "operation.paths[0]: must start with / or *"),
        (operation(paths=["/a?b"]), "operation.paths[0]: must be a path without a query"),
        (operation(paths=["/a*b"]), "operation.paths[0]: may have one * only"),
        (operation(paths=["/{id}"]), "operation.paths[0]: may use braces only as {*}"),
        (operation(methods=["get"]), "operation.methods[0]: must be in upper case"),
        (condition("request.nothing", values=["x"]), "spec.rules[0].when[0].key: must be one of"),
        (condition("request.headers[a b]", values=["x"]), "when[0].key: does not name a header"),
        (condition("source.ip"), "spec.rules[0].when[0]: needs values or notValues"),
        (
            {"selector": {"matchLabels": {"a": "b"}}, "targetRefs": [{"kind": "Service", "name": "x"}]},
            "spec.targetRefs: cannot be combined with spec.selector",
        ),
        ({"targetRefs": [{"kind": "Gateway", "name": "x"}]}, "spec.targetRefs[0].kind: must be Service"),
    ],
)
def test_a_mistake_is_named_with_its_field(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid) as caught:
        parse(**spec)
    assert message in str(caught.value)


def test_nothing_but_the_kind_is_needed() -> None:
    found = parse()
    assert (found.action, found.rules, found.selection) == (Action.ALLOW, (), Selection())
    assert parse(rules=[{}]).rules == (Rule(),)


@pytest.mark.parametrize(
    ("spec", "action", "rules"),
    [
        ({"rules": 1}, Action.ALLOW, ()),
        ({"action": "DENY", "rules": [{"x": 1}]}, Action.DENY, (Rule(),)),
        ({"action": "AUDIT", "rules": [{"x": 1}]}, Action.AUDIT, ()),
        ({"action": "deny"}, Action.DENY, (Rule(),)),
        ({"action": ["ALLOW"]}, Action.DENY, (Rule(),)),
    ],
)
def test_what_cannot_be_read_is_closed(spec: dict[str, Any], action: Action, rules: tuple[Rule, ...]) -> None:
    obj = policy("p", {"selector": {"matchLabels": {"app": "echo"}}, **spec})
    found = stand_in(KIND, obj, "why", "cluster.local")
    assert isinstance(found, AuthorizationPolicy)
    assert (found.action, found.rules, found.unreadable) == (action, rules, "why")
    assert found.selection == Selection((("app", "echo"),))


def test_a_selector_that_cannot_be_read_means_the_whole_scope() -> None:
    assert AuthorizationPolicy.closed(policy("p", {"selector": {"matchLabels": 1}}), "", "").selection == Selection()
    kept = AuthorizationPolicy.closed(
        policy("p", {"selector": {"matchLabels": {"a": "b"}, "matchExpressions": []}}), "", ""
    )
    assert kept.selection == Selection((("a", "b"),))


GATEWAY = {"group": "gateway.networking.k8s.io", "kind": "Gateway", "name": "front"}
CLASS = {"group": "gateway.networking.k8s.io", "kind": "GatewayClass", "name": "refmesh"}
LONG = "long" * 20


@pytest.mark.parametrize(
    ("targets", "closed"),
    [
        ({"targetRefs": [GATEWAY]}, {"front-1"}),
        ({"targetRef": GATEWAY, "selector": {}}, {"front-1"}),
        ({"targetRefs": [CLASS]}, set()),
        ({"targetRefs": [GATEWAY, {"kind": "Service", "name": "echo"}]}, {"front-1", "echo-v1", "echo-v2"}),
        ({"targetRefs": [CLASS, {"kind": "Service", "name": "other"}]}, set()),
        ({"targetRefs": [{**GATEWAY, "name": LONG}]}, {"long-1"}),
        # Where it cannot be read whom it means, nobody gets in.
        (
            {"targetRefs": [GATEWAY], "selector": {"matchLabels": {"a": "b"}}},
            {"front-1", "long-1", "echo-v1", "echo-v2"},
        ),
        ({"targetRefs": [{"kind": "service", "name": "echo"}]}, {"front-1", "long-1", "echo-v1", "echo-v2"}),
        ({"targetRefs": [{**GATEWAY, "group": "x"}]}, {"front-1", "long-1", "echo-v1", "echo-v2"}),
        ({"targetRefs": [{**GATEWAY, "name": f"1{LONG}"}]}, set()),
        ({"targetRefs": [{"kind": "Gateway"}]}, {"front-1", "long-1", "echo-v1", "echo-v2"}),
        (
            {"targetRefs": [{"kind": "Service", "name": "echo", "namespace": "x"}]},
            {"front-1", "long-1", "echo-v1", "echo-v2"},
        ),
    ],
)
@pytest.mark.parametrize("kind", ["AuthorizationPolicy", "RequestAuthentication"])
def test_a_policy_for_gateways_closes_their_proxies_and_no_sidecar(
    kind: str, targets: dict[str, Any], closed: set[str]
) -> None:
    cluster = MemoryCluster().with_echo().put(kind, policy("p", targets))
    cluster.put("Pod", router_pod(), router_pod("long-1", "10.1.9.2", f"g-{LONG[:51]}-00000000"))
    far = router_pod("front-2", "10.1.9.3")
    far["metadata"]["namespace"] = "far"
    snapshot = cluster.put("Pod", far).snapshot()
    assert len(snapshot.rejected) == 1

    def asked(pod: Pod) -> bool:
        if kind == "RequestAuthentication":
            return bool(TokenRules.collect(snapshot, "shop").of(pod, snapshot))
        # In the root namespace too its Gateways are its own.
        policies = AuthorizationPolicies.collect(snapshot.authorization_policies.values(), "shop")
        return bool(policies.of(pod, snapshot).all)

    whole = len(closed) == 4
    assert {pod.name for pod in snapshot.pods.values() if asked(pod)} == closed | ({"front-2"} if whole else set())


WORDS = (
    "selector matchLabels action rules from source principals to operation paths when key values targetRefs kind name"
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS.split()), inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_whatever_stands_in_the_object_it_is_read_or_closed(spec: Any) -> None:
    cluster = MemoryCluster().with_echo().put("AuthorizationPolicy", {"metadata": metadata("p"), "spec": spec})
    snapshot = cluster.snapshot()
    assert list(snapshot.authorization_policies) == [("shop", "p")]
    found = snapshot.authorization_policies["shop", "p"]
    assert bool(found.unreadable) is bool(snapshot.rejected)
    assert found.rules == () or found.action is not Action.ALLOW or not found.unreadable


def test_an_object_without_a_spec_denies_all_like_an_empty_one() -> None:
    assert AuthorizationPolicy.parse({"metadata": {"name": "p", "namespace": "shop"}}, "").rules == ()


def test_rejected_policies_are_listed_and_others_stay() -> None:
    cluster = MemoryCluster().with_echo()
    cluster.put("AuthorizationPolicy", policy("bad", condition("x", values=["y"])), policy("good", {"rules": [{}]}))
    snapshot = cluster.snapshot()
    assert set(snapshot.authorization_policies) == {("shop", "bad"), ("shop", "good")}
    assert "spec.rules[0].when[0].key" in snapshot.rejected["AuthorizationPolicy", "shop", "bad"].reason
    cluster.drop("AuthorizationPolicy", "bad")
    assert set(cluster.snapshot().authorization_policies) == {("shop", "good")}
    assert not cluster.snapshot().rejected


# ---------------------------------------------------------------------------------------------------------------- bytes
def network_rules(spec: dict[str, Any], chain: str = "9090-mtls") -> list[dict[str, Any]]:
    """The RBAC rules of the TCP port under one policy."""
    world = MemoryCluster().with_echo().put("AuthorizationPolicy", policy("p", spec)).world()
    listener = all_messages(world, ("shop", "echo-v1"), ResourceType.LISTENER)["virtualInbound"]
    (filters,) = [item.filters for item in listener.filter_chains if item.name == chain]
    found = []
    for item in filters[:-1]:
        made = rbac_pb2.RBAC()
        assert item.typed_config.Unpack(made)
        found.append(MessageToDict(made)["rules"])
    return found


@pytest.mark.parametrize("chain", ["9090-mtls", "9090-plaintext", "9090-application-tls", "other-mtls"])
def test_every_chain_for_bytes_is_guarded(chain: str) -> None:
    assert network_rules({}, chain) == [{}]


def test_an_allow_rule_that_asks_for_http_matches_no_bytes() -> None:
    spec = {"rules": [{"to": [{"operation": {"methods": ["GET"], "ports": ["9090"]}}]}]}
    assert network_rules(spec) == [{}]


def test_a_deny_rule_that_asks_for_http_matches_bytes_whatever_they_are() -> None:
    spec = {"action": "DENY", "rules": [{"to": [{"operation": {"methods": ["GET"], "ports": ["9090"]}}]}]}
    (found,) = network_rules(spec)
    assert found["action"] == "DENY"
    (rule,) = found["policies"].values()
    assert "9090" in str(rule["permissions"])
    assert "method" not in str(rule)


def test_no_policy_costs_bytes_nothing() -> None:
    world = MemoryCluster().with_echo().world()
    listener = all_messages(world, ("shop", "echo-v1"), ResourceType.LISTENER)["virtualInbound"]
    (chain,) = [item for item in listener.filter_chains if item.name == "9090-mtls"]
    assert len(chain.filters) == 1


def test_changed_rules_for_requests_leave_the_listener_alone() -> None:
    cluster = MemoryCluster().with_echo()

    def listener_and_route(spec: dict[str, Any]) -> tuple[str, str]:
        world = cluster.put("AuthorizationPolicy", policy("p", spec)).world()
        own = world.own(world.snapshot.pods["shop", "echo-v1"])
        chain = all_messages(world, ("shop", "echo-v1"), ResourceType.LISTENER)["virtualInbound"].filter_chains
        http = [item.SerializeToString(deterministic=True).hex() for item in chain if item.name.startswith("8080")]
        return str(http), own[ResourceType.ROUTE]["inbound|8080||"].version

    before, after = listener_and_route(operation(methods=["GET"])), listener_and_route(operation(methods=["POST"]))
    assert before[0] == after[0]
    assert before[1] != after[1]


# ----------------------------------------------------------------------------------------------------------- identities
@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("cluster.local/ns/a/sa/b", {"exact": "spiffe://mesh.test/ns/a/sa/b"}),
        ("other.test/ns/a/sa/b", {"exact": "spiffe://other.test/ns/a/sa/b"}),
        ("cluster.local/ns/a/*", {"prefix": "spiffe://mesh.test/ns/a/"}),
        ("*/sa/b", {"suffix": "/sa/b"}),
        ("*", {"prefix": "spiffe://"}),
    ],
)
def test_principals_are_written_in_the_mesh_s_trust_domain(value: str, expected: dict[str, str]) -> None:
    assert MessageToDict(principal_identity(value, "mesh.test")) == expected


@pytest.mark.parametrize(
    ("value", "namespace", "matches"),
    [
        ("prod", "prod", True),
        ("prod", "production", False),
        ("prod", "nonprod", False),
        ("prod*", "production", True),
        ("*prod", "nonprod", True),
        ("*", "any", True),
        ("pr.d", "prod", False),
    ],
)
def test_namespaces_match_whole(value: str, namespace: str, matches: bool) -> None:
    import re

    regex = namespace_identity(value).safe_regex.regex
    assert bool(re.fullmatch(regex, f"spiffe://cluster.local/ns/{namespace}/sa/web")) is matches


def test_request_principals_are_issuer_and_subject() -> None:
    def values(text: str) -> list[list[Any]]:
        return [[MessageToDict(item)["value"]["stringMatch"] for item in both] for both in request_principal(text)]

    anything = {"safeRegex": {"regex": ".+"}}
    assert values("issuer/alice") == [[{"exact": "issuer"}, {"exact": "alice"}]]
    assert values("issuer/*") == [[{"exact": "issuer"}, anything], [{"prefix": "issuer/"}, anything]]
    assert values("*/alice") == [[anything, {"exact": "alice"}], [anything, {"suffix": "/alice"}]]
    assert values("*") == [[anything, anything]]
    assert values("/") == [[anything, {"exact": "/"}]]
    assert values("alice") == [[anything, {"exact": "alice"}]]


def test_rules_are_named_as_istio_names_them() -> None:
    world = MemoryCluster().with_echo().put("AuthorizationPolicy", policy("p", {"rules": [{}, {}]})).world()
    route = all_messages(world, ("shop", "echo-v1"), ResourceType.ROUTE)["inbound|8080||"]
    packed = route.typed_per_filter_config["refmesh.authorization.allow"]
    from envoy.extensions.filters.http.rbac.v3.rbac_pb2 import RBACPerRoute

    made = RBACPerRoute()
    assert packed.Unpack(made)
    assert made.rbac.rules.action == RBAC.ALLOW
    assert sorted(made.rbac.rules.policies) == ["ns[shop]-policy[p]-rule[0]", "ns[shop]-policy[p]-rule[1]"]
