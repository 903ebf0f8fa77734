from __future__ import annotations

from dataclasses import replace

import pytest

from conformance.checks.observing_judges import Logged, Passage, Traced, judge_log, judge_traces
from conformance.histories import decode, encode
from reports.model import Verdict

A, B = "a" * 32, "b" * 32
SENT = f"00-{A}-{'1' * 16}-01"
GOOD = Passage(SENT, f"00-{A}-{'2' * 16}-01", answered=True)
TRACED = Traced((f"00-{A}-{'3' * 16}-01", f"00-{B}-{'3' * 16}-01"), (GOOD, replace(GOOD)))
LOGGED = Logged(
    True,
    {"w404": 200, "w2": 404},
    0,
    {
        "w404": ('{"method":"GET","path":"/w404?codes=200","response_code":200}',),
        "w2": ('[t] "GET /w2?codes=404 HTTP/1.1" 404 - 0',),
    },
)


def test_a_trace_that_goes_on_passes() -> None:
    assert judge_traces(TRACED).verdict is Verdict.PASS
    # Whether a trace is recorded may be decided anew on the way.
    other = replace(GOOD, arrived=GOOD.arrived[:-2] + "00")
    assert judge_traces(replace(TRACED, passages=(other,))).verdict is Verdict.PASS


@pytest.mark.parametrize(
    ("arrived", "word"),
    [
        (SENT, "no proxy put a span"),
        (f"00-{B}-{'2' * 16}-01", "another trace"),
        ("", "no trace context"),
        (f"{SENT},{SENT}", "no trace context"),
    ],
)
def test_a_trace_that_ends_or_that_nobody_takes_part_in_fails(arrived: str, word: str) -> None:
    found = judge_traces(replace(TRACED, passages=(GOOD, replace(GOOD, arrived=arrived))))
    assert found.verdict is Verdict.FAIL
    assert word in found.reason


def test_traces_that_nobody_begins_and_requests_without_an_answer() -> None:
    for begun in ((), ("",), (TRACED.begun[0], TRACED.begun[0])):
        assert judge_traces(replace(TRACED, begun=begun)).verdict is Verdict.FAIL
    for passages in ((), (replace(GOOD, answered=False),)):
        assert judge_traces(replace(TRACED, passages=passages)).verdict is Verdict.INCONCLUSIVE


def test_a_line_for_each_request_passes_in_any_format() -> None:
    assert judge_log(LOGGED).verdict is Verdict.PASS


@pytest.mark.parametrize(
    "lines",
    [(), ("GET /w2?codes=404 404",) * 2, ("GET /w2?codes=404 200",), ("POST /w2?codes=404 404",)],
)
def test_a_line_that_lacks_comes_twice_or_says_something_else_fails(lines: tuple[str, ...]) -> None:
    assert judge_log(replace(LOGGED, lines={**LOGGED.lines, "w2": lines})).verdict is Verdict.FAIL


def test_no_proxy_writes_nothing_and_failed_requests_prove_nothing() -> None:
    assert judge_log(replace(LOGGED, proxy=False)).verdict is Verdict.FAIL
    assert judge_log(replace(LOGGED, failures=1)).verdict is Verdict.INCONCLUSIVE


def test_histories_survive_a_bundle() -> None:
    assert decode(encode(TRACED)) == TRACED
    assert decode(encode(LOGGED)) == LOGGED
