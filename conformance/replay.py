"""Judging again what bundles recorded, without a cluster: is the verdict still the same? Reads files, else pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from conformance.bundle import BUNDLES, HISTORY, Kept, read_bundle
from conformance.catalogue import checks
from conformance.model import Check, Judgement
from conformance.pulse import excused
from conformance.runner import judged
from conformance.trouble import Trouble
from reports.choice import choose
from reports.errors import UsageProblem
from reports.model import Verdict

__all__ = ["Replayed", "Unread", "bundles", "judge_again", "replay"]


@dataclass(frozen=True)
class Replayed:
    """One bundle, judged again."""

    id: str
    recorded: Verdict
    reason: str
    """Of the run."""
    now: Judgement
    trouble: Trouble | None = None
    """Where there was no history, what ended the check instead."""

    @property
    def same(self) -> bool:
        """Whether today's judge says what the run's said."""
        return self.recorded is self.now.verdict


@dataclass(frozen=True)
class Unread:
    """One bundle of several that cannot be judged again: of another version, half written, or of what was not kept."""

    id: str
    """Its folder's name."""
    reason: str


def bundles(place: Path) -> tuple[Path, ...]:
    """The bundles at a place: one bundle, a file of one, or a report directory. `UsageProblem` where there is none."""
    folder = place.parent if place.is_file() else place
    if (folder / HISTORY).is_file():
        return (folder,)
    for inside in (folder / BUNDLES, folder / "conformance" / BUNDLES, folder):
        if inside.is_dir() and (found := sorted(path.parent for path in inside.glob(f"*/{HISTORY}"))):
            return tuple(found)
    raise UsageProblem(
        f"there is no bundle at {place}",
        fix=f"give a folder under `{BUNDLES}` of a report directory, or that directory; what passed leaves no bundle",
    )


def judge_again(check: Check, kept: Kept) -> Replayed:
    """The verdict that the check's judge gives on a recorded history, or that follows from why there is none."""
    now = excused(judged(check.judge, kept.history), kept.stall, 0.0)
    trouble = kept.history if isinstance(kept.history, Trouble) else None
    return Replayed(check.id, kept.result.verdict, kept.result.reason, now, trouble)


def replay(place: Path) -> tuple[Replayed | Unread, ...]:
    """Judge everything at a place again. `UsageProblem` where there is but one bundle, and it cannot be judged."""
    folders, known = bundles(place), {one.id: one for one in checks()}
    again: list[Replayed | Unread] = []
    for folder in folders:
        try:
            again.append(_judged_again(folder, known))
        except UsageProblem as error:
            if len(folders) == 1:
                raise
            again.append(Unread(folder.name, ": ".join(filter(None, (error.problem, error.fix)))))
    return tuple(again)


def _judged_again(folder: Path, known: Mapping[str, Check]) -> Replayed:
    kept = read_bundle(folder)
    check = known[choose(kept.result.id, known, "check", "the bundle is of another version of the suite")]
    return judge_again(check, kept)
