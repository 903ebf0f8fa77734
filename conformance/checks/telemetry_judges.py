"""What proxies said they counted against what clients sent, and the judges of it. Pure."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Mapping
from dataclasses import dataclass

from conformance.adapters.base import Exposition
from conformance.exposition import Counter, total
from conformance.model import Judgement, failed, inconclusive, passed
from reports.model import JSON, Evidence

__all__ = ["Counted", "Scraped", "judge_counts", "judge_reachable", "judge_sources", "judge_strict_scrape", "refused"]


@dataclass(frozen=True)
class Counted:
    """Requests of several clients to one service, and both sides' counters afterwards. The service was new before."""

    exposition: Exposition | None
    """None: the mesh tells nobody what its proxies count."""
    service: str
    """Full name."""
    sent: Mapping[str, Mapping[str, int]]
    """By client and status: answers that it got from the server's application."""
    failures: int
    """Requests that were not answered as asked: the rest proves nothing then."""
    identities: Mapping[str, str]
    """By client: its identity as the mesh declares it."""
    network: str
    """How a scrape of the server's pod from outside of the mesh ended."""
    at_server: tuple[Counter, ...] | None = ()
    """None where nobody answered."""
    at_clients: Mapping[str, tuple[Counter, ...] | None] | None = None
    """The same by client."""

    @property
    def codes(self) -> dict[str, int]:
        """What was sent, by status."""
        found: Tally[str] = Tally()
        for by_code in self.sent.values():
            found.update(by_code)
        return dict(found)

    def server_side(self) -> tuple[Counter, ...]:
        """What the server's proxy counted for the service."""
        if self.exposition is None:
            return ()
        wanted = {**self.exposition.at_server, self.exposition.service: self.service}
        return tuple(one for one in self.at_server or () if one.has(wanted))

    def client_side(self, client: str) -> tuple[Counter, ...]:
        """What a client's proxy counted for the service."""
        if self.exposition is None or self.at_clients is None:
            return ()
        wanted = {**self.exposition.at_client, self.exposition.service: self.service}
        return tuple(one for one in self.at_clients.get(client) or () if one.has(wanted))

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        if self.exposition is None:
            return Evidence("metrics", "the mesh has none")
        code = self.exposition.code
        rows: list[JSON] = [
            {
                "client": client,
                "status": status,
                "sent": count,
                "client's proxy counted": total(self.client_side(client), {code: status}),
                "server's proxy counted for it": total(
                    self.server_side(), {code: status, self.exposition.source: client}
                ),
                "server's proxy counted": total(self.server_side(), {code: status}),
            }
            for client, by_code in self.sent.items()
            for status, count in by_code.items()
        ]
        return Evidence(f"requests to {self.service}", rows)

    def basis(self) -> Exposition | Judgement:
        """How the metrics are named, or why nothing can be judged by them."""
        if not self.sent or not all(self.codes.values()):
            return inconclusive("no request was sent", self.evidence)
        if self.failures:
            return inconclusive(f"{self.failures} requests were not answered as asked", self.evidence)
        if self.exposition is None:
            return failed("the mesh tells nobody what its proxies count", self.evidence)
        return self.exposition

    def not_read(self) -> Judgement | None:
        """Why nothing can be judged by what proxies counted; None where all of them told it."""
        read = {"the server": self.at_server, **(self.at_clients or {})}
        silent = ", ".join(name for name, found in read.items() if found is None)
        return inconclusive(f"what the proxy of {silent} counts could not be read", self.evidence) if silent else None


def judge_reachable(history: Counted) -> Judgement:
    """A scrape from outside of the mesh is answered, and has the requests."""
    if isinstance(unsound := history.basis(), Judgement):
        return unsound
    if history.network == "timeout":
        return inconclusive("a scrape of the server's pod ran into a timeout", history.evidence)
    if history.network != "200":
        return failed(f"a scrape of the server's pod ended in {history.network}", history.evidence)
    if unread := history.not_read():
        return unread
    if not history.server_side():
        return failed(f"the server's proxy has no count for {history.service}", history.evidence)
    silent = [client for client in history.sent if not history.client_side(client)]
    if silent:
        return failed(f"the proxy of {', '.join(silent)} has no count for {history.service}", history.evidence)
    return passed("proxies on both sides count, and a scrape from outside of the mesh is answered", history.evidence)


