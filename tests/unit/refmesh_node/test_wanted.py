from __future__ import annotations

from dataclasses import replace

import pytest

from refmesh.injector.containers import LONGEST_SETTINGS
from refmesh.injector.operations import apply_operations
from refmesh.injector.patch import BadPod, Skip, patch
from refmesh.node.wanted import wanted
from tests.unit.refmesh_injector.pods import CLASSIC, CONFIG, ENABLED, pod

BY_NODE = replace(CONFIG, by_node=True)
INBOUND = "traffic.sidecar.istio.io/excludeInboundPorts"


def injected(config=BY_NODE, annotations=None, **spec):
    found = pod(nodeName="n1", **spec)
    found["metadata"] |= {"name": "cart", "namespace": "shop", "uid": "u", "annotations": annotations or {}}
    operations = patch(found, ENABLED, config)
    assert not isinstance(operations, Skip)
    apply_operations(found, operations)
    return found


def with_state(found, **state):
    return found | {"status": {"phase": "Pending", "initContainerStatuses": [{"name": "refmesh-init", "state": state}]}}


def test_a_pod_that_the_injector_left_to_its_node_is_wanted_with_what_its_annotations_said():
    due = wanted(injected(annotations={INBOUND: "9000"}), "n1")
    assert due is not None
    assert (due.uid, due.name) == ("u", "shop/cart")
    assert due.settings == {"REFMESH_EXCLUDE_INBOUND_PORTS": "9000"}


def test_what_the_annotations_say_later_counts_for_nothing():
    found = injected()
    found["metadata"]["annotations"][INBOUND] = "1"
    due = wanted(found, "n1")
    assert due is not None
    assert due.settings == {}


def test_nothing_but_settings_is_taken_from_a_pod():
    found = injected()
    found["spec"]["initContainers"][0]["env"] += [{"name": "LD_PRELOAD", "value": "/x.so"}, {"name": "PATH"}]
    due = wanted(found, "n1")
    assert due is not None
    assert due.settings == {}


@pytest.mark.parametrize(
    "change",
    [
        {"nodeName": "n2"},
        {"nodeName": None},
        {"hostNetwork": True},
        {"initContainers": None},
        {"initContainers": [{"name": "refmesh-init", "command": ["python", "-m", "refmesh.agent.capture"]}]},
    ],
)
def test_pods_of_others_and_those_on_the_nodes_network_are_left_alone(change):
    found = injected()
    found["spec"] |= change
    assert wanted(found, "n1") is None


def test_a_pod_that_captures_itself_is_left_alone():
    assert wanted(injected(CONFIG), "n1") is None


def test_a_pod_waits_until_its_container_has_seen_the_capture_and_again_after_a_restart():
    found = injected()
    assert wanted(with_state(found, waiting={}), "n1")
    assert wanted(with_state(found, running={}), "n1")
    assert wanted(with_state(found, terminated={"exitCode": 1}), "n1")
    assert wanted(with_state(found, terminated={"exitCode": 0}), "n1") is None
    assert wanted(found | {"status": {"phase": "Failed"}}, "n1") is None


def test_before_a_classic_sidecar_the_users_init_containers_have_a_network():
    found = injected(replace(CLASSIC, by_node=True), initContainers=[{"name": "migrate"}])
    assert wanted(found, "n1") is None
    assert wanted(with_state(found, waiting={}), "n1") is None
    assert wanted(with_state(found, running={}), "n1")


def test_settings_without_end_are_refused_at_admission_and_left_alone_on_the_node():
    long = ",".join(["65535"] * (LONGEST_SETTINGS // 6 + 1))
    with pytest.raises(BadPod, match="together they are above"):
        injected(annotations={INBOUND: long})
    found = injected()
    found["spec"]["initContainers"][0]["env"].append({"name": "REFMESH_EXCLUDE_INBOUND_PORTS", "value": long})
    due = wanted(found, "n1")
    assert due is not None
    assert "above" in due.problem


@pytest.mark.parametrize("value", ["http", "fe80::1%x\nCOMMIT"])
def test_settings_that_cannot_be_read_are_told_before_anybody_goes_there(value):
    found = injected()
    found["spec"]["initContainers"][0]["env"].append({"name": "REFMESH_EXCLUDE_OUTBOUND_RANGES", "value": value})
    due = wanted(found, "n1")
    assert due is not None
    assert "is not an IP range" in due.problem
