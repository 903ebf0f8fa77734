"""kill-matrix.html, .md and .json: which check found which seeded defect. One page, no request to anywhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from markupsafe import Markup

from reports.files import write_text
from reports.model import Verdict
from reports.page import asset, environment, page_policy
from reports.sensitivity import Matrix, Outcome, Subject, matrix_json
from reports.words import clean, duration

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["kill_matrix_html", "kill_matrix_markdown", "write_kill_matrix"]

_TONES = {
    Outcome.KILLED: "pass", Outcome.QUIET: "pass", Outcome.SURVIVED: "fail", Outcome.FALSE_ALARM: "fail",
    Outcome.BROKEN: "inconclusive", Outcome.OPEN: "not-run",
}  # fmt: skip
_MARKS = {
    Verdict.FAIL: ("hit", "✗", "failed: it found the defect"),
    Verdict.INCONCLUSIVE: ("open", "?", "inconclusive"),
    Verdict.PASS: ("", "·", "passed"),
    Verdict.NOT_RUN: ("", "○", "not run"),
    Verdict.UNSUPPORTED: ("", "–", "unsupported"),
}


@dataclass(frozen=True)
class Row:
    """One subject of the table."""

    subject: Subject
    outcome: Outcome
    tone: str
    cells: tuple[tuple[str, str, str], ...]
    """By check: style, sign, and what the pointer is told."""
    by: tuple[str, ...]
    note: str
    seconds: str

    @property
    def told(self) -> tuple[str, ...]:
        """What the pointer is told of verdicts that need a reason, for those who have none."""
        return tuple(tip for style, _, tip in self.cells if style in {"hit", "alarm", "open"})


@dataclass(frozen=True)
class Section:
    """The rows of one capability."""

    title: str
    rows: tuple[Row, ...]

    @property
    def share(self) -> str:
        """How many of them were found, where they are defects."""
        defects = [row for row in self.rows if row.subject.kind == "defect"]
        found = sum(row.outcome is Outcome.KILLED for row in defects)
        return f"{found} of {len(defects)} found" if defects else ""


def kill_matrix_html(matrix: Matrix) -> str:
    """The matrix as one self-contained page."""
    style, script = asset("report.css") + asset("kill-matrix.css"), asset("kill-matrix.js")
    return environment().get_template("kill-matrix.html.jinja").render(
        matrix=matrix,
        policy=page_policy(style, script),
        style=Markup(style),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704
        sections=_sections(matrix),
        groups=_groups(matrix),
        figures=_figures(matrix),
        kills=matrix.kills,
        Outcome=Outcome,
    )  # fmt: skip


def _row(matrix: Matrix, subject: Subject) -> Row:
    trial, outcome = matrix.of(subject), matrix.outcome(subject)
    verdicts = trial.verdicts if trial is not None else {}
    reasons = trial.reasons if trial is not None else {}
    cells = []
    for check in matrix.checks:
        verdict = verdicts.get(check.id)
        if verdict is None:
            cells.append(("", "", ""))
            continue
        style, sign, word = _MARKS[verdict]
        if verdict is Verdict.FAIL and subject.kind != "defect":
            style, word = "alarm", "failed on a sound mesh"
        reason = f": {reasons[check.id]}" if check.id in reasons else ""
        cells.append((style, sign, clean(f"{check.id} {word}{reason}")[:400]))
    note = trial.problem if trial is not None and trial.problem else subject.summary
    if trial is not None and trial.undecided and subject.kind != "defect":
        note = f"{note} No verdict: {', '.join(trial.undecided)}."
    seconds = duration(trial.seconds) if trial is not None else ""
    by = trial.failed if trial is not None else ()
    return Row(subject, outcome, _TONES[outcome], tuple(cells), by, note, seconds)


def _sections(matrix: Matrix) -> list[Section]:
    found = []
    for kind, title in (("defect", ""), ("equivalent", "Equivalents"), ("clean", "The sound mesh")):
        of_kind = [one for one in matrix.subjects if one.kind == kind]
        for name in dict.fromkeys(one.capability for one in of_kind):
            rows = tuple(_row(matrix, one) for one in of_kind if one.capability == name)
            found.append(Section(title or name.replace("-", " ").capitalize(), rows))
    return found


def _groups(matrix: Matrix) -> list[tuple[str, int]]:
    names = [one.group for one in matrix.checks]
    return [(name, names.count(name)) for name in dict.fromkeys(names)]


def _figures(matrix: Matrix) -> list[tuple[str, str]]:
    seeded = [one for one in matrix.subjects if one.kind == "defect"]
    tried = [one for one in seeded if matrix.outcome(one) not in (Outcome.OPEN, Outcome.BROKEN)]
    killed = matrix.named("defect", Outcome.KILLED)
    equivalents = matrix.named("equivalent", *Outcome)
    flagged = matrix.named("equivalent", Outcome.FALSE_ALARM)
    waiting = matrix.named("equivalent", Outcome.OPEN, Outcome.BROKEN)
    alarms, runs = matrix.quiet_runs
    aimed = [one for one in tried if one.aims]
    missed = [one for one, _ in matrix.missed if one in aimed]
    own = sum(bool(trial.by_its_own) for one in killed if (trial := matrix.of(one)) is not None)
    return [
        ("defects found, of those tried", f"{len(killed)} of {len(tried)}"),
        ("defects seeded", str(len(seeded))),
        ("found by a check of their capability", f"{own} of {len(killed)}"),
        ("found by the checks that must find them", f"{len(aimed) - len(missed)} of {len(aimed)}"),
        ("not tried, or broke off", str(len(seeded) - len(tried))),
        ("equivalents flagged, of those tried", f"{len(flagged)} of {len(equivalents) - len(waiting)}"),
        ("equivalents not tried, or broke off", f"{len(waiting)} of {len(equivalents)}"),
        ("clean runs with a failure", f"{alarms} of {runs}"),
        ("verdicts not reached on sound meshes", str(sum(len(ids) for _, ids in matrix.undecided))),
        ("checks that found something", f"{len(matrix.checks) - len(matrix.idle)} of {len(matrix.checks)}"),
        ("of these, only at their gate", str(len(matrix.gated))),
    ]


def kill_matrix_markdown(matrix: Matrix) -> str:
    """The matrix for a reader of the repository."""
    lines = [
        "# Kill matrix",
        "",
        f"meshproof {matrix.product_version} on {matrix.mesh} with one seeded defect at a time.",
        "",
    ]
    lines += _table(("", ""), [list(one) for one in _figures(matrix)])
    lines += ["", matrix.proof, *(["", matrix.reach] if matrix.reach else []), "", "## By capability", ""]
    lines += _table(
        ("capability", "seeded", "tried", "found"),
        [[name, str(seeded), str(tried), str(killed)] for name, seeded, tried, killed in matrix.capabilities],
    )
    lines += ["", "## Defects", ""]
    rows = [_row(matrix, one) for one in matrix.subjects]
    lines += _table(
        ("defect", "outcome", "found by", "what it does"),
        [
            [f"`{row.subject.name}`", row.outcome.value, ", ".join(row.by), row.note]
            for row in rows
            if row.subject.kind == "defect"
        ],
    )
    lines += ["", "## Sound meshes", ""]
    lines += _table(
        ("mesh", "outcome", "failed", "what it is"),
        [
            [f"`{row.subject.name}`", row.outcome.value, ", ".join(row.by), row.note]
            for row in rows
            if row.subject.kind != "defect"
        ],
    )
    if matrix.missed:
        lines += ["", "## Checks that missed the defect that they must find", ""]
        lines += _table(("defect", "checks"), [[f"`{one.name}`", ", ".join(ids)] for one, ids in matrix.missed])
    if unseen := [one for one in matrix.survivors if one.excuse]:
        lines += ["", "## Defects that no check can find", ""]
        lines += _table(("defect", "why"), [[f"`{one.name}`", one.excuse] for one in unseen])
    if matrix.idle:
        lines += ["", "## Checks that found no defect", ""]
        lines += _table(("check", "title", "why"), [[one.id, one.title, one.excuse] for one in matrix.idle])
    return "\n".join(lines) + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(" ".join(clean(one).replace("|", "\\|").split()) for one in cells) + " |"

    return [line(head), "|" + "---|" * len(head), *(line(row) for row in rows)]


def write_kill_matrix(matrix: Matrix, directory: Path) -> Path:
    """Write the three files; the page's path."""
    document = json.dumps(matrix_json(matrix), indent=1, ensure_ascii=False, allow_nan=False)
    write_text(directory / "kill-matrix.json", document + "\n")
    write_text(directory / "kill-matrix.md", kill_matrix_markdown(matrix))
    page = directory / "kill-matrix.html"
    write_text(page, kill_matrix_html(matrix))
    return page
