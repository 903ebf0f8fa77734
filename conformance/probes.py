"""What the last looks at a gate were answered: what a gate that stays shut has to show. Pure, but for remembering."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import chain, islice
from typing import TypeVar

from fixtures.workloads.traffic import Batch, Record
from reports.model import JSON

__all__ = ["MOST_ROWS", "Heard", "Probed", "Unanswered", "table"]

T = TypeVar("T")
LOOKS_KEPT = 3
"""Of one look alone nobody can tell whether what it saw was there to stay."""
MOST_ROWS = 20
"""A table of them is to be read, not searched."""
MOST_OUTCOMES = 3
"""Outcomes that fit into a sentence."""
MOST_UNANSWERED = 200
LONGEST_WORD = 120
"""Characters of an error in a sentence or a row."""


@dataclass(frozen=True)
class Probed:
    """Alike answers to alike requests of one look."""

    look: int
    """Which look at the gate this was, counted from 1."""
    at: float
    """When the first of the requests was sent, epoch seconds."""
    client: str
    """Namespace and pod of the client."""
    request: str
    answers: int
    status: int | None = None
    """HTTP status."""
    grpc: int | None = None
    """gRPC status."""
    error: str = ""
    detail: str = ""
    """More about the error, of the first of them."""
    by: str = ""
    """Who answered: "application" is one of the suite's echo pods, "another" is not, such as a proxy; "" is nobody."""
    pod: str = ""
    version: str = ""
    """The echo's, as far as it was asked for."""
    tls: str = ""
    """Version of TLS, where the client itself shook hands."""

    @property
    def outcome(self) -> str:
        """In a few words, the same for all who were answered alike."""
        if self.error:
            return self.error
        if self.tls and self.status is None:
            return f"handshake {self.tls}"
        said = "" if self.status is None else f"status {self.status}"
        if self.grpc is not None:
            said = f"gRPC status {self.grpc}"  # what a gRPC caller goes by; the HTTP status is 200 throughout
        who = {"application": self.version or "the application", "another": "no application"}.get(self.by, "")
        return " of ".join(filter(None, (said or "answer", who)))


class Heard:
    """What traffic clients were answered during the last looks at one gate."""

    def __init__(self) -> None:
        self.looks = 0
        """How often was looked."""
        self._kept: deque[tuple[int, list[tuple[str, Batch, Sequence[Record]]]]] = deque(maxlen=LOOKS_KEPT)

    def look(self, probe: Callable[[], T]) -> T:
        """Look once more."""
        self.looks += 1
        self._kept.append((self.looks, []))
        return probe()

    def hear(self, client: str, batch: Batch, records: Sequence[Record]) -> None:
        """A batch of the present look was answered."""
        if self._kept:
            self._kept[-1][1].append((client, batch, records))

    @property
    def seen(self) -> tuple[Probed, ...]:
        """The answers of the last looks, the newest look first, alike ones together; no more than fit into a table."""
        return tuple(islice(chain.from_iterable(_rows(*one) for one in reversed(self._kept)), MOST_ROWS))

    @property
    def unresolved(self) -> Batch | None:
        """A batch of the last look, where the name server knew the name for none of the look's requests."""
        last = self._kept[-1][1] if self._kept else []
        ends = {one.error for _, _, records in last for one in records}
        return last[-1][1] if ends == {"dns"} else None

    def last(self, answer: object) -> str:
        """What the last look came to, in words: `answer` is what it gave or raised."""
        if isinstance(answer, BaseException):
            return _short(f"last: {type(answer).__name__}: {answer}")
        said = _outcomes([*_rows(*self._kept[-1])]) if self._kept else ""
        return f"last answers: {said}" if said else f"last: {answer!r}"


class Unanswered:
    """The latest requests that got no answer, each with its error in full: a verdict has room for its name only."""

    def __init__(self) -> None:
        self._kept: deque[dict[str, JSON]] = deque(maxlen=MOST_UNANSWERED)

    def hear(self, client: str, batch: Batch, records: Sequence[Record]) -> None:
        """A batch was answered, or not."""
        for one in records:
            if one.error:
                self._kept.append(
                    {
                        "at": _cell("at", one.sent),
                        "client": client,
                        "request": _request(batch),
                        "error": one.error,
                        "detail": one.detail,
                        "after s": round(one.start + one.seconds - one.sent, 3),
                    }
                )

    @property
    def rows(self) -> list[dict[str, JSON]]:
        """One each, oldest first."""
        return list(self._kept)


def _rows(look: int, batches: Sequence[tuple[str, Batch, Sequence[Record]]]) -> Iterator[Probed]:
    """All of one look."""
    for client, batch, records in batches:
        yield from _alike(look, client, batch, records)


def _alike(look: int, client: str, batch: Batch, records: Sequence[Record]) -> Iterator[Probed]:
    """One row for each kind of answer to a batch, in the order in which they came first."""
    request = _request(batch)
    groups: dict[tuple[object, ...], list[Record]] = {}
    for record in records:
        groups.setdefault(_kind(record), []).append(record)
    for group in groups.values():
        first = group[0]
        answered = "application" if first.reply is not None else "another" if batch.protocol != "tls" else ""
        yield Probed(
            look,
            min(one.sent for one in group),
            client,
            request,
            len(group),
            first.status,
            first.grpc,
            first.error or "",
            _short(first.detail),
            "" if first.error else answered,
            first.pod or "",
            first.version or "",
            _handshake(first),
        )


def _request(batch: Batch) -> str:
    """What a batch asks, in words."""
    marks = f" with {', '.join(batch.headers)}" if batch.headers else ""  # no values: some are tokens
    verb = f"{batch.method} " if batch.protocol in {"http1", "h2c"} else ""
    return f"{batch.protocol} {verb}{batch.url}{marks}"


def _kind(record: Record) -> tuple[object, ...]:
    answered = record.reply is not None
    return record.status, record.grpc, record.error, answered, record.pod, record.version, _handshake(record)


def _handshake(record: Record) -> str:
    return str((record.tls or {}).get("version") or "")


def _outcomes(rows: Sequence[Probed]) -> str:
    """`30 × status 200 of v1, 12 × reset`: the most frequent first."""
    counts: Counter[str] = Counter()
    for one in rows:
        counts[one.outcome] += one.answers
    named = [f"{count} × {outcome}" for outcome, count in counts.most_common(MOST_OUTCOMES)]
    return ", ".join(named) + (", …" if len(counts) > MOST_OUTCOMES else "")


def table(seen: Sequence[Probed]) -> list[dict[str, JSON]]:
    """As evidence shows them: a row each, without the columns in which there is nothing."""
    names = [one.name for one in fields(Probed)]
    filled = [name for name in names if any(getattr(one, name) not in {None, ""} for one in seen)]
    return [{name: _cell(name, getattr(one, name)) for name in filled} for one in seen]


def _cell(name: str, value: JSON) -> JSON:
    if name == "at" and isinstance(value, float):
        return datetime.fromtimestamp(value, UTC).isoformat(timespec="milliseconds")
    return "" if value is None else value


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_WORD else text[: LONGEST_WORD - 2].rstrip() + " …"
