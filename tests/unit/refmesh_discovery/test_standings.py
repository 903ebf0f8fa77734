"""What the statuses of Istio's kinds say: why an object is not in force, by the tables that traffic follows."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.api.kinds import KINDS
from refmesh.config.model import ABSENT
from refmesh.config.standing import CONDITIONS, Finding, Standing, wanted_istio_status, without_standing
from refmesh.discovery import known_hosts
from refmesh.discovery.resource import ResourceType
from refmesh.discovery.standings import Standings, inputs
from tests.unit.refmesh_discovery.helpers import MemoryCluster, metadata, pod, policy, service
from tests.unit.refmesh_discovery.test_generation import headless

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"
YOUNGER = "2026-02-01T00:00:00Z"
TO_ECHO = {"http": [{"route": [{"destination": {"host": "echo"}}]}]}
OUTSIDE = {
    "hosts": ["api.example.com"],
    "ports": [{"number": 80, "name": "http", "protocol": "HTTP"}],
    "resolution": "DNS",
}


def judged(cluster: MemoryCluster, kind: str, name: str = "x", namespace: str = "shop") -> Standing:
    found = Standings(cluster.world().attachments).of(kind, (namespace, name))
    assert found is not None
    return found


def said(standing: Standing, status: Any = None) -> dict[str, tuple[str, str]]:
    raw = {"metadata": {"generation": 0}, "status": status}
    wanted = wanted_istio_status(standing, raw, NOW)
    assert wanted is not None
    return {item["type"]: (item["status"], item["reason"]) for item in wanted["conditions"]}


def virtual_service(**spec: Any) -> dict[str, Any]:
    return policy("x", {"hosts": ["echo"], **TO_ECHO, **spec}, created=YOUNGER)


def test_a_sound_object_is_accepted_and_passes() -> None:
    cluster = MemoryCluster().with_echo().put("VirtualService", virtual_service())
    assert said(judged(cluster, "VirtualService")) == {
        "Accepted": ("True", "Accepted"),
        "ResolvedRefs": ("True", "ResolvedRefs"),
        "PassedAnalysis": ("True", "noErrorsFound"),
    }


@pytest.mark.parametrize("kind", [kind.name for kind in KINDS if kind.of_istio])
def test_every_kind_says_why_it_cannot_be_read(kind: str) -> None:
    broken = policy("x", {"nonsense": True, "host": "echo"}, generation=4)
    standing = judged(MemoryCluster().put(kind, broken), kind)
    assert said(standing)["Accepted"] == ("False", "Invalid")
    assert "spec." in standing.blocked[0].message
    assert standing.generation == 4


ROUTES = [
    ({"hosts": ["nobody"]}, ("False", "HostNotFound")),
    ({"hosts": ["*.nowhere.example"]}, ("False", "HostNotFound")),
    ({"gateways": ["none"]}, ("False", "GatewayNotFound")),
    ({"gateways": ["none", "mesh"]}, ("True", "Accepted")),
    ({"hosts": ["echo", "nobody"]}, ("True", "Accepted")),
    ({"hosts": ["*.shop.svc"]}, ("True", "Accepted")),
]


@pytest.mark.parametrize(("spec", "accepted"), ROUTES)
def test_places_where_a_virtual_service_cannot_be(spec: dict[str, Any], accepted: tuple[str, str]) -> None:
    standing = judged(MemoryCluster().with_echo().put("VirtualService", virtual_service(**spec)), "VirtualService")
    assert said(standing)["Accepted"] == accepted
    assert said(standing)["PassedAnalysis"][0] == ("False" if spec != {"hosts": ["*.shop.svc"]} else "True")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ({"host": "nobody"}, "HostNotFound"),
        ({"host": "echo", "subset": "v9"}, "SubsetNotFound"),
        ({"host": "echo", "port": {"number": 4711}}, "PortNotFound"),
        ({"host": "api.example.com", "port": {"number": 443}}, "PortNotFound"),
    ],
)
def test_a_destination_that_is_not_there_is_named_and_the_rest_is_in_force(target: Any, reason: str) -> None:
    written = virtual_service(http=[{"route": [{"destination": target}]}])
    cluster = MemoryCluster().with_echo().put("VirtualService", written).put("ServiceEntry", policy("e", OUTSIDE))
    found = said(judged(cluster, "VirtualService"))
    assert (found["Accepted"][0], found["ResolvedRefs"]) == ("True", ("False", reason))
    assert found["PassedAnalysis"] == ("False", "errorsFound")


def test_mirrors_and_tcp_routes_are_looked_up_too_and_subsets_are_found() -> None:
    tcp = [{"route": [{"destination": {"host": "gone"}}]}]
    http = [{**TO_ECHO["http"][0], "mirror": {"host": "missing"}}]
    cluster = MemoryCluster().with_echo().put("VirtualService", virtual_service(http=http, tcp=tcp))
    words = " ".join(item.message for item in judged(cluster, "VirtualService").unresolved)
    assert "gone.shop" in words
    assert "missing.shop" in words
    subset = virtual_service(http=[{"route": [{"destination": {"host": "echo", "subset": "v1"}}]}])
    rule = policy("r", {"host": "echo", "subsets": [{"name": "v1", "labels": {"version": "v1"}}]})
    cluster = MemoryCluster().with_echo().put("VirtualService", subset).put("DestinationRule", rule)
    assert not judged(cluster, "VirtualService").findings


def test_the_older_virtual_service_decides_and_the_younger_says_so_until_it_is_gone() -> None:
    cluster = MemoryCluster().with_echo().put("VirtualService", virtual_service())
    cluster.put("VirtualService", policy("older", {"hosts": ["echo.shop"], **TO_ECHO}, namespace="other"))
    standing = judged(cluster, "VirtualService")
    assert said(standing)["Accepted"] == ("False", "Conflicted")
    assert "VirtualService other/older" in standing.blocked[0].message
    cluster.drop("VirtualService", "older", "other")
    assert not judged(cluster, "VirtualService").findings


def test_what_stands_above_a_virtual_service_is_named() -> None:
    parent = {"group": "", "kind": "Service", "name": "echo"}
    route = policy("h", {"parentRefs": [parent], "rules": [{"backendRefs": [{"name": "echo", "port": 80}]}]})
    cluster = MemoryCluster().with_echo().put("VirtualService", virtual_service()).put("HTTPRoute", route)
    assert "HTTPRoute shop/h" in judged(cluster, "VirtualService").blocked[0].message
    parent["port"] = 80  # type: ignore[assignment]
    cluster.put("HTTPRoute", route)
    assert not judged(cluster, "VirtualService").blocked
    cluster = headless(MemoryCluster().with_echo()).put("VirtualService", virtual_service())
    assert said(judged(cluster, "VirtualService"))["Accepted"] == ("False", "NoEffect")
    only_tcp = MemoryCluster().put("Service", service("echo", ports={"tcp": (90, 9090)}))
    assert (
        "speaks HTTP" in judged(only_tcp.put("VirtualService", virtual_service()), "VirtualService").blocked[0].message
    )


def test_fields_of_a_route_that_do_nothing_are_warnings() -> None:
    idle = {**TO_ECHO["http"][0], "fault": {"delay": {"fixedDelay": "1s"}}}
    cluster = MemoryCluster().with_echo().put("VirtualService", virtual_service(http=[idle]))
    standing = judged(cluster, "VirtualService")
    assert [(item.level, item.reason) for item in standing.notes] == [("WARNING", "NoEffect")]
    assert "spec.http[0].fault.delay" in standing.notes[0].message
    assert (said(standing)["Accepted"], said(standing)["PassedAnalysis"]) == (
        ("True", "Accepted"),
        ("True", "noErrorsFound"),
    )


def test_a_wildcard_of_a_stranger_says_that_it_has_no_say() -> None:
    stranger = policy("x", {"hosts": ["*.shop.svc"], **TO_ECHO}, namespace="other")
    cluster = MemoryCluster().with_echo().put("VirtualService", stranger)
    assert said(judged(cluster, "VirtualService", namespace="other"))["Accepted"] == ("False", "Conflicted")


def test_a_destination_rule_says_that_its_host_is_not_there_or_has_a_rule() -> None:
    cluster = MemoryCluster().with_echo().put("DestinationRule", policy("x", {"host": "nobody"}))
    found = said(judged(cluster, "DestinationRule"))
    assert (found["Accepted"], found["ResolvedRefs"]) == (("False", "HostNotFound"), ("False", "HostNotFound"))
    cluster.put("DestinationRule", policy("x", {"host": "echo"}, created=YOUNGER), policy("old", {"host": "echo"}))
    assert "DestinationRule shop/old" in judged(cluster, "DestinationRule").blocked[0].message
    assert not judged(cluster, "DestinationRule", "old").findings
    elsewhere = policy("x", {"host": "echo.shop.svc.cluster.local"}, namespace="other")
    assert not judged(cluster.put("DestinationRule", elsewhere), "DestinationRule", namespace="other").findings


def test_fields_of_a_rule_that_do_nothing_are_warnings() -> None:
    hashing = {"loadBalancer": {"simple": "ROUND_ROBIN"}}
    entry = {**OUTSIDE, "resolution": "NONE"}
    cluster = MemoryCluster().put("ServiceEntry", policy("e", entry))
    cluster.put("DestinationRule", policy("x", {"host": "api.example.com", "trafficPolicy": hashing}))
    standing = judged(cluster, "DestinationRule")
    assert [(item.level, item.reason) for item in standing.notes] == [("WARNING", "NoEffect")]
    assert said(standing)["PassedAnalysis"] == ("True", "noErrorsFound")
    upgrade = {"connectionPool": {"http": {"h2UpgradePolicy": "UPGRADE"}}}
    far = policy("x", {"host": "echo.shop.svc.cluster.local", "trafficPolicy": upgrade}, namespace="other")
    cluster.with_echo().put("DestinationRule", far)
    assert "h2UpgradePolicy" in judged(cluster, "DestinationRule", namespace="other").notes[0].message


def test_fields_of_a_rule_that_do_nothing_at_a_headless_service_are_warnings() -> None:
    spec: dict[str, Any] = {
        "host": "echo",
        "trafficPolicy": {
            "outlierDetection": {},
            "connectionPool": {"tcp": {"maxConnections": 1}},
            "portLevelSettings": [{"port": {"number": 80}, "loadBalancer": {"simple": "RANDOM"}}],
        },
        "subsets": [{"name": "v1", "labels": {"version": "v1"}}],
    }
    cluster = headless(MemoryCluster().with_echo()).put("DestinationRule", policy("x", spec))
    standing = judged(cluster, "DestinationRule")
    assert {(item.level, item.reason) for item in standing.notes} == {("WARNING", "NoEffect")}
    assert [item.message.partition(" has no effect at ")[0] for item in standing.notes] == [
        "spec.trafficPolicy.outlierDetection",
        "spec.trafficPolicy.connectionPool",
        "spec.trafficPolicy.portLevelSettings[80].loadBalancer",
        "spec.subsets[0]",
    ]
    assert said(standing)["PassedAnalysis"] == ("True", "noErrorsFound")
    # Over TLS pods without a proxy have a cluster with limits, too.
    spec["trafficPolicy"] = {"connectionPool": {"tcp": {"maxConnections": 1}}, "tls": {"mode": "ISTIO_MUTUAL"}}
    only = policy("x", {**spec, "subsets": []})
    assert not judged(cluster.put("DestinationRule", only), "DestinationRule").findings
    # The settings of a port stand alone: these do not ask for TLS.
    spec["trafficPolicy"]["portLevelSettings"] = [{**spec["trafficPolicy"], "port": {"number": 80}, "tls": None}]
    (note,) = judged(cluster.put("DestinationRule", policy("x", {**spec, "subsets": []})), "DestinationRule").notes
    assert note.message.startswith("spec.trafficPolicy.portLevelSettings[80].connectionPool has no effect at pods of ")
    assert judged(MemoryCluster().with_echo().put("DestinationRule", policy("x", spec)), "DestinationRule").notes == ()


@pytest.mark.parametrize("kind", ["PeerAuthentication", "Sidecar", "Telemetry"])
def test_of_several_policies_on_a_level_the_younger_says_who_speaks(kind: str) -> None:
    key, inner = ("workloadSelector", "labels") if kind == "Sidecar" else ("selector", "matchLabels")
    one, both = {key: {inner: {"app": "echo"}}}, {key: {inner: {"app": "echo", "version": "v1"}}}
    for root, namespace in ((False, "shop"), (True, "refmesh-system")):
        cluster = MemoryCluster().put(kind, policy("x", {}, namespace, created=YOUNGER), policy("old", {}, namespace))
        assert f"{kind} {namespace}/old" in judged(cluster, kind, namespace=namespace).blocked[0].message, root
        assert not judged(cluster, kind, "old", namespace).findings
    for older, younger, overruled in ((one, one, True), (one, both, True), (both, one, False), ({}, one, False)):
        cluster = MemoryCluster().put(kind, policy("x", younger, created=YOUNGER), policy("old", older))
        assert bool(judged(cluster, kind).blocked) is overruled


def test_policies_for_services_say_which_is_not_there() -> None:
    to = [{"kind": "Service", "name": name} for name in ("echo", "nobody")]
    cluster = MemoryCluster().with_echo().put("AuthorizationPolicy", policy("x", {"targetRefs": to}))
    found = said(judged(cluster, "AuthorizationPolicy"))
    assert (found["Accepted"][0], found["ResolvedRefs"]) == ("True", ("False", "TargetNotFound"))
    cluster.put("AuthorizationPolicy", policy("x", {"targetRefs": to[1:]}))
    assert said(judged(cluster, "AuthorizationPolicy"))["Accepted"] == ("False", "TargetNotFound")
    cluster.put("AuthorizationPolicy", policy("x", {}))
    # What it once named is no longer spoken of.
    old = {"conditions": [{"type": "ResolvedRefs", "status": "False"}]}
    assert "ResolvedRefs" not in said(judged(cluster, "AuthorizationPolicy"), old)


def test_an_issuer_whose_keys_cannot_be_had_is_named() -> None:
    rules = {"jwtRules": [{"issuer": "me", "jwksUri": "https://keys.example.com/set"}]}
    cluster = MemoryCluster().put("RequestAuthentication", policy("x", rules))
    assert said(judged(cluster, "RequestAuthentication"))["ResolvedRefs"] == ("False", "KeysNotFound")
    cluster.store.put_keys("https://keys.example.com/set", '{"keys": []}')
    assert not judged(cluster, "RequestAuthentication").findings


def test_a_service_entry_says_which_hosts_another_has() -> None:
    two = {**OUTSIDE, "hosts": ["api.example.com", "b.example.com"]}
    cluster = MemoryCluster().put("ServiceEntry", policy("x", OUTSIDE, created=YOUNGER), policy("old", OUTSIDE))
    assert said(judged(cluster, "ServiceEntry"))["Accepted"] == ("False", "Conflicted")
    cluster.put("ServiceEntry", policy("x", two, created=YOUNGER))
    standing = judged(cluster, "ServiceEntry")
    assert (said(standing)["Accepted"][0], said(standing)["PassedAnalysis"][0]) == ("True", "False")
    assert "ServiceEntry shop/old" in standing.notes[0].message


def gateway(name: str, *servers: dict[str, Any], created: str = YOUNGER) -> dict[str, Any]:
    spec = {"selector": {"istio": "ingressgateway"}, "servers": list(servers)}
    return policy(name, spec, created=created)


def door(number: int, protocol: str = "HTTP", **tls: Any) -> dict[str, Any]:
    port = {"number": number, "name": "p", "protocol": protocol}
    return {"port": port, "hosts": ["*.example.com"], **({"tls": tls} if tls else {})}


def test_a_gateway_without_a_workload_without_a_port_or_without_a_certificate_says_so() -> None:
    cluster = MemoryCluster().with_echo()
    cluster.put("IstioGateway", gateway("x", door(80), door(443, "HTTPS", mode="SIMPLE", credentialName="c")))
    assert said(judged(cluster, "IstioGateway"))["Accepted"] == ("False", "TargetNotFound")
    workload = pod("door", labels={"istio": "ingressgateway"})
    workload["spec"]["containers"] = [{"name": "refmesh-proxy"}]
    workload["spec"]["initContainers"] = []
    cluster.put("Pod", workload)
    assert not judged(cluster, "IstioGateway").findings  # nobody knows of the Secret yet
    cluster.store.put_certificate(("shop", "c"), ABSENT)
    standing = judged(cluster, "IstioGateway")
    assert (standing.blocked, standing.unresolved[0].reason) == ((), "InvalidCertificateRef")
    cluster.put("IstioGateway", gateway("old", door(80, "TCP"), created=NOW))
    assert "Gateway shop/old has port 80" in judged(cluster, "IstioGateway").blocked[0].message
    stranger = gateway("x", door(444, "HTTPS", mode="SIMPLE", credentialName="c"))
    stranger["metadata"]["namespace"] = "far"
    assert not judged(cluster.put("IstioGateway", stranger), "IstioGateway", namespace="far").findings
    bound = virtual_service(gateways=["x"], hosts=["a.example.com"])
    assert not judged(cluster.put("VirtualService", bound), "VirtualService").findings
    elsewhere = virtual_service(gateways=["x"], hosts=["a.example.org"])
    found = said(judged(cluster.put("VirtualService", elsewhere), "VirtualService"))
    assert found["Accepted"] == ("False", "NoMatchingHost")


# ------------------------------------------------------------------------------------------- what others do not learn
def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """The arguments of every call of a function of a module from now on."""
    calls, function = [], getattr(module, name)

    def call(*arguments: Any) -> Any:
        calls.append(arguments)
        return function(*arguments)

    monkeypatch.setattr(module, name, call)
    return calls


def test_the_hosts_of_an_object_are_not_held_against_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [f"{letter}{n}.example.com" for n in range(30) for letter in "ab"]
    entry = {**OUTSIDE, "hosts": names}
    wide = [f"*.x{n}.example.com" for n in range(29)]
    written = virtual_service(hosts=["*.example.com", *wide, *names])
    cluster = MemoryCluster().with_echo().put("ServiceEntry", policy("e", entry)).put("VirtualService", written)
    cluster.put("ServiceEntry", policy("f", {**OUTSIDE, "hosts": [f"a.{name[2:]}" for name in wide]}))
    calls = counted(monkeypatch, known_hosts, "covers")
    assert not judged(cluster, "VirtualService").findings
    assert len(calls) < len(names)


def test_of_many_hosts_that_another_entry_has_the_first_are_named() -> None:
    many = {**OUTSIDE, "hosts": [f"a{n}.example.com" for n in range(100)]}
    cluster = MemoryCluster().put("ServiceEntry", policy("x", many, created=YOUNGER), policy("old", many))
    found = judged(cluster, "ServiceEntry").blocked
    assert (len(found), found[-1].message) == (17, "others say it of 84 more of its hosts and ports")


def exporting_rule(name: str, to: list[str], namespace: str, created: str = NOW, **spec: Any) -> dict[str, Any]:
    full = {"host": "echo.shop.svc.cluster.local", "exportTo": to, **spec}
    return policy(name, full, namespace, created=created)


def test_a_rule_without_a_say_learns_nothing_of_private_rules_where_it_has_none() -> None:
    cluster = MemoryCluster().with_echo()
    for namespace in ("far", "other"):
        cluster.put("Namespace", {"metadata": {"name": namespace}}).put("Pod", pod("p", "10.1.0.9", namespace))
    cluster.put("DestinationRule", exporting_rule("secret", ["."], "far"))
    cluster.put("DestinationRule", exporting_rule("x", ["far"], "other", YOUNGER))
    (problem,) = judged(cluster, "DestinationRule", namespace="other").blocked
    assert (problem.reason, "secret" in problem.message) == ("NotExported", False)
    # From beside the Service it may speak there: it learns that there is one.
    cluster.put("DestinationRule", exporting_rule("x", ["far"], "shop", YOUNGER))
    (problem,) = judged(cluster, "DestinationRule").blocked
    assert (problem.reason, "secret" in problem.message) == ("Conflicted", False)
    assert "namespace far" in problem.message


def test_rules_of_a_namespace_for_one_host_are_one_and_each_is_told_what_of_it_counts() -> None:
    def rule(name: str, month: int, *subsets: str, **spec: Any) -> dict[str, Any]:
        listed = [{"name": one, "labels": {"version": one, "by": name}} for one in subsets]
        return policy(name, {"host": "echo", "subsets": listed, **spec}, created=f"2026-0{month}-01T00:00:00Z")

    limited: dict[str, Any] = {"trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 5}}}}
    open_: dict[str, Any] = {"trafficPolicy": {"connectionPool": {"tcp": {"maxConnections": 9}}}}
    cluster = MemoryCluster().with_echo()
    cluster.put("DestinationRule", rule("a", 1, "v1"), rule("b", 2, "v2", **limited), rule("c", 3, "v1", "v3", **open_))
    cluster.put("DestinationRule", rule("d", 4, "v1"), rule("e", 5, "v4", exportTo=["."]))
    found = cluster.world().attachments.rule_of_host("echo.shop.svc.cluster.local", "")
    assert found is not None
    assert [(one.name, one.labels["by"]) for one in found.subsets] == [("v1", "a"), ("v2", "b"), ("v3", "c")]
    assert found.policy.pool is not None
    assert found.policy.pool.max_connections == 5
    clusters = cluster.world().shared[ResourceType.CLUSTER]
    assert {f"outbound|80|v{n}|echo.shop.svc.cluster.local" in clusters for n in (1, 2, 3)} == {True}
    for name in "ab":
        assert judged(cluster, "DestinationRule", name) == Standing(refers=True)
    assert [one.message for one in judged(cluster, "DestinationRule", "c").notes] == [
        "trafficPolicy has no effect: DestinationRule shop/b, which is older, has one",
        "subset v1 has no effect: DestinationRule shop/a, which is older, has one of that name",
    ]
    (why,) = judged(cluster, "DestinationRule", "d").blocked
    assert (why.reason, why.message.partition(" speaks")[0]) == ("Conflicted", "DestinationRule shop/a")
    # Of those that count one is as good as another: without the oldest the next begins.
    found = cluster.drop("DestinationRule", "a").world().attachments.rule_of_host("echo.shop.svc.cluster.local", "")
    assert found is not None
    assert [(one.name, one.labels["by"]) for one in found.subsets] == [("v2", "b"), ("v1", "c"), ("v3", "c")]


def test_a_subset_counts_where_the_virtual_service_speaks() -> None:
    spec: dict[str, Any] = {"subsets": [{"name": "v1", "labels": {"version": "v1"}}]}
    cluster = MemoryCluster().with_echo().put("Namespace", {"metadata": {"name": "far"}})
    cluster.put("Pod", pod("p", "10.1.0.9", "far"))
    cluster.put("DestinationRule", exporting_rule("r", ["."], "far", **spec))
    to = [{"route": [{"destination": {"host": "echo", "subset": "v1"}}]}]
    cluster.put("VirtualService", virtual_service(http=to))
    assert said(judged(cluster, "VirtualService"))["ResolvedRefs"] == ("False", "SubsetNotFound")
    cluster.put("VirtualService", virtual_service(http=to, exportTo=["far"]))
    assert not judged(cluster, "VirtualService").findings


def test_what_is_wrong_with_a_gateway_is_said_in_its_own_namespace_only() -> None:
    broken = policy("g", {"servers": [{"hosts": ["x"], "nonsense": "of mine"}]})
    cluster = MemoryCluster().with_echo().put("IstioGateway", broken)
    for namespace, told in (("shop", True), ("other", False)):
        bound = policy("x", {"hosts": ["a.example.com"], "gateways": ["shop/g"], **TO_ECHO}, namespace)
        (problem,) = judged(cluster.put("VirtualService", bound), "VirtualService", namespace=namespace).blocked
        assert problem.message.startswith("Gateway shop/g is not in force")
        assert ("spec." in problem.message) is told


# ------------------------------------------------------------------------------------------------------------- form
WRONG = Standing(
    (Finding("HostNotFound", "there is none"),), notes=(Finding("NoEffect", "so", "WARNING"),), generation=7
)


def test_the_form_is_istio_s_and_conditions_of_others_stay() -> None:
    other = {"type": "Reconciled", "status": "True", "reason": "r", "message": "m", "lastTransitionTime": NOW}
    raw: dict[str, Any] = {"metadata": {"generation": 7}, "status": {"conditions": [other], "mine": 1}}
    status = wanted_istio_status(WRONG, raw, NOW)
    assert status is not None
    assert status["observedGeneration"] == 7
    assert status["conditions"][-1] == other
    assert {item["type"] for item in status["conditions"][:-1]} == {"Accepted", "PassedAnalysis"}
    assert {item["observedGeneration"] for item in status["conditions"][:-1]} == {7}
    assert status["validationMessages"] == [
        {
            "level": "ERROR",
            "type": {"code": "IST0101", "name": "ReferencedResourceNotFound"},
            "documentationUrl": "https://istio.io/latest/docs/reference/config/analysis/ist0101/",
            "description": "there is none",
        },
        {"level": "WARNING", "type": {"code": "NoEffect", "name": "NoEffect"}, "description": "so"},
    ]
    taken = without_standing({"status": raw["status"] | status})
    assert taken == {"observedGeneration": None, "conditions": [other], "validationMessages": None}
    assert without_standing(raw) is None


words = st.text(st.characters(codec="ascii", min_codepoint=65, max_codepoint=90), min_size=1, max_size=5)
findings = st.builds(Finding, words, st.text(max_size=2000), st.sampled_from(["ERROR", "WARNING"]))
many = st.lists(findings, max_size=20).map(tuple)
standings = st.builds(Standing, many, many, many, st.booleans(), st.integers(0, 9))


@given(standings, standings, st.booleans())
def test_what_was_written_is_never_written_again(before: Standing, after: Standing, pruned: bool) -> None:
    raw: dict[str, Any] = {"metadata": {"generation": before.generation}}
    raw["status"] = wanted_istio_status(before, raw, NOW)
    if pruned:  # a definition from elsewhere may not keep all fields
        for item in raw["status"]["conditions"]:
            del item["observedGeneration"]
        for item in raw["status"]["validationMessages"] or ():
            del item["description"]
    assert wanted_istio_status(before, raw, LATER) is None
    second = wanted_istio_status(after, raw, LATER)
    if second is not None:
        kept = {item["type"]: item["status"] for item in raw["status"]["conditions"]}
        for item in second["conditions"]:
            unchanged = kept.get(item["type"]) == item["status"]
            assert item["lastTransitionTime"] == (NOW if unchanged else LATER)
            assert item["type"] in CONDITIONS
            assert len(item["message"]) <= 1024
        assert wanted_istio_status(after, {**raw, "status": second}, LATER) is None


def test_endpoints_do_not_make_anybody_judge_again() -> None:
    cluster = MemoryCluster().with_echo().put("VirtualService", virtual_service())
    before = inputs(cluster.snapshot())
    cluster.put("Pod", pod("echo-v3", "10.1.0.3"))
    after = inputs(cluster.snapshot())
    assert all(one is other or one == other == () for one, other in zip(before, after, strict=True))
    cluster.put("Service", {**service("two"), "metadata": metadata("two")})
    assert any(one is not other for one, other in zip(after, inputs(cluster.snapshot()), strict=True))
