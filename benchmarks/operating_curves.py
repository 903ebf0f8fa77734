"""How often does each percentage check accept a split, by what the split really is?

Operating curves of the sequential test that the checks use, simulated over the very function that decides in them,
beside the fixed-tolerance rules of other suites (N requests, every share within ±T points, some of them asked up to R
times until they pass), which are exact. No cluster is needed:

    python benchmarks/operating_curves.py [--walks 2000] [--only WT-01] [--plot operating-curves.svg]

A check's curve should be 1 at 0 (a correct mesh passes), 0 from its stated deviation on, and say little in between. The
rules' curves show what their simplicity costs. The official Gateway API suite's rule is 500 requests, ±5 points, asked
up to ten times: what is off by five points has ten chances to look right.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from conformance.statistics import Decision, Sprt, next_samples, overall_decision, share_tests, tail_at_most
from reports.plots import svg

ALPHA, BETA = 1e-5, 1e-3
"""As in the checks."""
STEPS = 10
"""Points of a curve to each side, up to twice the deviation that the check states."""


@dataclass(frozen=True)
class Subject:
    """A percentage that a check declares."""

    check: str
    weights: Mapping[str, int]
    delta: float = 0.05
    """The deviation that the check finds but for `BETA`."""
    batch: int = 0
    """Requests between two looks; 0: as many as `next_samples` says."""
    most: int = 0
    """Requests after which it gives up; 0: three times what a plan of fixed size takes."""
    tests: int = 1
    """Such tests in the check, among which alpha is divided."""

    @property
    def declared(self) -> float:
        """The first share."""
        return next(iter(self.weights.values())) / sum(self.weights.values())


@dataclass(frozen=True)
class Rule:
    """A fixed-tolerance rule."""

    requests: int
    tolerance: float
    tries: int = 1

    @property
    def name(self) -> str:
        """In words."""
        again = f", {self.tries} tries" if self.tries > 1 else ""
        return f"{self.requests} ±{100 * self.tolerance:g}{again}"

    def accepts(self, declared: float, real: float) -> float:
        """The probability that the rule is content with a share that really is `real`."""
        low = math.ceil((declared - self.tolerance) * self.requests - 1e-9)
        high = min(math.floor((declared + self.tolerance) * self.requests + 1e-9), self.requests)
        below = tail_at_most(low - 1, self.requests, real) if low > 0 else 0.0
        once = max(0.0, tail_at_most(high, self.requests, real) - below)
        return float(1 - (1 - once) ** self.tries)


@dataclass(frozen=True)
class Point:
    """What a check does where the first share is off by `off`."""

    off: float
    accepted: float
    rejected: float
    requests: float


SUBJECTS = (
    Subject("WT-01", {"v1": 90, "v2": 10}),
    Subject("WT-05", {"v1": 70, "v2": 20, "v3": 10}),
    Subject("WT-09", {"v1": 99, "v2": 1}, 0.02),
    Subject("WT-04", {"v1": 50, "v2": 50}, 0.10),
    Subject("WT-06", {"v1": 50, "none": 50}, 0.10),
    Subject("RT-03", {"v1": 50, "500": 50}, 0.15, batch=100, most=800),
    Subject("RT-13", {"copied": 30, "not": 70}, 0.10, batch=400, most=4000, tests=2),
    Subject("RS-06", {"aborted": 30, "served": 70}),
)
RULES = (Rule(100, 0.10), Rule(500, 0.05), Rule(500, 0.05, tries=10))


def shifted(weights: Mapping[str, int], off: float) -> dict[str, float] | None:
    """The shares when the first gives `off` to the second; None where that is impossible."""
    whole = sum(weights.values())
    shares = {name: weight / whole for name, weight in weights.items()}
    first, second, *_ = shares
    shares[first] -= off
    shares[second] += off
    return shares if all(0 <= share <= 1 for share in shares.values()) else None


def walk(
    tests: Mapping[str, Sprt], batch: int, most: int, shares: Mapping[str, float], rng: np.random.Generator
) -> tuple[Decision, int]:
    """One check on a mesh with these shares: the decision and the requests that it cost."""
    counts = np.zeros(len(shares), dtype=int)
    names, sent = list(shares), 0
    seen = dict.fromkeys(names, 0)
    while sent < most:
        size = min(batch or next_samples(tests, seen, sent), most - sent)
        sent += size
        counts += rng.multinomial(size, list(shares.values()))
        seen = dict(zip(names, counts.tolist(), strict=True))
        decision = overall_decision(test.decide(seen[name], sent) for name, test in tests.items())
        if decision is not Decision.GO_ON:
            return decision, sent
    return Decision.GO_ON, sent


def curve(subject: Subject, walks: int, rng: np.random.Generator) -> list[Point]:
    """The points of a check's operating curve, to both sides."""
    points = []
    tests = share_tests(subject.weights, delta=subject.delta, alpha=ALPHA / subject.tests, beta=BETA)
    most = subject.most or max(test.most_samples for test in tests.values())
    for step in range(-STEPS, STEPS + 1):
        off = 2 * subject.delta * step / STEPS
        shares = shifted(subject.weights, off)
        if shares is None:
            continue
        ends = [walk(tests, subject.batch, most, shares, rng) for _ in range(walks)]
        accepted = sum(one is Decision.ACCEPT for one, _ in ends) / walks
        rejected = sum(one is Decision.REJECT for one, _ in ends) / walks
        points.append(Point(off, accepted, rejected, sum(sent for _, sent in ends) / walks))
    return points


