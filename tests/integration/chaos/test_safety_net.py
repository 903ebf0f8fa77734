"""What happens to a fault when its runner is interrupted, or dies."""

import secrets
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import chaos
from chaos.faults import ScaleToZero
from chaos.guard import guard
from chaos.log import LOG_NAMESPACE, pending
from chaos.runner import injected
from fixtures.kube import Kube, eventually
from fixtures.workloads import echo_deployment
from reports.errors import EnvironmentProblem

pytestmark = [pytest.mark.cluster, pytest.mark.xdist_group("chaos")]
RUNNER = Path(__file__).with_name("dying_runner.py")


@pytest.fixture
def kube(cluster):
    one = Kube.connect(cluster.kubeconfig, cluster.context)
    chaos.restore(one, force=True)
    yield one
    chaos.restore(one, force=True)


@pytest.fixture
def victim(kube, image):
    with kube.namespace(f"chaos-victim-{secrets.token_hex(3)}") as space:
        kube.apply(*echo_deployment("victim", space, image=image))
        kube.wait_rollout(space, "victim")
        yield space


def replicas(kube, space):
    return kube.get("apps/v1", "Deployment", "victim", space)["spec"].get("replicas")


def start_dying(cluster, image, space):
    process = subprocess.Popen(
        [sys.executable, str(RUNNER), str(cluster.kubeconfig), image, space, "victim"],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "injected\n"
    return process


def test_the_undo_is_in_the_log_before_the_fault_acts_and_gone_after(kube, image, victim):
    fault = ScaleToZero(victim, "victim")
    with guard(kube, image, "test"):
        with injected(kube, fault):
            assert [entry.undo.fault for entry in pending(kube)] == ["scale-to-zero"]
            assert replicas(kube, victim) == 0
            eventually(lambda: fault.landed(kube), timeout=40, what="the pods are gone")
        assert pending(kube) == []
        assert replicas(kube, victim) == 1


def test_two_runners_do_not_share_a_cluster(kube, image):
    with guard(kube, image, "first"):
        with pytest.raises(EnvironmentProblem, match="another chaos run"), guard(kube, image, "second"):
            pytest.fail("the second runner was let in")
        with pytest.raises(EnvironmentProblem, match="first"):
            chaos.restore(kube)


def test_an_interrupted_runner_takes_its_fault_back(kube, cluster, image, victim):
    process = start_dying(cluster, image, victim)
    with process:
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert replicas(kube, victim) == 1
    assert pending(kube) == []


def test_the_janitor_takes_the_fault_of_a_killed_runner_back(kube, cluster, image, victim):
    process = start_dying(cluster, image, victim)
    with process:
        process.kill()
    assert replicas(kube, victim) == 0
    eventually(lambda: replicas(kube, victim) == 1, timeout=60, interval=0.5, what="the janitor restores the victim")
    eventually(lambda: pending(kube) == [], timeout=60, what="the log is empty")


def test_restore_does_what_the_janitor_would(kube, cluster, image, victim):
    process = start_dying(cluster, image, victim)
    with process:
        process.kill()
    undone = chaos.restore(kube, force=True)  # at once: to know that it is dead would take as long as the janitor takes
    assert [undo.fault for undo in undone] == ["scale-to-zero"]
    assert replicas(kube, victim) == 1
    kube.wait_gone("v1", "Namespace", LOG_NAMESPACE, timeout=60)
    marked = {"meshproof.io/part": "janitor"}
    assert kube.list("rbac.authorization.k8s.io/v1", "Role", selector=marked) == []
