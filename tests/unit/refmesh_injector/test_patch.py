from __future__ import annotations

import base64
import copy
import json
from dataclasses import replace
from typing import Any
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.injector import policy, webhook
from refmesh.injector.operations import apply_operations
from refmesh.injector.patch import BadPod, Skip, patch, warnings
from refmesh.install import offline
from refmesh.install.offline import inject_object
from tests.unit.refmesh_injector.pods import CLASSIC, CONFIG, ENABLED, PODS, pod

FORMS = st.sampled_from([CONFIG, CLASSIC])
GRACE = "terminationGracePeriodSeconds"


def injected(original, config=CONFIG):
    operations = patch(original, ENABLED, config)
    assert not isinstance(operations, Skip)
    result = copy.deepcopy(original)
    apply_operations(result, operations)
    return result


def own_containers(result):
    """The user's containers of an injected pod, and the proxy."""
    every = [*(result["spec"].get("initContainers") or []), *result["spec"]["containers"]]
    (proxy,) = (one for one in every if one["name"] == policy.PROXY)
    return [one for one in every if one["name"] not in {policy.PROXY, "refmesh-init"}], proxy


@given(PODS, FORMS, FORMS)
def test_a_second_injection_changes_nothing_whatever_form_the_first_had(original, first, second):
    once = injected(original, first)
    assert isinstance(patch(once, ENABLED, second), Skip)
    assert policy.has_proxy(once["spec"])


@given(PODS, FORMS)
def test_the_application_keeps_everything_but_its_network_probes(original, config):
    result = injected(original, config)
    before = [*(original["spec"].get("initContainers") or []), *original["spec"]["containers"]]
    after, _ = own_containers(result)
    probes = {"readinessProbe", "livenessProbe", "startupProbe"}
    led_elsewhere = {*probes, "lifecycle"}
    for old, new in zip(before, after, strict=True):
        assert {k: v for k, v in old.items() if k not in led_elsewhere} == {
            k: v for k, v in new.items() if k not in led_elsewhere
        }
        assert (old.get("lifecycle") or {}).keys() == (new.get("lifecycle") or {}).keys()
        for kind, hook in (old.get("lifecycle") or {}).items():
            if "httpGet" not in hook:
                assert new["lifecycle"][kind] == hook
        for kind in probes & old.keys():
            assert old[kind].get("periodSeconds") == new[kind].get("periodSeconds")
    assert result["spec"]["volumes"][: len(original["spec"].get("volumes") or [])] == (
        original["spec"].get("volumes") or []
    )


@given(PODS, FORMS)
def test_every_rewritten_probe_is_known_to_the_agent(original, config):
    own, proxy = own_containers(injected(original, config))
    known = json.loads(next((e["value"] for e in proxy["env"] if e["name"] == "REFMESH_PROBES"), "{}"))
    asked = {
        probe["httpGet"]["path"]
        for container in own
        for kind in ("readinessProbe", "livenessProbe", "startupProbe")
        if (probe := container.get(kind)) and probe.get("httpGet", {}).get("port") == 15020
    } | {
        hook["httpGet"]["path"]
        for container in own
        for hook in (container.get("lifecycle") or {}).values()
        if hook.get("httpGet", {}).get("port") == 15020
    }
    assert asked == set(known)
    assert all(isinstance(next(iter(p[k]["port"] for k in p if k != "timeoutSeconds")), int) for p in known.values())


def test_capture_comes_first_then_the_native_sidecar_then_the_users_own():
    result = injected(pod(initContainers=[{"name": "migrate"}]))
    assert [c["name"] for c in result["spec"]["initContainers"]] == ["refmesh-init", "refmesh-proxy", "migrate"]
    assert result["spec"]["initContainers"][1]["restartPolicy"] == "Always"


def test_a_classic_sidecar_starts_after_all_init_containers_and_before_the_application():
    result = injected(pod(initContainers=[{"name": "migrate"}]), CLASSIC)
    assert [c["name"] for c in result["spec"]["initContainers"]] == ["migrate", "refmesh-init"]
    assert [c["name"] for c in result["spec"]["containers"]] == ["refmesh-proxy", "app"]
    proxy = result["spec"]["containers"][0]
    assert "restartPolicy" not in proxy
    assert proxy["lifecycle"]["postStart"]["exec"]["command"][-1] == "wait"
    assert {"name": "REFMESH_SIDECAR", "value": "classic"} in proxy["env"]
    assert result["metadata"]["annotations"]["kubectl.kubernetes.io/default-container"] == "app"


