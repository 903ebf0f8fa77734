"""The runner's side of a load driver in a pod: one port-forward, JSON calls over it."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from fixtures.kube import Kube, eventually
from load.spec import CONTROL_PORT, LoadSpec
from reports.errors import EnvironmentProblem

__all__ = ["Driver", "Job", "Progress", "Sample"]


@dataclass(frozen=True)
class Sample:
    """One request of a load job. Times are epoch seconds of the runner's clock."""

    intended: float
    start: float
    seconds: float
    """Service time: from the send to the last byte."""
    status: int | None
    error: str | None
    """refused, reset, timeout, eof or protocol; None when a reply came."""
    pod: str | None
    """The pod that answered, as it says itself."""

    @property
    def end(self) -> float:
        """When the reply was complete, or the request given up."""
        return self.start + self.seconds

    @property
    def latency(self) -> float:
        """Seconds from the intended send to the end."""
        return self.end - self.intended

    @property
    def good(self) -> bool:
        """Whether a reply came that is no server error."""
        return self.error is None and self.status is not None and self.status < 500


@dataclass(frozen=True)
class Progress:
    """Where a job stands."""

    state: str
    """running, done, stopped or failed."""
    problem: str
    requests: int
    errors: int
    samples: tuple[Sample, ...]
    histograms: Mapping[str, str] = field(default_factory=dict)
    """latency, service and lag; encoded, present when a histogram job is over."""


class Driver:
    """A load driver in a pod, as a context manager. Raises EnvironmentProblem when the pod cannot be reached."""

    def __init__(self, kube: Kube, namespace: str, pod: str) -> None:
        self.namespace = namespace
        self.pod = pod
        self._forward: AbstractContextManager[tuple[str, int]] = kube.forward(namespace, pod, CONTROL_PORT)
        self._address = ("", 0)
        self.skew = 0.0
        """Seconds to add to the pod's clock to get the runner's; measured on entering, good to half a round trip."""

    def __enter__(self) -> Self:
        self._address = self._forward.__enter__()
        try:
            eventually(self._measure_skew, timeout=10, what=f"the load driver in {self.namespace}/{self.pod} answers")
        except BaseException:
            self._forward.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._forward.__exit__(kind, error, trace)

    def start(self, spec: LoadSpec) -> Job:
        """Begin a job and return at once."""
        return Job(self, spec, str(self.call("POST", "/run", spec.to_json())["id"]))

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None) -> dict[str, Any]:
        """One call to the control port; raises EnvironmentProblem for anything but a 200."""
        connection = http.client.HTTPConnection(*self._address, timeout=20)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            reply = connection.getresponse()
            told = json.loads(reply.read() or b"{}")
        except (OSError, http.client.HTTPException, ValueError) as problem:
            raise EnvironmentProblem(
                f"the load driver in {self.namespace}/{self.pod} does not answer: {problem}"
            ) from problem
        finally:
            connection.close()
        if reply.status != 200 or not isinstance(told, dict):
            raise EnvironmentProblem(
                f"the load driver in {self.namespace}/{self.pod} refused {method} {path}: "
                f"{told.get('problem', '') if isinstance(told, dict) else told}"
            )
        return told

    def _measure_skew(self) -> bool:
        tries = []
        for _ in range(3):
            before = time.time()
            there = float(self.call("GET", "/clock")["now"])
            after = time.time()
            tries.append((after - before, (before + after) / 2 - there))
        self.skew = min(tries)[1]
        return True


class Job:
    """A job under way."""

    def __init__(self, driver: Driver, spec: LoadSpec, name: str) -> None:
        self.spec = spec
        self._driver = driver
        self._name = name

    def progress(self, since: int = 0) -> Progress:
        """State, and the samples from number `since` on."""
        return self._progress(self._driver.call("GET", f"/run/{self._name}?since={since}"))

    def stop(self) -> Progress:
        """End the job; gives everything it recorded."""
        return self._progress(self._driver.call("DELETE", f"/run/{self._name}"))

    def wait(self) -> Progress:
        """Wait until the schedule is used up. Raises EnvironmentProblem when that does not happen in time."""
        time.sleep(max(0.0, self.spec.duration))  # the schedule cannot end before; no condition to watch until then

        def ended() -> Progress | None:
            now = self.progress()
            return None if now.state == "running" else now

        done = eventually(
            ended, timeout=self.spec.timeout + 20, interval=0.05, what=f"the load job against {self.spec.url} ends"
        )
        if done is None or done.state == "failed":
            raise EnvironmentProblem(f"the load job against {self.spec.url} did not finish: {done and done.problem}")
        return done

    def _progress(self, told: Mapping[str, Any]) -> Progress:
        skew = self._driver.skew
        samples = tuple(
            Sample(one["intended"] + skew, one["start"] + skew, one["seconds"], one["status"], one["error"], one["pod"])
            for one in told.get("records", ())
        )
        return Progress(
            state=told["state"],
            problem=told["problem"],
            requests=told["requests"],
            errors=told["errors"],
            samples=samples,
            histograms=told.get("histograms", {}),
        )
