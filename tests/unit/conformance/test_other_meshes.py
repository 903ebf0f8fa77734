"""The adapters of meshes that are not here: what they render, what they declare, and that nothing falls between."""

from __future__ import annotations

import importlib
import json
import re
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance import intents
from conformance.adapters import Proxy, Rendered, Unsupported, load
from conformance.adapters.words import NO_WORDS
from conformance.catalogue import grounds
from conformance.checks.authorization_ground import Ask, within
from conformance.context import Context, NotExpressible
from conformance.ground import HTTP_AND_GRPC, Svc, render_ground, service_of, unfit
from conformance.intents import (
    Access,
    AccessRule,
    CertificateRequest,
    ConnectionLimit,
    Effect,
    Ingress,
    Inject,
    Intent,
    LogAccesses,
    MeshMtlsMode,
    Mode,
    MtlsMode,
    NoInject,
    NoRetries,
    OutlierEjection,
    RequestMatch,
    RequestRoute,
    Retry,
    RotateRoot,
    RouteRule,
    RouteTimeout,
    Scope,
    WeightedRoute,
)
from conformance.selection import Wish, chosen, fitting
from fixtures.kube import ApiProblem
from tests.meshes.examples import EXAMPLES, MARK, TO_V1, V1, V2

MESHES = ("cilium", "consul", "gateway-api", "istio", "kuma", "linkerd")
OWN = {"cilium": "cilium", "consul": "consul", "gateway-api": "gateway_api", "kuma": "kuma.base", "linkerd": "linkerd"}
WEB = ("ns", "web", 8080)


def objects(mesh: str, intent: Intent, **settings: Any) -> list[dict[str, Any]]:
    found = load(mesh, settings).render(intent)
    assert isinstance(found, Rendered), found
    return [dict(one) for one in found.objects]


def declared(mesh: str, intent: Intent, **settings: Any) -> str:
    found = load(mesh, settings).render(intent)
    assert isinstance(found, Unsupported), found
    return found.reason


def every_intent() -> set[type[Intent]]:
    named = (getattr(intents, name) for name in intents.__all__)
    return {one for one in named if isinstance(one, type) and issubclass(one, Intent) and one is not Intent}


def test_there_is_an_example_of_every_intent_but_the_mesh_wide_ones():
    assert every_intent() == {type(one) for one in EXAMPLES} | {MeshMtlsMode, RotateRoot}


@pytest.mark.parametrize("mesh", OWN)
def test_every_mesh_has_words_or_a_reason_for_every_intent(mesh):
    module = importlib.import_module(f"conformance.adapters.{OWN[mesh]}")
    render = getattr(module, "render", None) or importlib.import_module(f"{module.__name__}.base").render
    unheard = every_intent() - set(render.registry)
    assert not unheard, f"give {module.__name__} renderers, or `cannot(...)` with a reason"


@pytest.mark.parametrize("mesh", MESHES)
def test_nothing_falls_between(mesh):
    for intent in EXAMPLES:
        found = load(mesh).render(intent)
        if isinstance(found, Unsupported):
            assert not found.reason.startswith(NO_WORDS), (mesh, intent)


@pytest.mark.parametrize("mesh", MESHES)
def test_nothing_is_rendered_outside_of_its_namespace(mesh):
    for intent in EXAMPLES:
        found = load(mesh).render(intent)
        if isinstance(found, Rendered):
            for item in (*found.objects, *found.merges):
                spaces = {item["metadata"].get("namespace", "ns")}
                assert spaces == {"ns"}, (mesh, intent)


# -- Linkerd -----------------------------------------------------------------------------------------------------------


def test_linkerd_identities_hold_its_own_namespace():
    linkerd = load("linkerd", {"namespace": "l5d", "trust-domain": "example.org"})
    assert linkerd.identity("ns", "sa") == "sa.ns.serviceaccount.identity.l5d.example.org"


def test_linkerd_makes_a_namespace_strict_by_annotation_and_a_workload_by_servers():
    found = load("linkerd").render(MtlsMode("ns", Mode.STRICT))
    assert isinstance(found, Rendered)
    (part,) = found.merges
    assert part["kind"] == "Namespace"
    assert part["metadata"]["annotations"] == {"config.linkerd.io/default-inbound-policy": "all-authenticated"}
    servers = objects("linkerd", MtlsMode("ns", Mode.STRICT, "web", {9090: Mode.PERMISSIVE}))
    assert {one["spec"]["port"]: one["spec"]["accessPolicy"] for one in servers} == {
        8080: "all-authenticated",
        7070: "all-authenticated",
        9090: "all-unauthenticated",
        8443: "all-authenticated",
    }


def spoken(mesh: str, settings: dict[str, Any] | None = None) -> dict[str, set[str]]:
    """What Services of the ground of routes say of their ports' protocols, by the ports' names."""
    ground = next(one for one in grounds() if one.name == "rt")
    found: dict[str, set[str]] = {}
    for layer in render_ground(ground, load(mesh, settings), run="r", image="i"):
        for item in layer.objects:
            for port in item["spec"]["ports"] if item["kind"] == "Service" else ():
                found.setdefault(port["name"], set()).add(port.get("appProtocol", ""))
    return found


@pytest.mark.parametrize("mesh", ["cilium", "consul", "istio", "kuma", "refmesh", "none"])
def test_services_say_the_protocol_of_each_port(mesh):
    found = spoken(mesh)
    assert found == {name: {name} for name in found}
    assert {"http", "grpc"} <= found.keys()


def test_by_the_gateway_api_alone_grpc_is_called_as_kubernetes_calls_it():
    found = spoken("gateway-api", {"namespace-labels": "a=b"})
    assert found.pop("grpc") == {"kubernetes.io/h2c"}
    assert found == {name: {name} for name in found}
    assert "http" in found


def test_linkerd_finds_out_http_by_itself_and_is_told_grpc_as_http2():
    assert spoken("linkerd") == {"http": {""}, "grpc": {"kubernetes.io/h2c"}}


def test_kuma_is_told_of_no_protocol_that_it_does_not_know():
    """The webhook refuses the MeshService of a Service with any: then none of its ports is in the mesh."""
    ground = next(one for one in grounds() if one.name == "inj")
    found = set()
    for layer in render_ground(ground, load("kuma"), run="r", image="i"):
        for item in layer.objects:
            found |= {port["appProtocol"] for port in item["spec"]["ports"]} if item["kind"] == "Service" else set()
    assert found == {"http", "grpc", "tcp"}


