"""Judges of routing, on the histories that a sound mesh leaves and on those of meshes that are wrong in one way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest

from conformance.checks.cases import TIMES, Asked, Case, judge_cases, same_place
from conformance.checks.routing import (
    FALLBACK_CASES,
    HEADER_CASES,
    MATCH_CASES,
    MOVED_CASES,
    ORDER_CASES,
    PREFIX_CASES,
    REDIRECT_CASES,
    REWRITE_CASES,
)
from conformance.checks.routing_backends import Bystanders, Half, judge_bystanders, judge_missing
from conformance.checks.routing_grants import GRANT_CASES
from conformance.model import Judgement
from fixtures.workloads.traffic import Record
from reports.model import Verdict

TABLES: dict[str, Sequence[Case]] = {
    "match": MATCH_CASES,
    "fallback": FALLBACK_CASES,
    "headers": HEADER_CASES,
    "rewrite": REWRITE_CASES,
    "redirect": (*REDIRECT_CASES, *PREFIX_CASES, *MOVED_CASES),
    "order": ORDER_CASES,
    "grant": GRANT_CASES,
}


def sound(case: Case, **changes: Any) -> Record:
    """The answer of a mesh that does as declared, or one that differs in the echo's answer."""
    if case.status >= 300:
        headers = {"location": [case.location]} if case.location else {}
        return Record(0.0, 0.01, status=case.status, headers=headers)
    reply = {
        "version": case.version or "v1",
        "path": case.backend_path or case.path,
        "host": case.backend_host or "svc:8080",
        "protocol": case.backend_protocol or "http1",
        "headers": {name: value.split(",") for name, value in case.arrives if value},
        **changes,
    }
    headers = {name: value.split(",") for name, value in case.returns if value}
    return Record(0.0, 0.01, status=200, headers=headers, reply=reply)


def history(cases: Sequence[Case], answer: Callable[[Case], Record]) -> list[Asked]:
    return [Asked("service", case, (answer(case),) * TIMES) for case in cases]


def test_a_late_answer_is_none_and_a_case_that_is_never_answered_went_wrong():
    (case,) = HEADER_CASES[:1]
    good, late, bad = sound(case), Record(0.0, 5.0, error="timeout", detail="no answer"), Record(0.0, 0.1, status=503)
    asked = [Asked("service", case, (*(good,) * (TIMES - 1), late))]
    assert judge_cases(asked).verdict is Verdict.INCONCLUSIVE
    assert judge_cases([Asked("service", case, (*(good,) * (TIMES - 3), late, late, bad))]).verdict is Verdict.FAIL
    assert "status 503" in judge_cases([Asked("service", case, (*(good,) * (TIMES - 3), late, late, bad))]).reason
    assert judge_cases([Asked("service", case, (late,) * TIMES)]).verdict is Verdict.FAIL


def verdict(cases: Sequence[Case], answer: Callable[[Case], Record]) -> Verdict:
    return judge_cases(history(cases, answer)).verdict


@pytest.mark.parametrize("name", TABLES)
def test_a_sound_mesh_passes_and_plain_kubernetes_fails(name):
    cases = TABLES[name]
    assert verdict(cases, sound) is Verdict.PASS
    versions = ("v1", "v2", "v3")
    spread = [
        Asked(
            "service",
            case,
            tuple(
                Record(
                    0.0,
                    0.01,
                    status=200,
                    headers={},
                    reply={"version": versions[i % 3], "path": case.path, "host": "svc:8080", "headers": {}},
                )
                for i in range(TIMES)
            ),
        )
        for case in cases
    ]
    assert judge_cases(spread).verdict is Verdict.FAIL


@pytest.mark.parametrize("name", TABLES)
def test_one_wrong_answer_of_any_case_is_enough(name):
    for i, case in enumerate(TABLES[name]):
        asked = history(TABLES[name], sound)
        lost = replace(sound(case), status=503, reply=None, headers={})
        asked[i] = Asked("service", case, (*asked[i].answers[1:], lost))
        judged = judge_cases(asked)
        assert judged.verdict is Verdict.FAIL
        assert case.name in judged.reason


