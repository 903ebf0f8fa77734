"""Each defect of the injector does its harm, and no other."""

from __future__ import annotations

import copy
import importlib
import json
from collections.abc import Iterator

import pytest

from refmesh import defects
from refmesh.injector import containers, patch, policy, webhook
from refmesh.injector.operations import apply_operations
from refmesh.injector.patch import Skip
from tests.unit.refmesh_injector.pods import CONFIG, ENABLED, pod


@pytest.fixture(autouse=True)
def sound_again() -> Iterator[None]:
    seams = [one.seam.split(":") for one in defects.catalogue() if ".injector." in one.seam]
    kept = [(importlib.import_module(module), name) for module, name in seams]
    sound = [getattr(module, name) for module, name in kept]
    yield
    for (module, name), function in zip(kept, sound, strict=True):
        setattr(module, name, function)


def injected(original):
    operations = patch.patch(original, ENABLED, CONFIG)
    assert not isinstance(operations, Skip)
    result = copy.deepcopy(original)
    apply_operations(result, operations)
    return result


def test_who_is_injected():
    on_node, once = pod(hostNetwork=True), injected(pod())
    for name, victim in (("host-network-injected", on_node), ("double-injection", once)):
        assert not policy.decide(ENABLED, victim).inject
        defects.switch_on(name)
        assert policy.decide(ENABLED, victim).inject
    defects.switch_on("opt-in-ignored")
    assert not policy.decide(ENABLED, pod()).inject
    assert policy.decide({}, {"metadata": {"labels": {policy.POD_LABEL: "true"}}}).inject


def test_init_containers_come_before_capture():
    defects.switch_on("init-uncaptured")
    names = [one["name"] for one in injected(pod(initContainers=[{"name": "migrate"}]))["spec"]["initContainers"]]
    assert names == ["migrate", containers.INIT, policy.PROXY]
    assert injected(pod())["spec"]["initContainers"][0]["name"] == containers.INIT


def test_resources_change():
    defects.switch_on("app-resources-changed")
    assert injected(pod())["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1"}}


def test_probes_stay_with_the_kubelet():
    probed = pod()
    probed["spec"]["containers"][0]["readinessProbe"] = {"httpGet": {"port": "http", "path": "/"}}
    assert injected(probed)["spec"]["containers"][0]["readinessProbe"]["httpGet"]["port"] == 15020
    defects.switch_on("probes-broken-under-strict")
    assert injected(probed)["spec"]["containers"][0] == probed["spec"]["containers"][0]


def test_a_port_is_forgotten_beside_those_that_were_asked_for():
    defects.switch_on("port-excluded")
    key = "traffic.sidecar.istio.io/excludeInboundPorts"
    assert containers.excludes({}) == {"REFMESH_EXCLUDE_INBOUND_PORTS": "9090"}
    assert containers.excludes({key: "80"}) == {"REFMESH_EXCLUDE_INBOUND_PORTS": "80,9090"}


def test_nothing_waits_for_the_proxy():
    assert set(containers.hooks()) == {"postStart", "preStop"}
    defects.switch_on("proxy-after-app")
    assert set(containers.hooks()) == {"preStop"}


def test_errors_let_pods_in():
    bad = pod()
    bad["metadata"]["annotations"] = {"traffic.sidecar.istio.io/excludeInboundPorts": "70000"}
    body = json.dumps({"request": {"uid": "1", "object": bad}}).encode()
    assert webhook.review(body, CONFIG)["response"]["allowed"] is False
    defects.switch_on("injection-error-hidden")
    response = webhook.review(body, CONFIG)["response"]
    assert response["allowed"] is True
    assert "patch" not in response


def test_the_proxy_ends_at_once():
    defects.switch_on("no-drain")
    assert "os.kill(-1, 9)" in containers.hooks()["preStop"]["exec"]["command"][-1]
    assert "wait" in containers.hooks()["postStart"]["exec"]["command"]


def test_the_proxy_hangs_on_the_control_plane():
    assert set(containers.health()) == {"readinessProbe"}
    defects.switch_on("control-plane-loss-stops-traffic")
    assert "15011" in containers.health()["livenessProbe"]["exec"]["command"][-1]
