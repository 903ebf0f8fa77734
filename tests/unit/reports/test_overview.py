"""Feature by verdict."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.html import html_text
from reports.model import Result, Run, Verdict
from reports.overview import TITLES, Feature, overview

PASS, FAIL, OPEN, UNSUPPORTED, NOT_RUN = Verdict


def result(name: str, verdict: Verdict = PASS, *proves: str, expected: Verdict = PASS) -> Result:
    group = name.rpartition("-")[0]
    return Result(name, f"title of {name}", "check", group, "core", verdict, "r", proves=proves, expected=expected)


@pytest.mark.parametrize(
    ("verdicts", "whole"),
    [
        ((PASS, PASS), "pass"),
        ((PASS, FAIL, OPEN), "fail"),
        ((PASS, OPEN, NOT_RUN), "inconclusive"),
        ((PASS, NOT_RUN), "not-run"),
        ((PASS, UNSUPPORTED), "pass"),
        ((UNSUPPORTED,), "unsupported"),
    ],
)
def test_a_feature_is_as_good_as_its_worst_check(verdicts, whole):
    assert Feature("f", tuple(result(f"X-{n}", one) for n, one in enumerate(verdicts))).verdict == whole


def test_a_sham_that_must_stay_open_is_right():
    assert Feature("f", (result("X-1", OPEN, expected=OPEN),)).verdict == "pass"


def test_capabilities_keep_the_catalogues_order_and_strangers_come_last():
    found = overview([result("ZZ-01"), result("WT-01", PASS, "a", "b"), result("INJ-01"), result("WT-02", FAIL, "b")])
    assert [one.title for one in found] == ["Injection", "Weights", "ZZ"]
    weights = found[1]
    assert weights.right == 1
    assert [(one.name, [each.id for each in one.results]) for one in weights.features] == [
        ("a", ["WT-01"]),
        ("b", ["WT-01", "WT-02"]),
    ]
    assert found[0].features[0].name == "title of INJ-01"


@given(st.lists(st.sampled_from(Verdict), min_size=1, max_size=95))
def test_every_check_has_a_tile(verdicts):
    groups = list(TITLES)
    results = tuple(result(f"{groups[n % 12]}-{n:02}", one, f"feature {n % 7}") for n, one in enumerate(verdicts))
    text = html_text(Run("m", "1", "c", {}, 0, 1, (), results, {}, "0"))
    assert sorted(re.findall(r'data-go="([^"]+)"', text)) == sorted(one.id for one in results)
    assert text.count('class="tile ') == len(results)
