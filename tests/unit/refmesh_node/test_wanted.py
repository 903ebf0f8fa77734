from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refmesh.agent.capture import VARIABLES, asked
from refmesh.injector.containers import LONGEST_SETTINGS
from refmesh.injector.operations import apply_operations
from refmesh.injector.patch import BadPod, Skip, patch
from refmesh.node.wanted import wanted
from tests.examples import at_least
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


PARTS = st.text(max_size=8) | st.sampled_from(
    ["80", "*", "0", "10.0.0.0/8", "2001:db8::/32", "80\nCOMMIT", "1.2.3.4 -j ACCEPT", "fe80::1%x\n*filter", "-A", "٣"]
)
ENV = st.lists(
    st.fixed_dictionaries(
        {"name": st.sampled_from([*VARIABLES, "PATH", "LD_PRELOAD"]) | st.text(max_size=5)},
        optional={"value": st.lists(PARTS, max_size=3).map(",".join) | st.just("8," * LONGEST_SETTINGS) | st.none()},
    ),
    max_size=5,
)
STATES = st.none() | st.sampled_from([{}, {"waiting": {}}, {"running": {}}, {"terminated": {"exitCode": 1}}])
RULE = re.compile(
    r"\*nat|COMMIT|:REFMESH_[A-Z]+ - \[0:0\]|-A (?:REFMESH_[A-Z]+|PREROUTING|OUTPUT)"
    r"(?: (?:!|-p tcp|-o lo|-m owner|-[sd] [0-9a-f.:]+/\d+|--(?:dport|to-ports|uid-owner) \d+|"
    r"-j (?:RETURN|REDIRECT|REFMESH_[A-Z]+)))+"
)


@at_least(200)
@given(env=ENV | st.none(), command=st.none() | st.lists(st.text(max_size=3), max_size=2), state=STATES, name=st.text())
def test_whatever_a_pod_says_the_node_is_given_settings_alone_and_they_make_rules_alone(env, command, state, name):
    found = with_state(injected(), **(state or {}))
    found["metadata"] |= {"name": name, "annotations": {INBOUND: name}}
    found["spec"]["initContainers"][0] |= {"env": env} | ({} if command is None else {"command": command})
    due = wanted(found, "n1")
    assert (due is None) is (command is not None)
    if due is None:
        return
    last = {one["name"]: one.get("value") or "" for one in env or ()}
    assert due.settings == {key: value for key, value in last.items() if key in VARIABLES}
    if due.problem:
        return
    for ipv6 in (False, True):
        lines = asked(due.settings)(ipv6=ipv6).splitlines()
        assert [line for line in lines if not RULE.fullmatch(line)] == []
        assert (lines[0], lines[-1], lines.count("COMMIT")) == ("*nat", "COMMIT", 1)
