"""Metrics of a proxy as a check sees them: read through its pod's loopback, and asked for over the network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from urllib.error import URLError

from prometheus_client.parser import text_string_to_metric_families

from conformance.adapters.base import Exposition
from conformance.context import LIMITS, Context, Pod
from fixtures.kube import Kube
from fixtures.proxies import open_here
from fixtures.workloads.traffic import Batch

__all__ = ["Counter", "counters", "over_network", "parse", "series", "total"]


@dataclass(frozen=True)
class Counter:
    """One series of a counter."""

    labels: tuple[tuple[str, str], ...]
    value: float

    def of(self, label: str) -> str:
        """The value of a label, "" without it."""
        return dict(self.labels).get(label, "")

    def has(self, labels: Mapping[str, str]) -> bool:
        """Whether it carries all of these."""
        own = dict(self.labels)
        return all(own.get(key) == value for key, value in labels.items())


def parse(text: str, name: str) -> tuple[Counter, ...]:
    """The series of a counter in Prometheus' text format. Raises ValueError for what is no such text."""
    # The parser calls every counter by OpenMetrics' rule, also those whose own name does not end so.
    return tuple(
        Counter(tuple(sorted(sample.labels.items())), sample.value)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == (f"{name.removesuffix('_total')}_total" if family.type == "counter" else name)
    )


def counters(
    ctx: Context, pod: Pod, exposition: Exposition, complete: Callable[[tuple[Counter, ...]], bool]
) -> tuple[Counter, ...] | None:
    """What a pod's proxy has counted once that is complete, or what it last told; None where nobody ever answered.

    On a busy machine one answer may take all the time that a call has: that is no count of nothing.
    """
    told: tuple[Counter, ...] | None = None

    def over() -> bool:
        nonlocal told
        found = series(ctx.kube, pod.namespace, pod.name, exposition.port, exposition.path, exposition.requests)
        told = told if found is None else found
        return found is not None and complete(found)

    ctx.watch(over, LIMITS.in_force + LIMITS.control)
    return told


def series(kube: Kube, namespace: str, pod: str, port: int, path: str, name: str) -> tuple[Counter, ...] | None:
    """The series of a counter that a pod tells at a port; None where nobody answers."""
    with kube.forward(namespace, pod, port) as (host, local):
        try:
            with open_here(f"http://{host}:{local}{path}", LIMITS.control) as reply:
                return parse(reply.read().decode("utf-8", "replace"), name)
        except (URLError, OSError, HTTPException, ValueError):
            return None


def over_network(ctx: Context, pod: Pod, exposition: Exposition) -> str:
    """How a scrape from outside of the mesh ends, as Prometheus would do it: `200`, another status, or an error."""
    url = f"http://{pod.host}:{exposition.port}{exposition.path}"
    (record,) = ctx.outsider().batch(Batch(url=url, count=1, timeout=LIMITS.probe, fresh=True, fields=()))
    return str(record.error or record.status)


def total(series: Iterable[Counter], labels: Mapping[str, str]) -> float:
    """The sum of the series with these labels."""
    return sum(one.value for one in series if one.has(labels))
