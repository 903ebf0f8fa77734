"""Grounds in the cluster: created early and side by side, waited for, and swept away afterwards.

Everything made here carries the label `meshproof.io/run`. Namespaces also name the runner that made them, so that the
next run on the same machine can sweep what a killed one left.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from conformance.adapters import Adapter, Manifest
from conformance.context import LIMITS
from conformance.dressing import Dressing
from conformance.endpoints import ready_endpoints, wanted_endpoints
from conformance.ground import Ground, render_ground, space_name
from fixtures.kube import Kube, NotEventually, eventually
from fixtures.kube.waits import is_ready
from reports.errors import EnvironmentProblem, MeshproofError

__all__ = ["Keeper", "runner_name", "sweep", "sweep_dead"]

RUN_LABEL = "meshproof.io/run"
RUNNER = "meshproof.io/runner"
STATE = "meshproof.io/state"
READY = "applied"
GONE_SECONDS = 60.0
LOOK_SECONDS = 8.0
"""How often a wait for pods looks whether it is in vain."""
NO_IMAGE = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}


def runner_name() -> str:
    """This process: host, process id and its start time, so that a reused process id is no alibi."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def _started(pid: int) -> str:
    """Start time of a process in clock ticks since boot; "" where it is gone or the system does not say."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def is_dead(runner: str) -> bool:
    """Whether a runner was on this machine and is no more. Runners elsewhere are presumed alive."""
    host, _, rest = runner.partition("/")
    pid, _, started = rest.partition("/")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    return _started(int(pid)) != started


class Keeper:
    """The grounds of one run, as one process sees them."""

    def __init__(
        self,
        kube: Kube,
        adapter: Adapter,
        *,
        run: str,
        image: str,
        runner: str,
        dressing: Dressing = Dressing(),  # noqa: B008 - frozen
        everywhere: tuple[Manifest, ...] = (),
    ) -> None:
        self.kube = kube
        self.adapter = adapter
        self.run = run
        self.image = image
        self.runner = runner
        self.dressing = dressing
        self.everywhere = everywhere
        """Objects of the user's that every namespace of the run gets: pull secrets."""
        self._pool = ThreadPoolExecutor(max_workers=4, thread_name_prefix="ground")
        self._begun: dict[str, Future[None]] = {}

    def begin(self, grounds: Iterable[Ground]) -> None:
        """Start to create grounds in the background."""
        for ground in grounds:
            if ground.name not in self._begun:
                self._begun[ground.name] = self._pool.submit(self._create, ground)

    def _create(self, ground: Ground) -> None:
        layers = render_ground(ground, self.adapter, run=self.run, image=self.image)
        problem = READY
        try:
            for layer in layers:
                self.kube.create_namespace(
                    layer.namespace,
                    {
                        **self.dressing.namespace_labels,
                        RUN_LABEL: self.run,
                        "meshproof.io/ground": ground.name,
                        **layer.labels,
                    },
                    {**self.dressing.namespace_annotations, RUNNER: self.runner, **layer.annotations},
                )
            for layer in layers:
                dressed = map(self.dressing.on, layer.objects)
                self.kube.apply(*self.everywhere, *dressed, namespace=layer.namespace)
        except MeshproofError as error:
            problem = error.problem
            raise
        finally:
            self._say(ground, problem)

    def _say(self, ground: Ground, state: str) -> None:
        """Tell the other processes of the run how the creation went."""
        first = space_name(self.run, ground.name, ground.places[0].name)
        body = {"metadata": {"annotations": {STATE: state}}}
        self.kube.patch("v1", "Namespace", first, body)

    def ensure(self, ground: Ground) -> None:
        """Return when every pod of the ground is Ready. `EnvironmentProblem` says why it does not come about."""
        if ground.name in self._begun:
            self._begun[ground.name].result()
        else:
            self._await_creation(ground)
        for one in ground.places:
            expected = sum(workload.replicas for workload in ground.workloads if workload.place == one.name)
            space = space_name(self.run, ground.name, one.name)
            if expected:
                self._await_pods(space, expected)
            self._await_endpoints(space, wanted_endpoints(ground, one.name))

    def _await_endpoints(self, space: str, wanted: Mapping[str, int]) -> None:
        """Wait until each service names its Ready pods: on a busy cluster its slices follow them by a second.

        No mesh can send requests to endpoints that it has not been told of.
        """

        def told() -> bool:
            found = ready_endpoints(self.kube.list("discovery.k8s.io/v1", "EndpointSlice", space))
            return all(found[service] >= count for service, count in wanted.items())

        if any(wanted.values()):
            eventually(told, timeout=LIMITS.ground_ready, what=f"the endpoints of every service in {space}")

    def _await_pods(self, space: str, count: int) -> None:
        """Wait for pods, but not for an image that the cluster cannot get.

        The limit starts anew with each further pod of the run that is Ready: a small cluster on which many start at
        once is slow, not stuck.
        """
        seen: set[str] = set()
        deadline = time.monotonic() + LIMITS.ground_ready
        while True:
            left = deadline - time.monotonic()
            try:
                self.kube.wait_pods_ready(space, count=count, timeout=min(left, LOOK_SECONDS))
            except NotEventually:
                if image := _image_that_is_missing(self.kube.list("v1", "Pod", space)):
                    raise EnvironmentProblem(
                        f"the cluster cannot get the image {image}",
                        fix="load its archive into the nodes, or name one that they can pull with --image",
                    ) from None
                if further := self._ready_pods() - seen:
                    seen |= further
                    deadline = time.monotonic() + LIMITS.ground_ready
                elif left <= LOOK_SECONDS:
                    raise
            else:
                return

    def _ready_pods(self) -> set[str]:
        """The Ready pods of the whole run, by their UID."""
        spaces = self.kube.list("v1", "Namespace", selector=f"{RUN_LABEL}={self.run}")
        pods = (pod for space in spaces for pod in self.kube.list("v1", "Pod", space["metadata"]["name"]))
        return {str(pod["metadata"].get("uid")) for pod in pods if is_ready(pod)}

    def _await_creation(self, ground: Ground) -> None:
        """Another process creates the ground."""
        first = space_name(self.run, ground.name, ground.places[0].name)

        def state() -> str:
            found = self.kube.get("v1", "Namespace", first)
            return str((found or {}).get("metadata", {}).get("annotations", {}).get(STATE, ""))

        said = eventually(state, timeout=LIMITS.ground_ready, interval=0.2, what=f"the ground {ground.name} created")
        if said != READY:
            raise EnvironmentProblem(said)

    def release(self, ground: Ground) -> None:
        """Begin to delete a ground that is no longer needed."""
        for one in ground.places:
            _delete(self.kube, space_name(self.run, ground.name, one.name))

    def close(self) -> None:
        """Wait for creations under way to end; what they made, the sweep removes."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _image_that_is_missing(pods: Iterable[Mapping[str, Any]]) -> str:
    for pod in pods:
        status = pod.get("status", {})
        for container in (*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())):
            if container.get("state", {}).get("waiting", {}).get("reason") in NO_IMAGE:
                return str(container.get("image", ""))
    return ""


def _delete(kube: Kube, name: str) -> None:
    """Begin to delete a namespace, its pods first and at once.

    The namespace controller looks only after five seconds, and again much later if pods are still ending then. No new
    pods can come meanwhile: the namespace is terminating.
    """
    kube.delete("v1", "Namespace", name)
    for pod in kube.list("v1", "Pod", name):
        kube.delete("v1", "Pod", pod["metadata"]["name"], name, grace=1)


def sweep(kube: Kube, run: str, *, wait: bool = True) -> list[str]:
    """Delete every namespace of a run and wait until they are gone. Returns the names of those that are not.

    Without `wait` the deletion is only begun, and nothing is returned.
    """
    names = [item["metadata"]["name"] for item in kube.list("v1", "Namespace", selector=f"{RUN_LABEL}={run}")]
    for name in names:
        _delete(kube, name)
    if not wait:
        return []
    deadline = time.monotonic() + GONE_SECONDS
    stuck = []
    for name in names:
        try:
            kube.wait_gone("v1", "Namespace", name, timeout=max(1.0, deadline - time.monotonic()))
        except EnvironmentProblem:
            stuck.append(name)
    return stuck


def sweep_dead(kube: Kube) -> list[str]:
    """Delete what killed runs of this machine left. Returns the namespaces; their deletion is not awaited."""
    found = kube.list("v1", "Namespace", selector=RUN_LABEL)
    left = [
        item["metadata"]["name"]
        for item in found
        if is_dead(item["metadata"].get("annotations", {}).get(RUNNER, ""))
        and not item["metadata"].get("deletionTimestamp")
    ]
    for name in left:
        _delete(kube, name)
    return left
