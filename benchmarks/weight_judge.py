"""How often does the judge of routing weights accept a split, by what the split really is?

Simulated operating curves of the sequential test that the WT checks use, beside the fixed-tolerance rules common in
mesh test suites (N requests, share within ±T points). No cluster is needed:

    python benchmarks/weight_judge.py [--walks 2000] [--declared 0.9] [--seed 1]

The last table answers for the tolerance rules what they cost: the false alarms of a correct mesh, and the misses of one
that is five points off. Figures of the fixed rules are exact (binomial tails); those of the sequential test simulated.
"""

from __future__ import annotations

import argparse
import json
import math
import time

import numpy as np

from conformance.statistics import Decision, Sprt, fixed_samples, missed, tail_at_most

BATCH = 400
RULES = ((100, 0.10), (100, 0.05), (500, 0.05), (1000, 0.05))
"""(requests, tolerance) of fixed-tolerance rules."""


def operating_point(test: Sprt, real: float, walks: int, rng: np.random.Generator) -> tuple[float, float, float, int]:
    """Shares of walks accepted, rejected, undecided, and the mean number of requests."""
    accepted = rejected = spent = 0
    steps = math.ceil(test.most_samples / BATCH)
    hits = np.cumsum(rng.binomial(BATCH, real, size=(walks, steps)), axis=1)
    for walk in range(walks):
        for step in range(steps):
            decision = test.decide(int(hits[walk, step]), BATCH * (step + 1))
            if decision is not Decision.GO_ON:
                accepted += decision is Decision.ACCEPT
                rejected += decision is Decision.REJECT
                spent += BATCH * (step + 1)
                break
        else:
            spent += BATCH * steps
    return accepted / walks, rejected / walks, 1 - (accepted + rejected) / walks, spent // walks


def tolerated(declared: float, real: float, size: int, tolerance: float) -> float:
    """The probability that a share is within the tolerance."""
    low, high = math.ceil((declared - tolerance) * size - 1e-9), math.floor((declared + tolerance) * size + 1e-9)
    below = tail_at_most(low - 1, size, real) if low > 0 else 0.0
    return max(0.0, tail_at_most(min(high, size), size, real) - below)


def main() -> None:
    """Print the tables; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--walks", type=int, default=2000)
    parser.add_argument("--declared", type=float, default=0.9)
    parser.add_argument("--delta", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    test = Sprt(asked.declared, asked.delta, 1e-5, 1e-3)
    size = fixed_samples(asked.declared, asked.delta, 1e-5, 1e-3)
    print(f"declared {asked.declared:.0%}, alpha 1e-5, beta 1e-3 at {asked.delta:.0%}, looks every {BATCH} requests")
    print(
        f"{'real':>7} {'accepted':>9} {'rejected':>9} {'undecided':>9} {'requests':>9}   fixed plan of {size} accepts"
    )
    found = []
    started = time.perf_counter()
    for off in (0.0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.07, 0.10):
        for real in dict.fromkeys((asked.declared - off, asked.declared + off)):
            if not 0 < real < 1:
                continue
            accepted, rejected, undecided, requests = operating_point(test, real, asked.walks, rng)
            fixed = missed(asked.declared, real, size, 1e-5)
            found.append({"real": round(real, 4), "accepted": accepted, "rejected": rejected, "requests": requests})
            print(f"{real:7.1%} {accepted:9.2%} {rejected:9.2%} {undecided:9.2%} {requests:9d}   {fixed:9.2%}")
    print(f"({asked.walks} walks a row, {time.perf_counter() - started:.1f} s)\n")
    print(f"{'rule':>22} {'false alarm':>12} {'misses −5':>11} {'misses +5':>11}")
    for count, tolerance in RULES:
        alarm = 1 - tolerated(asked.declared, asked.declared, count, tolerance)
        misses = [tolerated(asked.declared, asked.declared + sign * 0.05, count, tolerance) for sign in (-1, 1)]
        name = f"{count} requests ±{tolerance:.0%}"
        print(f"{name:>22} {alarm:12.1e} {misses[0]:11.1%} {misses[1]:11.1%}")
    print(json.dumps({"declared": asked.declared, "delta": asked.delta, "walks": asked.walks, "curve": found}))


if __name__ == "__main__":
    main()
