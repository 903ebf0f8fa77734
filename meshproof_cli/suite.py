"""The conformance suite in a process of its own: pytest, with what it says on the way and what it wrote at the end."""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from conformance.outcomes import is_unreached
from fixtures.kube.missing_images import WAITING
from meshproof_cli.processes import Child, child_command, module_environment, watched
from reports.data_files import RESULTS, read_results
from reports.errors import EnvironmentProblem, MeshproofError, UsageProblem
from reports.model import Result, Run

__all__ = ["BrokenOff", "Interrupted", "Suite", "judge"]

OUTCOME = re.compile(
    r"\b(PASSED|FAILED|SKIPPED|ERROR)\b.*?\[([A-Z]+-\d+)[\]@]|\[([A-Z]+-\d+)[\]@].*?\b(PASSED|FAILED|SKIPPED)"
)
WAITS = re.compile(rf"\S+: {WAITING} ")
"""How a line begins by which the suite tells that pods of a ground wait."""
_PYTEST_RAN = (0, 1)
_PYTEST_INTERRUPTED = 2
_PYTEST_USAGE = 4
_FIRST = "-x"
"""Ends the suite at its first failure, which xdist's controller calls an interrupt."""
_PATIENCE = 120.0  # seconds to take namespaces away and bring a stopped control plane back after an interrupt


class BrokenOff(EnvironmentProblem):
    """The suite was ended before it had judged everything."""

    def __init__(self, problem: str, results: tuple[Result, ...], *, fix: str = "") -> None:
        super().__init__(problem, fix=fix)
        self.results = results
        """What it had judged."""


class Interrupted(KeyboardInterrupt):
    """As `BrokenOff`, where the user wants the end of everything."""

    def __init__(self, results: tuple[Result, ...]) -> None:
        super().__init__()
        self.results = results


@dataclass(frozen=True)
class Suite:
    """What is judged, and where."""

    mesh: str
    access: Sequence[str]
    """The flags that lead to the cluster."""
    image: str
    ids: Sequence[str]
    directory: Path
    workers: int = 1
    flags: Sequence[str] = ()
    """Other flags of the plugin."""
    limit: float = 3600.0
    """Seconds after which the suite is told to end."""

    @property
    def command(self) -> list[str]:
        """The command line."""
        return child_command(
            "pytest", "--pyargs", "conformance", "-v", "-c", "/dev/null", "--rootdir", str(self.directory),
            "-p", "no:cacheprovider", "-p", "conformance.plugin", "--assert=plain", "--color=no", *self.flags,
            "--mesh", self.mesh, *self.access, "--image", self.image, "--mesh-only", ",".join(self.ids),
            "--report-dir", str(self.directory),
            *(["-p", "xdist", "-n", str(self.workers)] if self.workers > 1 else []),
        )  # fmt: skip


def judge(suite: Suite, report: Callable[[str], None], cancel: threading.Event | None = None) -> Run:
    """Judge; the log and the bundles of failures stay in the suite's directory.

    Raises a `MeshproofError` where pytest could not judge at all; `BrokenOff` where it was late, or was ended by
    `cancel`, which any thread may set; `Interrupted` for Ctrl-C and its like. It has cleaned up and ended by then.
    """
    suite.directory.mkdir(parents=True, exist_ok=True)
    log, results = suite.directory / "pytest.log", suite.directory / RESULTS
    results.unlink(missing_ok=True)
    done: set[str] = set()
    try:
        with log.open("w", encoding="utf-8") as kept, _child(suite) as child:
            lines = _lines(child, kept)
            try:
                with watched(child, suite.limit, cancel) as late:
                    for line in lines:
                        if said := _progress(line, done):
                            report(f"{len(done)} of {len(suite.ids)} checks, {said}")
            except BaseException:
                child.tell_to_end()
                try:
                    for _ in _lines(child, kept):  # what it says of its clean-up; a full pipe would stop it
                        pass
                except BaseException:
                    child.kill()
                    raise
                raise
    except KeyboardInterrupt as error:
        raise Interrupted(_so_far(results)) from error
    if cancel is not None and cancel.is_set():
        raise BrokenOff("the conformance suite was told to end", _so_far(results))
    if late.is_set():
        problem = f"the conformance suite did not end within {suite.limit:.0f} s"
        raise BrokenOff(problem, _so_far(results), fix=f"see {log}")
    code = child.process.returncode
    if code not in _PYTEST_RAN and not results.is_file():
        raise _complaint(code, log)
    run = read_results(results)
    if code not in _PYTEST_RAN and not (code == _PYTEST_INTERRUPTED and _FIRST in suite.flags):
        raise BrokenOff(_complaint(code, log).problem, _reached(run.results), fix=f"see {log}")
    if missing := [one for one in suite.ids if one not in {result.id for result in run.results}]:
        problem = f"the conformance suite has no result of {', '.join(missing)}"
        raise BrokenOff(problem, _reached(run.results), fix=f"see {log}")
    return run


def _progress(line: str, done: set[str]) -> str:
    """What a line of the suite's says of how far it is, "" where nothing; a check that it ends is put among `done`."""
    if WAITS.match(line):
        return line.strip()
    if found := OUTCOME.search(line):
        done.add(found[2] or found[3])
        return f"{found[2] or found[3]} done"
    return ""


def _lines(child: Child, kept: TextIO) -> Iterator[str]:
    for line in child.process.stdout or ():
        kept.write(line)
        yield line


def _so_far(results: Path) -> tuple[Result, ...]:
    """What the suite has judged, where it came to write that down."""
    with suppress(UsageProblem):
        return _reached(read_results(results).results)
    return ()


def _reached(results: Iterable[Result]) -> tuple[Result, ...]:
    """Less what the suite only says it did not come to: whoever asked for that knows better why."""
    return tuple(one for one in results if not is_unreached(one))


def _child(suite: Suite) -> Child:
    return Child(suite.command, _PATIENCE, cwd=suite.directory, env=_environment(),
                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def _environment() -> dict[str, str]:
    """pytest as we start it has the plugins that we name, and no flags of the user's own pytest.

    Others would have each worker import them (hypothesis takes a second), and might order, repeat or end checks.
    """
    own = module_environment([("PYTHONUNBUFFERED", "1"), ("COLUMNS", "200"), ("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")])
    return {name: value for name, value in own.items() if name not in ("PYTEST_ADDOPTS", "PYTEST_PLUGINS")}


def _complaint(code: int, log: Path) -> MeshproofError:
    """pytest's own complaint as one sentence."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    broken = [line for line in lines if line.startswith("INTERNALERROR>")][-1:]
    last = (broken or lines[-1:] or [f"exit code {code}"])[0]
    said = next((line for line in lines if line.startswith("ERROR:")), last)
    problem = said.removeprefix("ERROR:").removeprefix("INTERNALERROR>").strip()
    if code == _PYTEST_USAGE:
        return UsageProblem(f"the conformance suite refused to start: {problem}", fix=f"see {log}")
    return EnvironmentProblem(f"the conformance suite broke off: {problem}", fix=f"see {log}")
