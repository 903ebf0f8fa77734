"""What a suite's own power was measured to be: trials on meshes with known faults, and what they add up to. Pure.

A *subject* is a mesh with one seeded defect, an equivalent (looks different, behaves the same), or the sound mesh. A
*trial* is the verdicts of the suite on one subject.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

from reports.errors import UsageProblem
from reports.model import Verdict, plain
from reports.rates import upper_bound

__all__ = ["CONFIDENCE", "SCHEMA", "CheckInfo", "Matrix", "Outcome", "Subject", "Trial", "matrix_json", "read_matrix"]

SCHEMA = "meshproof.kill-matrix/v1"
CONFIDENCE = 0.95
_AT_ITS_GATE = re.compile(r": not within [\d.]+ s \(")
"""How a check says that its own configuration never came into force: its judge then saw nothing."""


class Outcome(StrEnum):
    """What a trial says."""

    KILLED = "killed"
    SURVIVED = "survived"
    QUIET = "quiet"
    """An equivalent or the sound mesh, and no check failed."""
    FALSE_ALARM = "false alarm"
    BROKEN = "broken"
    """The mesh could not be installed or judged: this proves nothing about the checks."""
    OPEN = "open"
    """Not tried yet."""


@dataclass(frozen=True)
class Subject:
    """What is judged in a trial."""

    name: str
    kind: Literal["defect", "equivalent", "clean"]
    capability: str
    summary: str = ""
    seam: str = ""
    excuse: str = ""
    """Why no check can find it."""
    aims: tuple[str, ...] = ()
    """The checks that must find it."""
    says: str = ""
    """What a check must say to have found it, where it has another defect in it that shows by itself."""


@dataclass(frozen=True)
class CheckInfo:
    """One column of the matrix."""

    id: str
    title: str
    group: str
    excuse: str = ""
    """Why no defect is seeded for it to find."""


@dataclass(frozen=True)
class Trial:
    """The verdicts on one subject."""

    subject: Subject
    verdicts: Mapping[str, Verdict]
    reasons: Mapping[str, str] = field(default_factory=dict)
    """Of every verdict that is not a pass."""
    affected: tuple[str, ...] = ()
    """The groups that speak of the defect's capability; they are judged first."""
    seconds: float = 0.0
    image: str = ""
    """The image that was tried: a trial of another image is about another product."""
    started: float = 0.0
    seed: int | None = None
    problem: str = ""
    """Why the mesh could not be judged."""

    @property
    def failed(self) -> tuple[str, ...]:
        """Ids of the checks that failed."""
        return tuple(name for name, verdict in self.verdicts.items() if verdict is Verdict.FAIL)

    @property
    def finders(self) -> tuple[str, ...]:
        """Of the checks that failed, those that said what the defect is known by."""
        return tuple(name for name in self.failed if self.subject.says in self.reasons.get(name, ""))

    @property
    def undecided(self) -> tuple[str, ...]:
        """Ids of the checks that reached no verdict."""
        return tuple(name for name, verdict in self.verdicts.items() if verdict is Verdict.INCONCLUSIVE)

    @property
    def decided(self) -> tuple[str, ...]:
        """Ids of the checks whose verdict speaks for or against the mesh: those that could have failed."""
        return tuple(name for name, verdict in self.verdicts.items() if verdict in (Verdict.PASS, Verdict.FAIL))

    @property
    def at_their_gate(self) -> tuple[str, ...]:
        """Of the checks that failed, those whose own configuration never came into force."""
        return tuple(name for name in self.failed if _AT_ITS_GATE.search(self.reasons.get(name, "")))

    @property
    def by_its_own(self) -> tuple[str, ...]:
        """Of the checks that failed, those in the groups of the defect's capability."""
        return tuple(name for name in self.failed if name.rpartition("-")[0] in self.affected)

    @property
    def outcome(self) -> Outcome:
        """What it says."""
        if self.subject.kind == "defect" and self.finders:
            return Outcome.KILLED
        if self.problem:
            return Outcome.BROKEN
        if self.subject.kind == "defect":
            return Outcome.SURVIVED
        return Outcome.FALSE_ALARM if self.failed else Outcome.QUIET


