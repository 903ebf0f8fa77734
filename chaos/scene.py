"""The scene of a run's experiments: namespaces, pods, the load driver and the client without rights, all ready."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from typing import Any

from chaos.faults.space import SPACE_PREFIX, Space
from chaos.guard import Allow, guard
from chaos.log import LOG_NAMESPACE, remove
from chaos.meshing import forgery, meshing
from chaos.model import Attempt
from chaos.objects import DRIVER, ECHO, ECHO_PORT, PROBER, inside, outside
from chaos.prober import CONTROL_PORT as PROBER_PORT
from chaos.settings import Settings
from chaos.standing import Standing, standing
from chaos.wal import append, holds
from conformance.adapters import Adapter
from conformance.outside import expect_outside
from fixtures.kube import ApiProblem, Kube
from load.control import PodControl
from load.ready import wait_ready
from load.remote import Driver
from load.spec import LoadSpec
from reports.errors import EnvironmentProblem

__all__ = ["Outsider", "Scene", "logged_namespace", "scene"]

ECHO_CONTROL_PORT = 16000


class Outsider(PodControl):
    """The client without rights, as seen from the runner."""

    what = "safety prober"

    def __init__(self, kube: Kube, namespace: str) -> None:
        super().__init__(kube, namespace, PROBER, PROBER_PORT, "/attempts?since=1000000000")
        self._seen: list[Attempt] = []

    def attempts(self) -> tuple[Attempt, ...]:
        """Everything it has tried so far."""
        told = self.call("GET", f"/attempts?since={len(self._seen)}")["attempts"]
        self._seen += [
            Attempt(row["at"] + self.skew, row["attack"], row["reached"], row["through"], row["detail"]) for row in told
        ]
        return tuple(self._seen)


@dataclass(frozen=True)
class Scene:
    """What an experiment finds when it begins."""

    kube: Kube
    adapter: Adapter
    space: str
    """The meshed namespace."""
    driver: Driver
    outsider: Outsider
    settings: Settings
    lax: str = ""
    """Why the mesh could not be told to be strict; "" where it was."""
    holder: str = ""
    """As whom the lease is held."""
    image: str = ""
    """Of its pods, and of the janitor's."""
    allow: Allow = lambda _: None
    """How the janitor comes to the rights that taking a fault back needs."""

    def expect_guarded(self) -> None:
        """EnvironmentProblem where nobody would take a fault back should this runner die."""
        wait_ready(self.kube, LOG_NAMESPACE, 1, self.settings.ready_timeout, self.image)

    def expect_held(self) -> None:
        """EnvironmentProblem where another run holds the lease: while this one stood still it was taken for dead."""
        if not holds(self.kube, self.holder):
            raise EnvironmentProblem("another chaos run has taken this cluster over", fix="wait for its end")

    def reaches(self, url: str, host: str = "") -> bool:
        """Whether the meshed driver gets a good answer from a URL; may be asked while the load is on.

        With `host` it asks for that, wherever the URL leads: a name that was unknown a moment ago may stay so for long.
        """
        headers = {"Host": host} if host else {}
        spec = LoadSpec(url, 10, 0.1, users=1, headers=headers, timeout=1.0, record="requests")
        try:
            samples = self.driver.start(spec).wait().samples
        except EnvironmentProblem:
            return False  # the name does not resolve yet
        return len(samples) == 1 and samples[0].good and samples[0].status == 200

    def pods(self, app: str) -> list[dict[str, Any]]:
        """The running pods of a workload, by name."""
        found = self.kube.list("v1", "Pod", self.space, f"app={app}")
        alive = [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]
        return sorted(alive, key=lambda pod: str(pod["metadata"]["name"]))

    def standing(self) -> dict[str, Standing]:
        """Every pod of the scene as it is now, by name."""
        return standing(self._all("Pod"))

    def events(self) -> list[dict[str, Any]] | None:
        """The events of the scene so far; None where they cannot be read."""
        try:
            return self._all("Event")
        except ApiProblem:
            return None

    def _all(self, kind: str) -> list[dict[str, Any]]:
        spaces = (self.space, self.outsider.namespace)
        return [item for space in spaces for item in self.kube.list("v1", kind, space)]

    def served(self) -> dict[str, int]:
        """How many requests each echo server has answered since it started, by pod; pods that do not say are absent."""
        counts: dict[str, int] = {}
        for pod in self.pods(ECHO):
            name = pod["metadata"]["name"]
            try:
                counts[name] = self._asked(name)
            except (OSError, http.client.HTTPException, ValueError, KeyError):
                continue  # a pod that is just coming or going
        return counts

    def _asked(self, pod: str) -> int:
        with closing(self.kube.dial(self.space, pod, ECHO_CONTROL_PORT)) as stream:
            stream.socket.settimeout(5)
            stream.socket.sendall(b"GET /behaviour HTTP/1.1\r\nHost: echo\r\n\r\n")
            with http.client.HTTPResponse(stream.socket) as reply:
                reply.begin()
                return int(json.loads(reply.read())["served"])


@contextmanager
def scene(
    kube: Kube, adapter: Adapter, image: str, settings: Settings, report: Callable[[str], None]
) -> Iterator[Scene]:
    """Make the scene, and take it away at the end. The janitor and the log stand before anything else does."""
    token = secrets.token_hex(3)
    space, out, holder = f"{SPACE_PREFIX}{token}", f"{SPACE_PREFIX}{token}-out", f"runner-{token}"
    mesh = meshing(adapter)
    with ExitStack() as stack:
        allow = stack.enter_context(guard(kube, image, holder))
        allow([Space.rights(space, out)])
        strict = mesh.strict(space)
        labels = {**mesh.namespace_labels, **strict.labels}
        annotations = {**mesh.namespace_annotations, **strict.annotations}
        stack.enter_context(logged_namespace(kube, space, labels, annotations))
        stack.enter_context(logged_namespace(kube, out, {}, {}))
        report("starting the pods")
        kube.apply(*inside(space, image, mesh), namespace=space)
        kube.apply(*outside(out, image, f"{ECHO}.{space}:{ECHO_PORT}", forgery(adapter, space), mesh))
        wait_ready(kube, space, 4, settings.ready_timeout, image)
        wait_ready(kube, out, 1, settings.ready_timeout, image)
        expect_outside(kube, adapter, out, PROBER)
        driver = stack.enter_context(Driver(kube, space, DRIVER))
        outsider = stack.enter_context(Outsider(kube, out))
        ready = Scene(kube, adapter, space, driver, outsider, settings, strict.problem, holder, image, allow)
        ready.expect_guarded()
        yield ready


@contextmanager
def logged_namespace(
    kube: Kube, name: str, labels: Mapping[str, str], annotations: Mapping[str, str]
) -> Iterator[None]:
    """A namespace for the length of a `with` block, that whoever replays the log deletes where this one does not.

    So its entry goes after a deletion that was asked for, and stays in every other case.
    """
    entry = append(kube, Space.plan(name))
    with kube.namespace(name, labels=labels, annotations=annotations):
        yield
    remove(kube, entry)