def test_kubectls_default_container_stays_the_users():
    key = "kubectl.kubernetes.io/default-container"
    original = pod()
    original["metadata"]["annotations"] = {key: "other"}
    assert injected(original, CLASSIC)["metadata"]["annotations"][key] == "other"
    assert key not in injected(pod())["metadata"]["annotations"]


@pytest.mark.parametrize("config", [CONFIG, CLASSIC])
@pytest.mark.parametrize(("word", "group"), [("true", "initContainers"), ("false", "containers")])
def test_the_pods_word_on_the_form_wins(config, word, group):
    original = pod()
    original["metadata"]["annotations"] = {"sidecar.istio.io/nativeSidecar": word}
    assert policy.PROXY in [one["name"] for one in injected(original, config)["spec"][group]]


def test_a_pod_without_a_container_of_its_own_is_not_made_one_of_the_proxys():
    with pytest.raises(BadPod, match=r"spec\.containers"):
        patch({"spec": {"containers": []}}, ENABLED, CLASSIC)


@pytest.mark.parametrize("config", [CONFIG, CLASSIC])
def test_only_the_capture_container_has_capabilities(config):
    _, proxy = own_containers(result := injected(pod(), config))
    init = result["spec"]["initContainers"][0]
    assert init["securityContext"]["capabilities"] == {"drop": ["ALL"], "add": ["NET_ADMIN", "NET_RAW"]}
    context = proxy["securityContext"]
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["runAsUser"] == 1337
    assert context["runAsNonRoot"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]


@pytest.mark.parametrize("config", [CONFIG, CLASSIC])
def test_where_the_node_captures_no_container_of_the_pod_has_capabilities(config):
    _, proxy = own_containers(result := injected(pod(), replace(config, by_node=True)))
    (init,) = (one for one in result["spec"]["initContainers"] if one["name"] == "refmesh-init")
    assert init["securityContext"] == proxy["securityContext"]
    assert init["command"][-1] == "refmesh.agent.awaiting"
    assert "volumeMounts" not in init


def test_the_secrets_for_the_proxys_image_are_added_to_those_of_the_pod():
    config = replace(CONFIG, pull_secrets=("mesh", "own"))
    original = pod()
    assert "imagePullSecrets" not in injected(original)["spec"]
    assert injected(original, config)["spec"]["imagePullSecrets"] == [{"name": "mesh"}, {"name": "own"}]
    original["spec"]["imagePullSecrets"] = [{"name": "own"}]
    assert injected(original, config)["spec"]["imagePullSecrets"] == [{"name": "own"}, {"name": "mesh"}]


def test_the_token_is_for_the_ca_alone():
    token = next(v for v in injected(pod())["spec"]["volumes"] if v["name"] == "refmesh-token")
    assert token["projected"]["sources"][0]["serviceAccountToken"]["audience"] == "istio-ca"


def test_a_named_port_is_resolved_for_the_agent():
    original = pod()
    original["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": "http", "path": "/ok"}}
    result = injected(original)
    probe = result["spec"]["containers"][0]["readinessProbe"]
    assert probe == {"httpGet": {"path": "/app-health/app/readyz", "port": 15020, "scheme": "HTTP"}}


@pytest.mark.parametrize(
    ("namespace", "label", "inject"),
    [
        (ENABLED, None, True),
        (ENABLED, "false", False),
        (ENABLED, "true", True),
        ({}, None, False),
        ({}, "true", True),
        ({"istio-injection": "disabled"}, None, False),
        ({"istio-injection": "disabled"}, "true", False),
    ],
)
def test_the_pods_label_wins_unless_its_namespace_keeps_its_pods_out(namespace, label, inject):
    original = pod()
    if label:
        original["metadata"]["labels"]["sidecar.istio.io/inject"] = label
    assert policy.decide(namespace, original).inject is inject


