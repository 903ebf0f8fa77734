"""The longest limits that a user may set: the traffic client still takes every batch that is made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import fields
from types import SimpleNamespace
from typing import Any

import pytest

from conformance.checks import authorization_revocation, lifecycle, weights_change
from conformance.context import Context
from conformance.limits import LIMITS, Limits, limit
from conformance.settings import RunSettings
from fixtures.workloads.batch import MAX_SECONDS, MAX_TIMEOUT, parse_batch
from fixtures.workloads.traffic import Batch


@pytest.fixture
def longest() -> Iterator[None]:
    before = Limits(**vars(LIMITS))
    seconds = {one.name.replace("_", "-"): MAX_SECONDS for one in fields(Limits)}
    limit(RunSettings(timeouts=seconds | {"probe": MAX_TIMEOUT, "request": MAX_TIMEOUT}).limits)
    yield
    limit(before)


class Asked:
    """A check's ground, and what its client is asked for first."""

    def __init__(self) -> None:
        self.batches: list[Batch] = []

    def url(self, *_: object, **__: object) -> str:
        return "http://server:8080/"

    def client(self) -> Any:
        return SimpleNamespace(start=self.start)

    def start(self, batch: Batch) -> Any:
        self.batches.append(batch)
        return SimpleNamespace(stop=lambda: None)


def beats(ctx: Any) -> None:
    with Context.pulse(ctx, ctx.client(), ctx.url(), 10.0):
        pass


@pytest.mark.usefixtures("longest")
@pytest.mark.parametrize(
    "make",
    [
        beats,
        lambda ctx: ctx.start(lifecycle.steady(ctx.url())),
        lambda ctx: ctx.start(lifecycle.long(ctx.url())),
        lambda ctx: ctx.start(weights_change._steady("server", ctx)),
        lambda ctx: authorization_revocation._ask_on(ctx, 8080, fresh=True),
    ],
)
def test_the_client_takes_what_the_longest_limits_make(make: Callable[[Any], object]) -> None:
    ctx = Asked()
    make(ctx)
    (batch,) = ctx.batches
    assert parse_batch(batch.to_json()) == batch
