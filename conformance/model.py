"""What a check is and what judging gives. Values only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from reports.model import ErrorRate, Evidence, Plot, Verdict

if TYPE_CHECKING:
    from conformance.context import Context
    from conformance.statistics import Sprt

__all__ = ["Check", "Judgement", "failed", "inconclusive", "passed", "proven", "share_rates"]

Level = Literal["core", "extended"]


@dataclass(frozen=True)
class Judgement:
    """What a judge says of a history."""

    verdict: Verdict
    reason: str
    evidence: tuple[Evidence, ...] = ()
    error_rates: tuple[ErrorRate, ...] = ()
    plots: tuple[Plot, ...] = ()
    whatever_the_machine: bool = False
    """Of a failure: what was seen no stall of the machine can bring about, so that none excuses it."""


def passed(reason: str, *evidence: Evidence, error_rates: tuple[ErrorRate, ...] = ()) -> Judgement:
    """The history proves the claim."""
    return Judgement(Verdict.PASS, reason, evidence, error_rates)


def failed(reason: str, *evidence: Evidence, error_rates: tuple[ErrorRate, ...] = ()) -> Judgement:
    """The history contradicts the claim."""
    return Judgement(Verdict.FAIL, reason, evidence, error_rates)


def proven(reason: str, *evidence: Evidence, error_rates: tuple[ErrorRate, ...] = ()) -> Judgement:
    """The history holds what must never be, such as an answer to a caller who is denied. No stall makes that."""
    return Judgement(Verdict.FAIL, reason, evidence, error_rates, whatever_the_machine=True)


def inconclusive(reason: str, *evidence: Evidence, error_rates: tuple[ErrorRate, ...] = ()) -> Judgement:
    """The history says neither: no data, or too little."""
    return Judgement(Verdict.INCONCLUSIVE, reason, evidence, error_rates)


def share_rates(tests: Iterable[Sprt], samples: int) -> tuple[ErrorRate, ...]:
    """The error rates of sequential tests of shares, for the report."""
    return tuple(
        ErrorRate(
            f"sequential probability ratio test of {100 * test.declared:g} %",
            test.alpha,
            test.beta,
            f"a share off by {100 * test.delta:g} points",
            samples,
        )
        for test in tests
    )


@dataclass(frozen=True)
class Check:
    """One check: data, a body that collects a history, and a pure judge of it."""

    id: str
    title: str
    proves: tuple[str, ...]
    requires: tuple[str, ...]
    """Ids of checks that must pass first; they are run where they have not been asked for."""
    level: Level
    reference: str
    ground: str
    """Name of the namespaces and workloads it runs on; checks of one ground run one after the other."""
    collect: Callable[[Context], Any] = field(repr=False)
    judge: Callable[[Any], Judgement] = field(repr=False)
    anywhere: bool = False
    """Whether it can be run on any ground, so that checks of other grounds may require it."""
    last: bool = False
    """Whether it takes the mesh off the cluster, so that nothing can be judged after it."""
    harmless: bool = False
    """Whether it touches nobody else's workloads, though its ground is wide: no other check is judged beside it."""

    @property
    def group(self) -> str:
        """The capability it belongs to: the id without its number."""
        return self.id.rpartition("-")[0]
