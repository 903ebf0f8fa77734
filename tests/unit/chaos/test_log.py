import json

import pytest
import requests

from chaos.faults import FAULTS
from chaos.faults.space import Space
from chaos.incluster import path_of
from chaos.janitor import LOOKED, Watchdog, look, tend
from chaos.janitor_objects import NAME, janitor_objects, rights_objects
from chaos.log import LOG_NAMESPACE, UNDOS, parse_entry, pending, replay
from chaos.model import Right
from reports.errors import EnvironmentProblem, MeshproofError, UsageProblem


def entry(name, fault, arguments):
    return {
        "metadata": {"name": name, "labels": {"meshproof.io/undo": "pending"}},
        "data": {"fault": fault, "arguments": json.dumps(arguments)},
    }


class Memory:
    """A cluster that remembers."""

    def __init__(self, *entries, broken=(), absent=(), error=EnvironmentProblem):
        self.error = error
        self.absent = absent
        self.entries = {item["metadata"]["name"]: item for item in entries}
        self.calls = []
        self.lease = {"spec": {"holderIdentity": "runner-1", "renewTime": "2026-01-01T00:00:00.000000Z"}}
        self.broken = broken

    def get(self, _, kind, name, _namespace=None):
        if kind == "Lease":
            return self.lease
        if name in self.absent:
            return None
        return {"metadata": {"name": name}}

    def list(self, _, kind, namespace=None, selector=""):
        assert (kind, namespace, selector) == ("ConfigMap", LOG_NAMESPACE, "meshproof.io/undo=pending")
        return list(self.entries.values())

    def patch(self, _, kind, name, body, namespace=None, subresource=""):
        if name in self.broken:
            raise self.error(f"no {name}")
        self.calls.append(("patch", kind, name, namespace, subresource, body))
        return {}

    def delete(self, _, kind, name, namespace=None):
        if kind == "ConfigMap":
            return self.entries.pop(name, None) is not None
        self.calls.append(("delete", kind, name, namespace))
        return True


SCALE = {"namespace": "mesh", "deployment": "plane", "replicas": 2}


def test_entries_are_undone_latest_first_and_removed():
    cluster = Memory(
        entry("undo-1", "namespace", {"namespace": "meshproof-chaos-1"}), entry("undo-2", "scale-to-zero", SCALE)
    )
    assert [undo.fault for undo in replay(cluster)] == ["scale-to-zero", "namespace"]
    assert cluster.calls == [
        ("patch", "Deployment", "plane", "mesh", "scale", {"spec": {"replicas": 2}}),
        ("delete", "Namespace", "meshproof-chaos-1", None),
    ]
    assert pending(cluster) == []
    assert replay(cluster) == []


@pytest.mark.parametrize("error", [EnvironmentProblem, requests.ConnectionError, requests.exceptions.InvalidURL])
def test_an_undo_that_fails_keeps_its_entry_and_lets_the_others_go_on(error):
    cluster = Memory(
        entry("undo-1", "sham", {"namespace": "a", "decoy": "d"}),
        entry("undo-2", "scale-to-zero", SCALE),
        broken=("plane",),
        error=error,
    )
    with pytest.raises(EnvironmentProblem, match="no plane") as raised:
        replay(cluster)
    assert "cannot be read" not in raised.value.problem  # it is not the entry that is damaged
    assert list(cluster.entries) == ["undo-2"]


@pytest.mark.parametrize("data", [{"fault": "sham", "arguments": "{"}, {"fault": "scale-to-zero", "arguments": "{}"}])
def test_a_damaged_entry_does_not_keep_the_others(data):
    damaged = {"metadata": {"name": "undo-3"}, "data": data}
    cluster = Memory(entry("undo-1", "scale-to-zero", SCALE), damaged)
    with pytest.raises(EnvironmentProblem, match="undo-3"):
        replay(cluster)
    assert [call[0] for call in cluster.calls] == ["patch"]
    assert list(cluster.entries) == ["undo-3"]


def test_a_deployment_that_is_gone_needs_no_replicas():
    cluster = Memory(entry("undo-1", "scale-to-zero", SCALE), absent=("plane",), broken=("plane",))
    assert [undo.fault for undo in replay(cluster)] == ["scale-to-zero"]
    assert cluster.entries == {}


def test_the_janitor_replaces_toxiproxy_where_it_cannot_reach_it():
    toxic = {"namespace": "a", "pod": "between-1", "proxy": "echo", "toxic": "meshproof-latency"}
    cluster = Memory(entry("undo-1", "toxic", toxic))
    replay(cluster)
    assert cluster.calls == [("delete", "Pod", "between-1", "a")]


def test_no_namespace_of_others_is_ever_deleted():
    with pytest.raises(UsageProblem, match="kube-system"):
        Space.undo(Memory(), {"namespace": "kube-system"})