def test_a_pod_on_the_nodes_network_is_left_alone_whatever_it_says():
    original = pod(hostNetwork=True)
    original["metadata"]["labels"]["sidecar.istio.io/inject"] = "true"
    assert isinstance(patch(original, ENABLED, CONFIG), Skip)


def test_seam_for_the_defect_is_used(monkeypatch):
    monkeypatch.setattr(policy, "opt_out_values", lambda: ())
    original = pod()
    original["metadata"]["labels"]["sidecar.istio.io/inject"] = "false"
    assert policy.decide(ENABLED, original).inject


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        ("traffic.sidecar.istio.io/excludeInboundPorts", "http"),
        ("traffic.sidecar.istio.io/excludeOutboundPorts", "70000"),
        ("traffic.sidecar.istio.io/excludeOutboundIPRanges", "10.0.0.0/40"),
        ("traffic.sidecar.istio.io/includeInboundPorts", "*,80"),
        ("traffic.sidecar.istio.io/includeOutboundPorts", "0"),
        ("traffic.sidecar.istio.io/includeOutboundIPRanges", "everywhere"),
        ("proxy.refmesh.io/concurrency", "-1"),
        ("proxy.refmesh.io/logLevel", "loud"),
        ("proxy.refmesh.io/statistics", "some"),
        ("sidecar.istio.io/nativeSidecar", "yes"),
    ],
)
def test_a_bad_annotation_is_named(annotation, value):
    original = pod()
    original["metadata"]["annotations"] = {annotation: value}
    with pytest.raises(BadPod, match=annotation):
        patch(original, ENABLED, CONFIG)


def test_no_more_annotations_are_read_than_an_api_server_takes():
    original = pod()
    original["metadata"]["annotations"] = {"a": "1" * (1 << 17), "b": "2" * (1 << 17)}
    with pytest.raises(BadPod, match=r"metadata\.annotations: together they are above 262144 letters"):
        injected(original)


def test_what_alone_is_captured_is_told_to_the_init_container_also_when_it_is_nothing():
    original = pod()
    names = {"includeInboundPorts": "", "includeOutboundPorts": "443", "includeOutboundIPRanges": "10.0.0.0/8"}
    original["metadata"]["annotations"] = {f"traffic.sidecar.istio.io/{name}": text for name, text in names.items()}
    assert injected(original)["spec"]["initContainers"][0]["env"] == [
        {"name": "REFMESH_INCLUDE_INBOUND_PORTS", "value": ""},
        {"name": "REFMESH_INCLUDE_OUTBOUND_PORTS", "value": "443"},
        {"name": "REFMESH_INCLUDE_OUTBOUND_RANGES", "value": "10.0.0.0/8"},
    ]


def test_an_application_that_runs_as_the_proxys_user_is_warned_about():
    assert "1337" in warnings(pod(securityContext={"runAsUser": 1337}))[0]
    assert warnings(pod()) == []


def test_hooks_over_http_are_led_past_strict_and_others_are_left_alone():
    web = {"httpGet": {"port": "http", "path": "/bye", "httpHeaders": [{"name": "a", "value": "b"}]}}
    elsewhere = {"httpGet": {"port": 80, "host": "example.org"}}
    original = pod()
    original["spec"]["containers"][0]["lifecycle"] = {"preStop": web, "postStart": elsewhere}
    result = injected(original)
    hooks = result["spec"]["containers"][0]["lifecycle"]
    assert hooks["postStart"] == elsewhere
    path = hooks["preStop"]["httpGet"]["path"]
    assert hooks["preStop"] == {"httpGet": {"path": path, "port": 15020, "scheme": "HTTP"}}
    known = json.loads(
        next(e["value"] for e in result["spec"]["initContainers"][1]["env"] if e["name"] == "REFMESH_PROBES")
    )
    assert known[path] == {"httpGet": web["httpGet"] | {"port": 8080}, "timeoutSeconds": 30}