def test_only_what_no_machine_brings_about_is_proven():
    case = MATCH_CASES[0]
    other = sound(case, version="another")
    refused = Record(0.0, 0.01, status=503)
    assert judge_cases([Asked("service", case, (other,) * TIMES)]).whatever_the_machine
    for answers in ((sound(case), *(other,) * (TIMES - 1)), (refused,) * TIMES, (*(other,) * (TIMES - 1), refused)):
        judged = judge_cases([Asked("service", case, answers)])
        assert judged.verdict is Verdict.FAIL
        assert not judged.whatever_the_machine
    both = [Asked("service", case, (refused,) * TIMES), Asked("service", case, (other,) * TIMES)]
    assert judge_cases(both).whatever_the_machine


def test_no_data_is_never_a_pass():
    assert judge_cases([]).verdict is Verdict.INCONCLUSIVE
    assert judge_cases([Asked("service", MATCH_CASES[0], ())]).verdict is Verdict.INCONCLUSIVE


def matched(case: Case, *, ignore_case: bool = False, exact: bool = True, segments: bool = True) -> str:
    """Which version the table's route sends a request to, by a mesh that may compare wrongly."""
    parts = urlsplit(case.path)
    path, query = parts.path, dict(parse_qsl(parts.query))
    headers = {name.lower(): value for name, value in case.headers}

    def same(one: str | None, other: str) -> bool:
        one = (one or "").lower() if ignore_case else one or ""
        return one == other or (not exact and one.startswith(other))

    below = path == "/area" or path.startswith("/area/") or (not segments and path.startswith("/area"))
    hit = (
        path in {"/exact", "/also/exact"}
        or below
        or same(headers.get("x-color"), "blue")
        or same(query.get("color"), "blue")
        or case.method == "POST"
        or (headers.get("x-one") == "1" and query.get("two") == "2")
    )
    return "v2" if hit else "v1"


@pytest.mark.parametrize(
    ("defect", "said"),
    [
        ({}, ""),
        ({"ignore_case": True}, "header's value in capitals"),
        ({"exact": False}, "header's value and more"),
        ({"segments": False}, "a prefix within a segment"),
    ],
)
def test_comparisons_that_are_too_loose(defect, said):
    judged = judge_cases(history(MATCH_CASES, lambda case: sound(case, version=matched(case, **defect))))
    assert (judged.verdict is Verdict.FAIL) is bool(said)
    assert said in judged.reason


def test_the_last_match_wins():
    """Then the rule for everything, which stands last by version, always wins."""
    assert verdict(ORDER_CASES, lambda case: sound(case, version="v1")) is Verdict.FAIL


def test_order_instead_of_specificity():
    """By service the shuffled rules put the winner of each pair behind the loser."""
    losers = {case.name: "v1" for case in ORDER_CASES if case.version == "v2" and "alike" not in case.name}
    assert verdict(ORDER_CASES, lambda case: sound(case, **({"version": losers[case.name]} if case.name in losers
                                                            else {}))) is Verdict.FAIL  # fmt: skip


def test_a_rewrite_that_is_dropped():
    assert verdict(REWRITE_CASES, lambda case: sound(case, path=case.path)) is Verdict.FAIL
    assert verdict(REWRITE_CASES, lambda case: sound(case, host="svc:8080")) is Verdict.FAIL


def test_header_changes_that_are_dropped():
    unchanged = dict(HEADER_CASES[0].headers)
    arrived = {name: [value] for name, value in unchanged.items()}
    assert verdict(HEADER_CASES, lambda case: sound(case, headers=arrived)) is Verdict.FAIL
    sent = {name: [value] for name, value in unchanged.items()}
    assert verdict(HEADER_CASES, lambda case: replace(sound(case), headers=sent)) is Verdict.FAIL


def test_a_redirect_with_the_wrong_port():
    def wrong(case: Case) -> Record:
        record = sound(case)
        at = case.location.replace(":9443", "")
        return replace(record, headers={"location": [at]}) if case.location else record

    assert verdict(REDIRECT_CASES, wrong) is Verdict.FAIL


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("http://a/x", "http://a:80/x", True),
        ("https://a:443/x?y=1", "https://A/x?y=1", True),
        ("https://a/x", "http://a/x", False),
        ("https://a:80/x", "https://a/x", False),
        ("https://a/x", "https://a/x/", False),
        ("", "http://a/x", False),
        ("http://a:port/", "http://a/", False),
        ("http://[::1/", "http://a/", False),
    ],
)
def test_locations_are_compared_as_urls(one, other, same):
    assert same_place(one, other) is same


