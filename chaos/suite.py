"""Runs experiments one after the other on one scene."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from chaos.experiment import Experiment, NotHere
from chaos.experiments import EXPERIMENTS
from chaos.faults import FAULTS
from chaos.log import NotTakenBack
from chaos.meshing import unfit
from chaos.model import Attempt
from chaos.objects import ECHO, ECHO_PORT
from chaos.report import result_of, undecided, without_history
from chaos.restoring import restore
from chaos.runner import conduct
from chaos.scene import Scene, scene
from chaos.settings import Settings
from conformance.adapters import Adapter, load
from fixtures.kube import ApiProblem, Kube, NotEventually, eventually
from load.spec import LoadSpec
from reports.errors import EnvironmentProblem, UsageProblem
from reports.model import Evidence, Result, Verdict

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
    keep: Callable[[Result], None] = lambda _: None,
) -> tuple[Result, ...]:
    """Run experiments (all, or those named) and give a Result each, to `keep` as soon as there is one.

    First takes back whatever a dead run left. Raises UsageProblem for an unknown id, EnvironmentProblem when the
    scene cannot be made (where it is for want of a right, each is inconclusive), NotTakenBack (with a Result of each
    all the same) when a fault cannot be taken back; what else goes wrong within an experiment becomes that
    experiment's inconclusive Result.
    """
    chosen = _chosen(only)
    adapter = load(mesh) if isinstance(mesh, str) else mesh
    started = time.time()
    results: list[Result] = []

    def found(result: Result) -> None:
        results.append(result)
        keep(result)

    if problem := adapter.problem(kube):
        for e in chosen:
            found(without_history(e, Verdict.NOT_RUN, problem, started, 0.0))
        return tuple(results)
    if why := unfit(adapter):
        for e in chosen:
            found(without_history(e, Verdict.UNSUPPORTED, why, started, 0.0))
        return tuple(results)
    report("looking for what a dead run left")
    restore(kube)
    try:
        with scene(kube, adapter, image, settings or Settings(), report) as ready:
            _all(ready, chosen, report, started, found)
    except NotTakenBack as stayed:
        for e in chosen[len(results) :]:
            found(without_history(e, Verdict.NOT_RUN, f"the run ended before: {stayed.problem}", started, 0.0))
        stayed.results = tuple(results)
        raise
    except ApiProblem as refused:
        if results or not refused.without_rights:
            raise
        for e in chosen:
            found(without_history(e, undecided(e), refused.problem, started, time.time() - started))
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
    found: Callable[[Result], None],
) -> None:
    """Hand a Result of each over. Raises NotTakenBack after that of the experiment whose fault stayed."""
    if (open_door := _gate(ready)) is not None:
        verdict, reason = open_door
        spent = (time.time() - started) / len(chosen)
        for e in chosen:
            sham = e.expected is not Verdict.PASS and verdict is not Verdict.UNSUPPORTED
            found(without_history(e, Verdict.NOT_RUN if sham else verdict, reason, started, spent))
        return
    for experiment in chosen:
        began = time.time()
        try:
            found(_one(ready, experiment, report))
        except NotTakenBack as problem:
            spent = time.time() - began
            found(without_history(experiment, undecided(experiment), problem.problem, began, spent))
            raise


def _one(ready: Scene, experiment: Experiment, report: Callable[[str], None]) -> Result:
    started = time.time()
    evidence: tuple[Evidence, ...] = ()
    try:
        setup = experiment.prepare(ready)
        history = conduct(ready, setup, lambda text: report(f"{experiment.id}: {text}"))
    except NotHere as absent:
        return without_history(experiment, Verdict.UNSUPPORTED, str(absent), started, time.time() - started)
    except NotTakenBack:
        raise
    except EnvironmentProblem as problem:
        why = problem.problem
    except Exception as crash:  # noqa: BLE001 - a library's error or a defect of ours must not lose the other results
        why = f"the experiment broke off: {type(crash).__name__}: {crash}"
        evidence = (Evidence("what went wrong", traceback.format_exc()),)
    else:
        return result_of(experiment, history)
    return without_history(experiment, undecided(experiment), why, started, time.time() - started, evidence)


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
        if breaches and ready.lax:
            return Verdict.UNSUPPORTED, f"strict mutual TLS, which must hold under every fault: {ready.lax}"
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
