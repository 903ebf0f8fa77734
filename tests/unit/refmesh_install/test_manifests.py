from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from refmesh import arguments
from refmesh.api.destination_rule import MOST_SUBSETS
from refmesh.api.istio_gateway import MOST_SERVERS
from refmesh.api.request_authentication import MOST_RULES
from refmesh.api.service_entry import MOST_ENDPOINTS, MOST_ENTRIES
from refmesh.config.store import SOURCES
from refmesh.discovery.observation import Observation
from refmesh.errors import UsageProblem
from refmesh.injector import policy
from refmesh.install import manifests, options
from refmesh.install.addons import addon_objects
from refmesh.install.apply import path_of
from refmesh.install.crds import crds
from refmesh.install.nodes import node_objects
from refmesh.install.options import Options

OBJECTS = manifests.control_plane("mesh:1", Options())


def by_kind(kind: str) -> list[dict[str, Any]]:
    return [obj for obj in OBJECTS if obj["kind"] == kind]


def test_every_object_has_a_path_and_the_labels_that_uninstall_looks_for():
    for obj in [*OBJECTS, *crds()]:
        assert path_of(obj).startswith(("/api/", "/apis/"))
        assert obj["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "refmesh"


def test_the_control_plane_fits_the_restricted_profile():
    pod = by_kind("Deployment")[0]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    context = pod["containers"][0]["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["allowPrivilegeEscalation"] is False
    assert context["readOnlyRootFilesystem"] is True


def test_no_rule_has_a_wildcard_and_what_can_be_named_is():
    rules = [rule for kind in ("ClusterRole", "Role") for role in by_kind(kind) for rule in role["rules"]]
    rules = [rule for rule in rules if (rule["resources"], rule["verbs"]) != (["secrets"], ["get"])]
    for rule in rules:
        assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
        if {"secrets", "mutatingwebhookconfigurations"} & set(rule["resources"]) and rule["verbs"] != ["create"]:
            assert rule["resourceNames"]


def test_the_control_plane_may_watch_what_it_reads_and_nothing_else():
    rules = [rule for role in by_kind("ClusterRole") for rule in role["rules"] if "watch" in rule["verbs"]]
    granted = {(group, name) for rule in rules for group in rule["apiGroups"] for name in rule["resources"]}
    assert granted == {(one.api_version.rpartition("/")[0], one.plural) for one in SOURCES}


def test_secrets_are_read_by_name_and_never_listed():
    rules = [rule for role in by_kind("ClusterRole") for rule in role["rules"] if "secrets" in rule["resources"]]
    # What Gateways name may be anywhere.
    assert [rule["verbs"] for rule in rules] == [["get"]]


def test_without_gateways_no_workload_is_made_and_no_secret_is_read_elsewhere():
    chosen = options.parse(None, ["gateways=false"])
    objects = manifests.control_plane("mesh:1", chosen)
    rules = [rule for obj in objects if obj["kind"] == "ClusterRole" for rule in obj["rules"]]
    assert not [rule for rule in rules if {"secrets", "deployments", "serviceaccounts"} & set(rule["resources"])]
    assert not [
        rule for rule in rules if {"create", "delete"} & set(rule["verbs"]) and "tokenreviews" not in rule["resources"]
    ]
    arguments_ = objects[-1]["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments.parse(arguments_[2:]).gateways == "off"
    for given in (["gateways=off", "ingress_gateway=on"], ["profile=demo", "gateways=off"]):
        with pytest.raises(UsageProblem, match="ingress_gateway=on needs gateways"):
            options.parse(None, given)


def matches(expressions: list[dict[str, Any]], labels: dict[str, str]) -> bool:
    """Label selection as the API server does it."""
    judges: dict[str, Callable[[str | None, list[str]], bool]] = {
        "In": lambda value, values: value in values,
        "NotIn": lambda value, values: value not in values,
        "DoesNotExist": lambda value, _: value is None,
    }
    return all(judges[e["operator"]](labels.get(e["key"]), e.get("values", [])) for e in expressions)


def called(namespace: str, namespace_labels: dict[str, str], pod_labels: dict[str, str]) -> int:
    """How many hooks are called for such a pod."""
    labels = {"kubernetes.io/metadata.name": namespace, **namespace_labels}
    return sum(
        matches(hook["namespaceSelector"]["matchExpressions"], labels)
        and matches(hook["objectSelector"]["matchExpressions"], pod_labels)
        for hook in manifests.webhooks()["webhooks"]
    )


ENABLED = {"istio-injection": "enabled"}


@pytest.mark.parametrize("namespace_labels", [{}, ENABLED, {"istio-injection": "disabled"}])
@pytest.mark.parametrize("word", [None, "true", "false"])
def test_selectors_and_policy_agree(namespace_labels, word):
    labels = {"sidecar.istio.io/inject": word} if word else {}
    decision = policy.decide(namespace_labels, {"metadata": {"labels": labels}, "spec": {"containers": []}})
    assert called("shop", namespace_labels, labels) == int(decision.inject)


@pytest.mark.parametrize("value", ["disabled", "false", ""])
def test_a_namespace_that_stays_out_keeps_its_pods_out(value):
    wants = {"sidecar.istio.io/inject": "true"}
    assert called("shop", {}, wants) == 1
    assert called("shop", {"istio-injection": value}, wants) == 0


@pytest.mark.parametrize("namespace", ["kube-system", "kube-public", "kube-node-lease", "refmesh-system"])
def test_system_namespaces_are_never_affected(namespace):
    assert called(namespace, ENABLED, {"sidecar.istio.io/inject": "true"}) == 0


def test_the_opt_out_defect_reaches_the_selectors(monkeypatch):
    monkeypatch.setattr(policy, "opt_out_values", lambda: ())
    assert called("shop", ENABLED, {"sidecar.istio.io/inject": "false"}) == 1


def test_kinds_are_served_in_the_versions_that_manifests_use():
    served = {crd["metadata"]["name"]: [v["name"] for v in crd["spec"]["versions"]] for crd in crds()}
    assert served["peerauthentications.security.istio.io"] == ["v1", "v1beta1"]
    assert served["virtualservices.networking.istio.io"] == ["v1", "v1beta1", "v1alpha3"]
    assert all(sum(v["storage"] for v in crd["spec"]["versions"]) == 1 for crd in crds())


def test_the_api_server_keeps_no_list_that_is_longer_than_refmesh_reads():
    found = [found for crd in crds() for found in most(crd["spec"]["names"]["kind"], spec_of(crd))]
    assert found == [
        ("DestinationRule.subsets", MOST_SUBSETS),
        ("Gateway.servers", MOST_SERVERS),
        ("ServiceEntry.hosts", MOST_ENTRIES),
        ("ServiceEntry.addresses", MOST_ENTRIES),
        ("ServiceEntry.ports", MOST_ENTRIES),
        ("ServiceEntry.endpoints", MOST_ENDPOINTS),
        ("RequestAuthentication.jwtRules", MOST_RULES),
    ]


def spec_of(crd: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    return schema


def most(path: str, schema: dict[str, Any]) -> Iterator[tuple[str, int]]:
    """The lists of a schema that have a greatest length."""
    if "maxItems" in schema:
        yield path, schema["maxItems"]
    for name, inner in schema.get("properties", {}).items():
        yield from most(f"{path}.{name}", inner)
    if "items" in schema:
        yield from most(f"{path}[]", schema["items"])


def test_a_defect_reaches_the_control_plane_and_a_normal_install_has_none():
    args = manifests.deployment("mesh:1", Options(), "san-from-csr")["spec"]["template"]["spec"]["containers"][0][
        "args"
    ]
    assert args[-2:] == ["--defect", "san-from-csr"]
    assert "--defect" not in by_kind("Deployment")[0]["spec"]["template"]["spec"]["containers"][0]["args"]


def test_everything_is_plain_yaml():
    assert list(yaml.safe_load_all(yaml.safe_dump_all(OBJECTS))) == OBJECTS


def test_profiles_and_settings():
    assert options.parse(None, []) == Options()
    assert options.parse(None, ["profile=demo"]).log_level == "debug"
    assert options.parse("minimal", ["trustDomain=example.org", "log_level=info"]).trust_domain == "example.org"
    closed = options.parse(None, ["meshConfig.outboundTrafficPolicy.mode=REGISTRY_ONLY"])
    assert closed == options.parse(None, ["outbound_traffic_policy=REGISTRY_ONLY"])


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("nonsense", "nonsense"),
        ("=x", "=x"),
        ("key=", "key="),
        ("color=red", "color"),
        ("profile=huge", "huge"),
        ("log_level=loud", "loud"),
        ("access_log=maybe", "maybe"),
        ("access_log_encoding=XML", "XML"),
        ("tracing=yes", "tracing"),
        ("trace_sampling=101", "101"),
        ("sidecar=init", "init"),
        ("trace_sampling=1e2", "1e2"),
        ("trace_collector=otel", "otel"),
        ("trace_collector=a b:1", "a b:1"),
        ("image_pull_secrets=ok,ci/registry", "ci/registry"),
    ],
)
def test_a_bad_setting_is_named(setting, named):
    with pytest.raises(UsageProblem, match=named):
        options.parse(None, [setting])


def test_what_is_observed_reaches_the_control_plane_as_it_understands_it():
    given = ["trace_sampling=12.5", "trace_collector=otel.obs:4317", "access_log=off", "access_log_encoding=TEXT"]
    deployment = manifests.deployment("mesh:1", options.parse("minimal", ["tracing=on", *given]))
    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    read = arguments.parse(args[2:])
    assert arguments.observation(read) == Observation(access_log=False, sampling=12.5)
    assert (read.trace_collector, read.access_log_encoding) == (("otel.obs", 4317), "TEXT")
    for profile, sampling in (("minimal", None), ("default", 1.0), ("demo", 100.0)):
        container = manifests.deployment("mesh:1", options.parse(profile, []))["spec"]["template"]["spec"][
            "containers"
        ][0]
        assert arguments.observation(arguments.parse(container["args"][2:])).sampling == sampling


@pytest.mark.parametrize(
    ("given", "form"), [([], "native"), (["sidecar=native"], "native"), (["sidecar=classic"], "classic")]
)
def test_the_form_of_sidecars_reaches_the_control_plane(given, form):
    deployment = manifests.deployment("mesh:1", options.parse(None, given))
    args = deployment["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments.parse(args[2:]).sidecar == form


def test_all_that_pulls_an_image_is_told_with_which_secrets():
    chosen = options.parse(None, ["image_pull_secrets=mesh,own", "capture=node", "addons.prometheus=true"])
    made = [*manifests.control_plane("mesh:1", chosen), *node_objects("mesh:1", chosen), *addon_objects(chosen)]
    pods = [one["spec"]["template"]["spec"] for one in made if one["kind"] in {"Deployment", "DaemonSet"}]
    assert [one["imagePullSecrets"] for one in pods] == [[{"name": "mesh"}, {"name": "own"}]] * 3
    args = manifests.deployment("mesh:1", chosen)["spec"]["template"]["spec"]["containers"][0]["args"]
    assert arguments.parse(args[2:]).image_pull_secrets == ("mesh", "own")
    plain = manifests.deployment("mesh:1", Options())["spec"]["template"]["spec"]
    assert "imagePullSecrets" not in plain
    assert arguments.parse(plain["containers"][0]["args"][2:]).image_pull_secrets == ()


def test_pods_are_refused_or_let_in_without_an_injector_as_the_user_says():
    for given, expected in (([], "Fail"), (["failurePolicy=Ignore"], "Ignore")):
        chosen = options.parse(None, given)
        hooks = next(o for o in manifests.control_plane("i", chosen) if o["kind"] == "MutatingWebhookConfiguration")
        assert {hook["failurePolicy"] for hook in hooks["webhooks"]} == {expected}
    with pytest.raises(UsageProblem, match=r"failure_policy='Maybe'"):
        options.parse(None, ["failure_policy=Maybe"])
