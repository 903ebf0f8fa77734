"""The result model: JSON round trip, the published schema, the exit code."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reports.errors import ExitCode, UsageProblem
from reports.model import (
    Evidence,
    Result,
    Run,
    Stage,
    Verdict,
    from_json,
    plain,
    result_from_json,
    result_to_json,
    to_json,
)
from reports.schemas import results_schema


def result(verdict: Verdict, **changes: Any) -> Result:
    base = Result("WT-01", "two-way", "check", "weights", "core", verdict, "because")
    return replace(base, **changes)


def run(*found: Result, stages: tuple[Stage, ...] = ()) -> Run:
    return Run("refmesh", "1", "embedded", {}, 0.0, 1.0, stages, found, {}, "0.1.0")


@given(st.from_type(Run))
@settings(max_examples=60)
def test_run_survives_json(value: Run) -> None:
    document = json.loads(json.dumps(to_json(value), allow_nan=False))
    jsonschema.validate(document, results_schema())
    again = from_json(document)
    assert to_json(again) == document
    assert again.exit_code == value.exit_code


@given(st.from_type(Result))
@settings(max_examples=60)
def test_result_survives_json(value: Result) -> None:
    again = result_from_json(json.loads(json.dumps(result_to_json(value))))
    assert again == value


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), st.lists))
def test_plain_keeps_json(value: Any) -> None:
    assert plain(value) == value


def test_plain_tames_what_json_cannot_hold() -> None:
    value = {"a": (1, math.inf), "p": Path("/x"), 3: {4}, "v": Verdict.PASS, "s": "\udc80"}
    assert plain(value) == {"a": [1, None], "p": "/x", "3": [4], "v": "pass", "s": "?"}


def test_every_written_field_is_in_the_schema() -> None:
    written = to_json(run(result(Verdict.PASS)))
    schema = results_schema()
    assert set(written) == set(schema["properties"])
    assert set(written["results"][0]) == set(schema["$defs"]["result"]["properties"])
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(
    ("found", "code"),
    [
        ([], ExitCode.NOT_PROVEN),
        ([result(Verdict.PASS)], ExitCode.CONFORMANT),
        ([result(Verdict.PASS), result(Verdict.UNSUPPORTED)], ExitCode.CONFORMANT),
        ([result(Verdict.UNSUPPORTED)], ExitCode.NOT_PROVEN),
        ([result(Verdict.PASS), result(Verdict.FAIL)], ExitCode.NOT_CONFORMANT),
        ([result(Verdict.PASS), result(Verdict.FAIL, level="extended")], ExitCode.NOT_CONFORMANT),
        ([result(Verdict.PASS), result(Verdict.INCONCLUSIVE)], ExitCode.NOT_PROVEN),
        ([result(Verdict.PASS), result(Verdict.NOT_RUN)], ExitCode.NOT_PROVEN),
        ([result(Verdict.PASS), result(Verdict.NOT_RUN, level="extended")], ExitCode.CONFORMANT),
        ([result(Verdict.FAIL), result(Verdict.NOT_RUN)], ExitCode.NOT_CONFORMANT),
        ([result(Verdict.INCONCLUSIVE, expected=Verdict.INCONCLUSIVE)], ExitCode.NOT_PROVEN),
        (
            [result(Verdict.PASS), result(Verdict.INCONCLUSIVE, expected=Verdict.INCONCLUSIVE)],
            ExitCode.CONFORMANT,
        ),
        ([result(Verdict.PASS, expected=Verdict.INCONCLUSIVE)], ExitCode.NOT_CONFORMANT),
        ([result(Verdict.NOT_RUN, expected=Verdict.INCONCLUSIVE)], ExitCode.NOT_PROVEN),
        ([result(Verdict.FAIL, expected=Verdict.FAIL)], ExitCode.CONFORMANT),
        ([result(Verdict.FAIL, expected=Verdict.FAIL), result(Verdict.PASS, expected=Verdict.FAIL)], 1),
        ([result(Verdict.FAIL, expected=Verdict.FAIL), result(Verdict.INCONCLUSIVE, expected=Verdict.FAIL)], 4),
    ],
)
def test_exit_code(found: list[Result], code: int) -> None:
    assert run(*found).exit_code == code


def test_nobody_calls_a_negative_control_conformant() -> None:
    assert run(result(Verdict.FAIL, expected=Verdict.FAIL)).conclusion == "not conformant"


@pytest.mark.parametrize(
    ("beside", "conclusion"),
    [
        ([], "measured"),
        ([result(Verdict.NOT_RUN, left_out=True)], "measured"),
        ([result(Verdict.UNSUPPORTED)], "not proven"),
        ([result(Verdict.PASS)], "conformant"),
    ],
)
def test_a_measurement_makes_no_mesh_conformant(beside: list[Result], conclusion: str) -> None:
    made = run(*beside, result(Verdict.PASS, kind="measurement"))
    assert made.conclusion == conclusion
    assert made.exit_code is (ExitCode.NOT_PROVEN if conclusion == "not proven" else ExitCode.CONFORMANT)
    assert from_json(to_json(made)) == made
    open_end = run(*beside, result(Verdict.INCONCLUSIVE, kind="measurement"))
    assert open_end.conclusion == "not proven"


def test_failed_stage_is_not_conformant() -> None:
    assert run(result(Verdict.PASS), stages=(Stage("chaos", 1.0, problem="died"),)).exit_code is ExitCode.NOT_PROVEN


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"schema": "other/v9"}, "other/v9"),
        ({"mesh": 3}, "mesh"),
        ({"results": [{"id": "X"}]}, "results[0]"),
        ({"seconds": -1}, "seconds"),
    ],
)
def test_damaged_document_names_the_field(change: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageProblem) as caught:
        from_json({**to_json(run(result(Verdict.PASS))), **change})
    assert named in caught.value.problem
    assert "\n" not in caught.value.problem


def test_not_an_object() -> None:
    with pytest.raises(UsageProblem, match="list"):
        from_json([])  # type: ignore[arg-type]


def test_unknown_fields_are_ignored() -> None:
    document = to_json(run(result(Verdict.PASS, evidence=(Evidence("seen", [{"a": 1}]),))))
    document["later"] = 1
    document["results"][0]["later"] = 2
    assert from_json(document).results[0].evidence[0].data == [{"a": 1}]
