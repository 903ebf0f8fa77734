"""The judging stages of a run: conformance by pytest in a process of its own, chaos and latency by their own API."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from pathlib import Path

from meshproof_cli.ground import Ground
from meshproof_cli.plan import NONE, Plan
from meshproof_cli.processes import child_command, module_environment
from reports.data_files import read_results
from reports.errors import EnvironmentProblem, MeshproofError, UsageProblem
from reports.model import Result

__all__ = ["chaos", "conformance", "latency"]

_OUTCOME = re.compile(
    r"\b(PASSED|FAILED|SKIPPED|ERROR)\b.*?\[([A-Z]+-\d+)[\]@]|\[([A-Z]+-\d+)[\]@].*?\b(PASSED|FAILED|SKIPPED)"
)
_PYTEST_RAN = (0, 1)
_PYTEST_USAGE = 4
_PATIENCE = 45.0  # seconds for pytest to take its namespaces away after an interrupt

Report = Callable[[str], None]


def conformance(plan: Plan, ground: Ground, directory: Path, report: Report) -> tuple[Result, ...]:
    """Judge the selected checks; the log and the bundles of failures stay in `directory`.

    Raises a `MeshproofError` where pytest could not judge at all.
    """
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "pytest.log"
    chosen = plan.selection.checks
    command = child_command(
        "pytest", "--pyargs", "conformance", "-v", "-c", "/dev/null", "--rootdir", str(directory),
        "-p", "no:cacheprovider", *_plugin(), *(["--ignore-requires"] if plan.options.mesh == NONE else []),
        # The next stage and the end of the cluster need not wait for namespaces to go.
        *(["--no-wait"] if plan.create else []),
        "--mesh", plan.options.mesh, *ground.access, "--image", ground.image, "--mesh-only", ",".join(chosen),
        "--report-dir", str(directory), *_declared(plan),
        *(["-n", str(plan.workers)] if plan.workers > 1 else ["-p", "no:xdist"]),
    )  # fmt: skip
    done: set[str] = set()
    with log.open("w", encoding="utf-8") as kept, _process(command, directory) as process:
        for line in process.stdout or ():
            kept.write(line)
            found = _OUTCOME.search(line)
            if found:
                done.add(found[2] or found[3])
                report(f"{len(done)} of {len(chosen)} checks, {found[2] or found[3]} done")
    results = directory / "results.json"
    if process.returncode not in _PYTEST_RAN and not results.is_file():
        raise _complaint(process.returncode, log)
    run = read_results(results)
    report(", ".join(f"{stage.name.removeprefix('checks ')} {stage.seconds:.0f} s" for stage in run.stages))
    return run.results


def chaos(plan: Plan, ground: Ground, report: Report) -> tuple[Result, ...]:
    """Run the selected experiments."""
    from chaos import run

    _, kube = ground.ready
    results = run(kube, plan.options.mesh, ground.image, plan.selection.experiments, report)
    report(", ".join(f"{one.id} {one.seconds:.0f} s" for one in results))
    return tuple(results)


def latency(plan: Plan, ground: Ground, report: Report) -> tuple[Result, ...]:
    """Measure what the proxies cost, in the short form."""
    from chaos.meshing import meshing
    from load import run_short

    _, kube = ground.ready
    results = run_short(kube, meshing(plan.options.mesh), ground.image, report)
    report(results[0].reason if results else "")
    return results


def _declared(plan: Plan) -> list[str]:
    """What the user declares of the mesh, and the order, as the suite's flags."""
    options = plan.options
    given = [("--mesh-features", ",".join(options.features)), ("--mesh-exempt", ",".join(options.exempt))]
    if options.seed is not None:
        given.append(("--mesh-seed", str(options.seed)))
    return [word for flag, value in given if value for word in (flag, value)]


def _plugin() -> list[str]:
    """Name the suite's plugin to pytest where the product is not installed, and so no entry point does."""
    installed = any(point.value == "conformance.plugin" for point in entry_points(group="pytest11"))
    return [] if installed else ["-p", "conformance.plugin"]


@contextmanager
def _process(command: list[str], directory: Path) -> Iterator[subprocess.Popen[str]]:
    """A child that is waited for; after an interrupt it gets the time to clean up after itself."""
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=module_environment([("PYTHONUNBUFFERED", "1"), ("COLUMNS", "200")]),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, encoding="utf-8", errors="replace",
    )  # fmt: skip
    try:
        yield process
        process.wait()
    except BaseException:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        raise
    finally:
        if process.stdout is not None:
            process.stdout.close()


def _complaint(code: int, log: Path) -> MeshproofError:
    """pytest's own complaint as one sentence."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    said = next((line for line in lines if line.startswith("ERROR:")), lines[-1] if lines else f"exit code {code}")
    problem = said.removeprefix("ERROR:").strip()
    if code == _PYTEST_USAGE:
        return UsageProblem(f"the conformance suite refused to start: {problem}", fix=f"see {log}")
    return EnvironmentProblem(f"the conformance suite broke off: {problem}", fix=f"see {log}")
