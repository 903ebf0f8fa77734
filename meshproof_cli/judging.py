"""The judging stages of a run: conformance by pytest in a process of its own, chaos and latency by their own API."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fixtures.kube import Kube
from meshproof_cli.ground import Ground
from meshproof_cli.plan import NONE, Plan
from meshproof_cli.settings import adapter_of, setting_flags, settings_of
from meshproof_cli.suite import Suite, judge
from reports.model import Result

__all__ = ["chaos", "conformance", "latency"]

Report = Callable[[str], None]


def conformance(plan: Plan, ground: Ground, directory: Path, report: Report) -> tuple[Result, ...]:
    """Judge the selected checks; the log and the bundles of failures stay in `directory`.

    Raises a `MeshproofError` where pytest could not judge at all.
    """
    run = judge(
        Suite(
            plan.options.mesh, ground.access, ground.image, plan.selection.checks, directory, plan.workers,
            [
                *(["--ignore-requires"] if plan.options.mesh == NONE else []),
                # The next stage and the end of the cluster need not wait for namespaces to go.
                *(["--no-wait"] if plan.create else []),
                *(["--mesh-disruptive"] if plan.disruptive else []),
                *_declared(plan),
                *setting_flags(plan.options),
            ],
        ),
        report,
    )  # fmt: skip
    report(", ".join(f"{stage.name.removeprefix('checks ')} {stage.seconds:.0f} s" for stage in run.stages))
    return run.results


def chaos(plan: Plan, ground: Ground, report: Report, keep: Callable[[Result], None]) -> tuple[Result, ...]:
    """Run the selected experiments; each Result is given to `keep` at once, for the next one may be interrupted."""
    from chaos import run
    from chaos.settings import Settings
    from load.meshing import limited

    options = plan.options
    results = run(
        _cluster(plan, ground), adapter_of(options), ground.image, plan.selection.experiments, report,
        limited(Settings(), settings_of(options).timeouts), keep,
    )  # fmt: skip
    report(", ".join(f"{one.id} {one.seconds:.0f} s" for one in results))
    return tuple(results)


def latency(plan: Plan, ground: Ground, report: Report) -> tuple[Result, ...]:
    """Measure what the proxies cost, in the short form."""
    from chaos.meshing import meshing
    from load import run_short

    options = plan.options
    results = run_short(
        _cluster(plan, ground), meshing(adapter_of(options)), ground.image, report, settings_of(options).timeouts
    )
    report(results[0].reason if results else "")
    return results


def _cluster(plan: Plan, ground: Ground) -> Kube:
    """The cluster, where pods and namespaces come as the user's settings say; the suite sees to that by itself."""
    from conformance.dressing import Dressed

    _, kube = ground.ready
    return Dressed(kube, settings_of(plan.options), adapter_of(plan.options))


def _declared(plan: Plan) -> list[str]:
    """What the user declares of the mesh, and the order, as the suite's flags."""
    options = plan.options
    given = [("--mesh-features", ",".join(options.features)), ("--mesh-exempt", ",".join(options.exempt))]
    if options.seed is not None:
        given.append(("--mesh-seed", str(options.seed)))
    if options.alpha is not None:
        given.append(("--mesh-alpha", str(options.alpha)))
    return [word for flag, value in given if value for word in (flag, value)]
