"""The runner's side of a load driver in a pod: one port-forward, JSON calls over it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from fixtures.kube import Kube, NotEventually, eventually
from load.control import PodControl
from load.sample import Sample
from load.spec import CONTROL_PORT, LoadSpec
from reports.errors import EnvironmentProblem

__all__ = ["Driver", "Job", "JobFailed", "Progress"]


class JobFailed(EnvironmentProblem):
    """A load job did not come to its end: too many of its requests hung for too long."""


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
    """latency, service, lag and clock; encoded, present when a histogram job is over."""
    pulse: tuple[tuple[float, float], ...] = ()
    """When the driver meant to wake up, and how late it was; present when a job with records is over."""
    now: float | None = None
    """When the driver said so: epoch seconds of the runner's clock; None where it did not tell."""


class Driver(PodControl):
    """A load driver in a pod, as a context manager."""

    what = "load driver"

    def __init__(self, kube: Kube, namespace: str, pod: str) -> None:
        super().__init__(kube, namespace, pod, CONTROL_PORT, "/clock")

    def start(self, spec: LoadSpec) -> Job:
        """Begin a job and return at once."""
        return Job(self, spec, str(self.call("POST", "/run", spec.to_json())["id"]))


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
        """Wait until the schedule is used up. Raises JobFailed, with the job stopped, when that is not in time.

        Raises NotEventually where the driver cannot be reached any more: the job may have come to any end.
        """
        time.sleep(max(0.0, self.spec.duration))  # the schedule cannot end before; no condition to watch until then

        def ended() -> Progress | None:
            now = self.progress()
            return None if now.state == "running" else now

        what = f"the load job against {self.spec.url}"
        done: Progress | None = None
        try:
            done = eventually(ended, timeout=self.spec.timeout + 20, interval=0.05, what=f"{what} ends")
        except NotEventually as problem:
            with suppress(EnvironmentProblem):  # the next one may begin then
                done = self.stop()
            if done is None:
                raise
            if done.state == "stopped":
                raise JobFailed(problem.problem) from problem
        if done is None or done.state == "failed":
            raise JobFailed(f"{what} did not finish: {done and done.problem}")
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
            pulse=tuple((at + skew, late) for at, late in told.get("pulse", ())),
            now=told["now"] + skew if "now" in told else None,
        )