def test_a_refusal_must_be_the_meshs_own():
    case = Case("missing", status=404)
    own = Record(0.0, 0.01, status=404, headers={})
    assert verdict([case], lambda _: own) is Verdict.PASS
    assert verdict([case], lambda _: replace(own, reply={"version": "v1"})) is Verdict.FAIL


def test_grpc_and_websocket_count_by_their_own_statuses():
    call = Case("call", protocol="grpc", version="v2")
    assert verdict([call], lambda case: replace(sound(case), grpc=0)) is Verdict.PASS
    assert verdict([call], lambda case: replace(sound(case), grpc=12)) is Verdict.FAIL
    talk = Case("talk", protocol="websocket", version="v2", backend_protocol="websocket")
    assert verdict([talk], lambda case: replace(sound(case), status=101)) is Verdict.PASS
    assert verdict([talk], lambda case: replace(sound(case), status=403, reply=None)) is Verdict.FAIL


# -- backends ----------------------------------------------------------------------------------------------------------

MISSING = (Case("no backend", "/missing", status=500), Case("another rule", version="v1"))


def half(answers: Sequence[str], answer: Callable[[Case], Record] = sound) -> Verdict:
    return judge_missing(Half(tuple(history(MISSING, answer)), tuple(answers), 1e-5)).verdict


def test_a_missing_backend_takes_its_share():
    assert half(["v1", "500"] * 150) is Verdict.PASS
    assert half([]) is Verdict.INCONCLUSIVE
    assert half(["v1", "500"] * 5) is Verdict.INCONCLUSIVE
    assert half(["v1"] * 300) is Verdict.FAIL  # the good backend answers for the missing one
    assert half(["500"] * 300) is Verdict.FAIL
    assert half(["v1", "500", "v3"] * 100) is Verdict.FAIL  # the parent answers
    assert half(["v1", "503"] * 150) is Verdict.FAIL


def test_a_missing_backend_that_the_parent_answers_for():
    parent = Record(0.0, 0.01, status=200, headers={}, reply={"version": "v3"})
    assert half(["v1", "500"] * 150, lambda case: parent if case.status == 500 else sound(case)) is Verdict.FAIL


ROUTED = (Case("the routed port", version="v2"),)


def bystanders(versions: Sequence[str], answer: Callable[[Case], Record] = sound) -> Verdict:
    return judge_bystanders(Bystanders(tuple(history(ROUTED, answer)), "port 7070", tuple(versions))).verdict


def test_chance_is_told_and_late_answers_tell_nothing_of_a_spread():
    def judged(versions: Sequence[str]) -> Judgement:
        return judge_bystanders(Bystanders(tuple(history(ROUTED, sound)), "port 7070", tuple(versions)))

    (rate,) = judged(["v1", "v2", "v3"] * 20).error_rates
    assert (rate.alpha < 1e-9, rate.samples) == (True, 60)
    assert judged(["v1", "v2", "v3"] * 20 + ["timeout"]).verdict is Verdict.INCONCLUSIVE


def test_what_is_not_routed_stays_spread():
    assert bystanders(["v1", "v2", "v3"] * 20) is Verdict.PASS
    assert bystanders([]) is Verdict.INCONCLUSIVE
    assert bystanders(["v2"] * 60) is Verdict.FAIL  # the route holds for every port
    assert bystanders(["v1", "v2", "v3", "404"] * 15) is Verdict.FAIL
    assert bystanders(["v1", "v2", "v3"] * 20, lambda case: sound(case, version="v1")) is Verdict.FAIL
    assert bystanders(["v1", "v2", "v3", "far"] * 15) is Verdict.FAIL  # a consumer's route that holds for everybody


def test_what_no_stall_brings_about_stays_proven_beside_other_evidence():
    wrong = tuple(history(ROUTED, lambda case: sound(case, version="v1")))
    spread = judge_bystanders(Bystanders(wrong, "port 7070", ("v1", "v2", "v3") * 20))
    missing = judge_missing(Half(tuple(history(MISSING, lambda case: sound(case, version="v9"))), (), 1e-5))
    assert spread.whatever_the_machine
    assert missing.verdict is Verdict.FAIL
    assert len(spread.evidence) == len(missing.evidence) == 2
