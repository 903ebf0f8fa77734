"""What became of traces and what was written of requests, and the judges of it. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from conformance.model import Judgement, failed, inconclusive, passed
from reports.model import JSON, Evidence

__all__ = ["Logged", "Passage", "Traced", "judge_log", "judge_traces"]

_CONTEXT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
"""https://www.w3.org/TR/trace-context/ section 3.2: version, trace, parent, flags."""


@dataclass(frozen=True)
class Passage:
    """One request with trace context: what was sent, and what arrived at the application."""

    sent: str
    arrived: str
    """Empty where nothing did."""
    answered: bool


@dataclass(frozen=True)
class Traced:
    """Requests without trace context and with it, once the mesh was seen to begin traces."""

    begun: tuple[str, ...]
    """What arrived of requests without any."""
    passages: tuple[Passage, ...]

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        rows: list[JSON] = [{"sent": one.sent, "arrived": one.arrived} for one in self.passages[:5]]
        return Evidence("trace context", {"begun": list(self.begun[:3]), "passed on": rows})


def judge_traces(history: Traced) -> Judgement:
    """The trace is the one that was sent, and its newest span is a proxy's."""
    if not history.passages or not all(one.answered for one in history.passages):
        return inconclusive("not every request was answered", history.evidence)
    wrong: dict[str, int] = {}
    for one in history.passages:
        if problem := _problem(one):
            wrong[problem] = wrong.get(problem, 0) + 1
    if wrong:
        total = len(history.passages)
        return failed("; ".join(f"{count} of {total}: {what}" for what, count in wrong.items()), history.evidence)
    begun = [_CONTEXT.fullmatch(one) for one in history.begun]
    if not begun or not all(begun):
        return failed("a request without trace context arrives without any, too", history.evidence)
    if len({one[1] for one in begun if one}) < len(begun):
        return failed("requests that have nothing to do with each other are given one trace", history.evidence)
    return passed(
        f"{len(history.passages)} traces go on, each with a span of the mesh; those without one are begun",
        history.evidence,
    )


def _problem(passage: Passage) -> str:
    sent, arrived = _CONTEXT.fullmatch(passage.sent), _CONTEXT.fullmatch(passage.arrived)
    if sent is None or arrived is None:
        return "what arrives is no trace context"
    if arrived[1] != sent[1]:
        return "the request arrives in another trace"
    return "no proxy put a span of its own into the trace" if arrived[2] == sent[2] else ""


@dataclass(frozen=True)
class Logged:
    """Requests, each with a word in its path that no other has, and the lines of the server's proxy that have it."""

    proxy: bool
    """Whether there is a proxy that could write anything."""
    sent: Mapping[str, int]
    """By word: the status that the application gave."""
    failures: int
    """Requests that were not answered as asked."""
    lines: Mapping[str, tuple[str, ...]]

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        return Evidence("lines of the access log", [line for found in self.lines.values() for line in found][:3])


def judge_log(history: Logged) -> Judgement:
    """Each request has one line, and the line has its method and its status."""
    if not history.sent or history.failures:
        return inconclusive(f"{history.failures} requests were not answered as asked", history.evidence)
    if not history.proxy:
        return failed("there is no proxy that writes accesses down", history.evidence)
    missing = sum(not history.lines.get(word) for word in history.sent)
    if missing:
        return failed(f"{missing} of {len(history.sent)} requests are not in the log", history.evidence)
    twice = sum(len(history.lines[word]) > 1 for word in history.sent)
    if twice:
        return failed(f"{twice} of {len(history.sent)} requests are in the log more than once", history.evidence)
    wrong = [
        status for word, status in history.sent.items() if not _has(history.lines[word][0].replace(word, ""), status)
    ]
    if wrong:
        return failed(f"{len(wrong)} lines lack the request's method or status", history.evidence)
    return passed(f"{len(history.sent)} requests, each on one line with its method and status", history.evidence)


def _has(line: str, status: int) -> bool:
    """Whether a line says GET and the status, apart from the query that asked for it."""
    rest = line.replace(f"codes={status}", "")
    return re.search(r"\bGET\b", rest) is not None and re.search(rf"(?<!\d){status}(?!\d)", rest) is not None
