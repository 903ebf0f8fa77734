"""The latency measurement: same requests with and without the mesh, in interleaved blocks, compared pair by pair.

The arms run one after the other, never side by side: on a small machine two loads at once would measure each other.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from fixtures.kube import Kube, eventually
from load.blocks import AGAIN, BASE, MESHED, Block
from load.comparison import measurement
from load.ground import Arm, Ground, ground
from load.meshing import Meshing, limited
from load.plan import SHORT, Plan
from load.remote import JobFailed
from load.statistics import block_order
from load.usage import Usage, proxy_usage
from reports.errors import EnvironmentProblem
from reports.model import Result, Verdict

__all__ = ["Plan", "measure", "run_block", "run_short"]

Report = Callable[[str], None]

REACH_SECONDS = 20.0
"""The longest wait for a driver to take a block, beyond the length of one that it may be at: an API server that starts
anew, or a node's way to it, is away for some seconds."""
LOST_PAIRS = 3
"""After so many pairs in a row with a block of which nobody knows what became, no more are tried."""


def run_short(
    kube: Kube,
    meshing: Meshing,
    image: str,
    report: Report = lambda _: None,
    timeouts: Mapping[str, float] | None = None,
) -> tuple[Result, ...]:
    """The short form for the main run, with time limits of the user's own by the names of the settings."""
    return (measure(kube, meshing, image, limited(SHORT, timeouts or {}), report),)


def measure(kube: Kube, meshing: Meshing, image: str, plan: Plan, report: Report = lambda _: None) -> Result:
    """Set the pods up, measure all blocks, take the pods away, judge. How to do it again is for the caller to say.

    Raises EnvironmentProblem where pods do not become ready or the drivers cannot be reached at the beginning.
    """
    started = time.time()
    blocks: list[Block] = []
    with ground(kube, meshing, image, plan, report) as ready:
        if ready.problem:
            return _unmeasured(ready, started, plan)
        arms = ready.arms
        space = arms[MESHED].driver.namespace if MESHED in arms else ""
        before = proxy_usage(kube, space) if space else None
        names = [name for name in (BASE, AGAIN, MESHED) if name in arms]
        valid = unknown = 0
        for pair, order in enumerate(block_order(names, plan.most_pairs, plan.seed)):
            report(f"pair {valid + 1} of {plan.pairs}" + (f", {pair - valid} invalid" if pair > valid else ""))
            fresh = _pair([arms[name] for name in order], pair, plan)
            blocks += fresh
            valid += not any(block.problem(plan.lag_budget_us) for block in fresh)
            unknown = unknown + 1 if fresh[-1].unknown else 0
            if valid == plan.pairs or unknown == LOST_PAIRS:
                break
        used = _used(before, proxy_usage(kube, space) if space else None)
    detail: dict[str, Any] = {
        "form": "short form of the main run: wide intervals; `meshproof load latency` measures in full"
        if plan.short
        else "full",
        "pairs": plan.pairs,
        "rate per second": plan.rate,
        "block seconds": plan.block_seconds,
        "connections": plan.users,
        "nodes": ", ".join(f"{name} on {node}" for name, node in sorted(ready.nodes.items())),
        "seed": plan.seed,
        "lag budget µs": plan.lag_budget_us,
        "order": "a random order of the arms, then its mirror image, repeated",
        "schedule": "open loop, evenly spaced, latency from the intended send",
        "set-up seconds": round(time.time() - started - sum(plan.block_seconds for _ in blocks), 1),
    }
    return measurement(
        blocks,
        plan,
        id="LAT01",
        started=started,
        seconds=time.time() - started,
        meshed=meshing.injects,
        usage=used,
        detail=detail,
    )


def _pair(arms: Sequence[Arm], pair: int, plan: Plan) -> list[Block]:
    """The blocks of a pair in the order of its arms, the last one being that of which nothing is known, if there is."""
    blocks: list[Block] = []
    for arm in arms:
        blocks.append(run_block(arm, pair, plan))
        if blocks[-1].unknown:
            break
    return blocks


def run_block(arm: Arm, pair: int, plan: Plan) -> Block:
    """Send one block of requests over an arm and wait for its end; one that has none is a block without figures."""
    spec = plan.block(arm.url)
    try:
        # The job whose beginning went unheard is over when the driver takes another: two would measure each other.
        done = eventually(
            lambda: arm.driver.start(spec),
            timeout=spec.duration + REACH_SECONDS,
            what=f"the driver of arm {arm.name} takes a block",
        ).wait()
    except JobFailed as problem:
        return Block(pair, arm.name, 0, 0, 0, "", "", "", "", broken=problem.problem)
    except EnvironmentProblem as problem:
        return Block(pair, arm.name, 0, 0, 0, "", "", "", "", unknown=problem.problem)
    told = done.histograms
    sent = done.requests + plan.warmup_requests
    shapes = (told[name] for name in ("latency", "service", "lag", "clock"))
    return Block(pair, arm.name, done.requests, sent, done.errors, *shapes)


def _used(before: Usage | None, after: Usage | None) -> dict[str, float]:
    """CPU seconds and memory of all proxies over the whole measurement; empty where a cgroup could not be read."""
    if before is None or after is None:
        return {}
    return {"cpu_seconds": after.cpu_seconds - before.cpu_seconds, "memory_bytes": after.memory_bytes}


def _unmeasured(ready: Ground, started: float, plan: Plan) -> Result:
    """Without proof of the mesh and its mutual TLS the arm would carry a wrong name."""
    return Result(
        id="LAT01",
        title=plan.title,
        kind="measurement",
        group="latency",
        level="extended",
        verdict=Verdict.UNSUPPORTED if ready.unsupported else Verdict.INCONCLUSIVE,
        reason=ready.problem,
        proves=("proxy-latency",),
        started=started,
        seconds=time.time() - started,
    )