def test_linkerd_ejects_without_a_bound_only():
    assert "bounded" in declared("linkerd", OutlierEjection(*WEB, 5, 1.0, 2.5, 50, MARK))
    found = load("linkerd").render(OutlierEjection(*WEB, 5, 1.0, 2.5, 100, MARK))
    assert isinstance(found, Rendered)
    (service,) = found.merges
    marks = service["metadata"]["annotations"]
    assert marks["balancer.linkerd.io/failure-accrual-consecutive-max-failures"] == "5"
    assert marks["balancer.linkerd.io/failure-accrual-consecutive-min-penalty"] == "2500ms"
    assert [one["kind"] for one in found.objects] == ["HTTPRoute"]


def test_linkerd_keeps_a_routes_limits_in_annotations():
    rule = RequestRoute(*WEB, (RouteRule(TO_V1, timeout=9.0, retry=Retry(3, (502, 503))),))
    (route,) = objects("linkerd", rule)
    assert route["metadata"]["annotations"] == {
        "timeout.linkerd.io/request": "9s",
        "retry.linkerd.io/limit": "3",
        "retry.linkerd.io/http": "502,503",
    }
    assert "timeouts" not in route["spec"]["rules"][-1]
    mixed = RequestRoute(*WEB, (RouteRule(TO_V1, retry=Retry(3)), RouteRule(TO_V1)))
    assert "the same for all" in declared("linkerd", mixed)


def test_linkerd_gives_each_rule_its_own_timeout_but_for_grpc():
    rules = (RouteRule(TO_V1, (RequestMatch(path="/slow"),), timeout=9.0), RouteRule(TO_V1, timeout=1.0))
    (route,) = objects("linkerd", RequestRoute(*WEB, rules))
    assert [one["timeouts"]["request"] for one in route["spec"]["rules"]] == ["9s", "1s"]
    assert "annotations" not in route["metadata"]
    assert "the same for all" in declared("linkerd", RequestRoute(*WEB, rules, protocol="grpc"))


def test_linkerd_is_asked_what_it_says_of_a_filter_that_it_does_not_know():
    odd = RequestRoute(*WEB, (RouteRule(TO_V1, unknown_filter="odd"),))
    (route,) = objects("linkerd", odd)
    assert route["spec"]["rules"][0]["filters"][0]["type"] == "ExtensionRef"


# -- Kuma --------------------------------------------------------------------------------------------------------------


def test_kuma_names_services_by_labels_since_3():
    (new,) = objects("kuma", RouteTimeout(*WEB, 1.5))
    (old,) = objects("kuma", RouteTimeout(*WEB, 1.5), version="2")
    assert new["spec"]["to"][0]["targetRef"] == {
        "kind": "MeshService",
        "labels": {"kuma.io/display-name": "web", "k8s.kuma.io/namespace": "ns"},
    }
    assert old["spec"]["to"][0]["targetRef"] == {"kind": "MeshService", "name": "web", "namespace": "ns"}
    assert new["spec"]["to"][0]["default"] == {"http": {"requestTimeout": "1500ms"}}


def test_a_workload_in_kuma_begins_with_a_permission():
    assert objects("kuma", Inject(Scope.NAMESPACE)) == objects("kuma", Inject(Scope.POD)) == []
    for version, field in (("3", "rules"), ("2", "from")):
        (permission,) = objects("kuma", Inject(Scope.POD, "web"), version=version)
        assert permission["spec"]["targetRef"] == {"kind": "Dataplane", "labels": {"app": "web"}}
        assert permission["kind"] == "MeshTrafficPermission"
        assert "namespace" not in permission["metadata"]
        assert field in permission["spec"]


def test_kuma_has_no_identity_by_service_account_before_meshidentity():
    assert load("kuma").identity("ns", "sa") == "spiffe://default.default.mesh.local/ns/ns/sa/sa"
    assert isinstance(load("kuma", {"version": "2"}).identity("ns", "sa"), Unsupported)


def test_kuma_2_permits_by_identity_where_a_meshidentity_names_its_workloads():
    """Proxies with a workload identity ignore `from`, and without `rules` they deny everything."""
    by_name = {"version": "2", "trust-domain": "example.org"}
    assert load("kuma", by_name).identity("ns", "sa") == "spiffe://example.org/ns/ns/sa/sa"
    (opened,) = objects("kuma", Inject(Scope.POD, "web"), **by_name)
    assert opened["spec"]["rules"] == [
        {"default": {"allow": [{"spiffeID": {"type": "Prefix", "value": "spiffe://example.org"}}]}}
    ]
    closed, permission, *_ = objects("kuma", allowed(CLIENT), **by_name)
    assert whom(closed["spec"]["rules"][0]["default"]["allow"]) == ["Exact spiffe://example.org/nobody"]
    allowance = permission["spec"]["rules"][0]["default"]["allow"]
    assert whom(allowance) == ["Exact spiffe://example.org/ns/other/sa/client"]
    assert not any("from" in one["spec"] for one in (opened, closed, permission))
    assert "before MeshIdentity" in declared("kuma", allowed(CLIENT), version="2")


IDENTITY: dict[str, Any] = {"metadata": {"name": "all"}, "spec": {"selector": {"dataplane": {}}}}
OF_ANOTHER_MESH = {**IDENTITY, "metadata": {"name": "far", "labels": {"kuma.io/mesh": "far"}}}
TRUST_ONLY = {**IDENTITY, "spec": {"selector": {}}}


def by_path(path: str, name: str = "all", **labels: str) -> dict[str, Any]:
    spec = {"selector": {"dataplane": {"matchLabels": labels} if labels else {}}, "spiffeID": {"path": path}}
    return {"metadata": {"name": name}, "spec": spec}


