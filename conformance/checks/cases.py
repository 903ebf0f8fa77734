"""Requests with what must become of them, and the judge of a table of such cases. Pure but for `ask`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from conformance.limits import LIMITS
from conformance.model import Judgement, failed, inconclusive, passed, proven
from fixtures.workloads.traffic import Batch, Record
from reports.model import Evidence

if TYPE_CHECKING:
    from conformance.context import Context

__all__ = ["TIMES", "Asked", "Case", "Pairs", "Question", "ask", "judge_cases", "table"]

Pairs = tuple[tuple[str, str], ...]
TIMES = 12
"""Requests of each case, all at once: three pods behind a service answer alike by chance with a probability of 3^-11
and less."""
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Case:
    """One kind of request. Expectations that are empty are not judged."""

    name: str
    path: str = "/"
    method: str = "GET"
    headers: Pairs = ()
    protocol: str = "http1"
    port: int = 8080
    status: int = 200
    """A status that is not 2xx must come from the mesh itself, not from a backend."""
    version: str = ""
    """The version of the backend that answers."""
    backend_path: str = ""
    """The path with query that the backend sees."""
    backend_host: str = ""
    backend_protocol: str = ""
    arrives: Pairs = ()
    """Request headers that the backend sees; values of one name joined by commas, "" for a header that is not there."""
    returns: Pairs = ()
    """Response headers that the client sees, likewise."""
    location: str = ""

    @property
    def request(self) -> str:
        """The request, in one line."""
        said = " ".join(f"{name}: {value}" for name, value in self.headers)
        protocol = "" if self.protocol == "http1" else f" ({self.protocol})"
        return f"{self.method} {self.path}{protocol}{' ' if said else ''}{said}"

    @property
    def expected(self) -> str:
        """What must become of it, in one line."""
        facts = [f"status {self.status}"] if self.status != 200 else []
        facts += [f"{word} {value}" for word, value in (
            ("by", self.version), ("path", self.backend_path), ("host", self.backend_host),
            ("protocol", self.backend_protocol), ("Location", self.location)) if value]  # fmt: skip
        facts += [f"{name}: {value or '(none)'}" for name, value in (*self.arrives, *self.returns)]
        return ", ".join(facts) or "answered"

    def wrong(self, record: Record) -> str:
        """What is wrong with one answer; "" if nothing is."""
        if record.error is not None:
            return f"{record.error} {record.detail}".strip()
        if self.protocol == "grpc" and record.status == 200 and record.grpc:
            return f"gRPC status {record.grpc}"
        status = 200 if record.status == 101 and self.protocol == "websocket" else record.status
        if status != self.status:
            return f"status {record.status}" + (f" by {record.version}" if record.version else "")
        if self.status >= 300:
            if record.reply is not None:
                return f"status {status} came from the backend {record.version}"
            return self._wrong_location(record)
        return self._wrong_backend(record) or self._wrong_headers(record)

    def _wrong_location(self, record: Record) -> str:
        said = ",".join((record.headers or {}).get("location", ()))
        return f"Location {said or '(none)'}" if self.location and not same_place(said, self.location) else ""

    def _wrong_backend(self, record: Record) -> str:
        reply = record.reply
        if reply is None:
            return "answered by nobody of ours"
        for word, field, wanted in (
            ("by", "version", self.version),
            ("path", "path", self.backend_path),
            ("host", "host", self.backend_host),
            ("protocol", "protocol", self.backend_protocol),
        ):
            if wanted and reply.get(field) != wanted:
                return f"{word} {reply.get(field)}"
        return ""

    def _wrong_headers(self, record: Record) -> str:
        arrived: Mapping[str, Sequence[str]] = (record.reply or {}).get("headers", {})
        for found, wanted in ((arrived, self.arrives), (record.headers or {}, self.returns)):
            for name, value in wanted:
                seen = ",".join(part.strip() for one in found.get(name, ()) for part in one.split(","))
                if seen != value:
                    return f"{name}: {seen or '(none)'}"
        return ""


def same_place(one: str, other: str) -> bool:
    """Whether two locations are the same, a scheme's own port written or not."""

    def place(text: str) -> tuple[str, str, int | None, str, str]:
        parts = urlsplit(text)
        return parts.scheme, parts.hostname or "", parts.port or _PORTS.get(parts.scheme), parts.path, parts.query

    try:
        return place(one) == place(other)
    except ValueError:
        return False


