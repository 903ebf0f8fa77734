"""Carries a plan out: ground, judging, report, clean-up. Whatever fails, the report is written and nothing is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Literal

from chaos.log import NotTakenBack
from fixtures.cluster import provider
from fixtures.interrupts import cleaning_up
from fixtures.kube.facts import facts
from meshproof_cli import judging
from meshproof_cli.ground import Ground, clean, prepare
from meshproof_cli.plan import Known, Plan
from meshproof_cli.settings import adapter_of
from meshproof_cli.stages import Stages, one_sentence
from meshproof_cli.suite import BrokenOff, Interrupted
from reports.commands import command
from reports.console import Step, say
from reports.earlier import put_aside
from reports.model import JSON, Result, Run, Verdict
from reports.writers import FORMATS, write

__all__ = ["execute", "finished", "options_of"]


def execute(
    plan: Plan, known: Known, directory: Path, version: str, stages: Stages
) -> tuple[Run, BaseException | None]:
    """Do the run; what was found out, and what stopped it if something did. The report is in `directory` either way."""
    started, clock = time.time(), time.monotonic()
    options = plan.options
    ground = Ground(provider(plan.provider, kubeconfig=options.kubeconfig, context=options.context))
    found: list[Result] = []
    about: dict[str, str] = {}
    trouble: list[BaseException] = []

    def run_now() -> Run:
        return Run(
            mesh=options.mesh,
            mesh_version=about.get("mesh version", ""),
            cluster=plan.provider if ground.cluster is None else f"{plan.provider} ({ground.cluster.name})",
            environment={name: value for name, value in about.items() if name != "mesh version"},
            started=started,
            seconds=time.monotonic() - clock,
            stages=stages.done,
            results=finished(plan, known, found, trouble[0] if trouble else None),
            options=options_of(plan),
            product_version=version,
            catalogue=len(known.checks),
        )

    if (before := put_aside(directory)) is not None:
        say(f"   the report of an earlier run is kept in {before}")
    try:
        prepare(plan, stages, ground)
        about.update(_about(plan, ground))
        for name, wanted, judge in _judges(plan, ground, directory, found.append):
            if wanted:
                _judge(name, judge, stages, found, trouble)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - kept for the end: first the report and the clean-up
        trouble.append(error)
        _keep_logs(ground, directory)
    try:
        with stages.stage("report") as shown:
            _write_all(run_now(), directory)
            shown.update(str(directory))
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - raised again at the end, after the clean-up
        trouble.append(error)
    cleaning_up()
    try:
        with stages.stage("clean-up") as shown:
            shown.update(clean(plan, ground))
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - as above
        trouble.append(error)
    run = run_now()
    with suppress(Exception):  # said above already; this time only the last two stages are new
        _write_all(run, directory)
    return run, trouble[0] if trouble else None


def finished(plan: Plan, known: Known, found: Iterable[Result], stopped_by: BaseException | None) -> tuple[Result, ...]:
    """The results with the catalogue's order, a reproduce command each, and not-run for what was never reached.

    What is left out is not run, as the suite by itself says it.
    """
    by_id = {result.id: result for result in found}
    why = f"the run ended before: {one_sentence(stopped_by)}" if stopped_by else "nothing was reported for it"
    results = []
    for one in dict.fromkeys([*plan.selection.ids, *plan.spared, *by_id]):
        result = by_id.get(one)
        if result is None:
            left_out = one in plan.spared
            result = replace(_blank(known, one), reason=plan.spared.get(one, why), left_out=left_out)
        if plan.create or not result.reproduce:
            result = replace(result, reproduce=_again(plan, one))
        results.append(result)
    order = {one: position for position, one in enumerate(known.titles)}
    kinds = ("check", "experiment", "measurement")
    return tuple(sorted(results, key=lambda one: (kinds.index(one.kind), order.get(one.id, len(order)))))


def _write_all(run: Run, directory: Path) -> None:
    """Every format; one that fails does not keep the others from being written."""
    failures: list[Exception] = []
    for name in FORMATS:
        try:
            write(run, directory, [name])
        except Exception as error:  # noqa: BLE001 - raised below
            failures.append(error)
    if failures:
        raise failures[0]


def _judges(
    plan: Plan, ground: Ground, directory: Path, keep: Callable[[Result], None]
) -> list[tuple[str, bool, Callable[[Step], tuple[Result, ...]]]]:
    chosen = plan.selection
    return [
        (
            "conformance",
            bool(chosen.checks),
            lambda shown: judging.conformance(plan, ground, directory / "conformance", shown.update),
        ),
        ("chaos", bool(chosen.experiments), lambda shown: judging.chaos(plan, ground, shown.update, keep)),
        ("latency", bool(chosen.measurements), lambda shown: judging.latency(plan, ground, shown.update)),
    ]


def _judge(
    name: str,
    judge: Callable[[Step], tuple[Result, ...]],
    stages: Stages,
    found: list[Result],
    trouble: list[BaseException],
) -> None:
    """One judging stage; its failure is kept, and the next stage is tried all the same, unless a fault is in force.

    What a stage has handed out before it failed, or was interrupted, is found already.
    """
    try:
        with stages.stage(name) as shown:
            found.extend(judge(shown))
    except (NotTakenBack, Interrupted) as error:
        found.extend(error.results)
        say(f"   {one_sentence(error)}")
        raise
    except Exception as error:  # noqa: BLE001 - raised again at the end, after report and clean-up
        found.extend(error.results if isinstance(error, BrokenOff) else ())
        trouble.append(error)
        say(f"   {one_sentence(error)}")


def _about(plan: Plan, ground: Ground) -> dict[str, str]:
    _, kube = ground.ready
    return {"mesh version": adapter_of(plan.options).version(kube), **facts(kube), "image": ground.image}


def _keep_logs(ground: Ground, directory: Path) -> None:
    """The cluster's logs, where the ground could not be made; best effort, the first failure is what counts."""
    if ground.cluster is not None:
        with suppress(Exception):
            ground.provider.logs(ground.cluster.name, directory / "cluster-logs")


