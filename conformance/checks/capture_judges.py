"""Histories of what passes by a proxy and what does not, and their judges. Pure.

They rest on strict mTLS: plaintext from outside of the mesh must be refused in the same run, or a request that is
answered would prove nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from conformance.model import Judgement, failed, inconclusive, passed, proven
from fixtures.kube import ruled_out
from fixtures.workloads.traffic import Record
from reports.model import Evidence

__all__ = ["Admitted", "Captured", "Excluded", "Tries", "judge_captured", "judge_excluded", "unless_refused"]

ENDED = ("reset", "eof")
"""How a proxy ends a connection that leads nowhere."""


@dataclass(frozen=True)
class Tries:
    """Requests of one client to one address, each on a connection of its own."""

    what: str
    sent: int
    answered: int
    """Answers by the application itself."""
    ends: Mapping[str, int]
    """How the others ended: error or status, with counts."""
    peers: tuple[str, ...] = ()
    """The caller's addresses as the application saw them."""

    @classmethod
    def of(cls, what: str, records: Sequence[Record]) -> Tries:
        """From the client's records."""
        ends: dict[str, int] = {}
        for one in records:
            if one.reply is None:
                end = one.error or f"status {one.status}"
                ends[end] = ends.get(end, 0) + 1
        peers = {str(one.reply.get("peer", "")).rpartition(":")[0] for one in records if one.reply is not None}
        return cls(what, len(records), sum(one.reply is not None for one in records), ends, tuple(sorted(peers)))

    @property
    def refused(self) -> bool:
        """Every one was sent and none answered. Timeouts beside other ends may be a busy machine: then it is not."""
        return self.sent > 0 and not self.answered and self.ends.get("timeout", 0) in {0, self.sent}

    @property
    def accepted(self) -> bool:
        """Every one was answered by the application."""
        return 0 < self.sent == self.answered

    @property
    def lost(self) -> int:
        """How many ended otherwise, without being late: a busy machine makes many late."""
        return self.sent - self.answered - self.ends.get("timeout", 0)

    @property
    def turned_away(self) -> bool:
        """Every one was answered by a proxy: by an HTTP status, or by the end of the connection."""
        by_proxy = sum(count for end, count in self.ends.items() if end.startswith("status ") or end in ENDED)
        return 0 < self.sent == by_proxy

    @property
    def closed(self) -> bool:
        """The port was reached and nobody listened: nothing stands between the caller and the port."""
        return 0 < self.sent == self.ends.get("refused", 0)

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "requests": self.what,
            "sent": self.sent,
            "answered": self.answered,
            "otherwise": ", ".join(f"{count}× {end}" for end, count in self.ends.items()),
            "caller as the application saw it": ", ".join(self.peers),
        }


def unless_refused(tries: Tries, answered: str, *evidence: Evidence) -> Judgement | None:
    """None where plaintext was refused. Answers are a failure, in these words; where there are none it is not known."""
    if tries.answered:
        return failed(answered, *evidence)
    if not tries.refused:
        return inconclusive(f"{tries.what}: neither answered nor clearly refused", *evidence)
    return None


@dataclass(frozen=True)
class Admitted:
    """What came of the creation of a pod."""

    what: str
    refusal: str
    """The API server's sentence, "" where the pod was created."""
    containers: tuple[str, ...] = ()
    """Names of its containers, init containers first."""
    added: tuple[str, ...] = ()
    """Those that its manifest did not have."""

    @property
    def ruled_out(self) -> bool:
        """Whether the cluster's own rules refused it, or those of a policy engine: no mesh's word."""
        return ruled_out(self.refusal)

    @property
    def unasked(self) -> bool:
        """Whether the mesh was not heard: others refused it, or a webhook did not answer (in time)."""
        return self.ruled_out or "failed calling webhook" in self.refusal

    @property
    def row(self) -> dict[str, Any]:
        """One line of the report's table."""
        return {
            "pod": self.what,
            "refused": self.refusal,
            "containers": ", ".join(self.containers),
            "added": ", ".join(self.added),
        }


@dataclass(frozen=True)
class Captured:
    """Ways on which traffic could pass by a proxy. The server is strict."""

    from_outside: tuple[Tries, ...]
    """Plaintext to the pod's own address, on the port of its service and on one that no service names."""
    by_service: Tries
    """From the mesh by the service: that the strict server is there, and answers whom it should."""
    around_service: tuple[Tries, ...]
    """From the mesh to the strict pods without a service's address: by a headless name and by the pod's address."""
    nobody_listens: Tries
    """From the mesh to a port of a pod outside of it on which nobody listens."""
    nobody_listens_outside: Tries
    """The same from outside of the mesh."""

    @property
    def evidence(self) -> Evidence:
        """For the report."""
        every = (*self.from_outside, self.by_service, *self.around_service,
                 self.nobody_listens, self.nobody_listens_outside)  # fmt: skip
        return Evidence("requests", [one.row for one in every])


