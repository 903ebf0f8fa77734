"""One trial: refmesh with one defect on one cluster, judged by the groups that speak of it first."""

from __future__ import annotations

import shlex
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from conformance.outcomes import is_unreached
from fixtures.cluster import Cluster
from meshproof_cli.processes import module_command
from meshproof_cli.refmesh_program import refmesh
from meshproof_cli.sensitivity.plan import LAST, affected, stages
from meshproof_cli.suite import Suite, judge
from reports.errors import MeshproofError
from reports.model import Result, Verdict
from reports.sensitivity import Subject, Trial

__all__ = ["Bench", "attempt"]

INSTALL_SECONDS = 90
SUITE_SECONDS = 1200.0
"""More than twice what the whole suite takes on two slow cores."""


@dataclass(frozen=True)
class Bench:
    """A cluster to try on, and what is the same in all trials."""

    cluster: Cluster
    image: str
    directory: Path
    checks: Mapping[str, str]
    """Id -> group of the checks that may be judged."""
    workers: int = 1
    thorough: bool = False
    """Judge everything, also once a check has found the defect."""
    affected_only: bool = False
    """Leave out the checks that do not speak of a defect's capability."""
    first: bool = False
    """End a group at its first failure: fewer checks are known to find a defect, in less time."""
    cancel: threading.Event = field(default_factory=threading.Event, compare=False)
    """Set: a trial under way ends soon, and is none."""

    @property
    def access(self) -> tuple[str, ...]:
        """The flags that lead a program of ours to the cluster."""
        flags = ("--kubeconfig", str(self.cluster.kubeconfig))
        return (*flags, "--context", self.cluster.context) if self.cluster.context else flags


def attempt(bench: Bench, subject: Subject, report: Callable[[str], None]) -> Trial:
    """Install, judge, and say what came of it. A mesh that does not come up, or a suite that breaks off, is said."""
    started, clock = time.time(), time.monotonic()
    seed = int(subject.name.rpartition("-")[2]) if subject.kind == "clean" else None
    found: dict[str, Result] = {}
    problem = ""
    try:
        report("installing")
        install(bench, subject)
        for stage in stages(subject, bench.checks, affected_only=bench.affected_only):
            left, first = stage.ids, bench.first and subject.kind == "defect" and not stage.whole
            while left:
                judged = _judged(bench, subject, left, seed, report, first=first)
                found |= judged
                # Ended early, by what was no failure in the end: the others are still to be asked.
                left = tuple(one for one in left if one not in judged) if first and judged else ()
                if _failed(found) and not bench.thorough:
                    break
            if _failed(found) and not bench.thorough:
                break
    except MeshproofError as error:
        problem = error.problem
        found |= {one.id: one for one in getattr(error, "results", ()) if one.id in bench.checks}
    return Trial(
        subject=subject,
        verdicts={name: one.verdict for name, one in found.items()},
        reasons={name: one.reason for name, one in found.items() if one.verdict is not Verdict.PASS},
        affected=affected(subject, bench.checks.values()) if subject.kind == "defect" else (),
        seconds=round(time.monotonic() - clock, 1),
        image=bench.image,
        started=started,
        seed=seed,
        problem=problem,
    )


def _failed(found: Mapping[str, Result]) -> bool:
    return any(one.verdict is Verdict.FAIL for one in found.values())


def install(bench: Bench, subject: Subject) -> None:
    """Bring the cluster's installation to the subject."""
    defect = () if subject.kind == "clean" else ("--defect", subject.name)
    refmesh(
        *("install", "--yes", *bench.access, "--image", bench.image, "--timeout", str(INSTALL_SECONDS), *defect),
        progress=lambda _: None,
        cancel=bench.cancel,
    )


def _farewell(bench: Bench, subject: Subject) -> str:
    """The command that takes the mesh off the bench's cluster."""
    defect = ("--defect", subject.name) if subject.kind == "defect" else ()
    return shlex.join(module_command("refmesh", "uninstall", "--yes", *bench.access, *defect))


def _judged(
    bench: Bench, subject: Subject, ids: Sequence[str], seed: int | None, report: Callable[[str], None], *, first: bool
) -> dict[str, Result]:
    grounds = len({bench.checks[one] for one in ids})
    suite = Suite(
        mesh="refmesh",
        access=bench.access,
        image=bench.image,
        ids=ids,
        directory=bench.directory / "trials" / subject.name,
        workers=min(bench.workers, grounds),
        flags=[
            *("--no-wait", "--mesh-disruptive"),
            *(["--mesh-seed", str(seed)] if seed is not None else []),
            *(["-x"] if first else []),
            *(["--mesh-set", f"uninstall={_farewell(bench, subject)}"] if set(ids) <= set(LAST) else []),
        ],
        limit=SUITE_SECONDS,
    )
    asked = set(ids)
    results = judge(suite, report, bench.cancel).results
    return {one.id: one for one in results if one.id in asked and not is_unreached(one)}