@pytest.mark.parametrize(
    ("settings", "identities", "mtls", "problem"),
    [
        ({}, [IDENTITY], False, ""),
        ({}, [], False, "create a MeshIdentity in kuma-system"),
        ({"version": "2"}, [], True, ""),
        ({"version": "2"}, [], False, "enable mtls in the Mesh default"),
        ({"version": "2"}, [IDENTITY], True, "--set trust-domain=default.default.mesh.local"),
        ({"version": "2"}, [OF_ANOTHER_MESH, TRUST_ONLY], True, ""),
        ({"version": "2", "trust-domain": "example.org"}, [IDENTITY], False, ""),
        ({"version": "2", "trust-domain": "example.org"}, [TRUST_ONLY], True, "or give no trust-domain"),
    ],
)
def test_kuma_says_which_identities_it_was_not_told_of(settings, identities, mtls, problem):
    said = kuma_says(settings, identities, mtls={"enabledBackend": "ca-1"} if mtls else {})
    assert problem in said
    assert bool(said) is bool(problem)


@pytest.mark.parametrize(
    ("identities", "problem"),
    [
        ([by_path("/ns/{{ .Namespace }}/sa/{{ .ServiceAccount }}")], ""),
        ([by_path('/ns/{{ label "k8s.kuma.io/namespace" }}/sa/{{.ServiceAccount}}')], ""),
        ([by_path("/workload/{{ .Workload }}")], "all names workloads by the path /workload/{{ .Workload }}"),
        ([IDENTITY, by_path("/of/{{ .Namespace }}", "shop", app="shop")], ""),
        ([IDENTITY, by_path("/of/{{ .Namespace }}", "a-first")], "a-first names workloads by the path"),
        ([IDENTITY, by_path("/of/{{ .Namespace }}", "z-last")], ""),
        ([by_path("/of/{{ .Namespace }}", "shop", app="shop")], ""),
    ],
)
def test_kuma_says_by_which_path_a_meshidentity_names_workloads(identities, problem):
    """Permissions and what certificates must carry are about a namespace and an account: of other names none holds."""
    for settings in ({}, {"version": "2", "trust-domain": "example.org"}):
        said = kuma_says(settings, identities)
        assert problem in said
        assert bool(said) is bool(problem)


def trust(domain: str, mesh: str = "default") -> dict[str, Any]:
    return {"metadata": {"name": domain, "labels": {"kuma.io/mesh": mesh}}, "spec": {"trustDomain": domain}}


@pytest.mark.parametrize(
    ("settings", "trusts", "problem"),
    [
        ({}, [], ""),
        ({}, [trust("default.default.mesh.local"), trust("default.east.mesh.local")], ""),
        ({}, [trust("example.org")], "as in --set trust-domain=example.org"),
        ({"zone": "east"}, [trust("default.west.mesh.local")], "trust domain default.east.mesh.local: it has"),
        ({"trust-domain": "example.org"}, [trust("example.org")], ""),
        ({}, [trust("example.org", "far")], ""),
        ({}, None, ""),
    ],
)
@pytest.mark.parametrize("provider", ["", "Bundled", "Spire"])
def test_kuma_says_that_its_trust_domain_is_another_one(settings, trusts, problem, provider):
    """Every permission of a run would be for callers that nobody is. What SPIRE signs, no MeshTrust speaks of."""
    problem = "" if provider == "Spire" else problem
    of_type = {"provider": {"type": provider}} if provider else {}
    identity = {**IDENTITY, "spec": {**IDENTITY["spec"], **of_type}}

    def listed(_: str, kind: str, *__: object) -> list[dict[str, Any]]:
        if kind == "MeshIdentity":
            return [identity]
        if trusts is None:
            raise ApiProblem("no", status=403)
        return list(trusts)

    plane = plain_kuma("3.0.0")
    said = load("kuma", settings).problem(cast("Any", SimpleNamespace(list=listed, get=lambda *_: plane)))
    assert problem in said
    assert bool(said) is bool(problem)


def plain_kuma(tag: str) -> dict[str, Any]:
    spec = {"template": {"spec": {"containers": [{"image": f"kuma-cp:{tag}"}]}}}
    return {"metadata": {"name": "kuma-control-plane"}, "spec": spec, "status": {"availableReplicas": 1}}


def kuma_says(
    settings: dict[str, Any], identities: list[dict[str, Any]], tag: str = "", services: str = "Exclusive", **spec: Any
) -> str:
    """What the adapter has against a Kuma; its version is the one of the settings unless its image has another."""
    plane = plain_kuma(tag or settings.get("version", "3") + ".1.0")
    mesh = {"spec": {**({"meshServices": {"mode": services}} if services else {}), **spec}}
    kube = SimpleNamespace(list=lambda *_: identities, get=lambda _, kind, *__: mesh if kind == "Mesh" else plane)
    return load("kuma", settings).problem(cast("Any", kube))


BY_MESH: tuple[dict[str, Any], list[dict[str, Any]]] = ({"version": "2"}, [])
BY_IDENTITY: tuple[dict[str, Any], list[dict[str, Any]]] = ({"version": "2", "trust-domain": "t.example"}, [IDENTITY])


@pytest.mark.parametrize(
    ("of", "services", "problem"),
    [
        (BY_MESH, "", "meshServices in mode Disabled, with which no route of this suite holds"),
        (BY_MESH, "Disabled", "set spec.meshServices.mode: Exclusive"),
        (BY_MESH, "ReachableBackends", "meshServices in mode ReachableBackends"),
        (BY_MESH, "Everywhere", ""),
        (BY_MESH, "Exclusive", ""),
        (BY_IDENTITY, "", "with which no MeshIdentity holds"),
        (BY_IDENTITY, "Everywhere", "with which no MeshIdentity holds"),
        (BY_IDENTITY, "Exclusive", ""),
    ],
)
def test_kuma_2_has_the_services_that_routes_are_for_only_if_its_mesh_says_so(of, services, problem):
    settings, identities = of
    said = kuma_says(settings, identities, services=services, mtls={"enabledBackend": "ca-1"})
    assert problem in said
    assert bool(said) is bool(problem)


def test_nobody_is_to_change_the_identities_of_a_kuma_2_for_not_having_said_its_version():
    assert "say --set version=2" in kuma_says({}, [], tag="2.14.3", mtls={"enabledBackend": "ca-1"})
    assert "create a MeshIdentity" in kuma_says({}, [], tag="3.0.0", mtls={"enabledBackend": "ca-1"})


