"""Two runs side by side: what got better or worse, and what chance or a busy machine explains as well. Pure.

Verdicts are compared one by one. Measured figures are compared where each run states an interval: the difference of two
estimates has an interval of its own, at a confidence that is shared among all the figures compared (Bonferroni), so
that two runs of the same mesh are told apart in at most 5 % of all comparisons. That is as far as the intervals know:
they are of one set of pods on one machine. What was measured without the mesh as well tells whether it was the same.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from statistics import NormalDist
from typing import Any

from reports.errors import ExitCode
from reports.model import Result, Run, plain
from reports.words import rate

__all__ = ["ALPHA", "Change", "Comparison", "Direction", "compare"]

ALPHA = 0.05
"""Probability that two runs of one and the same mesh are said to differ in any figure at all."""
STATED = 0.95
"""Confidence of the intervals in results."""

EQUAL_ARMS = "aa_"
"""Metrics of one and the same thing measured twice begin like this."""
PLAIN = "plain_"
"""Metrics of the same thing without the mesh begin like this."""
ANOTHER = 0.1
"""Share by which what has no mesh differs, beyond noise, between two machines, or between a quiet and a busy one. Less
explains no change of a cost: the interval of that is wider."""


class Direction(StrEnum):
    """Which way something went."""

    WORSE = "worse"
    LOST = "lost"
    """It was shown to be right, and no longer is: not that it is wrong."""
    BETTER = "better"
    OTHER = "other"
    """Neither: from one kind of not right to another, or judged in one run only."""
    NOISE = "noise"
    """Within what two runs of the same mesh differ by."""
    SAME = "same"


@dataclass(frozen=True)
class Change:
    """One result or one figure of both runs."""

    id: str
    figure: str
    """Name of the metric; "" for the verdict itself."""
    before: str
    after: str
    direction: Direction
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """All of it."""

    changes: tuple[Change, ...]
    differences: Mapping[str, tuple[str, str]]
    """What else differs between the runs: mesh, cluster, options. A reader decides whether they can be compared."""

    def of(self, *directions: Direction) -> tuple[Change, ...]:
        """The changes in these directions."""
        return tuple(one for one in self.changes if one.direction in directions)

    @property
    def exit_code(self) -> ExitCode:
        """1 where something got worse, 4 where a proof was lost, else 0."""
        if self.of(Direction.WORSE):
            return ExitCode.NOT_CONFORMANT
        return ExitCode.NOT_PROVEN if self.of(Direction.LOST) else ExitCode.CONFORMANT

    @property
    def sentence(self) -> str:
        """What it comes to."""
        parts = []
        for direction, words in (
            (Direction.WORSE, "got worse"), (Direction.LOST, "lost their proof"), (Direction.BETTER, "got better"),
            (Direction.OTHER, "changed otherwise"), (Direction.NOISE, "differ by no more than noise"),
        ):  # fmt: skip
            if count := len(self.of(direction)):
                parts.append(f"{count} {words}")
        return f"{', '.join(parts)}." if parts else "Nothing changed."

    def json(self) -> dict[str, Any]:
        """For programs."""
        rows = [
            {"id": one.id, "figure": one.figure, "before": one.before, "after": one.after,
             "direction": one.direction.value, "note": one.note}
            for one in self.changes
        ]  # fmt: skip
        return {
            "exit_code": int(self.exit_code),
            "summary": {one.value: len(self.of(one)) for one in Direction},
            "differences": {name: list(pair) for name, pair in self.differences.items()},
            "changes": rows,
        }


def compare(before: Run, after: Run) -> Comparison:
    """Compare two runs."""
    old, new = ({one.id: one for one in run.results} for run in (before, after))
    pairs = [(old.get(name), new.get(name)) for name in dict.fromkeys([*old, *new])]
    measured = [(one, two, stem) for one, two in pairs if one and two for stem in _stems(one, two)]
    changes: list[Change] = []
    for one, two in pairs:
        changes.append(_verdict(one, two))
        if one and two:
            machines = _machines(one, two, len(measured))
            changes += [_figure(one, two, stem, len(measured), machines) for stem in _stems(one, two)]
    return Comparison(tuple(changes), dict(_differences(before, after)))


def _verdict(one: Result | None, two: Result | None) -> Change:
    if one is None or two is None:
        there = one or two
        assert there is not None  # noqa: S101 - an id comes from one of them
        if two is None:
            direction = Direction.LOST if there.right else Direction.OTHER
            return Change(there.id, "", there.verdict, "", direction, "not judged any more")
        return Change(there.id, "", "", there.verdict, Direction.OTHER, "not judged before")
    before, after = one.verdict.value, two.verdict.value
    if one.verdict is two.verdict:
        return Change(one.id, "", before, after, Direction.SAME)
    if one.expected is not two.expected:
        return Change(one.id, "", before, after, Direction.OTHER, "one of the runs is a negative control")
    if two.right:
        return Change(one.id, "", before, after, Direction.BETTER, _chance(two, "beta"))
    if two.failed and not one.failed:
        # What was open or unsupported before may have been as wrong then; that it is wrong is new all the same.
        return Change(one.id, "", before, after, Direction.WORSE, _chance(two, "alpha") or two.reason)
    if one.right:
        return Change(one.id, "", before, after, Direction.LOST, two.reason)
    return Change(one.id, "", before, after, Direction.OTHER, two.reason)


def _chance(result: Result, which: str) -> str:
    """How often the new verdict comes about by chance, where it is statistical."""
    known = [value for one in result.error_rates if (value := getattr(one, which)) is not None]
    if not known:
        return ""
    whose = "a sound mesh fails" if which == "alpha" else "a mesh that is off passes"
    return f"by chance {whose} with a probability of at most {rate(min(1.0, sum(known)))}: {result.reason}"


def _stems(one: Result, two: Result) -> list[tuple[str, str]]:
    """The figures that both results state with an interval, as (stem, unit): `added_p99` and `us`.

    None of a measurement that calls itself disturbed, and none of equal arms, which differ by chance alone, or of those
    without the mesh.
    """
    if not (one.right and two.right):
        return []
    return [stem for stem in _intervals(one, two) if not stem[0].startswith((EQUAL_ARMS, PLAIN))]


def _intervals(one: Result, two: Result) -> list[tuple[str, str]]:
    """Every figure of both that has one."""
    found = []
    for name in one.metrics:
        stem, _, unit = name.rpartition("_")
        names = (name, f"{stem}_low_{unit}", f"{stem}_high_{unit}")
        if stem and all(each in one.metrics and each in two.metrics for each in names):
            found.append((stem, unit))
    return found


def _gap(one: Result, two: Result, stem: tuple[str, str], compared: int) -> tuple[float, float, float]:
    """The difference of a figure and the interval of it.

    Each side of it is of the ends that lie there (Zou and Donner 2008): what happens in few blocks has an interval that
    reaches far to one side.
    """
    (middle, low, high), (middle2, low2, high2) = (
        [result.metrics[f"{stem[0]}{end}_{stem[1]}"] for end in ("", "_low", "_high")] for result in (one, two)
    )
    wider = NormalDist().inv_cdf(1 - ALPHA / max(compared, 1) / 2) / NormalDist().inv_cdf((1 + STATED) / 2)
    gap = middle2 - middle
    return (
        gap,
        gap - wider * math.hypot(middle2 - low2, high - middle),
        gap + wider * math.hypot(high2 - middle2, middle - low),
    )


def _machines(one: Result, two: Result, compared: int) -> str:
    """Why the machines cannot have been the same, or as busy; "" where they may have been, or nothing tells."""
    known = [any(name.startswith(PLAIN) for name in result.metrics) for result in (one, two)]
    if known[0] != known[1]:
        return "one of the runs measured in another way, and does not say how fast its machine was"
    moved: list[tuple[float, str]] = []
    for stem in _intervals(one, two):
        if stem[0].startswith(PLAIN):
            before = one.metrics["_".join(stem)]
            gap, low, high = _gap(one, two, stem, compared)
            if not low <= 0 <= high and abs(gap) > ANOTHER * before > 0:
                moved.append((gap / before, stem[0].removeprefix(PLAIN)))
    if not moved:
        return ""
    share, which = max(moved, key=lambda each: abs(each[0]))
    word = "slower" if share > 0 else "faster"
    return f"without the mesh {which} is {abs(share) * 100:.0f} % {word}: another machine, or one that was busy"


def _figure(one: Result, two: Result, stem: tuple[str, str], compared: int, machines: str) -> Change:
    name, unit = "_".join(stem), stem[1]
    gap, low, high = _gap(one, two, stem, compared)
    texts = [f"{result.metrics[name]:.4g} {unit}" for result in (one, two)]
    note = f"difference {gap:+.4g} {unit}, between {low:+.4g} and {high:+.4g}"
    if machines:
        note += f"; {machines}"
    if low <= 0 <= high:
        direction = Direction.SAME if gap == 0 else Direction.NOISE
    elif machines:
        direction = Direction.OTHER
    else:
        # Every figure with an interval is a cost: latency that is added, memory, processor time.
        direction = Direction.WORSE if gap > 0 else Direction.BETTER
    return Change(one.id, name, texts[0], texts[1], direction, note)


def _differences(before: Run, after: Run) -> Iterator[tuple[str, tuple[str, str]]]:
    def about(run: Run) -> dict[str, str]:
        facts = {"mesh": run.mesh, "mesh version": run.mesh_version, "meshproof": run.product_version}
        options = {f"option {name}": _text(value) for name, value in run.options.items()}
        return {**facts, "cluster": run.cluster, **run.environment, **options}

    old, new = about(before), about(after)
    for name in dict.fromkeys([*old, *new]):
        pair = (old.get(name, ""), new.get(name, ""))
        if pair[0] != pair[1]:
            yield name, pair


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(plain(value))
