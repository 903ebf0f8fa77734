"""What a load job is asked to do, and the schedule that follows from it.

Pure: shared by the driver in the pod and by the runner outside.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, cast, get_args
from urllib.parse import urlsplit

from reports.errors import UsageProblem

__all__ = ["CONTROL_PORT", "LoadSpec", "Recording", "intended_times"]

CONTROL_PORT = 16003
"""Loopback port on which the driver in a pod takes its orders."""

MAX_RATE = 5000.0
"""Requests per second; above this one Python process measures itself and not the mesh."""
MAX_REQUESTS = 1_000_000
"""Requests per job: bounds the driver's memory (about 100 bytes a request)."""

Recording = Literal["histogram", "requests"]
Arrivals = Literal["uniform", "poisson"]


@dataclass(frozen=True)
class LoadSpec:
    """One open-loop load job against one URL."""

    url: str
    rate: float
    """Requests per second."""
    duration: float
    """Seconds over which the requests are spread."""
    users: int = 8
    """Concurrent connections; a request that finds all of them busy is late, and its lateness is counted."""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout: float = 5.0
    """Seconds from the send to the last byte of the reply."""
    record: Recording = "histogram"
    """`requests` keeps one record a request, `histogram` only the distributions."""
    arrivals: Arrivals = "uniform"
    seed: int = 0
    """Seed of the Poisson arrivals; unused when arrivals are uniform."""
    warmup: int = 0
    """How many of the first requests are sent and not counted."""

    def __post_init__(self) -> None:
        """Raise UsageProblem, naming the field, unless the job can be run."""
        parts = urlsplit(self.url)
        checks = {
            "url": (parts.scheme == "http" and bool(parts.hostname), "is an http:// address with a host"),
            "rate": (0 < self.rate <= MAX_RATE, f"is above 0 and at most {MAX_RATE:.0f} per second"),
            "duration": (self.duration > 0, "is above 0 seconds"),
            "users": (1 <= self.users <= 1000, "is between 1 and 1000"),
            "timeout": (self.timeout > 0, "is above 0 seconds"),
            "record": (self.record in get_args(Recording), "is histogram or requests"),
            "arrivals": (self.arrivals in get_args(Arrivals), "is uniform or poisson"),
            "warmup": (self.warmup >= 0, "is not negative"),
        }
        for name, (fine, demand) in checks.items():
            if not fine:
                raise UsageProblem(
                    f"load job: {name} is {getattr(self, name)!r}", fix=f"give a value of {name} that {demand}"
                )
        if self.rate * self.duration > MAX_REQUESTS:
            raise UsageProblem(
                f"load job: {self.rate:.0f} per second for {self.duration:.0f} s is more than {MAX_REQUESTS} requests",
                fix="lower rate or duration",
            )

    @classmethod
    def from_json(cls, data: object) -> LoadSpec:
        """Read the body of `POST /run`; raises UsageProblem naming the field that is wrong."""
        if not isinstance(data, dict):
            raise UsageProblem("load job: the body is not a JSON object")
        fields = cls.__dataclass_fields__
        if unknown := sorted(set(data) - set(fields)):
            raise UsageProblem(f"load job: unknown field {unknown[0]!r}", fix=f"use only {', '.join(fields)}")
        if missing := [name for name in ("url", "rate", "duration") if name not in data]:
            raise UsageProblem(f"load job: the field {missing[0]!r} is missing")
        for name in ("rate", "duration", "timeout", "users", "warmup", "seed"):
            value = data.get(name, 0)
            whole = name in ("users", "warmup", "seed")
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                raise UsageProblem(f"load job: {name} is {value!r}, not a {'whole ' if whole else ''}number")
        headers = data.get("headers", {})
        if not isinstance(headers, dict) or not all(isinstance(v, str) for v in headers.values()):
            raise UsageProblem("load job: headers is not an object of strings")
        if not isinstance(data["url"], str):
            raise UsageProblem("load job: url is not a string")
        return cls(**cast("dict[str, str]", data))  # type: ignore[arg-type]  # every field was checked just above

    def to_json(self) -> dict[str, object]:
        """The body of `POST /run`."""
        return asdict(self)

    @property
    def count(self) -> int:
        """How many requests the schedule holds; at least one."""
        return max(1, round(self.rate * self.duration))


def intended_times(spec: LoadSpec) -> Iterator[float]:
    """Seconds after the start at which each request is meant to leave, ascending, fixed before the first is sent.

    Uniform arrivals are evenly spaced; Poisson arrivals have exponential gaps of the same mean.
    """
    if spec.arrivals == "uniform":
        for index in range(spec.count):
            yield index / spec.rate
        return
    source, at = random.Random(spec.seed), 0.0
    for _ in range(spec.count):
        yield at
        at += source.expovariate(spec.rate)
