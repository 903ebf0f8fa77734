"""Grounds in the cluster: created early and as many at once as the cluster can start, and waited for."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from conformance.adapters import Adapter, Manifest
from conformance.context import LIMITS
from conformance.dressing import Dressing
from conformance.endpoints import ready_endpoints, wanted_endpoints
from conformance.ground import Ground, render_ground, space_name
from conformance.pace import Pace, pods_at_once
from conformance.sweeping import delete_space, spaces_of
from fixtures.kube import Kube, NotEventually, eventually
from fixtures.kube.missing_images import Missing, missing_image
from fixtures.kube.runner import RUN_LABEL, RUNNER
from fixtures.kube.waits import is_ready
from reports.errors import EnvironmentProblem, MeshproofError

__all__ = ["Keeper"]

STATE = "meshproof.io/state"
READY = "applied"
LOOK_SECONDS = 8.0
"""How often a wait for pods looks whether it is in vain."""
GLANCE_SECONDS = 2.0
"""How soon a start that nobody waits for any more is given up."""


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
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.kube = kube
        self.adapter = adapter
        self.run = run
        self.image = image
        self.runner = runner
        self.dressing = dressing
        self.everywhere = everywhere
        """Objects of the user's that every namespace of the run gets: pull secrets."""
        self.tell = tell
        """Called with a line of progress, by any thread."""
        self._pool = ThreadPoolExecutor(max_workers=8, thread_name_prefix="ground")
        self._pace: Pace | None = None
        self._closing = threading.Event()
        self._begun: dict[str, Future[None]] = {}
        """By ground: done when its objects are in the cluster; its pods start after that."""
        self._awaited: set[str] = set()
        """Namespaces whose pods somebody has waited for."""
        self._given_up: set[str] = set()
        """Images that were waited for in vain: no further ground waits as long again."""
        self._told: set[str] = set()
        """Images of which it was told that pods wait for them."""

    def begin(self, grounds: Iterable[Ground]) -> None:
        """Start to create grounds in the background, in this order and at the cluster's pace."""
        new = [ground for ground in grounds if ground.name not in self._begun]
        if not new:
            return
        pace = self._pace = self._pace or self._cluster_pace(sum(map(_pods, new)))
        for ground in new:
            made = self._begun[ground.name] = Future()
            self._pool.submit(self._start, ground, made, pace, pace.place())

    def _cluster_pace(self, pods: int) -> Pace:
        try:
            return Pace(pods_at_once(self.kube.list("v1", "Node"), pods))
        except MeshproofError:  # who may not look at nodes is on a cluster of others, hardly a small one
            return Pace()

    def _start(self, ground: Ground, made: Future[None], pace: Pace, place: object) -> None:
        """Create a ground when its turn has come; the turn is over when its pods are Ready."""
        with pace.turn(place, _pods(ground)):
            if self._closing.is_set():
                made.cancel()
                return
            try:
                self._create(ground)
            except BaseException as error:  # noqa: BLE001 - whoever waits for the ground is told
                made.set_exception(error)
                return
            made.set_result(None)
            if not self._started(ground):
                pace.give_up()

    def _started(self, ground: Ground) -> bool:
        now = time.monotonic()
        deadline, look = now + LIMITS.ground_ready, now + LOOK_SECONDS
        for space, count in self._expected(ground):
            ready = False
            while not ready and not self._closing.is_set() and time.monotonic() < deadline:
                with contextlib.suppress(MeshproofError):
                    self.kube.wait_pods_ready(space, count=count, timeout=GLANCE_SECONDS)
                    ready = True
                if not ready and time.monotonic() >= look:
                    look = time.monotonic() + LOOK_SECONDS
                    self._tell_missing(ground, space)
            if not ready:
                return False
        return True

    def _tell_missing(self, ground: Ground, space: str) -> None:
        """Say once of each image that pods wait for it."""
        with contextlib.suppress(MeshproofError):
            missing = missing_image(self.kube.list("v1", "Pod", space), self.image)
            if missing is not None and missing.image not in self._told:
                self._told.add(missing.image)
                self.tell(missing.line(ground.name))

    def _expected(self, ground: Ground) -> list[tuple[str, int]]:
        """The ground's namespaces with pods, and how many."""
        counts = {
            one.name: sum(workload.replicas for workload in ground.workloads if workload.place == one.name)
            for one in ground.places
        }
        return [(space_name(self.run, ground.name, name), count) for name, count in counts.items() if count]

    def _create(self, ground: Ground) -> None:
        layers = render_ground(ground, self.adapter, run=self.run, image=self.image)
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
            with contextlib.suppress(MeshproofError):  # perhaps there is no namespace, and why is what must be told
                self._say(ground, error.problem)
            raise
        self._say(ground, READY)

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
        for space, count in self._expected(ground):
            self._await_pods(space, count)
        for one in ground.places:
            self._await_endpoints(space_name(self.run, ground.name, one.name), wanted_endpoints(ground, one.name))

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
        """Wait for pods, but not for an image that the cluster will never get."""
        self._awaited.add(space)
        missing: Missing | None = None

        def look(seconds: float) -> None:
            nonlocal missing
            try:
                self.kube.wait_pods_ready(space, count=count, timeout=seconds)
            except NotEventually:
                missing = missing_image(self.kube.list("v1", "Pod", space), self.image)
                if missing and (missing.in_vain(self.image) or missing.image in self._given_up):
                    raise missing.problem(self.image) from None
                raise

        try:
            self._patiently(look)
        except NotEventually:
            if missing is None:
                raise
            self._given_up.add(missing.image)
            raise missing.problem(self.image) from None

    def _patiently(self, look: Callable[[float], None]) -> None:
        """Look until it is as it should be, for `LIMITS.ground_ready` at most; `look` raises `NotEventually` otherwise.

        The limit starts anew with each further pod of the run that is Ready: a small cluster on which many start is
        slow, not stuck.
        """
        seen: set[str] = set()
        deadline = time.monotonic() + LIMITS.ground_ready
        while True:
            left = deadline - time.monotonic()
            try:
                look(min(left, LOOK_SECONDS))
            except NotEventually:
                if further := self._ready_pods() - seen:
                    seen |= further
                    deadline = time.monotonic() + LIMITS.ground_ready
                elif left <= LOOK_SECONDS:
                    raise
            else:
                return

    def _ready_pods(self) -> set[str]:
        """The Ready pods of the whole run, by their UID."""
        spaces = spaces_of(self.kube, self.run, sorted(self._awaited))
        pods = (pod for space in spaces for pod in self.kube.list("v1", "Pod", space))
        return {str(pod["metadata"].get("uid")) for pod in pods if is_ready(pod)}

    def _await_creation(self, ground: Ground) -> None:
        """Another process creates the ground."""
        first = space_name(self.run, ground.name, ground.places[0].name)

        def state() -> str:
            found = self.kube.get("v1", "Namespace", first)
            return str((found or {}).get("metadata", {}).get("annotations", {}).get(STATE, ""))

        def look(seconds: float) -> None:
            said = eventually(state, timeout=seconds, interval=0.2, what=f"the ground {ground.name} created")
            if said != READY:
                raise EnvironmentProblem(said)

        self._patiently(look)

    def release(self, ground: Ground) -> None:
        """Begin to delete a ground that is no longer needed."""
        for one in ground.places:
            delete_space(self.kube, space_name(self.run, ground.name, one.name))

    def close(self) -> None:
        """Wait for creations under way to end, and begin no more; what they made, the sweep removes."""
        self._closing.set()
        if self._pace is not None:
            self._pace.give_up()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _pods(ground: Ground) -> int:
    return sum(workload.replicas for workload in ground.workloads)
