"""results.json and results.yaml: the whole run in the published schema."""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

from reports.errors import UsageProblem
from reports.files import write_text
from reports.model import Run, from_json, to_json

if TYPE_CHECKING:
    from pathlib import Path

_LINE_BREAKS = re.compile("[\x85\u2028\u2029\ufeff]")

__all__ = ["RESULTS", "json_text", "read_results", "strict_json", "write_json", "write_yaml", "yaml_text"]

RESULTS = "results.json"
"""Name of the file that holds a run; everything else in a report is made of it."""


def strict_json(text: str) -> Any:
    """JSON as its standard has it: no NaN, and no number without an end. Raises `ValueError`."""

    def refuse(name: str) -> float:
        raise ValueError(f"{name} is no number")

    def finite(digits: str) -> float:
        return value if math.isfinite(value := float(digits)) else refuse(digits)

    return json.loads(text, parse_constant=refuse, parse_float=finite)


def json_text(run: Run) -> str:
    """The run as JSON text."""
    return json.dumps(to_json(run), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def yaml_text(run: Run) -> str:
    """The run as YAML text, the same document as the JSON."""
    import yaml  # only this writer needs it

    document = to_json(run)
    # PyYAML writes Unicode's own line breaks in a way that it reads back as others; then everything is escaped.
    readable = not _LINE_BREAKS.search(json.dumps(document, ensure_ascii=False))
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=readable, width=120)
    return text


def write_json(run: Run, directory: Path) -> Path:
    """Write `results.json`."""
    path = directory / RESULTS
    write_text(path, json_text(run))
    return path


def write_yaml(run: Run, directory: Path) -> Path:
    """Write `results.yaml`."""
    path = directory / "results.yaml"
    write_text(path, yaml_text(run))
    return path


def read_results(path: Path) -> Run:
    """Read a `results.json`. Raises `UsageProblem` when it is not one."""
    fix = "give the results.json that a run wrote"
    try:
        document = strict_json(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageProblem(f"cannot read {path}: {error.strerror or error}", fix=fix) from error
    except ValueError as error:  # malformed JSON and malformed UTF-8 alike
        raise UsageProblem(f"{path} is not JSON: {error}", fix=fix) from error
    except RecursionError as error:
        raise UsageProblem(f"{path} is nested too deeply to be a results file", fix=fix) from error
    return from_json(document)