def judge_counts(history: Counted) -> Judgement:
    """Both sides have exactly what was sent, by status."""
    if isinstance(unsound := history.basis(), Judgement):
        return unsound
    assert history.exposition is not None
    if unread := history.not_read():
        return unread
    code = history.exposition.code
    wrong = []
    for status, count in history.codes.items():
        if (found := total(history.server_side(), {code: status})) != count:
            wrong.append(f"of {count} answers {status} the server's proxy counted {found:g}")
    for client, by_code in history.sent.items():
        for status, count in by_code.items():
            if (found := total(history.client_side(client), {code: status})) != count:
                wrong.append(f"of {count} answers {status} to {client} its proxy counted {found:g}")
    known = set(history.codes)
    stray = sorted({one.of(code) for one in history.server_side() if one.value and one.of(code) not in known})
    if stray:
        wrong.append(f"the server's proxy counted status {', '.join(stray)}, which nobody got")
    if wrong:
        return failed("; ".join(wrong), history.evidence)
    sum_ = sum(history.codes.values())
    return passed(f"{sum_} requests, and both sides counted each of them once", history.evidence)


def judge_sources(history: Counted) -> Judgement:
    """Every request is counted for the client that sent it, with that client's identity."""
    if isinstance(unsound := history.basis(), Judgement):
        return unsound
    exposition = history.exposition
    assert exposition is not None
    if unread := history.not_read():
        return unread
    wrong = []
    for client, by_code in history.sent.items():
        own = tuple(one for one in history.server_side() if one.of(exposition.source) == client)
        count, found = sum(by_code.values()), total(own, {})
        if found != count:
            wrong.append(f"{client} sent {count} requests, and {found:g} carry its name")
        said = {one.of(exposition.source_identity) for one in own if one.value}
        if said - {history.identities[client]}:
            wrong.append(f"{client} is {history.identities[client]}, its requests carry {', '.join(sorted(said))}")
    others = {one.of(exposition.source) for one in history.server_side() if one.value} - set(history.sent)
    if others:
        wrong.append(f"requests carry the name of {', '.join(sorted(others))}, who sent none")
    if wrong:
        return failed("; ".join(wrong), history.evidence)
    return passed(f"{len(history.sent)} clients, each named with its identity in all of its requests",
                  history.evidence)  # fmt: skip


@dataclass(frozen=True)
class Scraped:
    """A strict server: how plaintext to it ended, and how a plaintext scrape of it did."""

    exposition: Exposition | None
    service: str
    sent: int
    """Answers that a client of the mesh got."""
    ends: Mapping[str, int]
    """How plaintext requests to the application ended, with counts."""
    network: str
    """How a scrape from outside of the mesh ended."""
    at_server: tuple[Counter, ...] | None = ()
    """None where nobody answered."""

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        ends = ", ".join(f"{count}× {end}" for end, count in self.ends.items())
        return Evidence("from outside of the mesh", {"requests to the application": ends, "scrape": self.network})


def refused(ends: Mapping[str, int]) -> bool:
    """Whether a row of plaintext requests was refused, by how they ended, with counts.

    A timeout alone may be a busy machine: it counts as a refusal only where nothing else happened, as with a mesh that
    drops packets.
    """
    return bool(ends) and "200" not in ends and ends.get("timeout") in {None, sum(ends.values())}


def judge_strict_scrape(history: Scraped) -> Judgement:
    """The application refuses plaintext, the metrics are there all the same, and they have the mesh's requests."""
    if history.exposition is None:
        return failed("the mesh tells nobody what its proxies count", history.evidence)
    if not history.sent:
        return inconclusive("no request within the mesh was answered", history.evidence)
    if "200" in history.ends:
        return inconclusive("plaintext was taken: strict is not in force", history.evidence)
    if not refused(history.ends):
        return inconclusive("some plaintext requests ran into a timeout", history.evidence)
    if history.network == "timeout":
        return inconclusive("a scrape ran into a timeout", history.evidence)
    if history.network != "200":
        return failed(f"a scrape ended in {history.network}", history.evidence)
    if history.at_server is None:
        return inconclusive("what the server's proxy counts could not be read", history.evidence)
    wanted = {**history.exposition.at_server, history.exposition.service: history.service}
    found = total(history.at_server, wanted)
    if found < history.sent:
        return failed(f"of {history.sent} requests the metrics have {found:g}", history.evidence)
    return passed("a scrape from outside of the mesh is answered while the application refuses plaintext",
                  history.evidence)  # fmt: skip