@pytest.mark.parametrize(
    "item",
    [
        {"metadata": {"name": "x"}},
        {"metadata": {"name": "x"}, "data": {"fault": "sham", "arguments": "{"}},
        {"metadata": {"name": "x"}, "data": {"fault": "sham", "arguments": "[]"}},
        {"metadata": {"name": "x"}, "data": {"fault": "meteor", "arguments": "{}"}},
    ],
)
def test_a_damaged_entry_is_named(item):
    with pytest.raises(MeshproofError, match=r"meshproof-chaos/x"):
        parse_entry(item)


def test_every_fault_can_be_undone_from_the_log():
    assert set(UNDOS) == {*FAULTS, "namespace"}


def test_a_heartbeat_that_stands_still_is_dead_whatever_its_clock_says():
    dog = Watchdog(30)
    assert not dog.dead(("r", "t1"), 100)
    assert not dog.dead(("r", "t1"), 129)
    assert not dog.dead(("r", "t2"), 131)
    assert not dog.dead(("r", "t2"), 160)
    assert dog.dead(("r", "t2"), 161)
    assert dog.dead(("r", "t2"), 200)
    assert not dog.dead(("s", "t9"), 201)


def test_the_janitor_waits_for_the_heartbeat_to_die():
    cluster, dog = Memory(entry("undo-1", "scale-to-zero", SCALE)), Watchdog(30)
    assert tend(cluster, dog, 0) == []
    assert tend(cluster, dog, 29) == []
    assert cluster.calls == []
    assert tend(cluster, dog, 30) == ["scale-to-zero"]


def test_a_heart_did_not_stand_still_while_the_janitor_could_not_look(tmp_path, monkeypatch):
    cluster, dog = Memory(entry("undo-1", "scale-to-zero", SCALE)), Watchdog(30)

    def away(*_):
        raise EnvironmentProblem("the API server is away")

    look(cluster, dog, 20, tmp_path / "looked")
    with monkeypatch.context() as outage:
        outage.setattr(cluster, "get", away)
        for now in range(22, 54, 2):
            look(cluster, dog, now, tmp_path / "looked")
    look(cluster, dog, 54, tmp_path / "looked")  # the runner, that could not beat either, does so in a moment
    assert cluster.calls == []
    look(cluster, dog, 84, tmp_path / "looked")
    assert [call[0] for call in cluster.calls] == ["patch"]


def test_an_undo_that_fails_is_tried_again_at_the_next_look(tmp_path):
    cluster, dog = Memory(entry("undo-1", "scale-to-zero", SCALE), broken=("plane",)), Watchdog(30)
    for now in (0, 30):
        look(cluster, dog, now, tmp_path / "looked")
    cluster.broken = ()
    look(cluster, dog, 32, tmp_path / "looked")
    assert [call[0] for call in cluster.calls] == ["patch"]


def test_the_janitor_is_ready_while_it_sees_the_log(tmp_path, capsys):
    looked, dog = tmp_path / "looked", Watchdog(30)
    broken = Memory(entry("undo-1", "scale-to-zero", SCALE), broken=("plane",))
    look(broken, dog, 0, looked)
    assert looked.exists()
    look(broken, dog, 30, looked)
    assert not looked.exists()
    assert "no plane" in capsys.readouterr().err
    look(Memory(), dog, 32, looked)
    assert looked.exists()


def test_the_janitors_pod_is_asked_whether_it_has_looked():
    (deployment,) = (one for one in janitor_objects("image") if one["kind"] == "Deployment")
    pod = deployment["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for probe in ("startupProbe", "readinessProbe"):
        assert container[probe]["exec"]["command"] == ["cat", str(LOOKED)]
    assert container["volumeMounts"] == [{"name": pod["volumes"][0]["name"], "mountPath": str(LOOKED.parent)}]


def test_the_janitor_gets_the_rights_of_the_undo_and_no_others():
    objects = rights_objects(
        [
            Right("mesh", "apps", ("deployments/scale",), ("get", "patch"), ("plane",)),
            Space.rights("meshproof-chaos-1"),
        ]
    )
    roles = {o["kind"]: o for o in objects}
    assert roles["Role"]["metadata"]["namespace"] == "mesh"
    assert roles["Role"]["rules"] == [
        {
            "apiGroups": ["apps"],
            "resources": ["deployments/scale"],
            "verbs": ["get", "patch"],
            "resourceNames": ["plane"],
        }
    ]
    assert roles["ClusterRole"]["rules"][0]["resourceNames"] == ["meshproof-chaos-1"]
    assert all(o["metadata"]["name"] == NAME for o in objects)


def test_no_rule_of_the_janitor_has_a_wildcard():
    text = json.dumps([o for o in janitor_objects("image") if "Role" in o["kind"]])
    assert "*" not in text


def test_paths_of_objects():
    assert path_of("v1", "ConfigMap", namespace="a") == "/api/v1/namespaces/a/configmaps"
    assert path_of("apps/v1", "Deployment", "d", "a", "scale") == "/apis/apps/v1/namespaces/a/deployments/d/scale"
    assert path_of("v1", "Namespace", "n") == "/api/v1/namespaces/n"
