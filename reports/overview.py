"""The summary of many checks on one screen: feature by verdict, grouped by capability. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from reports.model import Result, Verdict

__all__ = ["TITLES", "Capability", "Feature", "Group", "overview", "tone"]

TITLES = {
    "INJ": "Injection", "MTLS": "Mutual TLS", "ID": "Identity", "AZ": "Authorization", "RT": "Routing", "WT": "Weights",
    "CB": "Circuit breaking", "RS": "Resilience", "LB": "Load balancing", "TEL": "Telemetry", "GW": "Gateway",
    "LC": "Life cycle",
}  # fmt: skip
"""Group of checks -> the capability's name for people."""


def tone(result: Result) -> str:
    """The colour a result is shown in: green for whatever is right, an open sham included."""
    if result.right:
        return "pass"
    return "fail" if result.failed else result.verdict.value


@dataclass(frozen=True)
class Feature:
    """One feature, and the checks that prove it."""

    name: str
    results: tuple[Result, ...]

    @property
    def verdict(self) -> str:
        """What is known of it: one failure is a failure, and it passes only where every check does that was asked."""
        tones = [tone(one) for one in self.results if not one.left_out]
        if not tones:
            return Verdict.NOT_RUN.value
        for worst in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.NOT_RUN):
            if worst.value in tones:
                return worst.value
        return Verdict.PASS.value if "pass" in tones else Verdict.UNSUPPORTED.value


@dataclass(frozen=True)
class Group:
    """Results that belong together, in the run's order."""

    name: str
    results: tuple[Result, ...]

    @property
    def title(self) -> str:
        """Its name in words, where it has some."""
        return TITLES.get(self.name, self.name)

    @property
    def right(self) -> int:
        """How many came out as expected."""
        return sum(one.right for one in self.results)


class Capability(Group):
    """One group of checks."""

    @property
    def features(self) -> tuple[Feature, ...]:
        """Its features, in the order in which checks name them; a check that names none stands by its title."""
        found: dict[str, list[Result]] = {}
        for result in self.results:
            for name in dict.fromkeys(result.proves or (result.title,)):
                found.setdefault(name, []).append(result)
        return tuple(Feature(name, tuple(results)) for name, results in found.items())


def overview(results: Sequence[Result]) -> tuple[Capability, ...]:
    """The checks among the results, by capability; known capabilities come in the catalogue's order."""
    of_group: dict[str, list[Result]] = {}
    for result in results:
        if result.kind == "check":
            of_group.setdefault(result.group, []).append(result)
    order = list(TITLES)
    names = sorted(of_group, key=lambda name: order.index(name) if name in order else len(order))
    return tuple(Capability(name, tuple(of_group[name])) for name in names)