@dataclass(frozen=True)
class Matrix:
    """Every trial, and the subjects that wait for theirs."""

    mesh: str
    product_version: str
    checks: tuple[CheckInfo, ...]
    subjects: tuple[Subject, ...]
    trials: tuple[Trial, ...]

    @property
    def current(self) -> tuple[Trial, ...]:
        """The latest trial of each subject here: what an earlier build did wrong does not count for good."""
        names = {one.name for one in self.subjects}
        return tuple({one.subject.name: one for one in self.trials if one.subject.name in names}.values())

    def of(self, subject: Subject) -> Trial | None:
        """The latest trial of a subject."""
        return next((one for one in reversed(self.trials) if one.subject.name == subject.name), None)

    def outcome(self, subject: Subject) -> Outcome:
        """The latest outcome of a subject."""
        trial = self.of(subject)
        return Outcome.OPEN if trial is None else trial.outcome

    def named(self, kind: str, *outcomes: Outcome) -> tuple[Subject, ...]:
        """The subjects of a kind with one of these outcomes."""
        return tuple(one for one in self.subjects if one.kind == kind and self.outcome(one) in outcomes)

    @property
    def survivors(self) -> tuple[Subject, ...]:
        """The defects that no check found."""
        return self.named("defect", Outcome.SURVIVED)

    @property
    def missed(self) -> tuple[tuple[Subject, tuple[str, ...]], ...]:
        """Defects that were tried, with those of the checks judged here that must find them and did not.

        A trial that broke off speaks only of the checks that it came to.
        """
        found, judged = [], {one.id for one in self.checks}
        for subject in self.subjects:
            trial = self.of(subject)
            if trial is None or trial.outcome is Outcome.BROKEN:
                continue
            asked = judged & set(trial.verdicts) if trial.problem else judged
            if late := tuple(one for one in subject.aims if one in asked and one not in trial.finders):
                found.append((subject, late))
        return tuple(found)

    @property
    def capabilities(self) -> tuple[tuple[str, int, int, int], ...]:
        """By capability: its name, how many defects are seeded, tried and killed."""
        rows = []
        for name in dict.fromkeys(one.capability for one in self.subjects if one.kind == "defect"):
            seeded = [one for one in self.subjects if one.kind == "defect" and one.capability == name]
            outcomes = [self.outcome(one) for one in seeded]
            tried = sum(one not in (Outcome.OPEN, Outcome.BROKEN) for one in outcomes)
            rows.append((name, len(seeded), tried, outcomes.count(Outcome.KILLED)))
        return tuple(rows)

    @property
    def kills(self) -> Mapping[str, tuple[str, ...]]:
        """Check -> the defects that it found."""
        found: dict[str, list[str]] = {one.id: [] for one in self.checks}
        for subject in self.subjects:
            trial = self.of(subject)
            if subject.kind == "defect" and trial is not None:
                for name in trial.failed:
                    found.setdefault(name, []).append(subject.name)
        return {name: tuple(names) for name, names in found.items()}

    @property
    def idle(self) -> tuple[CheckInfo, ...]:
        """The checks that found no defect."""
        kills = self.kills
        return tuple(one for one in self.checks if not kills[one.id])

    @property
    def gated(self) -> tuple[CheckInfo, ...]:
        """The checks that found defects only as their configuration never came into force; no judge has seen one."""
        found = [trial for one in self.subjects if one.kind == "defect" and (trial := self.of(one)) is not None]
        judged = {name for one in found for name in one.failed if name not in one.at_their_gate}
        kills = self.kills
        return tuple(one for one in self.checks if kills[one.id] and one.id not in judged)

    @property
    def undecided(self) -> tuple[tuple[Subject, tuple[str, ...]], ...]:
        """Equivalents and clean runs on which checks reached no verdict, with the checks."""
        sound = [one for one in self.current if one.subject.kind != "defect"]
        return tuple((one.subject, one.undecided) for one in sound if one.undecided)

    @property
    def false_alarms(self) -> tuple[tuple[Subject, tuple[str, ...]], ...]:
        """Equivalents and clean runs on which checks failed, with the checks."""
        return tuple((one.subject, one.failed) for one in self.current if one.subject.kind != "defect" and one.failed)

    @property
    def quiet_runs(self) -> tuple[int, int]:
        """Clean runs with a failure, and all of them."""
        return sum(bool(one.failed) for one in self._clean), len(self._clean)

    @property
    def _clean(self) -> tuple[Trial, ...]:
        return tuple(one for one in self.current if one.subject.kind == "clean" and not one.problem)

    def _judged(self, *kinds: str) -> tuple[Trial, ...]:
        return tuple(one for one in self.current if one.subject.kind in kinds and one.verdicts)

    @property
    def reach(self) -> str:
        """What the trials leave open, in one sentence; "" where every check was asked of every defect of one image."""
        trials = self._judged("defect")
        short = sum(len(one.verdicts) < len(self.checks) for one in trials)
        images = len({one.image for one in self._judged("defect", "equivalent", "clean")})
        said = []
        if short:
            said.append(
                f"in {short} of {len(trials)} trials only some checks were asked, those that speak of the defect first:"
                " what else would find it is not known"
            )
        if images > 1:
            said.append(f"the trials are of {images} builds")
        if self.gated:
            said.append(
                f"{', '.join(one.id for one in self.gated)} found theirs at the gate alone, as a configuration never"
                " came into force: a judge that sees such a defect was not tried"
            )
        text = "; ".join(said)
        return f"{text[:1].upper()}{text[1:]}." if text else ""

    @property
    def proof(self) -> str:
        """What the clean runs prove, in one sentence."""
        alarms, runs = self.quiet_runs
        if not runs:
            return "No clean run was made: nothing is known of false alarms."
        bound = upper_bound(alarms, runs, CONFIDENCE)
        verdicts = sum(len(one.decided) for one in self._clean)
        failures = sum(len(one.failed) for one in self._clean)
        builds, tried = {one.image for one in self._clean}, {one.image for one in self._judged("defect")}
        of = f"of {len(builds)} builds" if len(builds) > 1 else ""
        if tried and not builds & tried:
            of = f"{of}, on none of which a defect was tried" if of else "of a build on which no defect was tried"
        each = upper_bound(failures, verdicts, CONFIDENCE) if verdicts else 1.0
        still = "; ".join(f"{one.subject.name}: {', '.join(one.undecided)}" for one in self._clean if one.undecided)
        return (
            f"{alarms} of {runs} clean runs had a failure: with {100 * CONFIDENCE:g} % confidence a run of a sound mesh"
            f" fails with a probability of at most {100 * bound:.2g} %, and a single check, if all are alike, with at"
            f" most {100 * each:.2g} % ({failures} of {verdicts} verdicts)."
            f"{f' No verdict was reached, and none is counted, in {still}.' if still else ''}"
            f"{f' The clean runs are {of}.' if of else ''}"
        )


