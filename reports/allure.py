"""allure-results/: a results directory for Allure, made from our model so that experiments and latency appear too.

`historyId` is stable over runs (Allure's trends); file names are derived from the run, so writing again replaces.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from typing import TYPE_CHECKING, Any

from reports.files import MARKER, clear_directory, mark_directory, one_sentence, write_text
from reports.model import Verdict, plain
from reports.words import broken_stages, clean, part, rate

if TYPE_CHECKING:
    from pathlib import Path

    from reports.model import Evidence, Result, Run

__all__ = ["write_allure"]

_STATUS = {
    Verdict.PASS: "passed",
    Verdict.FAIL: "failed",
    Verdict.INCONCLUSIVE: "broken",
    Verdict.UNSUPPORTED: "skipped",
    Verdict.NOT_RUN: "skipped",
}
_CATEGORIES = [
    {"name": "Not conformant", "matchedStatuses": ["failed"]},
    {"name": "Broke off", "matchedStatuses": ["broken"], "messageRegex": "^inconclusive: it broke off.*"},
    {"name": "Inconclusive", "matchedStatuses": ["broken"]},
    {"name": "Unsupported by declaration", "matchedStatuses": ["skipped"], "messageRegex": "^unsupported:.*"},
    {"name": "Not run", "matchedStatuses": ["skipped"], "messageRegex": "^not-run:.*"},
]


def write_allure(run: Run, directory: Path) -> Path:
    """Write the directory `allure-results`, replacing an earlier one of ours.

    What other tools have put there stays: Allure shows the results of all of them together.
    """
    target = directory / "allure-results"
    with one_sentence(target):
        target.mkdir(parents=True, exist_ok=True)
        empty = not any(target.iterdir())
    if empty:
        mark_directory(target)
    elif (target / MARKER).is_file():
        clear_directory(target)
    for position, result in enumerate((*run.results, *broken_stages(run))):
        base = uuid.uuid5(uuid.NAMESPACE_URL, f"meshproof:{run.mesh}:{run.started}:{position}:{plain(result.id)}")
        document = _document(run, result, base, target)
        write_text(target / f"{base}-result.json", json.dumps(document, ensure_ascii=False))
    facts = {"mesh": run.mesh, "mesh.version": run.mesh_version, "cluster": run.cluster, **run.environment}
    facts |= {"part": part(run)} if part(run) else {}
    write_text(target / "environment.properties", "".join(f"{_key(k)}={_line(v)}\n" for k, v in facts.items()))
    write_text(target / "categories.json", json.dumps(_CATEGORIES))
    return target


def _document(run: Run, result: Result, base: uuid.UUID, target: Path) -> dict[str, Any]:
    start, stop = _interval(run, result)
    full_name = plain(f"{result.kind}.{result.group}.{result.id}")
    status = "passed" if result.right else "failed" if result.failed else _STATUS[result.verdict]
    labels = [
        ("framework", "meshproof"),
        ("language", "python"),
        ("parentSuite", f"{result.kind}s"),
        ("suite", result.group),
        ("epic", result.kind),
        ("feature", result.group),
        ("severity", "critical" if result.level == "core" else "normal"),
        ("tag", result.level),
        ("tag", result.verdict.value),
        *(("story", one) for one in result.proves),
    ]
    steps = [
        {
            "name": clean(piece.title),
            "status": "passed",
            "stage": "finished",
            "start": start,
            "stop": stop,
            "attachments": [_attach(piece, base, number, target)],
        }
        for number, piece in enumerate(result.evidence)
    ]
    parameters = [("mesh", run.mesh), ("mesh version", run.mesh_version)]
    parameters += [(f"metric {name}", f"{value:g}") for name, value in result.metrics.items()]
    parameters += [
        (f"error rate {one.test}", f"alpha {rate(one.alpha)}, beta {rate(one.beta)}, sees {one.detectable}")
        for one in result.error_rates
    ]
    return {
        "uuid": str(base),
        "historyId": hashlib.sha256(f"{plain(run.mesh)}:{full_name}".encode()).hexdigest()[:32],
        "testCaseId": hashlib.sha256(full_name.encode()).hexdigest()[:32],
        "fullName": clean(full_name),
        "name": clean(f"{result.id} {result.title}"),
        "status": status,
        "statusDetails": {
            "message": clean(f"{result.verdict.value}: {result.reason}"),
            "trace": clean(result.reproduce),
        },
        "stage": "finished",
        "description": clean(result.reference),
        "start": start,
        "stop": stop,
        "labels": [{"name": name, "value": clean(value)} for name, value in labels],
        # Excluded from Allure's own identity of the test: figures change from run to run.
        "parameters": [{"name": clean(k), "value": clean(v), "excluded": True} for k, v in parameters],
        "steps": steps,
        "attachments": [],
    }


def _interval(run: Run, result: Result) -> tuple[int, int]:
    started = result.started or run.started
    return int(started * 1000), int((started + result.seconds) * 1000)


def _attach(piece: Evidence, base: uuid.UUID, number: int, target: Path) -> dict[str, str]:
    as_text = isinstance(piece.data, str)
    name = f"{base}-{number}-attachment.{'txt' if as_text else 'json'}"
    data = plain(piece.data)
    write_text(target / name, data if as_text else json.dumps(data, indent=1, ensure_ascii=False))
    return {"name": clean(piece.title), "source": name, "type": "text/plain" if as_text else "application/json"}


def _key(name: str) -> str:
    return "".join(char if char.isalnum() or char in "._-" else "_" for char in name) or "_"


def _line(value: str) -> str:
    return " ".join(clean(value).replace("\\", "\\\\").split())
