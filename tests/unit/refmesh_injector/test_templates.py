from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from refmesh.injector import policy
from refmesh.injector.custom import whole
from refmesh.injector.operations import apply_operations
from refmesh.injector.overlay import KEYS, merged
from refmesh.injector.patch import BadPod, Skip, patch, warnings
from refmesh.injector.templates import FILE, BadTemplate, Templates, parse, read
from tests.unit.refmesh_injector.pods import CLASSIC, CONFIG, ENABLED, PODS, pod

TEXT = """
defaultTemplates: [sidecar, house]
templates:
  house:
    metadata:
      labels: {team: net}
      annotations: {example.com/seen: "yes"}
    spec:
      terminationGracePeriodSeconds: 60
      containers:
        - name: refmesh-proxy
          resources: {limits: {memory: 1Gi}}
          env: [{name: EXTRA, value: "1"}]
  big:
    spec:
      containers:
        - {name: refmesh-proxy, resources: {requests: {cpu: "2"}}}
        - {name: helper, image: "helper:1"}
  app:
    spec:
      containers: [{name: app, env: [{name: MODE, value: mesh}]}]
"""
TEMPLATES = parse(TEXT)


def injected(original: dict[str, Any], config=CONFIG, templates: Templates = TEMPLATES) -> dict[str, Any]:
    operations = patch(original, ENABLED, replace(config, templates=templates))
    assert not isinstance(operations, Skip)
    result = copy.deepcopy(original)
    apply_operations(result, operations)
    return result


def asking(names: str, **spec: Any) -> dict[str, Any]:
    original = pod(**spec)
    original["metadata"]["annotations"] = {"inject.istio.io/templates": names}
    return original


def container(result: dict[str, Any], name: str) -> dict[str, Any]:
    every = [*result["spec"].get("initContainers", ()), *result["spec"]["containers"]]
    (found,) = (one for one in every if one["name"] == name)
    return dict(found)


@pytest.mark.parametrize(("config", "group"), [(CONFIG, "initContainers"), (CLASSIC, "containers")])
def test_defaults_reach_the_proxy_wherever_it_is(config, group):
    result = injected(pod(), config)
    assert "refmesh-proxy" in [one["name"] for one in result["spec"][group]]
    proxy = container(result, "refmesh-proxy")
    assert proxy["resources"] == {"requests": {"cpu": "10m", "memory": "48Mi"}, "limits": {"memory": "1Gi"}}
    assert {"name": "EXTRA", "value": "1"} in proxy["env"]
    assert proxy["command"] == ["python", "-m", "refmesh.agent"]
    assert result["spec"]["terminationGracePeriodSeconds"] == 60
    assert result["metadata"]["labels"]["team"] == "net"
    assert result["metadata"]["labels"]["app"] == "cart"
    assert result["metadata"]["annotations"]["example.com/seen"] == "yes"


def test_a_pod_chooses_and_may_choose_none():
    result = injected(asking("sidecar, big"))
    assert container(result, "refmesh-proxy")["resources"]["requests"] == {"cpu": "2", "memory": "48Mi"}
    assert container(result, "helper")["image"] == "helper:1"
    assert "terminationGracePeriodSeconds" not in result["spec"]
    plain = asking("sidecar")
    assert injected(plain) == injected(plain, templates=Templates())


def test_applications_are_added_to_by_name_and_never_made_up():
    assert container(injected(asking("sidecar,app")), "app")["env"] == [{"name": "MODE", "value": "mesh"}]
    other = asking("sidecar,app", containers=[{"name": "other", "image": "x"}])
    with pytest.raises(BadPod, match="template app adds to container app of containers, which the pod does not have"):
        injected(other)


@pytest.mark.parametrize(
    ("names", "message"),
    [("sidecar,none", "no template 'none'; there is sidecar, app, big, house"), ("big", "lacks sidecar")],
)
def test_a_choice_that_cannot_be_met_is_refused(names, message):
    with pytest.raises(BadPod, match=message):
        injected(asking(names))


@given(PODS, st.sampled_from([CONFIG, CLASSIC]))
def test_an_injected_pod_is_left_alone_whatever_its_templates(original, config):
    once = injected(original, config)
    assert isinstance(patch(once, ENABLED, replace(CONFIG, templates=TEMPLATES)), Skip)