def test_every_mesh_of_kuma_3_has_the_services_that_routes_are_for():
    assert kuma_says({}, [IDENTITY], services="") == ""
    # Where nobody has said the version, the control plane does.
    assert "no MeshIdentity holds" in kuma_says({}, [IDENTITY], tag="2.14.3", services="")


def test_kuma_sends_what_no_rule_matches_to_the_service_itself():
    known = RouteRule(TO_V1, (RequestMatch(prefix="/known"),))
    assert "no rule of a route matches" in declared("kuma", RequestRoute(*WEB, (known,)))
    assert objects("kuma", RequestRoute(*WEB, (known, RouteRule(TO_V1))))
    assert objects("kuma", RequestRoute(*WEB, (known, RouteRule(TO_V1, (RequestMatch(),)))))


def retried(intent: Intent) -> dict[str, Any]:
    (policy,) = (one for one in objects("kuma", intent) if one["kind"] == "MeshRetry")
    found: dict[str, Any] = policy["spec"]["to"][0]["default"]["http"]
    return found


def test_kuma_tries_again_what_ran_into_its_own_limit():
    by_try = RequestRoute(*WEB, (RouteRule(TO_V1, retry=Retry(2, (504,), 0.4)),))
    assert retried(by_try) == {"numRetries": 2, "retryOn": ["GatewayError", "504"], "perTryTimeout": "400ms"}
    by_status = RequestRoute(*WEB, (RouteRule(TO_V1, retry=Retry(2, (503,))),))
    assert retried(by_status) == {"numRetries": 2, "retryOn": ["ConnectFailure", "503"]}, (
        "statuses alone would be added to Kuma's default, which has 502 and 504"
    )
    assert retried(RequestRoute(*WEB, (RouteRule(TO_V1, retry=Retry(2)),)))["retryOn"] == ["5xx"]


def test_where_nobody_asks_for_retries_kumas_own_default_does_not_either():
    """A Mesh is created with a MeshRetry for all of it, by which a POST with a 503 would arrive six times."""
    assert retried(NoRetries("ns", "plain")) == {"numRetries": 0}
    ground = next(one for one in grounds() if one.name == "rs")
    (layer,) = (one for one in render_ground(ground, load("kuma"), run="r", image="i") if one.namespace == "mp-r-rs-in")
    assert [one["metadata"]["name"] for one in layer.objects if one["kind"] == "MeshRetry"] == ["plain"]


def test_kuma_logs_what_arrives_at_a_workload():
    for version in ("2", "3"):
        (log,) = objects("kuma", LogAccesses("ns", "web"), version=version)
        assert log["spec"]["targetRef"] == {"kind": "Dataplane", "labels": {"app": "web"}}
        assert log["spec"]["rules"] == [{"default": {"backends": [{"type": "File", "file": {"path": "/dev/stdout"}}]}}]


def test_kuma_splits_by_service():
    (route,) = objects("kuma", WeightedRoute(*WEB, ((V1, 90), (V2, 10)), MARK))
    marked, shares = route["spec"]["to"][0]["rules"]
    assert marked["matches"][0]["headers"] == [{"type": "Exact", "name": "x-mark", "value": "abc"}]
    assert [one["weight"] for one in shares["default"]["backendRefs"]] == [90, 10]


# -- Consul ------------------------------------------------------------------------------------------------------------


def test_consul_injects_pod_by_pod_and_knows_pods_by_their_service():
    assert "one by one" in declared("consul", Inject(Scope.NAMESPACE))
    assert isinstance(load("consul").identity("ns", "sa"), Unsupported)
    consul = load("consul", {"trust-domain": "1-2.consul", "datacenter": "east"})
    assert consul.identity("ns", "sa") == "spiffe://1-2.consul/ns/default/dc/east/svc/sa"


def test_consul_weights_are_percentages():
    splitter = next(
        one for one in objects("consul", WeightedRoute(*WEB, ((V1, 3), (V2, 1)))) if one["kind"] == "ServiceSplitter"
    )
    assert [one["weight"] for one in splitter["spec"]["splits"]] == [75.0, 25.0]
    assert "add up to 100" in declared("consul", WeightedRoute(*WEB, ((V1, 1), (V2, 1), (V1, 1))))


def test_consul_prefixes_end_with_a_segment():
    rule = next(one for one in EXAMPLES if isinstance(one, RequestRoute) and (one.rules[0].rewrite or None))
    router = next(one for one in objects("consul", rule) if one["kind"] == "ServiceRouter")
    routes = router["spec"]["routes"][1:3]
    assert [one["match"]["http"] for one in routes] == [{"pathExact": "/old"}, {"pathPrefix": "/old/"}]
    assert [one["destination"]["prefixRewrite"] for one in routes] == ["/new", "/new/"]


def test_consul_keeps_limits_with_the_client():
    found = objects("consul", ConnectionLimit(*WEB, 2, 1, 3, MARK))
    client = next(one for one in found if one["metadata"]["name"] == "client")
    (override,) = client["spec"]["upstreamConfig"]["overrides"]
    assert override["limits"] == {"maxConnections": 2, "maxPendingRequests": 1, "maxConcurrentRequests": 3}


# -- Cilium and the Gateway API alone ----------------------------------------------------------------------------------


def test_cilium_changes_no_pods():
    found = load("cilium", {"ztunnel": True}).render(Inject(Scope.NAMESPACE))
    assert found == Rendered(labels={"io.cilium/mtls-enabled": "true"}, per_node=True)
    assert load("cilium").proxy is None
    assert load("cilium", {"ztunnel": True}).proxy == Proxy("", inbound_port=15008)


@pytest.mark.parametrize(
    ("runs", "told", "said"),
    [
        ("true", True, ""),
        ("false", False, ""),
        ("true", False, "ztunnel runs in this Cilium: say --set ztunnel=true"),
        ("false", True, "ztunnel does not run in this Cilium: say --set ztunnel=false"),
    ],
)
def test_cilium_says_whether_ztunnel_runs(runs, told, said):
    config = {"data": {"enable-gateway-api": "true", "enable-ztunnel": runs}}
    available = {"status": {"availableReplicas": 1}}
    kube = SimpleNamespace(get=lambda _, kind, *__: config if kind == "ConfigMap" else available, list=lambda *_: [])
    assert load("cilium", {"ztunnel": told}).problem(cast("Any", kube)) == said


