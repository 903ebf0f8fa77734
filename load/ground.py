"""What the latency measurement stands on: namespaces, pods and port-forwards of all arms, and what they must be."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

from fixtures.kube import Kube, NotEventually, eventually
from fixtures.kube.runner import RUN_LABEL, RUNNER, runner_name
from fixtures.workloads import echo_deployment, service
from fixtures.workloads.manifests import account_manifest
from load.blocks import AGAIN, BASE, MESHED
from load.manifests import driver_pod
from load.meshing import Meshing
from load.plan import Plan
from load.ready import unscheduled, wait_ready
from load.remote import Driver
from load.sample import Sample
from load.spec import LoadSpec
from load.usage import sidecars
from reports.errors import EnvironmentProblem

__all__ = ["Arm", "Ground", "ground", "objects", "pinned"]

ECHO_PORT = 8080
PROBES = 5
"""Requests by which a way is tried."""


@dataclass(frozen=True)
class Arm:
    """One way from a driver to an echo server."""

    name: str
    driver: Driver
    url: str


@dataclass(frozen=True)
class Ground:
    """What a measurement finds when it begins."""

    arms: Mapping[str, Arm]
    nodes: Mapping[str, str]
    """On which node driver and echo are, in every arm."""
    problem: str = ""
    """Why the arm with sidecars would carry a wrong name; "" where it does not, or where there is no mesh."""
    unsupported: bool = False
    """Whether that is for want of the mesh's own words."""


@contextmanager
def ground(kube: Kube, meshing: Meshing, image: str, plan: Plan, report: Callable[[str], None]) -> Iterator[Ground]:
    """Make it for the length of a `with` block.

    The pods in the mesh start after the others, on the same nodes: the way between two nodes would be taken for the
    proxies' cost.
    """
    token = secrets.token_hex(3)
    with ExitStack() as stack:
        report("starting the pods")
        # So that a later run finds what this one leaves, should it be killed.
        labels, annotations = {RUN_LABEL: f"load-{token}"}, {RUNNER: runner_name()}
        plain = stack.enter_context(kube.namespace(f"meshproof-load-plain-{token}", labels, annotations))
        kube.apply(*objects(plain, image, Meshing(meshing.mesh)))
        wait_ready(kube, plain, 2, plan.ready_timeout, image)
        nodes = _nodes(kube, plain)
        spaces, wordless = {BASE: plain}, ""
        if meshing.injects:
            meshed = f"meshproof-load-meshed-{token}"
            strict = meshing.strict(meshed)
            stack.enter_context(
                kube.namespace(
                    meshed,
                    {**labels, **meshing.namespace_labels, **strict.labels},
                    {**annotations, **meshing.namespace_annotations, **strict.annotations},
                )
            )
            pods = (pinned(item, nodes) for item in objects(meshed, image, meshing))
            kube.apply(*strict.objects, *pods, namespace=meshed)
            _ready_there(kube, meshed, nodes, plan, image)
            if bare := _bare(kube, meshed, meshing.proxy):
                yield Ground({}, nodes, f"pods without the sidecar {meshing.proxy} are not in the mesh: {bare}")
                return
            spaces[MESHED], wordless = meshed, strict.problem
        drivers = {name: stack.enter_context(Driver(kube, space, "driver")) for name, space in spaces.items()}
        arms = {name: Arm(name, drivers[name], f"http://echo.{space}:{ECHO_PORT}/") for name, space in spaces.items()}
        arms[AGAIN] = replace(arms[BASE], name=AGAIN)
        for arm in arms.values():
            _reachable(arm, plan)
        why = _strict(arms, plan) if MESHED in arms else ""
        problem = f"mutual TLS between the sidecars is not proven: {wordless or why}" if why else ""
        yield Ground(arms, nodes, problem, unsupported=bool(wordless))