OWN = {
    "name": "refmesh-proxy",
    "image": "auto",
    "imagePullPolicy": "Always",
    "resources": {"limits": {"memory": "2Gi"}},
    "env": [{"name": "REFMESH_LOG_LEVEL", "value": "debug"}],
    "lifecycle": {"preStop": {"sleep": {"seconds": 5}}},
    "volumeMounts": [{"name": "v", "mountPath": "/v"}],
}


@pytest.mark.parametrize("config", [CONFIG, CLASSIC])
@pytest.mark.parametrize("group", ["containers", "initContainers"])
def test_the_users_own_words_on_the_proxy_come_last(config, group):
    original = pod()
    original["spec"][group] = [*original["spec"].get(group, ()), OWN]
    result = injected(original, config)
    proxy = container(result, "refmesh-proxy")
    assert proxy["image"] == CONFIG.image
    assert proxy["imagePullPolicy"] == "IfNotPresent"
    assert proxy["resources"]["limits"]["memory"] == "2Gi"
    assert {"name": "REFMESH_LOG_LEVEL", "value": "debug"} in proxy["env"]
    assert {"name": "EXTRA", "value": "1"} in proxy["env"]
    assert proxy["lifecycle"]["preStop"] == {"sleep": {"seconds": 5}}
    assert proxy["lifecycle"]["postStart"]["exec"]["command"][-1] == "wait"
    assert [mount["mountPath"] for mount in proxy["volumeMounts"]][-1] == "/v"
    assert [one["name"] for one in result["spec"]["containers"] if one["name"] != "refmesh-proxy"] == ["app"]
    assert policy.decide(ENABLED, result).inject is False


def test_an_image_of_the_users_own_is_pulled_as_the_user_says():
    original = pod()
    original["spec"]["containers"].append({"name": "refmesh-proxy", "image": "mine:2", "imagePullPolicy": "Always"})
    proxy = container(injected(original), "refmesh-proxy")
    assert (proxy["image"], proxy["imagePullPolicy"]) == ("mine:2", "Always")


@pytest.mark.parametrize("containers", [[OWN], [OWN, OWN, {"name": "app", "image": "x"}]])
def test_words_on_the_proxy_alone_or_twice_are_refused(containers):
    with pytest.raises(BadPod, match=r"^spec"):
        injected(pod(containers=containers))


INIT_AS = "templates: {a: {spec: {initContainers: [{name: refmesh-init,"


def test_a_pod_that_would_be_without_the_mesh_is_refused():
    operations = patch(pod(), ENABLED, CONFIG)
    assert not isinstance(operations, Skip)
    with pytest.raises(ValueError, match="templates take refmesh-init or refmesh-proxy out of the pod"):
        whole(pod(), operations, [{"initContainers": None}], None, bare=False)


@pytest.mark.parametrize("config", [CONFIG, CLASSIC])
def test_probes_and_hooks_of_templates_are_led_to_the_agent(config):
    text = """
    defaultTemplates: [sidecar, a]
    templates:
      a:
        metadata: {annotations: {prometheus.io/scrape: "true", prometheus.io/port: "9090"}}
        spec:
          containers:
            - {name: app, readinessProbe: {httpGet: {port: 8080, path: /ok}}}
            - {name: more, image: i, livenessProbe: {tcpSocket: {port: 9}}, lifecycle: {preStop: {httpGet: {port: 9}}}}
    """
    original = pod()
    original["spec"]["containers"][0]["readinessProbe"] = {"exec": {"command": ["true"]}}
    result = injected(original, config, parse(text))
    asked = {
        "app": container(result, "app")["readinessProbe"],
        "more": container(result, "more")["livenessProbe"],
        "stop": container(result, "more")["lifecycle"]["preStop"],
    }
    assert {name: one["httpGet"]["port"] for name, one in asked.items()} == dict.fromkeys(asked, 15020)
    environment = {one["name"]: one.get("value") for one in container(result, "refmesh-proxy")["env"]}
    assert set(json.loads(environment["REFMESH_PROBES"])) == {one["httpGet"]["path"] for one in asked.values()}
    assert json.loads(environment["REFMESH_APP_METRICS"])["port"] == 9090
    assert result["metadata"]["annotations"]["prometheus.io/port"] == "15020"