def test_by_the_gateway_api_alone_the_user_says_what_a_meshs_services_say_of_their_protocols():
    """To Linkerd `http` is HTTP/1 alone. Kuma does not know what Kubernetes calls gRPC."""

    def named(said: str) -> dict[str, str | None]:
        mesh = load("gateway-api", {"namespace-labels": "a=b", "app-protocols": said})
        ports = service_of(Svc("web", "in", "web", ports=HTTP_AND_GRPC), "ns", mesh, callers=["ns"])["spec"]["ports"]
        return {one["name"]: one.get("appProtocol") for one in ports}

    assert named("http=") == {"http": None, "grpc": "kubernetes.io/h2c"}
    assert named("grpc=grpc,https=tcp") == {"http": "http", "grpc": "grpc"}


def test_cilium_puts_a_policy_on_the_cluster_of_the_service_only():
    (config,) = objects("cilium", OutlierEjection(*WEB, 5, 1.0, 2.5, 50, MARK))
    _, table, pool, marked = config["spec"]["resources"]
    assert pool["outlier_detection"]["base_ejection_time"] == "2.5s"
    assert "outlier_detection" not in marked
    # Where a configuration names a port, Cilium's agent publishes endpoints under `namespace/service:port` alone.
    published = [
        f"{one['namespace']}/{one['name']}:{number}"
        for one in config["spec"]["backendServices"]
        for number in one["number"]
    ]
    assert [pool["name"], marked["name"]] == published == ["ns/web:8080", "ns/web-v3:8080"]
    assert [one["route"]["cluster"] for one in table["virtual_hosts"][0]["routes"]] == published[::-1]


def test_an_ambient_mesh_follows_routes_by_a_waypoint_that_the_runs_namespaces_name():
    def said(*also: str) -> str:
        labels = ",".join(["istio.io/dataplane-mode=ambient", *also])
        kube = SimpleNamespace(get=lambda *_: {"metadata": {"name": "httproutes"}})
        mesh = load("gateway-api", {"namespace-labels": labels, "per-node": True, "proxy-port": 15008})
        return mesh.problem(cast("Any", kube))

    assert "add istio.io/use-waypoint=NAME to namespace-labels" in said()
    assert said("istio.io/use-waypoint=all", "istio.io/use-waypoint-namespace=mesh") == ""
    assert said("istio.io/use-waypoint=none") == ""


def test_any_mesh_opts_in_as_the_user_says():
    assert "--set namespace-labels" in declared("gateway-api", Inject(Scope.NAMESPACE))
    assert "--set opt-out-labels" in declared("gateway-api", NoInject(Scope.POD))
    mesh = load("gateway-api", {"namespace-labels": "a=b,c=d", "identity": "x://{namespace}/{service_account}"})
    by_name = {"grpc": "kubernetes.io/h2c"}
    assert mesh.render(Inject(Scope.NAMESPACE)) == Rendered(labels={"a": "b", "c": "d"}, app_protocols=by_name)
    assert mesh.identity("ns", "sa") == "x://ns/sa"
    assert isinstance(mesh.render(CertificateRequest("ns", "sa")), Unsupported)


# -- grounds -----------------------------------------------------------------------------------------------------------


def pods(mesh: str, place: str) -> dict[str, dict[str, Any]]:
    """Metadata of the pods of the injection ground, by workload."""
    ground = next(one for one in grounds() if one.name == "inj")
    layer = next(
        one for one in render_ground(ground, load(mesh), run="r", image="i") if one.namespace.endswith(f"-{place}")
    )
    found = {}
    for item in layer.objects:
        if item["kind"] == "Deployment":
            found[item["metadata"]["name"]] = item["spec"]["template"]["metadata"]
    return found


def test_where_namespaces_cannot_opt_in_every_pod_does():
    inject = "consul.hashicorp.com/connect-inject"
    opted_in = {inject: "true", "consul.hashicorp.com/transparent-proxy": "true"}
    inside, outside = pods("consul", "in"), pods("consul", "out")
    assert inside["server"]["annotations"] == opted_in
    assert inside["optout"]["annotations"] == {inject: "false"}
    assert outside["optin"]["annotations"] == opted_in
    assert pods("linkerd", "in")["server"]["annotations"] == {}


def test_a_mesh_that_starts_pods_of_one_service_only_is_not_asked_for_others():
    fit = {one.name for one in grounds() if not unfit(one, load("consul"))}
    assert {"mtls", "authz", "inj", "gw"} <= fit  # the last has a pod of no Service, which then gets one
    assert not {"wt", "rt"} & fit
    assert not any(unfit(one, load("istio")) for one in grounds())
    found = fitting(chosen(Wish(only="WT,MTLS-01")), load("consul"))
    assert found.grounds == ("mtls",)
    assert "one Service only, and web-v1 of these checks is in 15" in found.excused["WT-01"]


def test_clients_get_a_service_where_the_mesh_asks_for_it():
    ground = next(one for one in grounds() if one.name == "wt")

    def services(mesh: str) -> set[str]:
        layers = render_ground(ground, load(mesh), run="r", image="i")
        return {item["metadata"]["name"] for layer in layers for item in layer.objects if item["kind"] == "Service"}

    assert services("consul") - services("istio") == {"client"}


def rendered(mesh: str, ground: str, place: str, kind: str) -> dict[str, dict[str, Any]]:
    """The objects of a kind in a place of a ground, by name."""
    found = next(one for one in grounds() if one.name == ground)
    layers = {one.namespace: one for one in render_ground(found, load(mesh), run="r", image="i")}
    objects = layers[f"mp-r-{ground}-{place}"].objects
    return {one["metadata"]["name"]: dict(one) for one in objects if one["kind"] == kind}


def test_where_services_are_identities_a_client_runs_as_the_account_of_its_services_name():
    """With ACLs Consul starts no pod whose service account is called otherwise than its service."""
    for mesh, account in (("consul", "client"), ("linkerd", None)):
        assert rendered(mesh, "mtls", "in", "Pod")["client"]["spec"].get("serviceAccountName") == account
        assert ("client" in rendered(mesh, "mtls", "in", "ServiceAccount")) is (account is not None)
        assert rendered(mesh, "mtls", "out", "Pod")["outsider"]["spec"].get("serviceAccountName") is None


