"""`meshproof sensitivity`: the suite against refmesh with one seeded defect at a time; writes the kill matrix."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import typer

from meshproof_cli import flags
from meshproof_cli.interrupts import end_like_ctrl_c
from meshproof_cli.output import Output, show
from meshproof_cli.sensitivity.aims import EXCUSED
from meshproof_cli.sensitivity.plan import pick, stages, subjects, waiting
from meshproof_cli.sensitivity.trial import Bench
from meshproof_cli.sensitivity.work import Record, benches, consent, try_all
from reports.errors import ExitCode, UsageProblem
from reports.sensitivity import CheckInfo, Matrix, Outcome, Subject, Trial

__all__ = ["app"]

app = typer.Typer(add_completion=False, context_settings={"help_option_names": ["-h", "--help"]})

TRIALS = "trials.jsonl"


@app.command()
def sensitivity(
    defects: Annotated[
        list[str] | None,
        typer.Option(help="Defects or capabilities to try (default: all); `none` for equivalents and clean runs only."),
    ] = None,
    equivalents: Annotated[bool, typer.Option(help="Also try variants that behave as the sound mesh.")] = True,
    clean: Annotated[int, typer.Option(help="Runs on the sound mesh, each in another order.", min=0)] = 3,
    only: Annotated[list[str] | None, typer.Option(help="Checks or groups to judge. May be repeated.")] = None,
    skip: flags.Skip = None,
    profile: Annotated[str, typer.Option(help="Part of the catalogue to judge.")] = "full",
    thorough: Annotated[
        bool, typer.Option("--all", help="Judge everything, also once a check has found the defect.")
    ] = False,
    affected_only: Annotated[
        bool, typer.Option("--affected-only", help="Judge a defect only by the groups that speak of its capability.")
    ] = False,
    first: Annotated[
        bool, typer.Option("--first", help="Stop at the first check that finds a defect, in the midst of its group.")
    ] = False,
    render: Annotated[
        bool, typer.Option("--render", help="Try nothing: write the pages again from the trials so far.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the trials in the report directory.")] = False,
    stale: Annotated[
        bool, typer.Option("--keep-stale", help="With --resume: keep trials of another image, too.")
    ] = False,
    clusters: Annotated[
        int | None, typer.Option(help="Embedded clusters side by side; default: one for every two cores.", min=1)
    ] = None,
    cluster: Annotated[str | None, typer.Option(help="An embedded cluster that runs already, instead.")] = None,
    kubeconfig: flags.Kubeconfig = None,
    context: flags.Context = None,
    image: flags.Image = None,
    workers: flags.Workers = None,
    report_dir: flags.ReportDir = Path("meshproof-sensitivity"),
    listing: flags.Listing = False,
    dry_run: flags.DryRun = False,
    yes: Annotated[
        bool, typer.Option("-y", "--yes", help="Do not ask before installing on an existing cluster.")
    ] = False,
    output: flags.Printed = Output.TABLE,
) -> None:
    """Measure the suite: seed refmesh with one defect at a time, and see which check finds it.

    Installs and changes refmesh on the clusters it uses; on one of yours only if you agree and refmesh is not there,
    and removes it at the end. Exit code 0 where every defect tried was found and nothing
    sound was failed, 1 otherwise, 4 where a trial broke off.
    """
    from meshproof_cli.refmesh_program import defects as listed

    checks = _checks(",".join(flags.words(only)), ",".join(flags.words(skip)), profile)
    every = subjects(listed(), clean)
    chosen = pick(every, flags.words(defects), equivalents=equivalents)
    if listing:
        show([{"name": one.name, "kind": one.kind, "capability": one.capability} for one in chosen], output)
        return
    groups = {one.id: one.group for one in checks}
    if dry_run:
        _preview(chosen, groups, output, affected_only=affected_only)
        return
    record = Record(report_dir.absolute() / TRIALS)
    if not (resume or render) and record.read():
        raise UsageProblem(
            f"{report_dir} holds trials already", fix="go on with --resume, or name another --report-dir"
        )
    if not render and (kubeconfig is not None or context is not None):
        consent(kubeconfig, context, yes=yes)
    archive = None
    if image is None and not render:
        from fixtures.images import build_archive

        built = build_archive()
        image, archive = built.reference, built.path
    todo = () if render else waiting(chosen, record.read(), image=image or "", checks=groups, stale=stale)
    matrix = _tried(
        todo, chosen, checks, record,
        image=image or "", archive=archive, depth=(thorough, affected_only, first), report_dir=report_dir,
        places=(clusters or max(1, (os.cpu_count() or 1) // 2), cluster, kubeconfig, context),
        workers=workers or 3,
        stale=stale,
    )  # fmt: skip
    _print(matrix, output)
    typer.echo(f"Report: {report_dir / 'kill-matrix.html'}", err=True)
    raise typer.Exit(int(_code(matrix)))


def _preview(chosen: Sequence[Subject], groups: Mapping[str, str], output: Output, *, affected_only: bool) -> None:
    """Say in which order each subject would be judged."""
    planned = {one.name: [stage.ids for stage in stages(one, groups, affected_only=affected_only)] for one in chosen}
    if output is not Output.TABLE:
        show([{"name": name, "stages": [list(ids) for ids in order]} for name, order in planned.items()], output)
        return
    for name, order in planned.items():
        typer.echo(f"{name}: {', then '.join(', '.join(ids) for ids in order)}")


def _checks(only: str, skip: str, profile: str) -> tuple[CheckInfo, ...]:
    from conformance.catalogue import select
    from conformance.profiles import CAPABILITIES

    order = list(CAPABILITIES)
    found = sorted(select(only, skip, profile), key=lambda one: (order.index(one.group), one.id))
    return tuple(CheckInfo(one.id, one.title, one.group, EXCUSED.get(one.id, "")) for one in found)


def _tried(
    todo: Sequence[Subject],
    chosen: Sequence[Subject],
    checks: tuple[CheckInfo, ...],
    record: Record,
    *,
    image: str,
    archive: Path | None,
    depth: tuple[bool, bool, bool],
    report_dir: Path,
    places: tuple[int, str | None, Path | None, str | None],
    workers: int,
    stale: bool,
) -> Matrix:
    from meshproof_cli.main import product_version
    from reports.console import say, step
    from reports.kill_matrix import write_kill_matrix

    def so_far() -> Matrix:
        # Trials of another image are of another product; without an image nothing is tried, and all there is is shown.
        counted = tuple(one for one in record.read() if stale or not image or one.image == image)
        return Matrix("refmesh", product_version(), checks, tuple(chosen), counted)

    def tried(trial: Trial) -> None:
        by = f" by {', '.join(trial.failed)}" if trial.failed else ""
        why = f": {trial.problem}" if trial.problem else ""
        say(f"{trial.subject.name}: {trial.outcome.value}{by}{why} ({trial.seconds:.0f} s)")
        write_kill_matrix(so_far(), report_dir)

    end_like_ctrl_c()
    groups = {one.id: one.group for one in checks}
    count, named, kubeconfig, context = places
    if todo:
        with (
            benches(
                min(count, len(todo)),
                lambda cluster: Bench(cluster, image, report_dir.absolute(), groups, workers, *depth),
                archive,
                named=named,
                kubeconfig=kubeconfig,
                context=context,
            ) as found,
            step(f"Trying {len(todo)} of {len(chosen)}") as shown,
        ):
            try_all(found, todo, record, shown.update, tried)
    matrix = so_far()
    write_kill_matrix(matrix, report_dir)
    return matrix


def _print(matrix: Matrix, output: Output) -> None:
    from reports.sensitivity import matrix_json

    if output is not Output.TABLE:
        document = matrix_json(matrix)
        if output is Output.JSON:
            typer.echo(json.dumps(document, indent=1, ensure_ascii=False))
        else:
            import yaml

            typer.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True).rstrip())
        return
    rows = []
    for subject in matrix.subjects:
        trial = matrix.of(subject)
        rows.append(
            {
                "name": subject.name,
                "kind": subject.kind,
                "outcome": matrix.outcome(subject).value,
                "failed": ", ".join(trial.failed) if trial else "",
            }
        )
    show(rows, output)
    killed = len(matrix.named("defect", Outcome.KILLED))
    seeded = sum(one.kind == "defect" for one in matrix.subjects)
    tried = killed + len(matrix.survivors)
    for subject, ids in matrix.missed:
        typer.echo(f"{', '.join(ids)} must find {subject.name}, and did not")
    typer.echo(f"\n{killed} of {tried} defects tried were found, of {seeded} seeded. {matrix.proof}")


def _code(matrix: Matrix) -> ExitCode:
    if any(not one.excuse for one in matrix.survivors) or matrix.missed or matrix.false_alarms:
        return ExitCode.NOT_CONFORMANT
    open_ends = [one for one in matrix.subjects if matrix.outcome(one) in (Outcome.BROKEN, Outcome.OPEN)]
    return ExitCode.NOT_PROVEN if open_ends else ExitCode.CONFORMANT
