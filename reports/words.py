"""How figures, times and verdicts are put into words, the same in every writer. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reports.model import Result, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reports.model import Run

__all__ = [
    "MEANINGS",
    "SYMBOLS",
    "broken_stages",
    "clean",
    "counts",
    "duration",
    "headline",
    "inert",
    "line",
    "micros",
    "number",
    "part",
    "profile",
    "rate",
    "shown",
    "when",
]

SYMBOLS = {
    Verdict.PASS: "✓",
    Verdict.FAIL: "✗",
    Verdict.INCONCLUSIVE: "?",
    Verdict.UNSUPPORTED: "–",
    Verdict.NOT_RUN: "○",
}

MEANINGS = {
    Verdict.PASS: "the mesh did what the title says, and the evidence shows it",
    Verdict.FAIL: "the mesh did something else, and the evidence shows it",
    Verdict.INCONCLUSIVE: "the evidence allows neither; no data is never a pass",
    Verdict.UNSUPPORTED: "the mesh declares that it does not offer this",
    Verdict.NOT_RUN: "something this rests on failed first, or the run ended before",
}

# What XML 1.0 cannot hold, and what would steer a terminal.
_ILLEGAL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")

_COMMAND = re.compile(r"^(\s*)::", re.MULTILINE)


def clean(text: str) -> str:
    """`text` without characters that XML forbids or a terminal obeys; each becomes U+FFFD, and CR LF becomes LF."""
    return _ILLEGAL.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r\n", "\n"))


def inert(text: str) -> str:
    """`text` for a terminal or a log, in which GitHub's runner obeys `##[…]` anywhere and `::…` at a line's start."""
    return _COMMAND.sub(r"\1: :", clean(text).replace("##[", "# #["))


def line(text: str) -> str:
    """The same as one line."""
    return inert(" ".join(clean(text).split()))


def duration(seconds: float) -> str:
    """`seconds` for people: `340 ms`, `4.2 s`, `3 min 05 s`."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 99.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def micros(value: float) -> str:
    """`value` microseconds for people: `250 µs`, `1.5 ms`, `2 s`."""
    for unit, factor in (("s", 1e6), ("ms", 1e3)):
        if abs(value) >= factor:
            return f"{value / factor:.3g} {unit}" if abs(value) < 1000 * factor else f"{value / factor:,.0f} {unit}"
    return f"{value:.3g} µs" if abs(value) < 999.5 else "1 ms"


def number(value: float) -> str:
    """`value` with at most four significant digits and thin thousands: `0.9983`, `12 400`."""
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    if abs(value) >= 10000:
        return f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")
    return f"{value:.4g}"


def rate(value: float | None) -> str:
    """An error probability: `1e-05`, `0.2 %`, or a dash where there is none."""
    if value is None:
        return "–"
    if value == 0:
        return "0"
    return f"{value:.2g}" if value < 0.001 else f"{value * 100:.2g} %"


def when(epoch: float) -> str:
    """An epoch time as UTC to the second; a dash where none was kept."""
    if epoch <= 0:
        return "–"
    try:
        return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return number(epoch)


def shown(result: Result) -> str:
    """The verdict in words, with a note where a verdict other than pass is the right one."""
    if result.expected is Verdict.PASS:
        return result.verdict.value
    return f"{result.verdict.value}, as it must be" if result.right else f"{result.verdict.value}, wrongly"


def counts(results: Iterable[Result]) -> dict[Verdict, int]:
    """How many results have each verdict, in the verdicts' order, zeros included."""
    found = dict.fromkeys(Verdict, 0)
    for result in results:
        found[result.verdict] += 1
    return found


def broken_stages(run: Run) -> tuple[Result, ...]:
    """The stages that broke off, each as a result without a verdict: for formats that know nothing but results."""
    return tuple(
        Result(
            one.name, "stage of the run", "check", "stages", "core", Verdict.INCONCLUSIVE,
            f"it broke off: {one.problem}", started=run.started, seconds=one.seconds,
        )
        for one in run.stages
        if one.problem
    )  # fmt: skip


def profile(run: Run) -> str:
    """The part of the catalogue that was asked for by its name; "" for all of it, or where none was named."""
    named = run.options.get("profile")
    return named if isinstance(named, str) and named != "full" else ""


def part(run: Run) -> str:
    """Which part of the checks there are a run judged; "" where it was the whole, or that is not known."""
    judged = sum(one.kind == "check" for one in run.results)
    if not judged or judged >= run.catalogue:
        return ""
    named = f"profile {profile(run)}; " if profile(run) else ""
    return f"{named}the catalogue has {run.catalogue}"


def headline(run: Run) -> str:
    """One sentence that says what the run found."""
    if not run.results:
        return "Nothing was judged."
    parts = []
    for kind in ("check", "experiment", "measurement"):
        of_kind = [one for one in run.results if one.kind == kind]
        if of_kind:
            right = sum(one.right for one in of_kind)
            of_all = f" ({part(run)})" if kind == "check" and part(run) else ""
            parts.append(f"{right} of {len(of_kind)} {kind}s{of_all}")
    failed = [one.id for one in run.results if one.failed]
    unproven = [one.id for one in run.results if one.unproven]
    unsupported = run.count(Verdict.UNSUPPORTED)
    tail = [f"{_listed(failed)} failed"] if failed else ["nothing failed"]
    if unproven:
        tail.append(f"{_listed(unproven)} stayed open")
    if unsupported:
        tail.append(f"{unsupported} declared unsupported")
    if left_out := sum(one.left_out for one in run.results):
        tail.append(f"{left_out} left out")
    broken = [stage.name for stage in run.stages if stage.problem]
    if broken:
        tail.append(f"the {' and '.join(broken)} stage broke off")
    return f"{' and '.join(filter(None, [', '.join(parts[:-1]), parts[-1]]))} came out right; {', '.join(tail)}."


def _listed(ids: list[str]) -> str:
    return ", ".join(ids) if len(ids) <= 4 else f"{', '.join(ids[:3])} and {len(ids) - 3} more"