@dataclass(frozen=True)
class Asked:
    """A case, and what became of its requests."""

    words: str
    """How the route was written: by version or by service."""
    case: Case
    answers: tuple[Record, ...]

    @property
    def wrong(self) -> Counter[str]:
        """What was wrong, by how often."""
        return Counter(said for said in map(self.case.wrong, self.answers) if said)

    @property
    def late(self) -> int:
        """Requests that ran into a timeout. A busy machine makes some late; one after the other, it is the mesh."""
        late = sum(one.error == "timeout" for one in self.answers)
        return late if late < len(self.answers) else 0

    @property
    def proven(self) -> bool:
        """Whether a backend or a redirect answered every request, and each wrongly: that is so on any machine."""
        answered = all(one.reply is not None or 300 <= (one.status or 0) < 400 for one in self.answers)
        return answered and self.wrong.total() == len(self.answers)


@dataclass(frozen=True)
class Question:
    """Cases that are asked of one service."""

    service: str
    words: str
    """How its route was written, see `Asked.words`."""
    cases: Sequence[Case]


def ask(ctx: Context, *questions: Question, client: str = "") -> tuple[Asked, ...]:
    """Send every case `TIMES` times, a case after the other, all in one order.

    Over connections that the cases of a service share: a mesh that decides once for each connection answers the next
    case wrongly.
    """
    every = [(one, case) for one in questions for case in one.cases]
    batches = [
        Batch(
            url=ctx.url(one.service, case.port, case.path),
            protocol=case.protocol,
            method=case.method,
            headers=dict(case.headers),
            count=TIMES,
            concurrency=TIMES,
            timeout=LIMITS.request,
        )
        for one, case in every
    ]
    answers = ctx.client(client).batches(batches)
    return tuple(Asked(one.words, case, tuple(found)) for (one, case), found in zip(every, answers, strict=True))


def table(history: Sequence[Asked]) -> Evidence:
    """For the report."""
    return Evidence(
        "requests and their answers",
        [
            {
                "route": one.words,
                "case": one.case.name,
                "request": one.case.request,
                "expected": one.case.expected,
                "as expected": len(one.answers) - one.wrong.total(),
                "of": len(one.answers),
                "otherwise": "; ".join(f"{said} ({count}×)" for said, count in one.wrong.most_common(3)),
            }
            for one in history
        ],
    )


def judge_cases(history: Sequence[Asked]) -> Judgement:
    """Every answer to every case is as expected."""
    evidence = table(history)
    if not history or not all(one.answers for one in history):
        return inconclusive("a case was not asked", evidence)
    # What is proven first: a stall of the machine would excuse the others.
    bad = sorted((one for one in history if one.wrong.total() > one.late), key=lambda one: not one.proven)
    if bad:
        first = bad[0]
        kinds = first.wrong.most_common()
        said, count = next((kind for kind in kinds if not kind[0].startswith("timeout")), kinds[0])
        return (proven if first.proven else failed)(
            f"{len(bad)} of {len(history)} cases went wrong; first {first.case.name} by {first.words}: expected "
            f"{first.case.expected}, {count} of {len(first.answers)} times {said}",
            evidence,
        )
    if late := [one for one in history if one.late]:
        first = late[0]
        return inconclusive(f"{first.case.name} by {first.words}: {first.late} of {len(first.answers)} requests ran "
                            "into a timeout", evidence)  # fmt: skip
    return passed(f"{sum(len(one.answers) for one in history)} answers to {len(history)} cases as expected", evidence)