def test_capture_comes_after_all_containers_that_need_the_network_before_a_classic_proxy():
    text = "templates: {a: {spec: {initContainers: [{name: fetch, image: i}]}}}\ndefaultTemplates: [sidecar, a]"
    for config, names in [
        (CLASSIC, ["migrate", "fetch", "refmesh-init"]),
        (CONFIG, ["refmesh-init", "refmesh-proxy", "migrate", "fetch"]),
    ]:
        result = injected(pod(initContainers=[{"name": "migrate", "image": "i"}]), config, parse(text))
        assert [one["name"] for one in result["spec"]["initContainers"]] == names


def test_a_volume_of_the_meshs_may_be_another():
    text = "templates: {a: {spec: {volumes: [{name: refmesh-run, emptyDir: {}}]}}}\ndefaultTemplates: [sidecar, a]"
    volumes = injected(pod(), templates=parse(text))["spec"]["volumes"]
    assert [one for one in volumes if one["name"] == "refmesh-run"] == [{"name": "refmesh-run", "emptyDir": {}}]


def test_the_container_that_captures_may_be_from_elsewhere_and_have_settings():
    said = "image: 'mirror/refmesh:1', env: [{name: REFMESH_EXCLUDE_OUTBOUND_RANGES, value: 169.254.169.254}]"
    result = injected(pod(), templates=parse(f"defaultTemplates: [sidecar, a]\n{INIT_AS} {said}}}]}}}}}}"))
    init = container(result, "refmesh-init")
    assert init["image"] == "mirror/refmesh:1"
    assert init["command"] == ["python", "-m", "refmesh.agent.capture"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("templates: {a: {spec: {hostNetwork: true}}}", r"templates\.a\.spec\.hostNetwork: .* would be captured"),
        ("templates: {a: {spec: {serviceAccountName: x}}}", r"templates\.a\.spec\.serviceAccountName"),
        ("templates: {a: '{{ .Values }}'}", r"templates\.a: must be a mapping, not str .*Go"),
        ("templates: {a: {spec: {hostname: '{{ .Name }}'}}}", r"templates\.a\.spec\.hostname: .*Go"),
        ("templates: {a: {spec: {containers: [{image: x}]}}}", r"templates\.a\.spec\.containers\[0\]: .*name"),
        ("templates: {a: {spec: {containers: {name: x}}}}", r"templates\.a\.spec\.containers: must be a list"),
        ("templates: {a: {spec: {containers: [{name: x, env: [{}]}]}}}", r"containers\[0\]\.env\[0\]"),
        ("templates: {a: {spec: {$patch: replace}}}", r"templates\.a\.spec\.\$patch"),
        ("templates: {a: {spec: {hostname: 2020-01-01}}}", r"templates\.a\.spec\.hostname: .*date.*quotes"),
        ("templates: {a: {kind: Pod}}", r"templates\.a\.kind: is not known"),
        ("templates: {a: {metadata: {name: x}}}", r"templates\.a\.metadata\.name"),
        ("templates: {a: {metadata: {labels: {x: 1}}}}", r"templates\.a\.metadata\.labels: x must be a text"),
        (
            "templates: {a: {metadata: {annotations: {traffic.sidecar.istio.io/excludeInboundPorts: '1'}}}}",
            r"templates\.a\.metadata\.annotations: .*does nothing",
        ),
        ("templates: {sidecar: {}}", r"templates\.sidecar"),
        ("templates: {a: {metadata: {labels: }}}", r"templates\.a\.metadata\.labels: has no value"),
        ("templates: {a: {metadata: {annotations: }}}", r"templates\.a\.metadata\.annotations: has no value"),
        ("templates: {a: {spec: {initContainers: }}}", r"templates\.a\.spec\.initContainers: has no value"),
        ("templates: {a: {spec: {volumes: }}}", r"templates\.a\.spec\.volumes: has no value"),
        ("templates: {a: {spec: {containers: [{name: x, env: }]}}}", r"containers\[0\]\.env: has no value"),
        ("templates: {a: {spec: {containers: [{name: x, image: }]}}}", r"containers\[0\]\.image: must be"),
        (f"{INIT_AS} command: ['true']}}]}}}}}}", r"initContainers\[0\]\.command: cannot be given for refmesh-init"),
        (f"{INIT_AS} args: [--print]}}]}}}}}}", r"initContainers\[0\]\.args: cannot be given"),
        (f"{INIT_AS} restartPolicy: Always}}]}}}}}}", r"initContainers\[0\]\.restartPolicy: cannot be given"),
        (
            f"{INIT_AS} env: [{{name: REFMESH_EXCLUDE_INBOUND_PORTS, value: http}}]}}]}}}}}}",
            r"initContainers\[0\]\.env: 'http' is not a port number",
        ),
        ("templates: {a: {spec: {containers: [{name: refmesh-init}]}}}", r"containers\[0\]: .*under initContainers"),
        ("templates: {A: {}}", r"templates\.A"),
        ("templates: [a]", "templates: must be a mapping, not list"),
        ("template: {}", "template: is not known"),
        ("defaultTemplates: [sidecar, b]", "defaultTemplates: there is no template 'b'"),
        ("defaultTemplates: []", "defaultTemplates: lacks sidecar"),
        ("defaultTemplates: sidecar", "defaultTemplates: must be a list"),
        ("a: &x {b: *x}", "aliases"),
        ("a: [", "not valid YAML"),
        ("a: 2020-13-45", "not valid YAML"),
        ("- a", "the file: must be a mapping"),
        ("x" * 200_000, "letters"),
    ],
)
def test_a_bad_file_is_refused_by_its_field(text, message):
    with pytest.raises(BadTemplate, match=message):
        parse(text)


