from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance import exposition
from conformance.adapters import load
from conformance.adapters.istio_api.telemetry import EXPOSITION
from conformance.checks import telemetry
from conformance.checks.telemetry_judges import (
    Counted,
    Scraped,
    judge_counts,
    judge_reachable,
    judge_sources,
    judge_strict_scrape,
)
from conformance.context import LIMITS, Context, Pod
from conformance.exposition import Counter, counters, parse, total
from conformance.histories import decode, encode
from conformance.intents import Intent, RequestMetrics
from conformance.model import Judgement
from fixtures.workloads.traffic import Batch, Record
from reports.model import Verdict

SERVICE = "server.space.svc.cluster.local"
SPIFFE = "spiffe://cluster.local/ns/space/sa/default"
SENT = {"client": {"200": 60, "404": 40}, "second": {"200": 25}}


def series(reporter: str, source: str, code: str, value: float, identity: str = SPIFFE) -> Counter:
    labels = {
        "reporter": reporter,
        "source_workload": source,
        "source_principal": identity,
        "destination_service": SERVICE,
        "response_code": code,
    }
    return Counter(tuple(sorted(labels.items())), value)


def history(times: float = 1, source: str = "", identity: str = SPIFFE) -> Counted:
    """Counters that are right, unless told otherwise."""
    server = tuple(
        series("destination", source or client, code, times * count, identity)
        for client, by_code in SENT.items()
        for code, count in by_code.items()
    )
    clients = {
        client: tuple(series("source", client, code, times * count) for code, count in by_code.items())
        for client, by_code in SENT.items()
    }
    return Counted(EXPOSITION, SERVICE, SENT, 0, dict.fromkeys(SENT, SPIFFE), "200", server, clients)


JUDGES = (judge_reachable, judge_counts, judge_sources)


@pytest.mark.parametrize("judge", JUDGES)
def test_right_counters_pass(judge: Callable[[Counted], Judgement]) -> None:
    assert judge(history()).verdict is Verdict.PASS


@pytest.mark.parametrize("judge", JUDGES)
def test_a_mesh_without_metrics_fails_and_failed_traffic_proves_nothing(judge: Callable[[Counted], Judgement]) -> None:
    assert judge(replace(history(), exposition=None)).verdict is Verdict.FAIL
    assert judge(replace(history(), failures=1)).verdict is Verdict.INCONCLUSIVE


def test_a_count_that_is_off_by_one_fails() -> None:
    sound = history()
    assert judge_counts(history(times=2)).verdict is Verdict.FAIL
    one_more = (*(sound.at_server or ()), series("destination", "client", "200", 1))
    assert judge_counts(replace(sound, at_server=one_more)).verdict is Verdict.FAIL
    stray = (*(sound.at_server or ()), series("destination", "client", "503", 1))
    assert "status 503" in judge_counts(replace(sound, at_server=stray)).reason


def test_a_wrong_name_or_identity_fails() -> None:
    assert "who sent none" in judge_sources(history(source="server")).reason
    assert judge_sources(history(identity="unknown")).verdict is Verdict.FAIL


def test_another_services_requests_do_not_count() -> None:
    other = Counter((("destination_service", "other"), ("reporter", "destination"), ("response_code", "200")), 9)
    sound = history()
    assert judge_counts(replace(sound, at_server=(*(sound.at_server or ()), other))).verdict is Verdict.PASS


def test_a_scrape_that_is_refused_or_empty_fails() -> None:
    assert judge_reachable(replace(history(), network="reset")).verdict is Verdict.FAIL
    assert judge_reachable(replace(history(), network="timeout")).verdict is Verdict.INCONCLUSIVE
    assert judge_reachable(replace(history(), at_server=())).verdict is Verdict.FAIL
    assert judge_reachable(replace(history(), at_clients={})).verdict is Verdict.FAIL


@pytest.mark.parametrize("judge", JUDGES)
def test_counters_that_could_not_be_read_count_nothing_and_prove_nothing(judge: Callable[[Counted], Judgement]) -> None:
    sound = history()
    found = judge(replace(sound, at_server=None))
    assert (found.verdict, found.reason) == (
        Verdict.INCONCLUSIVE,
        "what the proxy of the server counts could not be read",
    )
    clients = {**(sound.at_clients or {}), "second": None}
    found = judge(replace(sound, at_clients=clients))
    assert (found.verdict, "second" in found.reason) == (Verdict.INCONCLUSIVE, True)
    assert decode(encode(replace(sound, at_clients=clients))) == replace(sound, at_clients=clients)


class _Proxy:
    """Tells what it counts when it is asked, as a script has it."""

    kube = None

    def __init__(self, *told: tuple[Counter, ...] | None) -> None:
        self.told = list(told)

    def watch(self, probe: Callable[[], bool], timeout: float) -> None:
        assert timeout > LIMITS.control, "one call that is late may not take all the time"
        while self.told and not probe():
            pass


