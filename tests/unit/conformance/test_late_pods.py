"""Why pods have not started, in the cluster's words."""

from __future__ import annotations

from typing import Any

import pytest

from conformance.context import Pod
from conformance.late_pods import has_run, waiting


def pod(state: dict[str, Any] | None = None, *, restarts: int = 0, **status: Any) -> dict[str, Any]:
    echo = [{"name": "echo", "state": state, "restartCount": restarts}] if state is not None else []
    return {"status": {"phase": "Pending", "containerStatuses": echo, **status}}


SCHEDULED = {"type": "PodScheduled", "status": "True"}
NETWORK = {"type": "PodReadyToStartContainers", "status": "True"}
UNSCHEDULABLE = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes"}
CREATING, FOR_OTHERS = ({"waiting": {"reason": reason}} for reason in ("ContainerCreating", "PodInitializing"))
PULL = {"waiting": {"reason": "ImagePullBackOff", "message": "Back-off"}}


@pytest.mark.parametrize(
    ("late", "ran", "said"),
    [
        (pod(conditions=[UNSCHEDULABLE]), False, "not scheduled: 0/1 nodes"),
        (pod(PULL, conditions=[SCHEDULED]), False, "container echo waits: ImagePullBackOff Back-off"),
        (pod(CREATING, conditions=[SCHEDULED, NETWORK]), False, "container echo waits: ContainerCreating"),  # is pulled
        (pod(CREATING, conditions=[SCHEDULED]), False, ""),  # a mesh's CNI plugin may be what is missing
        (pod(FOR_OTHERS, conditions=[SCHEDULED, NETWORK]), False, ""),  # a mesh's container may be what it waits for
        (pod({"running": {}}), True, ""),
        (pod({"waiting": {"reason": "CrashLoopBackOff"}}, restarts=2), True, ""),  # probes that fail restart it
        ({}, False, "not scheduled: no reason is given"),
    ],
)
def test_a_pod_that_is_late(late: dict[str, Any], ran: bool, said: str):
    assert has_run(late, "echo") is ran
    assert ran or waiting(late) == said


def test_an_address_in_a_url():
    assert [Pod("p", "n", ip, {}).host for ip in ("10.0.0.9", "fd00::9")] == ["10.0.0.9", "[fd00::9]"]