def test_a_pod_of_no_service_gets_one_where_the_mesh_asks_for_it():
    assert "client" in rendered("consul", "mtls", "in", "Service")
    assert "client" not in rendered("linkerd", "mtls", "in", "Service")


def test_every_server_in_consul_may_be_called_whatever_the_default_of_its_acls_is():
    opened = rendered("consul", "mtls", "in", "ServiceIntentions")
    assert opened["server"]["spec"]["sources"] == [{"name": "*", "action": "allow"}]
    assert opened["server"]["spec"]["destination"] == {"name": "server"}
    assert not rendered("consul", "mtls", "out", "ServiceIntentions")
    # A pod's service is called like its workload, also where several share one label.
    shared = rendered("consul", "wt", "in", "ServiceIntentions")
    assert {"web-v1", "web-v2"} <= set(shared)


def context(mesh: str, ground: str) -> Context:
    found = next(one for one in grounds() if one.name == ground)
    return Context(cast("Any", Applied()), load(mesh), found, run="r", image="i", alpha=0.01)


class Applied:
    """A cluster that keeps what is applied."""

    def __init__(self) -> None:
        self.items: list[dict[str, Any]] = []

    def apply(self, item: dict[str, Any]) -> None:
        self.items.append(item)


def test_a_mesh_that_knows_one_port_of_a_pod_is_not_asked_on_others():
    """Consul's community edition leads every port to the application of the first."""
    consul = context("consul", "mtls")
    assert consul.url("server").endswith(":8080/")
    for port in (7070, 9090):
        with pytest.raises(NotExpressible, match=f"one port of a pod only, which is not {port}"):
            consul.url("server", port)
        assert context("linkerd", "mtls").url("server", port)
    asks = [Ask("client", wanted=True, port=port) for port in (8080, 7070, 9090)]
    assert within(context("consul", "authz"), asks) == asks[:1]
    assert within(context("kuma", "authz"), asks) == asks


def test_a_namespaces_mode_is_told_of_each_workload_where_a_mesh_has_no_other():
    for ctx, names in ((context("consul", "mtls"), ["strict", "ports"]), (context("kuma", "mtls"), ["mtls"])):
        ctx.apply(MtlsMode(ctx.space("strict"), Mode.STRICT))
        assert [one["metadata"]["name"] for one in cast("Applied", ctx.kube).items] == names
    consul = context("consul", "mtls")
    consul.apply(MtlsMode(consul.space("in"), Mode.PERMISSIVE))
    (one,) = cast("Applied", consul.kube).items  # the other workload there is not in the mesh
    assert (one["metadata"]["name"], one["spec"]["mutualTLSMode"]) == ("server", "permissive")
    with pytest.raises(NotExpressible, match="no words for mTLS modes"):
        context("gateway-api", "mtls").apply(MtlsMode(consul.space("in"), Mode.STRICT))


def test_a_namespaces_mode_is_there_before_its_first_pod():
    ground = next(one for one in grounds() if one.name == "mtls")
    layers = {one.namespace: one for one in render_ground(ground, load("linkerd"), run="r", image="i")}
    policy = "config.linkerd.io/default-inbound-policy"
    assert layers["mp-r-mtls-strict"].annotations[policy] == "all-authenticated"
    assert layers["mp-r-mtls-in"].annotations == {"linkerd.io/inject": "enabled", policy: "all-unauthenticated"}
    assert layers["mp-r-mtls-out"].annotations == {}


def test_a_pods_own_opt_in_is_looked_at_where_its_namespace_must_say_something():
    ground = next(one for one in grounds() if one.name == "inj")
    for mesh, labels in (("kuma", {"kuma.io/sidecar-injection": "disabled"}), ("linkerd", {})):
        layers = {one.namespace: one for one in render_ground(ground, load(mesh), run="r", image="i")}
        assert layers["mp-r-inj-out"].labels == labels
    (opened,) = (
        one for one in render_ground(ground, load("kuma"), run="r", image="i") if one.namespace == "mp-r-inj-in"
    )
    assert opened.labels == {"kuma.io/sidecar-injection": "enabled"}


def test_every_server_of_a_mesh_that_denies_may_be_called():
    ground = next(one for one in grounds() if one.name == "inj")
    layers = {one.namespace: one for one in render_ground(ground, load("kuma"), run="r", image="i")}
    permitted = [one["metadata"]["name"] for one in layers["mp-r-inj-in"].objects if "Permission" in one["kind"]]
    assert permitted == ["server-is-called", "optout-is-called"]
    assert not [one for one in layers["mp-r-inj-out"].objects if "Permission" in one["kind"]]


# -- authorization -----------------------------------------------------------------------------------------------------

CLIENT = AccessRule(accounts=(("other", "client"),), ports=(8080,))


def allowed(*rules: AccessRule) -> Access:
    return Access("some", "ns", "web", Effect.ALLOW, rules)


def test_linkerd_denies_on_every_port_and_lets_in_by_identity():
    found = objects("linkerd", allowed(CLIENT))
    assert {one["spec"]["accessPolicy"] for one in found if one["kind"] == "Server"} == {"deny"}
    (who,) = (one for one in found if one["kind"] == "MeshTLSAuthentication")
    assert who["spec"]["identityRefs"] == [{"kind": "ServiceAccount", "name": "client", "namespace": "other"}]
    (policy,) = (one for one in found if one["kind"] == "AuthorizationPolicy")
    assert policy["spec"]["targetRef"]["name"] == "web-8080"
    assert "allowances only" in declared("linkerd", Access("no", "ns", "web", Effect.DENY, (CLIENT,)))


def test_linkerd_lets_nobody_in_by_accounts_and_namespaces_that_do_not_meet():
    found = objects("linkerd", allowed(AccessRule(accounts=(("other", "client"),), namespaces=("third",))))
    assert {one["kind"] for one in found} == {"Server"}
    both = objects("linkerd", allowed(AccessRule(accounts=(("other", "client"),), namespaces=("other",))))
    assert {one["kind"] for one in both} == {"Server", "MeshTLSAuthentication", "AuthorizationPolicy"}


