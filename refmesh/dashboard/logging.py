"""What is logged of a service's traffic, of which pods, and what to do where it is not. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from refmesh.api.telemetry import Telemetry
from refmesh.config.model import Pod, Snapshot
from refmesh.discovery.observation import TelemetryPolicies
from refmesh.discovery.settings import MeshSettings
from refmesh.telemetry.traffic import Node

__all__ = ["NOBODY", "Logging", "Rule", "logging_of"]

_SIDES = (("client", "calls made"), ("server", "calls received"))


@dataclass(frozen=True)
class Rule:
    """Something that keeps entries from the log of some pods."""

    what: str
    """Which entries: those of a side."""
    by: str
    """`namespace/name` of the Telemetry that says so; empty: it was chosen at install."""
    expression: str = ""
    """Only what it holds of is logged; empty: nothing is."""
    pods: int = 0
    """How many pods it holds for."""


@dataclass(frozen=True)
class Logging:
    """The pods with a proxy, which have a log to read, and what is missing in it."""

    pods: tuple[str, ...]
    rules: tuple[Rule, ...] = ()
    own_format: bool = False
    """The log has a format of the user's, in which entries are not known."""
    text: bool = False


NOBODY = Logging(())
"""What is said where no proxy is known."""


def logging_of(snapshot: Snapshot, settings: MeshSettings, namespace: str, name: str = "") -> Logging:
    """For the pods of a service, or with no name for those of a namespace."""
    policies = TelemetryPolicies.collect(snapshot.telemetries.values(), settings.root_namespace, settings.observation)
    pods = sorted(_pods(snapshot, (namespace, name)), key=lambda pod: pod.name)
    counts = Counter(rule for pod in pods for rule in _rules(pod, snapshot, policies))
    return Logging(
        tuple(pod.name for pod in pods),
        tuple(Rule(one.what, one.by, one.expression, count) for one, count in counts.items()),
        bool(settings.log_format),
        settings.text_log,
    )


def _pods(snapshot: Snapshot, node: Node) -> Iterable[Pod]:
    """The pods with a proxy that the graph calls so: by app or workload, or because a Service of that name has them."""
    service = snapshot.services.get(node)
    for pod in snapshot.pods.values():
        if pod.namespace != node[0] or not (pod.meshed or pod.router):
            continue
        workload, _, app, _ = [*pod.peer.split(";"), "", "", ""][:4]
        if not node[1] or (app or workload or pod.name) == node[1] or (service and service.selects(pod.labels)):
            yield pod


def _rules(pod: Pod, snapshot: Snapshot, policies: TelemetryPolicies) -> Iterable[Rule]:
    speaking = policies.scopes.of(pod, snapshot)
    for side, what in _SIDES:
        observed = policies.in_force(side, speaking)
        if not observed.access_log:
            yield Rule(what, _last(speaking, side, "wanted"))
        elif observed.log_filter:
            yield Rule(what, _last(speaking, side, "expression"), observed.log_filter)


def _last(speaking: Sequence[Telemetry], side: str, field: str) -> str:
    """Who decided: the narrowest that says anything of it."""
    for policy in reversed(speaking):
        if getattr(getattr(policy, f"{side}_log"), field) is not None:
            return f"{policy.meta.namespace}/{policy.meta.name}"
    return ""
