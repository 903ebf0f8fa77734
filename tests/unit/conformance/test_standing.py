"""Routes that stand on a ground: what is in force already costs one look, however many are asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from conformance.checks import routing_backends
from conformance.checks.cases import Asked, Case
from conformance.checks.routing_backends import MOST_SPREAD, SPREAD_ROW, VERSIONS, Bystanders, judge_bystanders
from conformance.checks.standing import Route, Standing, Stood
from conformance.context import Context, NotExpressible
from conformance.gates import FIRST, MARK_ROW, Gate, Look
from conformance.intents import Backend, Marker
from fixtures.kube import ForwardProblem
from fixtures.workloads.traffic import Batch, Record
from reports.errors import EnvironmentProblem

V3 = Backend("v3", version="v3")
LOOKS = 5
"""Made in the time in which a balancer by latency may leave a host out."""


class Mesh:
    """A context over routes of which some are in force; `orders` is what clients were asked, `waited` for which."""

    def __init__(self, *in_force: str, broken: bool = False) -> None:
        self.in_force, self.broken = in_force, broken
        self.orders: list[list[tuple[str, int]]] = []
        self.waited: list[str] = []

    def look(self, service: str, marker: Marker, _: Gate) -> Look:
        batch = Batch(f"http://{service}/", headers={marker.header: marker.value})
        return Look(Batch(f"http://{service}/"), batch, marker.backend)

    def client(self, _: str) -> Any:
        return SimpleNamespace(batches=self._batches)

    def gate(self, service: str, _marker: Marker, _how: Gate) -> None:
        self.waited.append(service)

    def _batches(self, batches: Sequence[Batch]) -> list[list[Record]]:
        if self.broken:
            raise ForwardProblem("the client is gone")
        self.orders.append([(one.url.split("/")[2], one.total) for one in batches])
        return [[self._answer(one)] * one.total for one in batches]

    def _answer(self, batch: Batch) -> Record:
        shows = batch.headers and batch.url.split("/")[2] in self.in_force
        return Record(0.0, 0.01, status=200, reply={"version": "v3" if shows else "v1"})

    def hold(self, *names: str, problems: dict[str, Exception] | None = None) -> tuple[str, ...]:
        standing = Standing({name: Route(name, lambda *_: (), V3) for name in names})
        stood = {name: Stood(0.0, Marker("mark", name, V3), (), (problems or {}).get(name)) for name in names}
        self.shared = lambda *_, **__: stood
        return standing.hold(cast("Context", self), *names)


def test_routes_that_are_in_force_are_seen_so_together() -> None:
    mesh = Mesh("a", "b")
    assert mesh.hold("a", "b") == ("a", "b")
    assert mesh.orders == [[(name, FIRST) for name in "abab"], [(name, MARK_ROW - FIRST) for name in "ab"]]
    assert not mesh.waited


def test_a_route_that_is_not_in_force_yet_is_waited_for_by_itself() -> None:
    mesh = Mesh("a")
    assert mesh.hold("a", "b") == ("a", "b")
    assert mesh.waited == ["b"]


def test_one_route_is_waited_for_at_once() -> None:
    mesh = Mesh("a")
    assert mesh.hold("a") == ("a",)
    assert (mesh.orders, mesh.waited) == ([], ["a"])


def test_a_look_that_cannot_be_made_is_told_by_whoever_waits() -> None:
    mesh = Mesh("a", "b", broken=True)
    assert mesh.hold("a", "b") == ("a", "b")
    assert mesh.waited == ["a", "b"]


def test_a_route_without_words_leaves_the_others_and_a_refused_one_is_told() -> None:
    mesh = Mesh("a", "b")
    assert mesh.hold("a", "b", problems={"b": NotExpressible("no words")}) == ("a",)
    with pytest.raises(EnvironmentProblem, match="refused"):
        mesh.hold("a", "b", problems={"b": EnvironmentProblem("refused")})


@pytest.mark.parametrize(
    ("answers", "asked", "verdict"),
    [
        (["v1", "v2", "v3"] * 5, SPREAD_ROW, "pass"),
        (["v1", "v2", "v2"] * (SPREAD_ROW // 3) + ["v3"] * SPREAD_ROW, 2 * SPREAD_ROW, "pass"),
        (["v1", "v2"] * (MOST_SPREAD // 2 + SPREAD_ROW) + ["v3"] * SPREAD_ROW, MOST_SPREAD + 3 * SPREAD_ROW, "pass"),
        (["v2"] * (MOST_SPREAD + LOOKS * SPREAD_ROW), MOST_SPREAD + LOOKS * SPREAD_ROW, "fail"),
    ],
)
def test_a_spread_is_asked_until_each_has_answered_or_none_can_be_left_out_any_more(
    answers: list[str], asked: int, verdict: str
) -> None:
    found = spread(answers)
    assert len(found) == asked
    routed = Case("routed", version="v2")
    sound = Record(0.0, 0.01, status=200, reply={"version": "v2"})
    history = Bystanders((Asked("service", routed, (sound,)),), "elsewhere", found)
    judgement = judge_bystanders(history)
    assert judgement.verdict == verdict
    (rate,) = judgement.error_rates
    assert rate.alpha == pytest.approx(len(VERSIONS) * (2 / 3) ** max(asked, MOST_SPREAD))
    assert "even draws" in rate.test


def test_a_spread_that_others_answer_is_decided_and_asked_no_longer() -> None:
    assert len(spread(["v1", "v2", "far"] * (MOST_SPREAD // 3))) == MOST_SPREAD


def spread(answers: Sequence[str]) -> tuple[str, ...]:
    """What is heard where these answer, one after the other, and so many looks are made of it."""
    given = iter(answers)

    def batch(one: Batch) -> list[Record]:
        assert one.concurrency == SPREAD_ROW  # a balancer by latency gives whatever comes singly to one host
        return [Record(0.0, 0.01, status=200, reply={"version": next(given)}) for _ in range(one.total)]

    def url(service: str, port: int, path: str) -> str:
        return f"http://{service}:{port}{path}"

    def watch(probe: Callable[[], bool], _: float) -> None:
        any(probe() for _ in range(LOOKS))

    ctx = SimpleNamespace(url=url, client=lambda: SimpleNamespace(batch=batch), watch=watch)
    return routing_backends._versions(cast("Context", ctx), "a")
