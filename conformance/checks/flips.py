"""MTLS-08: a mode changes back and forth under load, and no meshed client notices."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise, zip_longest
from typing import Any

from conformance.catalogue import check
from conformance.checks.mtls import GROUND
from conformance.checks.mtls_judges import HTTP, TCP, by_application
from conformance.checks.upheaval_judges import Load, load, trouble
from conformance.context import LIMITS, Context
from conformance.intents import Mode, MtlsMode
from conformance.model import Judgement, failed, inconclusive, passed
from fixtures.workloads.traffic import Batch
from reports.model import Evidence

__all__ = ["Flips", "judge_flips"]

TURNS = (Mode.STRICT, Mode.PERMISSIVE) * 3
RATE = 50.0
KEPT = 4
PATIENCE = 3
"""Times the limit for a mode to be in force: how soon it is, others judge; here nothing may break until it is."""
LONGEST = 240.0
LATE = "late"
"""What is answered by some and ran into a timeout for the rest."""


@dataclass(frozen=True)
class Flips:
    """Each turn with what plaintext from outside met then, and the meshed traffic over all of them."""

    turns: tuple[tuple[str, str], ...]
    """Mode, and `refused`, `taken`, `late` or `mixed`."""
    loads: tuple[Load, ...]
    asked: tuple[int, ...] = ()
    """By turn: how many meshed requests were sent in it, of the kind that had fewer."""

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """For the report."""
        rows: list[Any] = [
            {"mode": mode, "plaintext": seen, "meshed requests of each kind, at least": asked}
            for (mode, seen), asked in zip_longest(self.turns, self.asked)
        ]
        loads: list[Any] = [one.row for one in self.loads]
        return Evidence("turns", rows), Evidence("meshed traffic", loads)


def judge_flips(history: Flips) -> Judgement:
    """Every turn came into force, as plaintext shows, and no meshed request failed over all of them."""
    wanted = {"strict": "refused", "permissive": "taken"}
    if not history.turns or not history.loads or not all(one.sent for one in history.loads):
        return inconclusive("nothing was turned, or nothing was sent", *history.evidence)
    for mode, seen in history.turns:
        if seen == LATE:
            return inconclusive(f"{mode} was asked for, and plaintext ran into timeouts", *history.evidence)
        if seen != wanted[mode]:
            return failed(f"{mode} was asked for, and plaintext was {seen}", *history.evidence)
    if (found := trouble(history.loads, history.evidence)) is not None:
        return found
    if unasked := history.asked.count(0):
        return inconclusive(f"the requests did not span the turns: in {unasked} of {len(history.turns)} none was sent "
                            "of one kind", *history.evidence)  # fmt: skip
    sent = sum(one.sent for one in history.loads)
    return passed(f"{len(history.turns)} turns in force, {sent} meshed requests, no error", *history.evidence)


@check(
    id="MTLS-08",
    title="Strict and permissive take turns under load without an error",
    proves=("mtls", "strict", "permissive", "no interruption"),
    judge=judge_flips,
    ground=GROUND,
    requires=("MTLS-02", "MTLS-03"),
    reference="https://istio.io/latest/docs/tasks/security/authentication/mtls-migration/",
)
def flips(ctx: Context) -> Flips:
    """Turn a namespace's mode while meshed clients ask on new and on kept connections."""
    space = ctx.space("in")
    fresh = Batch(
        # a TCP connection each: proxies keep connections for requests, and would shake hands for the first only
        url=ctx.url("server", TCP, "", "tcp"),
        protocol="tcp",
        rate=RATE,
        shed=True,
        duration=LONGEST,
        concurrency=8,
        timeout=LIMITS.request,
        fresh=True,
        fields=("pod",),
    )
    plain = Batch(url=ctx.url("server", HTTP), count=4, concurrency=4, timeout=LIMITS.probe, fresh=True)
    seen: list[tuple[str, str]] = []

    def plaintext() -> str:
        records = ctx.outsider().batch(plain)
        answered = sum(map(by_application, records))
        if 0 < answered < plain.total and all(by_application(one) or one.error == "timeout" for one in records):
            return LATE
        return {0: "refused", plain.total: "taken"}.get(answered, "mixed")

    def shows(wanted: str) -> bool:
        return plaintext() == wanted

    client = ctx.client()
    kept = replace(fresh, url=ctx.url("server"), protocol="http1", fresh=False, concurrency=KEPT)

    def turn(mode: Mode) -> str:
        wanted = "refused" if mode is Mode.STRICT else "taken"
        ctx.apply(MtlsMode(space, mode))
        ctx.watch(partial(shows, wanted), PATIENCE * LIMITS.in_force)
        return wanted

    begun: list[float] = []
    try:
        with client.start(fresh) as one, client.start(kept) as other:
            for mode in TURNS:
                begun.append(ctx.now())
                wanted = turn(mode)
                seen.append((mode.value, plaintext()))
                if seen[-1][1] != wanted:
                    break  # a mesh that does not turn once is not asked five times more
            turns = tuple(pairwise((*begun, ctx.now())))
            kinds = one.finish(), other.finish()
    finally:
        turn(Mode.PERMISSIVE)  # as the ground's other checks found it and need it
    loads = load("new connections", kinds[0]), load("kept connections", kinds[1], KEPT)
    asked = (min(sum(begin <= each.sent < end for each in kind) for kind in kinds) for begin, end in turns)
    return Flips(tuple(seen), loads, tuple(asked))
