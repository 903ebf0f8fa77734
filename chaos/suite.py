"""Runs experiments one after the other on one scene."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from chaos.experiment import Experiment, NotHere
from chaos.experiments import EXPERIMENTS
from chaos.faults import FAULTS
from chaos.log import NotTakenBack
from chaos.model import Attempt
from chaos.objects import ECHO, ECHO_PORT
from chaos.report import result_of, without_history
from chaos.restoring import restore
from chaos.runner import conduct
from chaos.scene import Scene, scene
from chaos.settings import Settings
from conformance.adapters import Adapter, load
from fixtures.kube import Kube, NotEventually, eventually
from load.spec import LoadSpec
from reports.errors import EnvironmentProblem, UsageProblem
from reports.model import Result, Verdict

__all__ = ["Catalogue", "catalogue", "run"]


@dataclass(frozen=True)
class Catalogue:
    """What there is, for `meshproof list`."""

    experiments: tuple[dict[str, str], ...]
    """id, title, hypothesis, fault, expected."""
    faults: tuple[dict[str, str], ...]
    """name, about."""
    disruptive: frozenset[str]
    """Ids of the experiments that break the mesh itself, and not only workloads of their own."""


def catalogue() -> Catalogue:
    """Every experiment and every fault."""
    return Catalogue(
        experiments=tuple(
            {
                "id": e.id,
                "title": e.title,
                "hypothesis": e.hypothesis,
                "fault": e.fault,
                "expected": e.expected.value,
            }
            for e in EXPERIMENTS.values()
        ),
        faults=tuple({"name": fault.name, "about": fault.about} for fault in FAULTS.values()),
        disruptive=frozenset(e.id for e in EXPERIMENTS.values() if e.disruptive),
    )


def run(
    kube: Kube,
    mesh: str | Adapter,
    image: str,
    only: Iterable[str] | None = None,
    report: Callable[[str], None] = lambda _: None,
    settings: Settings | None = None,
) -> tuple[Result, ...]:
    """Run experiments (all, or those named) and give a Result each.

    First takes back whatever a dead run left. Raises UsageProblem for an unknown id, EnvironmentProblem when the
    scene cannot be made, NotTakenBack (with a Result of each all the same) when a fault cannot be taken back; what
    else goes wrong within an experiment becomes that experiment's inconclusive Result.
    """
    chosen = _chosen(only)
    adapter = load(mesh) if isinstance(mesh, str) else mesh
    started = time.time()
    if problem := adapter.problem(kube):
        return tuple(without_history(e, Verdict.NOT_RUN, problem, adapter.name, started, 0.0) for e in chosen)
    restore(kube)
    results: list[Result] = []
    try:
        with scene(kube, adapter, image, settings or Settings(), report) as ready:
            _all(ready, chosen, report, started, results)
    except NotTakenBack as stayed:
        why = f"the run ended before: {stayed.problem}"
        rest = chosen[len(results) :]
        results += (without_history(e, Verdict.NOT_RUN, why, adapter.name, started, 0.0) for e in rest)
        stayed.results = tuple(results)
        raise
    return tuple(results)


def _chosen(only: Iterable[str] | None) -> Sequence[Experiment]:
    if only is None:
        return tuple(EXPERIMENTS.values())
    wanted = [name.upper() for name in only]
    for name in wanted:
        if name not in EXPERIMENTS:
            raise UsageProblem(f"there is no experiment {name!r}", fix=f"use one of {', '.join(EXPERIMENTS)}")
    return tuple(EXPERIMENTS[name] for name in wanted)


def _all(
    ready: Scene,
    chosen: Sequence[Experiment],
    report: Callable[[str], None],
    started: float,
    results: list[Result],
) -> None:
    """Add a Result of each to `results`. Raises NotTakenBack after that of the experiment whose fault stayed."""
    mesh = ready.adapter.name
    if (open_door := _gate(ready)) is not None:
        verdict, reason = open_door
        spent = (time.time() - started) / len(chosen)
        for e in chosen:
            told = verdict if e.expected is Verdict.PASS else Verdict.NOT_RUN
            results.append(without_history(e, told, reason, mesh, started, spent))
        return
    for experiment in chosen:
        began = time.time()
        try:
            results.append(_one(ready, experiment, report))
        except NotTakenBack as problem:
            spent = time.time() - began
            results.append(without_history(experiment, Verdict.INCONCLUSIVE, problem.problem, mesh, began, spent))
            raise


def _one(ready: Scene, experiment: Experiment, report: Callable[[str], None]) -> Result:
    mesh, started = ready.adapter.name, time.time()
    try:
        setup = experiment.prepare(ready)
        history = conduct(ready, setup, lambda text: report(f"{experiment.id}: {text}"))
    except NotHere as absent:
        return without_history(experiment, Verdict.UNSUPPORTED, str(absent), mesh, started, time.time() - started)
    except NotTakenBack:
        raise
    except EnvironmentProblem as problem:
        spent = time.time() - started
        return without_history(experiment, Verdict.INCONCLUSIVE, problem.problem, mesh, started, spent)
    return result_of(experiment, history, mesh)


def _gate(ready: Scene) -> tuple[Verdict, str] | None:
    """Wait until the meshed driver is served and the client without rights is not; what to say where that fails.

    Without this mark no experiment means anything: there would be no policy that a fault could weaken.
    """
    spec = LoadSpec(f"http://{ECHO}.{ready.space}:{ECHO_PORT}/", 50, 0.1, users=1, timeout=2.0)

    def served() -> bool:
        done = ready.driver.start(spec).wait()
        return done.requests > 0 and done.errors == 0

    def refused() -> bool:
        last = _last_round(ready.outsider.attempts())
        return bool(last) and all(attempt.refused for attempt in last)

    timeout = ready.settings.strict_timeout
    try:
        eventually(served, timeout=timeout, what="the meshed client is served")
    except NotEventually as problem:
        return Verdict.INCONCLUSIVE, problem.problem
    try:
        eventually(refused, timeout=timeout, interval=0.2, successes=2, what="the client without rights is refused")
    except NotEventually as problem:
        breaches = [attempt for attempt in ready.outsider.attempts()[-12:] if attempt.through]
        if breaches:
            return (
                Verdict.FAIL,
                f"before any fault, {breaches[-1].attack} without rights was served although mutual TLS is strict",
            )
        return Verdict.INCONCLUSIVE, problem.problem
    return None


def _last_round(attempts: Sequence[Attempt]) -> list[Attempt]:
    """The latest attempt of each attack."""
    return list({attempt.attack: attempt for attempt in attempts}.values())
