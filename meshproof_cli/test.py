"""`meshproof test`: every test and check of meshproof itself, from a clone, with one truthful exit code."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated
from xml.etree import ElementTree as ET

import typer
from rich.table import Table

from reports.console import console, say
from reports.errors import EnvironmentProblem, ExitCode, MeshproofError, UsageProblem

__all__ = ["Outcome", "app", "counts", "exit_code", "own_tests"]

app = typer.Typer(add_completion=False)

_ROOT = Path(__file__).resolve().parent.parent
_LIMIT = 4500
"""Seconds that one part may take: three times what it needs on two cores, and an end where a test hangs."""


@dataclass(frozen=True)
class Outcome:
    """How one part of the tests went. `why` says what failed, or why the part could not run."""

    part: str
    passed: int = 0
    failed: int = 0
    skipped: int = 0
    seconds: float = 0.0
    why: str = ""
    blocked: bool = False
    """It was asked for and could not run on this machine."""


def counts(junit: str) -> tuple[int, int, int]:
    """Passed, failed and skipped tests in the text of a JUnit file; errors count as failed."""
    suites = list(ET.fromstring(junit).iter("testsuite"))  # noqa: S314 - pytest wrote it a moment ago
    total, failed, skipped = (
        sum(int(suite.get(name, "0")) for suite in suites for name in names)
        for names in (("tests",), ("failures", "errors"), ("skipped",))
    )
    return max(0, total - failed - skipped), failed, skipped


def exit_code(outcomes: list[Outcome]) -> int:
    """0 only if something ran, nothing failed and nothing that was asked for was kept from running."""
    if any(outcome.failed for outcome in outcomes):
        return 1
    if any(outcome.blocked for outcome in outcomes) or not any(outcome.passed for outcome in outcomes):
        return int(ExitCode.ENVIRONMENT)
    return 0


@app.command("test", epilog="Examples:  meshproof test --unit   |   meshproof test --integration -k injection")
def own_tests(
    lint: Annotated[bool, typer.Option("--lint", help="Linters, types, layers and workflows.")] = False,
    unit: Annotated[bool, typer.Option("--unit", help="Tests that need no cluster.")] = False,
    integration: Annotated[bool, typer.Option("--integration", help="Tests on an embedded cluster.")] = False,
    kind: Annotated[bool, typer.Option("--kind", help="Tests on a real kind cluster.")] = False,
    official: Annotated[
        bool, typer.Option("--official", help="The official Gateway API conformance suite; only when asked for.")
    ] = False,
    long: Annotated[
        bool,
        typer.Option("--long", help="Parsers fuzzed, and ten minutes of changes under traffic; only when asked for."),
    ] = False,
    keyword: Annotated[
        str, typer.Option("-k", metavar="EXPRESSION", help="Only tests that match, as pytest's -k.")
    ] = "",
) -> None:
    """Run the tests of meshproof itself: all of them, or the parts that are named."""
    # Among installed packages there may be somebody else's `tests`.
    if not all((_ROOT / name).exists() for name in ("pyproject.toml", "tests")):
        raise UsageProblem("this meshproof was installed without its tests", fix="run ./meshproof test in a clone")
    every = not (lint or unit or integration or kind or official or long)
    outcomes: list[Outcome] = []
    if lint or (every and not keyword):
        outcomes += [_command(name, command) for name, command in _linters()]
        outcomes.append(_workflows())
    if unit or every:
        outcomes.append(_pytest("unit tests", ["tests/unit", "-n", "2"], keyword))
    if integration or every:
        outcomes.append(_on_a_cluster("integration tests", "cluster", keyword))
    if kind or every:
        outcomes.append(_pytest("kind tests", ["tests/integration", "-m", "kind"], keyword))
    if official:
        # Compiling the suite takes minutes on a machine that never did, so the tests of every change leave it out.
        outcomes.append(_on_a_cluster("official Gateway API suite", "official", keyword))
    if long:
        # Each of some 200 properties has 15 seconds (tests/conftest.py): half an hour at most, on two cores.
        fuzz = ["tests/unit", "-n", "2", "-m", "hypothesis", "--hypothesis-profile", "fuzz"]
        outcomes.append(_pytest("property tests, many examples", fuzz, keyword))
        outcomes.append(_on_a_cluster("changes under traffic", "long", keyword))
    _show(outcomes)
    raise typer.Exit(exit_code(outcomes))


def _linters() -> list[tuple[str, list[str]]]:
    scripts = Path(sys.executable).parent
    return [
        ("ruff", [str(scripts / "ruff"), "check", "."]),
        ("ruff format", [str(scripts / "ruff"), "format", "--check", "--quiet", "."]),
        ("mypy", [str(scripts / "mypy")]),
        ("import-linter", [str(scripts / "lint-imports"), "--no-cache"]),
    ]


def _command(name: str, command: list[str]) -> Outcome:
    """A check that is one program: silent when it passes, all it printed when it does not."""
    started = time.monotonic()
    if shutil.which(command[0]) is None:
        return Outcome(name, why=f"{command[0]} is missing; remove .venv and start again", blocked=True)
    done = subprocess.run(command, cwd=_ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        console.print(done.stdout + done.stderr, markup=False)
    failed = int(done.returncode != 0)
    say(f"{'!!' if failed else '✓ '} {name}")
    return Outcome(name, 1 - failed, failed, 0, time.monotonic() - started, "see above" if failed else "")


def _workflows() -> Outcome:
    files = sorted(str(path) for path in (_ROOT / ".github" / "workflows").glob("*.yml"))
    try:
        from fixtures.cluster.programs import program

        return _command("actionlint", [str(program("actionlint")), *files])
    except MeshproofError as error:
        return Outcome("actionlint", why=error.problem, blocked=True)


def _on_a_cluster(name: str, marker: str, keyword: str) -> Outcome:
    from fixtures.cluster.embedded import preflight

    try:
        preflight.check()
    except EnvironmentProblem as error:
        say(f"!! {name} cannot run here: {error}")
        return Outcome(name, why=error.problem, blocked=True)
    return _pytest(name, ["tests/integration", "-m", marker], keyword)


def _pytest(name: str, arguments: list[str], keyword: str) -> Outcome:
    """Run pytest, its lines going straight to the user, and count by the JUnit file it writes."""
    say(f"-- {name}")
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="meshproof-test-") as scratch:
        junit = Path(scratch) / "junit.xml"
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={junit}", *arguments]
        try:
            done = subprocess.run(
                [*command, *(["-k", keyword] if keyword else [])], cwd=_ROOT, check=False, timeout=_LIMIT
            )
        except subprocess.TimeoutExpired:
            return Outcome(name, failed=1, seconds=_LIMIT, why=f"still running after {_LIMIT} s: something hangs")
        outcome = Outcome(name, seconds=time.monotonic() - started)
        if junit.exists():
            passed, failed, skipped = counts(junit.read_text(encoding="utf-8"))
            outcome = replace(outcome, passed=passed, failed=failed, skipped=skipped)
    if done.returncode not in (0, 1, 5) or (done.returncode == 1 and not outcome.failed):
        return replace(outcome, failed=outcome.failed + 1, why=f"pytest ended with exit code {done.returncode}")
    if done.returncode == 5:
        return replace(outcome, why="no test matched" if keyword else "no test was found", blocked=not keyword)
    return replace(outcome, why="see above" if outcome.failed else "reasons are above" if outcome.skipped else "")


def _show(outcomes: list[Outcome]) -> None:
    table = Table(box=None, pad_edge=False)
    for title, side in (
        ("part", "left"),
        ("passed", "right"),
        ("failed", "right"),
        ("skipped", "right"),
        ("s", "right"),
    ):
        table.add_column(title, justify="right" if side == "right" else "left")
    table.add_column("")
    for one in outcomes:
        why = f"did not run: {one.why}" if one.blocked else one.why
        table.add_row(one.part, *map(str, (one.passed, one.failed, one.skipped)), f"{one.seconds:.0f}", why)
    console.print(table)
    totals = {name: sum(getattr(one, name) for one in outcomes) for name in ("passed", "failed", "skipped")}
    blocked = sum(one.blocked for one in outcomes)
    if blocked:
        say(f"!! {blocked} part{'s' if blocked > 1 else ''} did not run; the reasons are in the table")
    print(f"total: {totals['passed']} passed, {totals['failed']} failed, {totals['skipped']} skipped")  # noqa: T201
