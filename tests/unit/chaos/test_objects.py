"""The objects of the scene, of the guard and of the latency measurement, as they are put into a cluster."""

import pytest

from chaos.janitor_objects import janitor_objects
from chaos.meshing import meshing
from chaos.objects import Forgery, inside, outside
from load.ground import objects

MESH = meshing("istio")


def pods():
    """Each pod by its name, or its template by the deployment's."""
    made = [
        *inside("ours", "i", MESH),
        *outside("out", "i", "echo:80", Forgery(""), MESH),
        *janitor_objects("i"),
        *({**one, "metadata": {**one["metadata"], "name": f"load's {one['kind']}"}} for one in objects("l", "i", MESH)),
    ]
    specs = {one["metadata"]["name"]: one for one in made if one["kind"] == "Pod"}
    return specs | {one["metadata"]["name"]: one["spec"]["template"] for one in made if one["kind"] == "Deployment"}


PODS = pods()


def test_no_pod_is_forgotten():
    assert set(PODS) == {
        *("between", "driver", "echo", "meshproof-janitor", "prober"),
        *("load's Deployment", "load's Pod"),
    }


@pytest.mark.parametrize("pod", PODS.values(), ids=list(PODS))
def test_every_pod_passes_the_profile_restricted(pod):
    spec = pod["spec"]
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    for volume in spec.get("volumes", ()):
        assert set(volume) - {"name"} <= {"configMap", "emptyDir"}
    for container in (*spec.get("initContainers", ()), *spec["containers"]):
        own = container["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own["runAsNonRoot"] is True
        assert own["runAsUser"] != 0


@pytest.mark.parametrize("pod", PODS.values(), ids=list(PODS))
def test_every_pod_is_for_nodes_that_can_run_the_image(pod):
    assert pod["spec"]["nodeSelector"] == {"kubernetes.io/os": "linux"}


def test_the_echo_that_is_killed_says_no_farewell():
    assert {"name": "ECHO_ABRUPT", "value": "1"} in PODS["echo"]["spec"]["containers"][0]["env"]


@pytest.mark.parametrize("name", ["between", "driver", "echo", "prober"])
def test_autoscalers_leave_the_pods_of_the_scene_where_they_are(name):
    assert PODS[name]["metadata"]["annotations"]["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert PODS[name]["metadata"]["annotations"]["karpenter.sh/do-not-disrupt"] == "true"
