"""The published JSON Schema of `results.json`, and the check of a document against it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import jsonschema

from reports.errors import UsageProblem

__all__ = ["check", "results_schema"]

_SUPPORTED = "meshproof.results/v1"


@cache
def results_schema() -> dict[str, Any]:
    """The schema that `results.json` keeps."""
    schema: dict[str, Any] = json.loads(files(__name__).joinpath("results-v1.json").read_text(encoding="utf-8"))
    return schema


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
    validator = jsonschema.Draft202012Validator(results_schema())
    error = jsonschema.exceptions.best_match(validator.iter_errors(document))
    if error is not None:
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.absolute_path)
        raise UsageProblem(
            f"the results are damaged at {where.lstrip('.') or 'the top'}: {error.message[:200]}",
            fix="give the results.json that a run wrote, unchanged",
        )