def test_kuma_puts_an_allowance_in_the_place_of_the_standing_permission():
    (opened,) = objects("kuma", Inject(Scope.POD, "web"))
    closed, permission, *_ = objects("kuma", allowed(CLIENT))
    assert closed["metadata"]["name"] == opened["metadata"]["name"]
    assert whom(closed["spec"]["rules"][0]["default"]["allow"]) == ["Exact spiffe://default.default.mesh.local/nobody"]
    assert permission["spec"]["targetRef"]["sectionName"] == "http"
    value = "spiffe://default.default.mesh.local/ns/other/sa/client"
    assert permission["spec"]["rules"] == [{"default": {"allow": [{"spiffeID": {"type": "Exact", "value": value}}]}}]


ANYBODY = AccessRule()


@pytest.mark.parametrize(
    ("effect", "rules", "ports"),
    [
        (Effect.ALLOW, (), {""}),
        (Effect.ALLOW, (CLIENT,), {""}),
        (Effect.ALLOW, (CLIENT, ANYBODY), set()),
        (Effect.ALLOW, (CLIENT, AccessRule(ports=(9090,))), {"http", "grpc", "https"}),
        (Effect.DENY, (CLIENT,), set()),
        (Effect.DENY, (ANYBODY,), {""}),
        (Effect.DENY, (AccessRule(ports=(9090,)),), {"tcp"}),
    ],
)
def test_kuma_takes_no_plaintext_where_not_everybody_may_call(effect, rules, ports):
    """Its permissions know nobody who calls without its TLS: a permissive mode lets them past."""
    made = objects("kuma", Access("some", "ns", "web", effect, rules))
    modes = [one["spec"] for one in made if one["kind"] == "MeshTLS"]
    assert {one["targetRef"].get("sectionName", "") for one in modes} == ports
    assert all(one["targetRef"]["labels"] == {"app": "web"} for one in modes)
    assert all(one["rules"] == [{"default": {"mode": "Strict"}}] for one in modes)


def whom(matches: list[dict[str, Any]]) -> list[str]:
    return [f"{one['spiffeID']['type']} {one['spiffeID']['value']}" for one in matches]


def test_kumas_webhook_takes_every_permission():
    """Each rule names somebody, by a whole SPIFFE ID: its path has segments, and none of them is empty."""
    everybody, space = AccessRule(), AccessRule(namespaces=("other",))
    intents = (Inject(Scope.POD, "web"), allowed(), allowed(CLIENT, everybody, space))
    made = [one for intent in intents for one in objects("kuma", intent)]
    permissions = [one for one in made if one["kind"] == "MeshTrafficPermission"]
    named = [match for one in permissions for rule in one["spec"]["rules"] for match in rule["default"]["allow"]]
    assert len(named) == len(permissions)
    for one in whom(named):
        assert re.fullmatch(r"(Exact|Prefix) spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)*", one), one
    prefix = "Prefix spiffe://default.default.mesh.local"
    assert whom(named)[0] == prefix
    assert whom(named)[-2:] == [prefix, f"{prefix}/ns/other/sa"]


def sources(*rules: AccessRule, **settings: Any) -> list[dict[str, Any]]:
    """What Consul is told of who may call `web`."""
    (entry,) = (one for one in objects("consul", allowed(*rules), **settings) if one["kind"] == "ServiceIntentions")
    assert (entry["metadata"]["name"], entry["spec"]["destination"]) == ("web", {"name": "web"})
    found: list[dict[str, Any]] = entry["spec"]["sources"]
    return found


def test_consul_puts_an_allowance_in_the_place_of_the_standing_entry():
    (opened,) = objects("consul", Inject(Scope.POD, "web"))
    assert (opened["kind"], opened["metadata"]["name"]) == ("ServiceIntentions", "web")
    closed = {"name": "*", "action": "deny"}
    assert sources() == [closed]
    one = AccessRule(accounts=(("other", "client"),))
    assert sources(one) == [{"name": "client", "action": "allow"}, closed]
    assert sources(one, mirrored=True)[0] == {"name": "client", "namespace": "other", "action": "allow"}
    assert sources(AccessRule()) == [{"name": "*", "action": "allow"}]


def test_consul_denies_by_a_permission_what_no_other_allows():
    rest = {"action": "deny", "http": {"pathPrefix": "/"}}
    report = AccessRule(methods=("GET",), paths=("/report",))
    orders = AccessRule(accounts=(("ns", "client"),), paths=("/orders/*",), header=("x-a", "1"))
    read = {"action": "allow", "http": {"pathExact": "/report", "methods": ["GET"]}}
    ordered = {"pathPrefix": "/orders/", "header": [{"name": "x-a", "exact": "1"}]}
    # Of two sources the exact one decides alone: it holds what is allowed to everybody too.
    assert sources(report, orders) == [
        {"name": "client", "permissions": [read, {"action": "allow", "http": ordered}, rest]},
        {"name": "*", "permissions": [read, rest]},
    ]
    assert sources(AccessRule(methods=("GET",)))[0]["permissions"][0]["http"] == {"pathPrefix": "/", "methods": ["GET"]}


def test_consul_declares_what_its_intentions_do_not_say():
    assert "Enterprise" in declared("consul", allowed(AccessRule(namespaces=("other",))))
    assert "one port" in declared("consul", allowed(CLIENT))
    assert "by caller, path, method" in declared("consul", allowed(AccessRule(hosts=("a.example",))))
    assert "cannot stand beside" in declared("consul", Access("no", "ns", "web", Effect.DENY, (AccessRule(),)))


def test_what_kuma_is_told_of_a_workload_beats_what_it_is_told_of_its_namespace():
    """By the kind of the target: with labels or without, Dataplanes weigh the same, and then the names decide."""
    for version in ("2", "3"):
        (space,) = objects("kuma", MtlsMode("ns", Mode.PERMISSIVE), version=version)
        workload, port = objects("kuma", MtlsMode("ns", Mode.STRICT, "web", {9090: Mode.PERMISSIVE}), version=version)
        assert space["spec"]["targetRef"] == {"kind": "Mesh"}
        assert workload["spec"]["targetRef"]["kind"] == port["spec"]["targetRef"]["kind"] == "Dataplane"
        assert "sectionName" in port["spec"]["targetRef"]