def test_the_readmes_example_is_read():
    readme = (Path(__file__).parents[3] / "refmesh" / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"^```yml\n(.*?)^```$", readme, re.MULTILINE | re.DOTALL)
    found = parse(block)
    assert (set(found.named), found.defaults) == ({"house", "debug"}, ("sidecar", "house"))


def test_a_broken_template_is_nobodys_matter_but_of_who_asks_for_it():
    whole = yaml.safe_load(TEXT)
    whole["templates"]["house"]["spec"]["hostNetwork"] = True
    found = read(yaml.safe_dump(whole))
    assert set(found.named) == {"big", "app"}
    result = injected(pod(), templates=found)
    assert "terminationGracePeriodSeconds" not in result["spec"]
    assert "template house is broken" in warnings(pod(), found)[0]
    assert warnings(asking("sidecar"), found) == []
    with pytest.raises(BadPod, match="template house is broken"):
        injected(asking("sidecar,house"), templates=found)
    assert set(read("[").bad) == {FILE}


_json: Any = st.recursive(
    st.none() | st.booleans() | st.integers(0, 3) | st.sampled_from(["a", "b"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "value", "env", "spec", "containers", "exec"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_json)
def test_whatever_is_written_is_read(value):
    read(yaml.safe_dump({"templates": {"a": value}, "defaultTemplates": value}))


def of(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, **fields}


def test_merging_follows_the_apis_keys():
    base = {"spec": {"containers": [of("a", env=[of("x", value="1")], ports=[{"containerPort": 1}]), of("b")]}, "k": 1}
    before = copy.deepcopy(base)
    over = {"spec": {"containers": [of("a", env=[of("x", valueFrom={}), of("y", value="2")], args=["z"])]}, "k": None}
    assert merged(base, over) == {
        "spec": {
            "containers": [
                of("a", env=[of("x", valueFrom={}), of("y", value="2")], ports=[{"containerPort": 1}], args=["z"]),
                of("b"),
            ]
        }
    }
    assert base == before


class Asked(dict[str, Any]):
    """An object that counts how often one of its kind was looked into."""

    times = 0

    def get(self, key: str, default: Any = None) -> Any:
        Asked.times += 1
        return super().get(key, default)


def test_merging_lists_asks_each_item_for_its_key_once():
    base, over = ([Asked(name=f"{word}{index}") for index in range(50)] for word in ("a", "b"))
    Asked.times = 0
    assert merged({"env": base}, {"env": over})["env"] == [*base, *over]
    assert Asked.times == len(base) + len(over)


def test_of_several_items_with_one_key_the_first_is_merged_over():
    both = [of("a", image="x"), of("a", image="y")]
    assert merged({"containers": both}, {"containers": [of("a", image="z")]})["containers"] == [
        of("a", image="z"),
        of("a", image="y"),
    ]


@given(
    st.dictionaries(st.sampled_from([*KEYS, "resources", "labels"]), st.integers() | st.text(max_size=3), max_size=4)
)
def test_merging_twice_is_merging_once(over):
    base = {"resources": {"limits": 1}, "labels": {"a": "b"}}
    once = merged(base, over)
    assert merged(once, over) == once == base | over
