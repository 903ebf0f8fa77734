"""What an earlier run left in a report directory: never mixed with a new run's, and kept for one generation."""

from __future__ import annotations

from pathlib import Path

from reports.data_files import RESULTS, read_results
from reports.errors import UsageProblem
from reports.files import MARKER, claim_directory, clear_directory, one_sentence, remove
from reports.model import Verdict

__all__ = ["BEFORE", "put_aside"]

BEFORE = "before"
"""Folder of a report directory that holds what the run before left there."""
_DERIVED = ("results.yaml", "junit.xml", "summary.md", "report.html", "badge.svg")
_UPSTREAM = "*-report.yaml"
_FOLDERS = ("bundles", "conformance", "cluster-logs")
_SIGNED = "allure-results"
"""Other tools write there as well; where nothing but ours is in it, it is marked."""
_BUNDLE = "bundles/*/result.json"
_JUDGED = frozenset({Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE})


def put_aside(place: Path) -> Path | None:
    """Move what an earlier run left of ours in `place` into its folder `before`; that folder, where there is one.

    It holds one report, and gives it up for none in which nothing was judged: that one is removed instead, as a run
    that comes to judge nothing is easily begun. What is not ours is left alone. Raises `UsageProblem` where a `before`
    of somebody else's is in the way, `EnvironmentProblem` where the file system refuses.
    """
    before = place / BEFORE
    with one_sentence(place):
        ours = _ours(place)
        if ours and (_says_something(place) or not _says_something(before)):
            clear_directory(claim_directory(before))
            for one in ours:
                target = before / one.relative_to(place)
                target.parent.mkdir(exist_ok=True)
                one.rename(target)
        else:
            for one in ours:
                remove(one)
        return before if (before / MARKER).is_file() else None


def _ours(place: Path) -> list[Path]:
    """What runs have written in a directory.

    In one that is marked, that is what has a name of ours. In one of somebody else's, only where there are results:
    those, bundles one by one, and what says that it is made of them.
    """
    names = [RESULTS, *_DERIVED]
    if (place / MARKER).is_file():
        found = [place / name for name in (*names, *_FOLDERS)]
    elif (place / RESULTS).is_file():
        found = [one for one in map(place.joinpath, names) if one.name == RESULTS or _says(one, b"meshproof")]
        found += [file.parent for file in place.glob(_BUNDLE)]
    else:
        return []
    found += [one for one in place.glob(_UPSTREAM) if _says(one, b"ConformanceReport")]
    found += [place / _SIGNED] if (place / _SIGNED / MARKER).is_file() else []
    return [one for one in found if one.exists() or one.is_symlink()]


def _says(file: Path, word: bytes) -> bool:
    return file.is_file() and word in file.read_bytes()


def _says_something(place: Path) -> bool:
    """Whether anything was judged by the run that left a report: by its results or, where it was killed, its bundles.

    What cannot be read is of another version, and may say anything.
    """
    for inside in (place, place / "conformance"):
        if next(inside.glob(_BUNDLE), None) is not None:
            return True
        if (inside / RESULTS).is_file():
            try:
                results = read_results(inside / RESULTS).results
            except UsageProblem:
                return True
            if any(one.verdict in _JUDGED for one in results):
                return True
    return False