def judge_captured(history: Captured) -> Judgement:
    """In and out, by whatever address, traffic passes the proxy.

    In: no port of a strict pod takes plaintext. Out: requests around the service reach a strict pod all (so they were
    encrypted) or not at all: a mesh need not know whom it meets at an address. Who connects to a port where nobody
    listens is not told so by the kernel, because the proxy answered.
    """
    evidence = history.evidence
    every = (*history.from_outside, history.by_service, *history.around_service, history.nobody_listens)
    if not all(one.sent for one in every) or not history.from_outside or not history.around_service:
        return inconclusive("a part of the requests was not sent", evidence)
    if not history.nobody_listens_outside.closed:
        return inconclusive("from outside of the mesh a port where nobody listens is not refused: it tells nothing",
                            evidence)  # fmt: skip
    if not history.by_service.accepted:
        return inconclusive("the strict server does not answer its mesh, so that nothing follows", evidence)
    for one in history.from_outside:
        passed_by = f"{one.what}: {one.answered} of {one.sent} plaintext requests passed by the proxy"
        if one.answered and any(other.refused and not other.ends.get("timeout") for other in history.from_outside):
            return proven(passed_by, evidence)  # strict is in force, as another port shows
        if unsound := unless_refused(one, passed_by, evidence):
            return unsound
    for one in history.around_service:
        if one.answered and one.lost:
            return failed(f"{one.what}: {one.lost} of {one.sent} requests did not reach the strict server", evidence)
        if not (one.accepted or one.turned_away):
            return inconclusive(f"{one.what}: {one.sent - one.answered} of {one.sent} came to no proxy that answers",
                                evidence)  # fmt: skip
    if history.nobody_listens.ends.get("refused"):
        return failed("a meshed client is told by the kernel that nobody listens: its traffic passes by the proxy",
                      evidence)  # fmt: skip
    ways = len(history.from_outside) + len(history.around_service) + 1
    shut = [one.what for one in history.around_service if one.turned_away]
    besides = f"; {' and '.join(shut)} nothing reaches the strict server" if shut else ""
    return passed(f"on {ways} ways around the services traffic meets the proxy{besides}", evidence)


@dataclass(frozen=True)
class Excluded:
    """Ports that are exempt from capture, beside ports that are not. The server is strict."""

    captured: Tries
    """Plaintext from outside to a port that is captured."""
    excluded: Tries
    """Plaintext from outside to a port that is exempt, of the same pod."""
    outside: str
    """Address of the client outside of the mesh."""
    captured_out: Tries
    """From the mesh to a port on which nobody listens."""
    excluded_out: Tries
    """The same by a client for which this port is exempt."""
    impossible: Admitted
    """A pod that asks for a port that does not exist to be exempt."""

    @property
    def evidence(self) -> tuple[Evidence, Evidence]:
        """For the report."""
        rows = [one.row for one in (self.captured, self.excluded, self.captured_out, self.excluded_out)]
        return Evidence("requests", rows), Evidence("a pod with an impossible port", [self.impossible.row])


def judge_excluded(history: Excluded) -> Judgement:
    """Exempt ports are reached directly both ways, other ports are not, and nonsense is not obeyed quietly."""
    parts = (history.captured, history.excluded, history.captured_out, history.excluded_out)
    if not all(one.sent for one in parts):
        return inconclusive("a part of the requests was not sent", *history.evidence)
    if history.captured.answered:
        return failed("plaintext is taken on a port that is not exempt: exemption proves nothing", *history.evidence)
    if history.excluded.lost:
        return failed(f"plaintext to the exempt port: {history.excluded.answered} of {history.excluded.sent} answered",
                      *history.evidence)  # fmt: skip
    if not history.excluded.accepted:
        return inconclusive("some requests to the exempt port ran into a timeout", *history.evidence)
    if history.excluded.peers != (history.outside,):
        return failed(f"on the exempt port the application sees {', '.join(history.excluded.peers)} instead of its "
                      f"caller {history.outside}: somebody stands between", *history.evidence)  # fmt: skip
    if history.captured_out.ends.get("refused"):
        return failed("outbound traffic is not captured at all: exemption proves nothing", *history.evidence)
    if not history.excluded_out.closed:
        if (
            set(history.excluded_out.ends) <= {"refused", "unreachable", "timeout"}
            and not history.excluded_out.answered
        ):
            return inconclusive("some requests to the exempt port of others came to nobody", *history.evidence)
        return failed("traffic to the exempt port of others still goes through the proxy", *history.evidence)
    if history.impossible.unasked:
        return inconclusive(f"nobody judged the impossible port: {history.impossible.refusal}", *history.evidence)
    if not history.impossible.refusal and not history.impossible.added:
        return failed("a pod that asks for an impossible port was let in without a proxy", *history.evidence)
    return passed("exempt ports are reached directly, in and out; the pod's other ports are not", *history.evidence)