def objects(namespace: str, image: str, meshing: Meshing) -> list[Mapping[str, Any]]:
    """The driver, the echo and what they need, of one arm."""
    labels, annotations = dict(meshing.pod_labels), dict(meshing.pod_annotations)
    clients: list[Mapping[str, Any]] = []
    if meshing.needs_service:  # and then a pod runs as the account of its Service's name
        own = service("driver", namespace, {"app": "driver"}, {"http": ECHO_PORT})
        clients = [account_manifest("driver", namespace), own]
    account = "driver" if clients else None
    return [
        *meshing.called("echo"),
        *clients,
        *echo_deployment("echo", namespace, image=image, labels=labels, annotations=annotations),
        service("echo", namespace, {"app": "echo"}, {"http": ECHO_PORT}),
        driver_pod("driver", namespace, image=image, labels=labels, annotations=annotations, service_account=account),
    ]


def _nodes(kube: Kube, namespace: str) -> dict[str, str]:
    """The node of each workload, by its label `app`."""
    return {pod["metadata"]["labels"]["app"]: pod["spec"]["nodeName"] for pod in kube.list("v1", "Pod", namespace)}


def pinned(item: Mapping[str, Any], nodes: Mapping[str, str]) -> Mapping[str, Any]:
    """The same object; its pods must run on the node of their workload."""
    changed: dict[str, Any] = copy.deepcopy(dict(item))
    pod = changed["spec"]["template"] if changed["kind"] == "Deployment" else changed
    if changed["kind"] not in {"Deployment", "Pod"} or pod["metadata"]["labels"]["app"] not in nodes:
        return item
    # By the node's name as the scheduler knows it, which the label of the host's name need not be.
    here = {"key": "metadata.name", "operator": "In", "values": [nodes[pod["metadata"]["labels"]["app"]]]}
    terms = {"nodeSelectorTerms": [{"matchFields": [here]}]}
    pod["spec"]["affinity"] = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}
    return changed


def _ready_there(kube: Kube, namespace: str, nodes: Mapping[str, str], plan: Plan, image: str) -> None:
    """Wait for the pods that are pinned; EnvironmentProblem with the scheduler's reason where there is no room."""
    try:
        wait_ready(kube, namespace, 2, plan.ready_timeout, image)
    except NotEventually:
        if why := unscheduled(kube.list("v1", "Pod", namespace)):
            raise EnvironmentProblem(
                f"the pods with sidecars cannot run where those without do ({', '.join(sorted(set(nodes.values())))}), "
                f"and elsewhere distance would count as the proxies' cost: {why}",
                fix="make room on these nodes, or measure on a cluster with less on it",
            ) from None
        raise


def _bare(kube: Kube, namespace: str, proxy: str) -> str:
    """The pods of a namespace that lack the mesh's container."""
    pods = kube.list("v1", "Pod", namespace) if proxy else []
    return ", ".join(sorted(pod["metadata"]["name"] for pod in pods if proxy not in sidecars(pod)))


def _probe(driver: Driver, url: str) -> tuple[Sample, ...]:
    """What became of a few requests."""
    return driver.start(LoadSpec(url, 100.0, PROBES / 100, users=1, timeout=1.0, record="requests")).wait().samples


def _reachable(arm: Arm, plan: Plan) -> None:
    eventually(
        lambda: sum(one.good for one in _probe(arm.driver, arm.url)) == PROBES,
        timeout=plan.strict_timeout,
        what=f"{arm.url} answers the driver of arm {arm.name}",
    )


def _strict(arms: Mapping[str, Arm], plan: Plan) -> str:
    """Mutual TLS is proven by what is refused: the strict echo must say no to the driver without a sidecar.

    What nobody answers is not refused. Gives what became of the last requests where that is not so.
    """
    told: set[str] = set()

    def refused() -> bool:
        last = _probe(arms[BASE].driver, arms[MESHED].url)
        told.clear()
        told.update(one.error or str(one.status) for one in last)
        return len(last) == PROBES and all(one.refused for one in last)

    what = "the strict echo server refuses a driver without a sidecar"
    try:
        eventually(refused, timeout=plan.strict_timeout, what=what)
    except NotEventually as problem:
        return f"{problem.problem}; its requests ended with {', '.join(sorted(told))}" if told else problem.problem
    return ""
