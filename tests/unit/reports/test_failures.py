"""What an earlier run left to be judged again."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from reports.data_files import write_json
from reports.errors import UsageProblem
from reports.failures import failed_ids
from reports.model import Result, Run, Verdict

RUN = Run("m", "1", "c", {}, 0, 1, (), (), {}, "0")


def result(name: str, verdict: Verdict, expected: Verdict = Verdict.PASS) -> Result:
    return Result(name, "t", "check", "WT", "core", verdict, "r", expected=expected)


def test_failed_and_open_results_are_taken_and_right_ones_are_not(tmp_path):
    found = (
        result("WT-01", Verdict.PASS),
        result("WT-02", Verdict.FAIL),
        result("WT-03", Verdict.INCONCLUSIVE),
        result("WT-04", Verdict.UNSUPPORTED),
        result("WT-05", Verdict.NOT_RUN),
        result("A1", Verdict.INCONCLUSIVE, Verdict.INCONCLUSIVE),
    )
    path = write_json(replace(RUN, results=found), tmp_path)
    assert failed_ids(path) == failed_ids(tmp_path) == ("WT-02", "WT-03", "WT-05")


def test_bundles_name_their_check(tmp_path):
    for name in ("CB-01", "WT-01"):
        (tmp_path / "bundles" / name).mkdir(parents=True)
        (tmp_path / "bundles" / name / "result.json").write_text(json.dumps({"id": name}))
    assert failed_ids(tmp_path / "bundles") == ("CB-01", "WT-01")
    assert failed_ids(tmp_path / "bundles" / "CB-01") == ("CB-01",)
    assert failed_ids(tmp_path / "bundles" / "CB-01" / "result.json") == ("CB-01",)


def test_each_wrong_place_is_one_sentence(tmp_path):
    with pytest.raises(UsageProblem, match="nor a bundle"):
        failed_ids(tmp_path / "nothing")
    bundle = tmp_path / "bundles" / "CB-01"
    bundle.mkdir(parents=True)
    (bundle / "result.json").write_text('{"id": "CB-01"}')
    with pytest.raises(UsageProblem, match=r"neither a results.json nor a bundle at .*WT-10"):
        failed_ids(tmp_path / "bundles" / "WT-10")  # mistyped, beside another
    with pytest.raises(UsageProblem, match="nothing failed in"):
        failed_ids(write_json(replace(RUN, results=(result("WT-01", Verdict.PASS),)), tmp_path))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "result.json").write_text("[]")
    with pytest.raises(UsageProblem, match="is no result of a check"):
        failed_ids(tmp_path / "b")