@pytest.mark.parametrize(("grace", "seconds"), [({}, 30), ({GRACE: None}, 30), ({GRACE: 600}, 600), ({GRACE: 0}, 0)])
def test_hooks_have_as_long_as_the_kubelet_gives_them(grace, seconds):
    original = pod()
    slow = {"httpGet": {"port": "http", "path": "/slow"}}
    original["spec"]["containers"][0]["lifecycle"] = {"preStop": slow, "postStart": slow}
    original["spec"] |= grace
    environment = injected(original)["spec"]["initContainers"][1]["env"]
    known = json.loads(next(entry["value"] for entry in environment if entry["name"] == "REFMESH_PROBES"))
    waits = {path.split("/")[3]: hook["timeoutSeconds"] for path, hook in known.items() if "lifecycle" in path}
    assert waits == {"prestop": seconds, "poststart": 3600}


def test_nobody_can_guess_where_the_agent_takes_a_pods_hook():
    original = pod()
    original["spec"]["containers"][0]["lifecycle"] = {"preStop": {"httpGet": {"port": "http", "path": "/bye"}}}
    results = [injected(original) for _ in range(2)]
    paths = [r["spec"]["containers"][0]["lifecycle"]["preStop"]["httpGet"]["path"] for r in results]
    known, secrets = zip(*(path.rsplit("/", 1) for path in paths), strict=True)
    assert known == ("/app-lifecycle/app/prestop",) * 2
    assert secrets[0] != secrets[1]
    assert min(map(len, secrets)) >= 22


@given(PODS, FORMS)
def test_offline_injection_gives_what_the_webhook_gives(original, config):
    with mock.patch("secrets.token_urlsafe", return_value="a-secret"):
        compare_offline_with_webhook(original, config)


@pytest.mark.parametrize(
    ("kind", "path", "owner"),
    [
        ("Deployment", ("template",), {"kind": "ReplicaSet", "name": "web-5d4f"}),
        ("StatefulSet", ("template",), {"kind": "StatefulSet", "name": "web"}),
        ("CronJob", ("jobTemplate", "spec", "template"), {"kind": "Job", "name": "web-29381440"}),
    ],
)
def test_pods_of_a_file_are_of_the_workload_that_the_webhook_would_find(kind, path, owner):
    made = pod()
    made["metadata"] |= {"ownerReferences": [owner | {"controller": True}], "labels": {"pod-template-hash": "5d4f"}}
    template = pod()
    template["metadata"] = {"labels": {"pod-template-hash": "5d4f"}}
    spec = template
    for key in reversed(path):
        spec = {key: spec}
    result = offline.inject_object({"kind": kind, "metadata": {"name": "web"}, "spec": spec}, CONFIG)["spec"]
    for key in path:
        result = result[key]
    peers = [
        next(one["value"] for one in own_containers(each)[1]["env"] if one["name"] == "REFMESH_PEER")
        for each in (injected(made), result)
    ]
    assert peers == ["web;;;", "web;;;"]


def test_a_file_does_not_take_the_secrets_of_an_account_away():
    """A pod that names some gets none of its account's: the webhook comes after those were copied, a file before."""
    config, said = replace(CONFIG, pull_secrets=("mesh",)), list[str]()
    plain: dict[str, Any] = {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"template": pod()}}
    assert "imagePullSecrets" not in inject_object(plain, config, said.append)["spec"]["template"]["spec"]
    assert said == ["Deployment: the pod's service account needs mesh in imagePullSecrets"]
    plain["spec"]["template"]["spec"]["imagePullSecrets"] = [{"name": "own"}]
    found = inject_object(plain, config)["spec"]["template"]["spec"]["imagePullSecrets"]
    assert found == [{"name": "own"}, {"name": "mesh"}]


def compare_offline_with_webhook(original, config):
    body = json.dumps({"request": {"uid": "u", "object": original}}).encode()
    response = webhook.review(body, config)["response"]
    online = copy.deepcopy(original)
    if "patch" in response:
        apply_operations(online, json.loads(base64.b64decode(response["patch"])))
    assert inject_object({"kind": "Pod", **copy.deepcopy(original)}, config) == {"kind": "Pod", **online}
    template = {"kind": "Deployment", "spec": {"template": copy.deepcopy(original)}}
    assert inject_object(template, config)["spec"]["template"] == online