def show(subject: Subject, points: list[Point]) -> None:
    """One table."""
    declared = subject.declared
    split = "/".join(str(weight) for weight in subject.weights.values())
    heads = "".join(f"{rule.name:>20}" for rule in RULES)
    found = f"a share off by {100 * subject.delta:g} points is found but for {BETA:.1%}"
    print(f"\n{subject.check}: declared {split}, {found}; how often the first share is accepted")
    print(f"{'really':>8} {'check':>9} {'rejects':>9} {'requests':>9}{heads}")
    for point in points:
        rules = "".join(f"{rule.accepts(declared, declared - point.off):20.2%}" for rule in RULES)
        real = f"{100 * (declared - point.off):.4g} %"
        print(f"{real:>8} {point.accepted:9.2%} {point.rejected:9.2%} {point.requests:9.0f}{rules}")


def plot(found: Mapping[str, list[Point]]) -> str:
    """All curves of one page: a panel for each check."""
    wide, high, gap = 400.0, 170.0, 62.0
    drawn = []
    names = ["this check", *(rule.name for rule in RULES)]
    for number, (check, points) in enumerate(found.items()):
        subject = next(one for one in SUBJECTS if one.check == check)
        declared, reach = subject.declared, 2 * subject.delta
        left, top = 50.0 + (number % 2) * (wide + gap), 56.0 + (number // 2) * (high + gap)

        def at(
            off: float, share: float, left: float = left, top: float = top, reach: float = reach
        ) -> tuple[float, float]:
            return left + (off + reach) / (2 * reach) * wide, top + (1 - share) * high

        for share in (0, 0.25, 0.5, 0.75, 1):
            drawn.append(svg.line(*at(-reach, share), *at(reach, share), "grid"))
            drawn.append(svg.text(f"{100 * share:.0f} %", left - 6, at(0, share)[1] + 4, "tick", "end"))
        for off in (-reach, -reach / 2, 0, reach / 2, reach):
            x, y = at(off, 0)
            if 0 <= declared - off <= 1:
                drawn.append(svg.text(f"{100 * (declared - off):.4g} %", x, y + 15, "tick", "middle"))
        split = "/".join(str(weight) for weight in subject.weights.values())
        title = f"{check}: {split} declared, ±{100 * subject.delta:g} points found"
        drawn.append(svg.text(title, left, top - 8, "head"))
        fine = [reach * step / 100 for step in range(-100, 101) if 0 <= declared - reach * step / 100 <= 1]
        for style, rule in enumerate(RULES, 1):
            line: list[tuple[float, float] | None] = [at(off, rule.accepts(declared, declared - off)) for off in fine]
            drawn.append(svg.path(line, f"s{style} curve"))
        ours: list[tuple[float, float] | None] = [at(one.off, one.accepted) for one in points]
        drawn.append(svg.path(ours, "s0 curve thick"))
    for style, name in enumerate(names):
        x = 50.0 + style * 210
        drawn += [svg.line(x, 18, x + 18, 18, f"s{style} key"), svg.text(name, x + 24, 22, "legend")]
    rows = math.ceil(len(found) / 2)
    style_text = (
        "<style>text{font:11px system-ui,sans-serif;fill:#555}.head{font-weight:600;fill:#222}"
        ".grid{stroke:#ddd}.curve{fill:none;stroke-width:1.4}.thick{stroke-width:2.6}.key{stroke-width:3}"
        ".s0{stroke:#18794e}.s1{stroke:#c2571a}.s2{stroke:#2f6fb0}.s3{stroke:#8a4fa3}</style>"
    )
    whole = svg.document(
        2 * wide + gap + 80, 56 + rows * (high + gap), "Operating curves", "plot", style_text + "".join(drawn)
    )
    return whole if "xmlns=" in whole else whole.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)


def main() -> None:
    """Print the tables, write the plot; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--walks", type=int, default=2000, help="simulated checks a point")
    parser.add_argument("--only", choices=[one.check for one in SUBJECTS])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plot", type=Path, help="write the curves as SVG")
    asked = parser.parse_args()
    rng = np.random.default_rng(asked.seed)
    started = time.perf_counter()
    print(f"alpha {ALPHA:g}, beta {BETA:g}, {asked.walks} walks a point")
    found = {}
    for subject in SUBJECTS:
        if asked.only in (None, subject.check):
            found[subject.check] = curve(subject, asked.walks, rng)
            show(subject, found[subject.check])
    print(f"\n({time.perf_counter() - started:.0f} s)", file=sys.stderr)
    if asked.plot:
        asked.plot.write_text(plot(found), encoding="utf-8")
    print(json.dumps({check: [vars(point) for point in points] for check, points in found.items()}))


if __name__ == "__main__":
    main()