def _blank(known: Known, one: str) -> Result:
    """A result without a verdict, of whatever can be asked for."""
    if one in known.blank:
        return known.blank[one]
    title = known.titles.get(one, one)
    kind: Literal["check", "experiment", "measurement"] = "check"
    group = known.checks.get(one, "")
    if one in known.experiments:
        kind, group = "experiment", "chaos"
    elif one in known.measurements:
        kind, group = "measurement", "latency"
    return Result(one, title, kind, group, "core", Verdict.NOT_RUN, "")


def _again(plan: Plan, one: str) -> str:
    options = plan.options
    flags = {
        "--mesh": options.mesh,
        "--cluster": plan.provider,
        "--kubeconfig": options.kubeconfig,
        "--context": options.context,
        "--defect": options.defect,
        "--image": options.image,
        "--disruptive": (options.disruptive or one in plan.spared) and not plan.create,
        "--alpha": options.alpha,
        "--config": options.config and options.config.resolve(),
        "--set": options.assignments,
        # One after the other, they leave the report that they were copied from, and each other's, as they are.
        "--report-dir": f"meshproof-report-{one}",
        "--only": one,
    }
    return command(["meshproof", "run"], flags)


def options_of(plan: Plan) -> dict[str, JSON]:
    """What narrows or changes a run, for its report: a part of the catalogue must not look like the whole."""
    options = plan.options
    given: dict[str, JSON] = {"mesh": options.mesh, "cluster": plan.provider}
    if plan.profile:
        given["profile"] = plan.profile
    if options.only:
        given["only"] = list(options.only)
    if options.skip:
        given["skip"] = list(options.skip)
    if options.features:
        given["features"] = list(options.features)
    if options.exempt:
        given["exempt"] = list(options.exempt)
    if options.rerun_failed is not None:
        given["rerun_failed"] = str(options.rerun_failed)
    if plan.spared:
        given["spared"] = list(plan.spared)
    if options.disruptive and not plan.create:
        given["disruptive"] = True
    if options.seed is not None:
        given["seed"] = options.seed
    if options.alpha is not None:
        given["alpha"] = options.alpha
    if options.defect:
        given["defect"] = options.defect
    return given
