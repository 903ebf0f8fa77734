"""What an earlier run did not show to be right: its ids, from its report or from a bundle."""

from __future__ import annotations

from pathlib import Path

from reports.data_files import RESULTS, read_results, strict_json
from reports.errors import UsageProblem

__all__ = ["failed_ids"]


def failed_ids(place: Path) -> tuple[str, ...]:
    """Ids of what failed or stayed open, at a results file, a report directory, a bundle or a folder of bundles.

    Raises `UsageProblem` where the place is none of these, or where nothing failed.
    """
    results = place / RESULTS if place.is_dir() else place
    if results.is_file() and results.name not in {"result.json", "history.json"}:
        ids = tuple(one.id for one in read_results(results).results if one.failed or one.unproven)
        if not ids:
            raise UsageProblem(f"nothing failed in {results}", fix="leave --rerun-failed out to judge everything")
        return ids
    folder = place.parent if place.is_file() else place
    files = [folder / "result.json"] if (folder / "result.json").is_file() else sorted(folder.glob("*/result.json"))
    if not files:
        raise UsageProblem(
            f"there is neither a results.json nor a bundle at {place}", fix="give a report directory of a run"
        )
    return tuple(_id(path) for path in files)


def _id(path: Path) -> str:
    try:
        return str(strict_json(path.read_text(encoding="utf-8"))["id"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageProblem(f"{path} is no result of a check: {type(error).__name__}: {error}") from error
