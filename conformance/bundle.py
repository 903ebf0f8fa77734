"""What is kept of a check that did not pass: enough to judge it again without the cluster, with secrets removed."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

import yaml

from conformance.context import Context
from conformance.histories import NotKept, decode, encode
from conformance.redaction import redact, redact_log, redacted, redacted_history
from reports.data_files import strict_json
from reports.errors import MeshproofError, UsageProblem
from reports.model import Result, plain, result_from_json, result_to_json

__all__ = ["BUNDLES", "Kept", "read_bundle", "write_bundle"]

BUNDLES = "bundles"
"""Folder of a report directory that holds one bundle for each check that did not pass."""
FORMAT = "meshproof.history/v1"
HISTORY, RESULT = "history.json", "result.json"
AT_ONCE = 8
"""Pods that are read side by side: on a busy node each page is waited for, and the next check waits with it."""


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
    folder.mkdir(parents=True, exist_ok=True)
    _json(folder / RESULT, redacted(result_to_json(result)))
    _json(folder / HISTORY, redacted_history(_document(result.id, history, stall)))
    if error is not None:
        text = "".join(traceback.format_exception(error))
        (folder / "error.txt").write_text(redact_log(text))
    if ctx is not None:
        missing: list[str] = []
        _objects(folder, ctx)
        for one in ctx.ground.places:
            _space(folder, ctx, ctx.space(one.name), missing)
        if missing:
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


def _json(path: Path, value: Any) -> None:
    text = json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _objects(folder: Path, ctx: Context) -> None:
    text = yaml.safe_dump_all([redacted(plain(item)) for item in ctx.applied], sort_keys=False)
    (folder / "intents.yaml").write_text(text)


def _space(folder: Path, ctx: Context, space: str, missing: list[str]) -> None:
    """Pods, their logs and proxies, events of one namespace."""
    pods: list[dict[str, Any]] = []
    with _noting(missing, f"pods and events of {space}"):
        pods = ctx.kube.list("v1", "Pod", space)
        _json(folder / f"{space}.pods.json", redacted(plain(pods)))
        _json(folder / f"{space}.events.json", redacted(plain(ctx.kube.list("v1", "Event", space))))
    with ThreadPoolExecutor(AT_ONCE, "bundle") as pool:
        running = [one for one in pods if one.get("status", {}).get("phase") == "Running"]
        for lacking in pool.map(lambda pod: _pod(folder, ctx, space, pod), running):
            missing.extend(lacking)


def _pod(folder: Path, ctx: Context, space: str, pod: Mapping[str, Any]) -> list[str]:
    """Logs of a pod and what its proxy says of itself; returns what could not be had."""
    missing: list[str] = []
    name = pod["metadata"]["name"]
    for container in (*pod["spec"].get("initContainers", []), *pod["spec"]["containers"]):
        called = container["name"]
        with _noting(missing, f"log of {space}/{name} {called}"):
            (folder / f"{name}.{called}.log").write_text(redact_log(ctx.kube.logs(space, name, called)))
    with _noting(missing, f"what the proxy of {space}/{name} says"):
        for file, text in ctx.adapter.dump(ctx.kube, space, name).items():
            (folder / f"{name}.{file}").write_text(_clean_dump(text))
    return missing


@contextmanager
def _noting(missing: list[str], what: str) -> Iterator[None]:
    """Note a part that cannot be fetched or written, and why, instead of giving up all that comes after it."""
    try:
        yield
    except (MeshproofError, OSError, ValueError, HTTPException) as error:
        said = error.problem if isinstance(error, MeshproofError) else f"{type(error).__name__}: {error}"
        missing.append(redact(f"{what}: {said}"))


def _clean_dump(text: str) -> str:
    """A proxy's dump; as JSON it also loses what stands under names that speak of secrets."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return redact_log(text)
    return json.dumps(redacted(document), indent=1, ensure_ascii=False) + "\n"
