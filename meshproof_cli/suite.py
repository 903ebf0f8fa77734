"""The conformance suite in a process of its own: pytest, with what it says on the way and what it wrote at the end."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from meshproof_cli.processes import child_command, module_environment
from reports.data_files import read_results
from reports.errors import EnvironmentProblem, MeshproofError, UsageProblem
from reports.model import Run

__all__ = ["Suite", "judge"]

OUTCOME = re.compile(
    r"\b(PASSED|FAILED|SKIPPED|ERROR)\b.*?\[([A-Z]+-\d+)[\]@]|\[([A-Z]+-\d+)[\]@].*?\b(PASSED|FAILED|SKIPPED)"
)
_PYTEST_RAN = (0, 1)
_PYTEST_USAGE = 4
_LOOK = 0.3  # seconds between looks at whether the suite is late or not wanted any more
_PATIENCE = 45.0  # seconds for pytest to take its namespaces away after an interrupt


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
            "-p", "no:cacheprovider", *_plugin(), *self.flags,
            "--mesh", self.mesh, *self.access, "--image", self.image, "--mesh-only", ",".join(self.ids),
            "--report-dir", str(self.directory),
            *(["-n", str(self.workers)] if self.workers > 1 else ["-p", "no:xdist"]),
        )  # fmt: skip


def judge(suite: Suite, report: Callable[[str], None], cancel: threading.Event | None = None) -> Run:
    """Judge; the log and the bundles of failures stay in the suite's directory.

    Raises a `MeshproofError` where pytest could not judge at all, or was ended by `cancel`, which any thread may set.
    """
    suite.directory.mkdir(parents=True, exist_ok=True)
    log, results = suite.directory / "pytest.log", suite.directory / "results.json"
    results.unlink(missing_ok=True)
    done: set[str] = set()
    with log.open("w", encoding="utf-8") as kept, _process(suite.command, suite.directory) as process:
        with _watched(process, suite.limit, cancel) as late:
            for line in process.stdout or ():
                kept.write(line)
                if found := OUTCOME.search(line):
                    done.add(found[2] or found[3])
                    report(f"{len(done)} of {len(suite.ids)} checks, {found[2] or found[3]} done")
    if cancel is not None and cancel.is_set():
        raise EnvironmentProblem("the conformance suite was told to end")
    if late.is_set():
        raise EnvironmentProblem(f"the conformance suite did not end within {suite.limit:.0f} s", fix=f"see {log}")
    if process.returncode not in _PYTEST_RAN and not results.is_file():
        raise _complaint(process.returncode, log)
    return read_results(results)


def _plugin() -> list[str]:
    """Name the suite's plugin to pytest where the product is not installed, and so no entry point does."""
    installed = any(point.value == "conformance.plugin" for point in entry_points(group="pytest11"))
    return [] if installed else ["-p", "conformance.plugin"]


@contextmanager
def _watched(process: subprocess.Popen[str], limit: float, cancel: threading.Event | None) -> Iterator[threading.Event]:
    """Tell the process to end when it is late or not wanted any more; the event is set if it was late."""
    late, ended = threading.Event(), threading.Event()
    deadline = time.monotonic() + limit

    def watch() -> None:
        while not ended.wait(_LOOK):
            if time.monotonic() > deadline:
                late.set()
            if late.is_set() or (cancel is not None and cancel.is_set()):
                process.terminate()
                return

    watcher = threading.Thread(target=watch, name="suite watcher", daemon=True)
    watcher.start()
    try:
        yield late
    finally:
        ended.set()
        watcher.join()


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