def test_kuma_calls_ports_by_their_names():
    for version in ("2", "3"):
        for intent in EXAMPLES:
            found = load("kuma", {"version": version}).render(intent)
            for item in found.objects if isinstance(found, Rendered) else ():
                sections = set(re.findall(r'"sectionName": "([^"]*)"', json.dumps(dict(item))))
                assert sections <= {"http", "grpc", "tcp", "https"}, (version, intent)
    (first, second) = objects("kuma", MtlsMode("ns", Mode.STRICT, "web", {9090: Mode.PERMISSIVE}))
    assert "sectionName" not in first["spec"]["targetRef"]
    assert second["spec"]["targetRef"]["sectionName"] == "tcp"


def test_kuma_has_a_gateway_of_its_own_until_3():
    way_in = Ingress("front", "ns", "shop.example", "web", 8080)
    assert "since Kuma 3" in declared("kuma", way_in)
    assert [one["kind"] for one in objects("kuma", way_in, version="2")] == ["Gateway", "HTTPRoute"]


def test_consuls_gateway_is_of_a_version_that_its_own_definitions_have():
    """Those that its chart brings have no v1 up to 1.9, but for the last of 1.8, and v1beta1 always."""
    made = objects("consul", Ingress("front", "ns", "shop.example", "web", 8080))
    versions = {one["kind"]: one["apiVersion"] for one in made}
    assert versions["Gateway"] == versions["HTTPRoute"] == "gateway.networking.k8s.io/v1beta1"


@pytest.mark.parametrize("mesh", ["cilium", "consul", "gateway-api", "istio", "kuma"])
def test_the_class_of_a_meshs_gateway_may_have_another_name(mesh):
    """As whoever finds none of the usual name is told to say."""
    settings = {"gateway-class": "mine", **({"version": "2"} if mesh == "kuma" else {})}
    made = objects(mesh, Ingress("front", "ns", "shop.example", "web", 8080), **settings)
    assert [one["spec"]["gatewayClassName"] for one in made if one["kind"] == "Gateway"] == ["mine"]


def test_cilium_matches_paths_by_expressions_that_mean_the_same():
    rule = AccessRule(methods=("GET",), paths=("/a.b", "/c/*"))
    (policy,) = objects("cilium", allowed(rule))
    (ingress,) = policy["spec"]["ingress"]
    found = ingress["toPorts"][0]["rules"]["http"]
    assert found == [{"method": "GET", "path": "/a\\.b(\\?.*)?"}, {"method": "GET", "path": "/c/.*"}]
    exact = re.compile(found[0]["path"])
    assert exact.fullmatch("/a.b?page=2"), "Envoy's :path has the query"
    assert not exact.fullmatch("/a.b/c")
    assert not exact.fullmatch("/elsewhere?/a.b")
    (named,) = objects("cilium", allowed(AccessRule(hosts=("shop.example",))))
    host = named["spec"]["ingress"][0]["toPorts"][0]["rules"]["http"][0]["host"]
    assert [bool(re.fullmatch(host, one)) for one in ("shop.example", "shop.example:8080", "shop.example.org")] == [
        True, True, False,
    ]  # fmt: skip
    (nobody,) = objects("cilium", allowed())
    assert nobody["spec"]["ingress"] == [{}]
    assert "enableDefaultDeny" not in nobody["spec"]


def test_with_ztunnel_policies_of_cilium_see_no_port_but_its_own():
    for rule in (AccessRule(ports=(8080,)), AccessRule(paths=("/one",))):
        assert "ztunnel's own port" in declared("cilium", allowed(rule), ztunnel=True)
        assert objects("cilium", allowed(rule))
    assert objects("cilium", allowed(AccessRule(accounts=(("ns", "web"),))), ztunnel=True)


def test_cilium_keeps_nobody_else_out_by_a_denial_and_says_that_it_drops():
    rule = AccessRule(accounts=(("ns", "web"),))
    found = load("cilium").render(Access("closed", "ns", "web", Effect.DENY, (rule,)))
    assert isinstance(found, Rendered)
    assert found.drops
    assert found.objects[0]["spec"]["enableDefaultDeny"] == {"ingress": False}
    for mesh in ("consul", "istio", "kuma", "linkerd", "refmesh", "none"):
        other = load(mesh).render(allowed(rule))
        assert isinstance(other, Rendered), other
        assert not other.drops


# -- mesh-wide ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mesh", MESHES)
def test_what_is_mesh_wide_lives_with_the_control_plane_or_is_declared(mesh):
    adapter = load(mesh)
    for intent in (MeshMtlsMode(Mode.STRICT), RotateRoot("one")):
        found = adapter.render(intent)
        if isinstance(found, Rendered):
            plane = adapter.control_plane()
            assert plane is not None
            assert {item["metadata"]["namespace"] for item in found.objects} == {plane[0]}
        else:
            assert not found.reason.startswith(NO_WORDS)


def test_kuma_says_whose_its_policy_for_the_whole_mesh_is():
    """A zone of a global control plane refuses any in its system namespace that does not say so."""
    for version in ("2", "3"):
        (policy,) = objects("kuma", MeshMtlsMode(Mode.STRICT), version=version)
        assert policy["metadata"]["labels"] == {"kuma.io/mesh": "default", "kuma.io/origin": "zone"}
        (own,) = objects("kuma", MtlsMode("ns", Mode.STRICT), version=version)
        assert own["metadata"]["labels"] == {"kuma.io/mesh": "default"}


@pytest.mark.parametrize("name", ["balancing.MARKED", "circuit.FAULTY"])
def test_marked_hosts_are_services_too(name):
    """Where routes lead to Services, a mark that is only a version of one could not be shown."""
    module, _, mark = name.partition(".")
    found = importlib.import_module(f"conformance.checks.{module}")
    backend = getattr(found, mark)
    (service,) = (one for one in found.GROUND.services if one.name == backend.service)
    assert service.version == backend.version


@pytest.mark.parametrize("ground", grounds(), ids=lambda one: str(one.name))
def test_every_server_belongs_to_a_service(ground):
    """A proxy of Kuma's knows no port of a pod that belongs to none, and lets nobody in where it is strict."""
    server = ground.workload(ground.server)
    assert any((one.place, one.app) == (server.place, server.app or server.name) for one in ground.services)
