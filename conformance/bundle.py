"""What is kept of a check that did not pass: enough to judge it again without the cluster, with secrets removed."""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from conformance.context import Context
from conformance.histories import NotKept, decode, encode
from conformance.redaction import redact_log, redacted, redacted_history
from conformance.scene import write_json, write_scene
from reports.data_files import strict_json
from reports.errors import UsageProblem
from reports.files import remove
from reports.model import Result, result_from_json, result_to_json

__all__ = ["BUNDLES", "Kept", "read_bundle", "write_bundle"]

BUNDLES = "bundles"
"""Folder of a report directory that holds one bundle for each check that did not pass."""
FORMAT = "meshproof.history/v1"
HISTORY, RESULT = "history.json", "result.json"


@dataclass(frozen=True)
class Kept:
    """What a bundle says: the verdict of the run, and the history that it was reached from."""

    result: Result
    history: object
    """A `Trouble` where the collection ended before there was a history."""
    stall: float = 0.0
    """Seconds that the machine stood still meanwhile, where that excuses a failure."""


def write_bundle(
    directory: Path, ctx: Context | None, result: Result, history: object, error: Exception | None, stall: float = 0.0
) -> Path:
    """Write the bundle of one check and return its folder. What cannot be fetched is named in `missing.txt`."""
    folder = directory / BUNDLES / result.id
    if folder.exists():  # of an earlier verdict: what it kept speaks of that one alone
        remove(folder)
    folder.mkdir(parents=True)
    write_json(folder / RESULT, redacted(result_to_json(result)))
    write_json(folder / HISTORY, redacted_history(_document(result.id, history, stall)))
    if error is not None:
        text = "".join(traceback.format_exception(error))
        (folder / "error.txt").write_text(redact_log(text))
    if ctx is not None:
        if rows := ctx.unanswered.rows:
            write_json(folder / "unanswered.json", redacted(rows))
        if missing := write_scene(folder, ctx):
            (folder / "missing.txt").write_text("\n".join(missing) + "\n")
    return folder


def _document(check: str, history: object, stall: float) -> dict[str, Any]:
    document: dict[str, Any] = {"format": FORMAT, "check": check, "stall": stall, "history": None, "not kept": ""}
    try:
        document["history"] = encode(history)
    except NotKept as problem:
        document["not kept"] = problem.problem
    return document


def read_bundle(folder: Path) -> Kept:
    """Read a bundle. `UsageProblem` names the file that is not there or not what it should be."""
    document = _read(folder / HISTORY)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise UsageProblem(f"{folder / HISTORY} is not in the format {FORMAT}", fix="it is of another version")
    if reason := document.get("not kept"):
        raise UsageProblem(f"{folder} cannot be judged again: {reason}")
    try:
        result = result_from_json(_read(folder / RESULT))
    except (KeyError, TypeError, ValueError) as error:
        raise UsageProblem(f"{folder / RESULT} is no result: {type(error).__name__}: {error}") from error
    stall = document.get("stall", 0.0)
    if not isinstance(stall, int | float):
        raise UsageProblem(f"{folder / HISTORY}: stall is {stall!r}, and should be seconds")
    return Kept(result, decode(document.get("history")), float(stall))


def _read(path: Path) -> Any:
    try:
        return strict_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(f"cannot read {path}: {error.strerror}", fix="give a folder that a run wrote") from error
    except (ValueError, RecursionError) as error:
        raise UsageProblem(f"{path} is not JSON: {error}", fix="give a folder that a run wrote") from error
