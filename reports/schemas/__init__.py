"""The published JSON Schemas, and the check of documents against them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema

from reports.errors import UsageProblem

__all__ = ["CONFORMANCE_REPORT", "KILL_MATRIX", "check", "first_flaw", "results_schema", "schema"]

KILL_MATRIX, CONFORMANCE_REPORT = "kill-matrix-v1", "gateway-api-conformance-report-v1"
"""Names of the other schemas that are published beside the one of results."""

_SUPPORTED = "meshproof.results/v1"


@cache
def schema(name: str) -> dict[str, Any]:
    """A published schema by name."""
    found: dict[str, Any] = json.loads(files(__name__).joinpath(f"{name}.json").read_text(encoding="utf-8"))
    return found


def results_schema() -> dict[str, Any]:
    """The schema that `results.json` keeps."""
    return schema("results-v1")


def first_flaw(document: object, name: str) -> tuple[str, str] | None:
    """The place and the kind of what keeps a document from keeping a schema; None where nothing does."""
    validator = jsonschema.Draft202012Validator(schema(name))
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if error is None:
        return None
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
    return where.lstrip(".") or "the top", error.message[:200]


def check(document: Mapping[str, Any]) -> None:
    """Raise `UsageProblem` naming the first field of `document` that does not keep the schema."""
    if not isinstance(document, dict):
        raise UsageProblem(
            f"the results hold a {type(document).__name__} where an object is expected",
            fix="give the results.json that a run wrote",
        )
    found = document.get("schema")
    if found != _SUPPORTED:
        raise UsageProblem(
            f"the results have schema {found!r}; this version reads {_SUPPORTED!r}",
            fix="give the results.json that a run wrote, or install the version of meshproof that wrote it",
        )
    if flaw := first_flaw(document, "results-v1"):
        raise UsageProblem(
            f"the results are damaged at {flaw[0]}: {flaw[1]}", fix="give the results.json that a run wrote, unchanged"
        )