def trial_json(trial: Trial) -> dict[str, Any]:
    """One trial as plain JSON."""
    found: dict[str, Any] = plain(asdict(trial))
    return {**found, "outcome": trial.outcome.value}


def _subject(document: Mapping[str, Any]) -> Subject:
    return Subject(**{**document, "aims": tuple(document.get("aims", ()))})


def trial_from_json(document: Mapping[str, Any]) -> Trial:
    """The inverse of `trial_json`. Raises `UsageProblem`."""
    try:
        values = {name: value for name, value in document.items() if name in Trial.__dataclass_fields__}
        values["subject"] = _subject(document["subject"])
        values["verdicts"] = {name: Verdict(value) for name, value in document["verdicts"].items()}
        values["affected"] = tuple(document.get("affected", ()))
        return Trial(**values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UsageProblem(f"this is no trial: {type(error).__name__}: {error}") from error


def matrix_json(matrix: Matrix) -> dict[str, Any]:
    """The matrix as plain JSON in the published schema; what is derived is there for readers only."""
    alarms, runs = matrix.quiet_runs
    return {
        "schema": SCHEMA,
        "mesh": matrix.mesh,
        "product_version": matrix.product_version,
        "checks": [asdict(one) for one in matrix.checks],
        "subjects": [asdict(one) for one in matrix.subjects],
        "trials": [trial_json(one) for one in matrix.trials],
        "summary": {
            "seeded": sum(one.kind == "defect" for one in matrix.subjects),
            "killed": len(matrix.named("defect", Outcome.KILLED)),
            "survivors": [one.name for one in matrix.survivors],
            "broken": [one.name for one in matrix.named("defect", Outcome.BROKEN)],
            "untried": [one.name for one in matrix.named("defect", Outcome.OPEN)],
            "idle checks": [one.id for one in matrix.idle],
            "clean runs": runs,
            "clean runs with a failure": alarms,
            "proof": matrix.proof,
        },
    }


def read_matrix(document: Mapping[str, Any]) -> Matrix:
    """The inverse of `matrix_json`. Raises `UsageProblem`."""
    if document.get("schema") != SCHEMA:
        raise UsageProblem(f"this is not in the format {SCHEMA}")
    try:
        return Matrix(
            document["mesh"],
            document["product_version"],
            tuple(CheckInfo(**one) for one in document["checks"]),
            tuple(_subject(one) for one in document["subjects"]),
            tuple(trial_from_json(one) for one in document["trials"]),
        )
    except (KeyError, TypeError) as error:
        raise UsageProblem(f"this is no kill matrix: {type(error).__name__}: {error}") from error