@pytest.mark.parametrize(
    ("told", "wanted"),
    [
        pytest.param([(1,), None, (3,)], (3,), id="a call that was not answered is none that counted nothing"),
        pytest.param([(1,), (2,), None], (2,), id="what was told last is kept"),
        pytest.param([None, None], None, id="nobody ever answered"),
        pytest.param([(3,), (4,)], (3,), id="read once it is complete, and no more"),
    ],
)
def test_counters_are_read_until_they_are_complete(
    monkeypatch: pytest.MonkeyPatch, told: Any, wanted: tuple[int, ...] | None
) -> None:
    proxy = _Proxy(*(one and tuple(Counter((), count) for count in one) for one in told))
    monkeypatch.setattr(exposition, "series", lambda *_: proxy.told.pop(0))
    pod = Pod("client", "in", "10.0.0.9", {})
    found = counters(cast("Context", proxy), pod, EXPOSITION, lambda counts: total(counts, {}) >= 3)
    assert found == (None if wanted is None else tuple(Counter((), count) for count in wanted))


def test_a_strict_scrape_needs_refusal_and_requests() -> None:
    good = Scraped(EXPOSITION, SERVICE, 10, {"reset": 4}, "200", (series("destination", "client", "200", 10),))
    assert judge_strict_scrape(good).verdict is Verdict.PASS
    assert judge_strict_scrape(replace(good, ends={"200": 1, "reset": 3})).verdict is Verdict.INCONCLUSIVE
    assert judge_strict_scrape(replace(good, ends={"timeout": 1, "reset": 3})).verdict is Verdict.INCONCLUSIVE
    assert judge_strict_scrape(replace(good, ends={})).verdict is Verdict.INCONCLUSIVE
    assert judge_strict_scrape(replace(good, ends={"timeout": 4})).verdict is Verdict.PASS  # a mesh that drops packets
    assert judge_strict_scrape(replace(good, network="reset")).verdict is Verdict.FAIL
    assert judge_strict_scrape(replace(good, network="timeout")).verdict is Verdict.INCONCLUSIVE
    assert judge_strict_scrape(replace(good, at_server=())).verdict is Verdict.FAIL
    assert judge_strict_scrape(replace(good, at_server=None)).verdict is Verdict.INCONCLUSIVE
    assert judge_strict_scrape(replace(good, exposition=None)).verdict is Verdict.FAIL


class _Strict:
    """A mesh whose strict mode shows at the third look: before, it takes plaintext, and then only one is late."""

    adapter = load("istio")

    def __init__(self) -> None:
        self.looks: list[list[str]] = []
        self.rows = [["200"] * 4, ["reset", "reset", "timeout", "reset"], *[["reset"] * 4] * 3]

    def render(self, intent: Intent) -> Any:
        return self.adapter.render(intent)

    def space(self, place: str) -> str:
        return place

    def pod(self, _: str) -> Pod:
        return Pod("guarded", "strict", "10.0.0.9", {})

    def url(self, *_: object) -> str:
        return "http://guarded"

    def host(self, service: str) -> str:
        return service

    def outsider(self) -> Any:
        def batch(asked: Batch) -> list[Record]:
            if asked.count == 1:
                return [Record(0.0, 0.1, status=200)]  # a scrape
            assert (asked.url, asked.concurrency) == ("http://10.0.0.9:8080/", asked.count)
            self.looks.append(self.rows.pop(0))
            return [Record(0.0, 0.1, status=200) if one == "200" else Record(0.0, 3.0, error=one)
                    for one in self.looks[-1]]  # fmt: skip

        return SimpleNamespace(batch=batch)

    def client(self) -> Any:
        return SimpleNamespace(batch=lambda asked: [Record(0.0, 0.1, 200, reply={"pod": "a"})] * asked.count)

    def in_force(self, probe: Callable[[], bool], what: str, *, successes: int) -> None:
        seen = [probe() for _ in range(4)]
        assert (seen, successes) == ([False, False, True, True], 2), what

    def watch(self, *_: object) -> None:
        pass


def test_tel_06_takes_a_request_that_is_late_for_no_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "counters", lambda *_: ())
    ctx = _Strict()
    found = telemetry.strict_scrape(cast("Context", ctx))
    assert (found.ends, found.network, len(ctx.looks)) == ({"reset": 4}, "200", 5)


def test_histories_survive_a_bundle() -> None:
    assert decode(encode(history())) == history()


def test_counters_are_read_as_prometheus_writes_them() -> None:
    text = '# TYPE istio_requests_total counter\nistio_requests_total{a="x",b="1"} 3\nistio_requests_total{a="y"} 4\n'
    found = parse(text, "istio_requests_total")
    assert total(found, {}) == 7
    assert total(found, {"a": "x"}) == 3


def test_a_counter_whose_name_does_not_end_as_openmetrics_wants_is_read_too() -> None:
    kind = "# TYPE pilot_total_xds_rejects counter\n"  # as Istio's control plane writes it
    text = f'{kind}pilot_total_xds_rejects{{type="cds"}} 3\n# TYPE other gauge\nother 5\nbare 2\n'
    assert total(parse(text, "pilot_total_xds_rejects"), {}) == 3
    assert total(parse(text, "other"), {}) == 5
    assert total(parse(text, "bare"), {}) == 2
    assert parse(text, "pilot_total_xds") == ()


def test_without_a_mesh_there_is_nothing_to_scrape() -> None:
    rendered = load("none").render(RequestMetrics())
    assert getattr(rendered, "exposition", "unset") is None
