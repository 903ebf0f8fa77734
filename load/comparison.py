"""From recorded blocks to intervals and a verdict. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import sub
from typing import Any

from load.blocks import AGAIN, BASE, MESHED, QUANTILES, Block
from load.histograms import curve, decode
from load.overload import overload
from load.plan import Plan
from load.pooling import Pool
from load.statistics import Interval, bootstrap, trimmed_interval
from reports.model import JSON, ErrorRate, Evidence, Plot, Result, Verdict

__all__ = ["MIN_PAIRS", "Comparison", "compare", "measurement", "null_interval"]

NULL_CONFIDENCE = 0.999
"""Confidence, at each of QUANTILES, at which the A/A arm must show no difference; else the measurement is disturbed."""
NULL_FLOOR_US = 20.0
"""Differences of the A/A arm below this, in µs, are under the resolution that is claimed and never disturb."""
MIN_PAIRS = 10
"""Below this the interval is too narrow: simulated on heavy tails, it misses zero in 3 to 10 % of null runs at 10
pairs, in up to 11 % at 8 (see the tests)."""


@dataclass(frozen=True)
class Comparison:
    """Two arms compared, in µs, at each of QUANTILES."""

    arm: str
    against: str
    differences: Mapping[float, Interval]
    """Of the percentiles of all their requests: a stall in one block of twenty is in the p99, as users have it."""
    plain: Mapping[float, Interval]
    """The same percentiles of the arm `against` by itself: how fast the machine was."""
    null: Mapping[float, Interval]
    """Trimmed means of the differences pair by pair, at NULL_CONFIDENCE: a machine that stalls once is quiet."""


def compare(blocks: Sequence[Block], arm: str, against: str, *, lag_budget_us: float, seed: int) -> Comparison | None:
    """Differences `arm` minus `against`; None when fewer than MIN_PAIRS pairs have both blocks valid."""
    valid = {(b.pair, b.arm): b for b in blocks if not b.problem(lag_budget_us)}
    pairs = sorted(pair for pair, name in valid if name == arm and (pair, against) in valid)
    if len(pairs) < MIN_PAIRS:
        return None
    mine, theirs = ([valid[pair, name] for pair in pairs] for name in (arm, against))
    pools = [Pool([b.latency for b in side]) for side in (mine, theirs)]

    def figures(drawn: Sequence[int]) -> list[float]:
        times = [0] * len(pairs)
        for pair in drawn:
            times[pair] += 1
        with_it, without = (pool.percentiles(QUANTILES, times) for pool in pools)
        return [*map(sub, with_it, without), *without]

    found = bootstrap(len(pairs), figures, seed=seed)
    levels = [(one.quantiles(), two.quantiles()) for one, two in zip(mine, theirs, strict=True)]
    return Comparison(
        arm,
        against,
        dict(zip(QUANTILES, found, strict=False)),
        dict(zip(QUANTILES, found[len(QUANTILES) :], strict=True)),
        {q: null_interval([one[q] - two[q] for one, two in levels]) for q in QUANTILES},
    )


def null_interval(gaps: Sequence[float]) -> Interval:
    """The interval by which equal arms are told from different ones."""
    return trimmed_interval(gaps, confidence=NULL_CONFIDENCE)


def measurement(
    blocks: Sequence[Block],
    plan: Plan,
    *,
    id: str,  # noqa: A002 - the result model's own word
    started: float,
    seconds: float,
    meshed: bool,
    usage: Mapping[str, float],
    detail: Mapping[str, Any],
) -> Result:
    """The Result: pass when the measurement is valid (whatever it found), inconclusive when it is disturbed."""
    lag_budget_us, seed = plan.lag_budget_us, plan.seed
    null = compare(blocks, AGAIN, BASE, lag_budget_us=lag_budget_us, seed=seed)
    cost = compare(blocks, MESHED, BASE, lag_budget_us=lag_budget_us, seed=seed) if meshed else None
    good = [b for b in blocks if not b.problem(lag_budget_us)]
    lost = {arm: sum(b.lost(lag_budget_us) for b in blocks if b.arm == arm) for arm in (BASE, AGAIN, MESHED)}
    verdict, reason = _verdict(blocks, null, cost, lost, meshed, overload(good, plan))
    arms = [name for name in (BASE, AGAIN, MESHED) if any(b.arm == name for b in blocks)]
    invalid: list[JSON] = [
        {"pair": b.pair, "arm": b.arm, "why": why} for b in blocks if (why := b.problem(lag_budget_us))
    ]
    metrics: dict[str, float] = {"blocks": len(blocks), "invalid_blocks": len(invalid)}
    added, plain = (cost.differences, cost.plain) if cost else ({}, {})
    for found, name in ((added, "added"), (plain, "plain"), (null.differences if null else {}, "aa")):
        for q, interval in found.items():
            metrics |= {
                f"{name}_p{q:.0f}_us": interval.estimate,
                f"{name}_p{q:.0f}_low_us": interval.low,
                f"{name}_p{q:.0f}_high_us": interval.high,
            }
    metrics |= {f"lost_blocks_{arm}": count for arm, count in lost.items() if arm in arms}
    metrics |= _usage(blocks, usage)
    evidence = [
        Evidence(
            "differences of percentiles over all requests in µs, 95 % interval over pairs",
            [_row(c, q) for c in (cost, null) if c for q in QUANTILES],
        ),
        Evidence("arms in µs, all valid blocks together", [_arm_row(good, name) for name in arms]),
        Evidence("how it was measured", dict(detail)),
    ]
    if invalid:
        evidence.append(Evidence("blocks that do not count", invalid))
    plots: list[JSON] = [
        {"name": name, "unit": "µs", "points": curve(decode(*(b.latency for b in good if b.arm == name)))}
        for name in arms
    ]
    return Result(
        id=id,
        title=plan.title,
        kind="measurement",
        group="latency",
        level="extended",
        verdict=verdict,
        reason=reason,
        proves=("proxy-latency",),
        started=started,
        seconds=seconds,
        evidence=tuple(evidence),
        error_rates=(
            ErrorRate(
                test="A/A arm: at each of three percentiles Student's interval of the trimmed differences holds zero",
                alpha=round(len(QUANTILES) * (1 - NULL_CONFIDENCE), 6),
                beta=None,
                detectable=f"{NULL_FLOOR_US:.0f} µs or the half width of the interval, whichever is larger",
                samples=sum(b.requests for b in good),
            ),
        ),
        plots=(Plot("percentiles", "latency from the intended send", {"arms": plots}),),
        metrics=metrics,
    )


def _verdict(
    blocks: Sequence[Block],
    null: Comparison | None,
    cost: Comparison | None,
    lost: Mapping[str, int],
    meshed: bool,
    overloaded: str,
) -> tuple[Verdict, str]:
    if not blocks:
        return Verdict.INCONCLUSIVE, "no block was measured"
    if overloaded:
        return Verdict.INCONCLUSIVE, overloaded
    if null is None:
        return Verdict.INCONCLUSIVE, _few("without the mesh", blocks)
    for q, interval in null.null.items():
        if not interval.holds_zero and abs(interval.estimate) > NULL_FLOOR_US:
            return (
                Verdict.INCONCLUSIVE,
                f"the machine was not quiet: equal arms differ by {interval.estimate:+.0f} µs at p{q:.0f}",
            )
    if not meshed:
        return Verdict.UNSUPPORTED, f"there is no mesh whose proxies could be measured; {_likeness(null)}"
    if lost[MESHED] > max(lost[BASE], lost[AGAIN]):
        said = f"requests failed in {lost[MESHED]} blocks with the mesh and in {lost[BASE]} and {lost[AGAIN]} without"
        return Verdict.INCONCLUSIVE, f"{said}: to compare the others would leave out what the mesh did worst"
    if cost is None:
        return Verdict.INCONCLUSIVE, _few("with and without the mesh", blocks)
    said = ", ".join(f"p{q:.0f} {i.estimate:+.0f} µs [{i.low:.0f}, {i.high:.0f}]" for q, i in cost.differences.items())
    return Verdict.PASS, f"the mesh's proxies with mutual TLS add {said}; {_likeness(null)}"


def _few(which: str, blocks: Sequence[Block]) -> str:
    why = next((b.unknown for b in reversed(blocks) if b.unknown), "")
    return f"fewer than {MIN_PAIRS} pairs {which} are valid" + (f": {why}" if why else "")


def _likeness(null: Comparison) -> str:
    """By how much arms that are equal may differ, in words: what is added is not known better than that."""
    both = {q: (null.differences[q], null.null[q]) for q in QUANTILES}
    most = {q: max(NULL_FLOOR_US, *(abs(end) for i in found for end in (i.low, i.high))) for q, found in both.items()}
    return f"equal arms differ by at most {', '.join(f'{us:.0f} µs at p{q:.0f}' for q, us in most.items())}"


def _row(found: Comparison, q: float) -> JSON:
    interval = found.differences[q]
    return {
        "difference": f"{found.arm} - {found.against}",
        "percentile": f"p{q:.0f}",
        "estimate": round(interval.estimate, 1),
        "low": round(interval.low, 1),
        "high": round(interval.high, 1),
        "pairs": interval.pairs,
        "zero possible": interval.holds_zero,
    }


def _arm_row(good: Sequence[Block], arm: str) -> dict[str, Any]:
    mine = [b for b in good if b.arm == arm]
    row: dict[str, Any] = {"arm": arm, "blocks": len(mine), "requests": sum(b.requests for b in mine)}
    for name in ("latency", "service", "lag"):
        values = decode(*(getattr(b, name) for b in mine))
        for q in QUANTILES:
            row[f"{name} p{q:.0f}"] = values.get_value_at_percentile(q) if mine else None
    return row


def _usage(blocks: Sequence[Block], usage: Mapping[str, float]) -> dict[str, float]:
    """The proxies' CPU per 1,000 requests (both sidecars of the path together) and their memory.

    The CPU is that of the whole measurement: also what they took while the other arms were measured.
    """
    requests = sum(b.sent for b in blocks if b.arm == MESHED)
    if not requests or not usage:
        return {}
    return {
        "proxy_cpu_ms_per_1000_requests_with_idle_time": 1e6 * usage["cpu_seconds"] / requests,
        "proxy_memory_mib": usage["memory_bytes"] / 2**20,
    }
